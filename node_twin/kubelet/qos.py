"""Which quality-of-service class a pod is in (Kubernetes: pkg/apis/core/v1/helper/qos)."""

from drcio_controller.kube.pod import QosClass

from .manifest import PodManifest, Resources


def qos_class(manifest: PodManifest) -> QosClass:
    """Return the pod's class.

    Guaranteed: every container, init ones included, has CPU and memory limits equal to its requests.
    BestEffort: no container has any. A quantity of zero counts as none.
    """
    resources = [container.resources for container in manifest.all_containers]
    if not any(_amounts(each) for each in resources):
        return QosClass.BEST_EFFORT
    if all(_guaranteed(each) for each in resources):
        return QosClass.GUARANTEED
    return QosClass.BURSTABLE


def _amounts(resources: Resources) -> list[int]:
    every = (
        resources.cpu_request_milli,
        resources.cpu_limit_milli,
        resources.memory_request_bytes,
        resources.memory_limit_bytes,
    )
    return [amount for amount in every if amount]


def _guaranteed(resources: Resources) -> bool:
    return (
        bool(resources.cpu_limit_milli)
        and bool(resources.memory_limit_bytes)
        and resources.cpu_limit_milli == resources.cpu_request_milli
        and resources.memory_limit_bytes == resources.memory_request_bytes
    )
