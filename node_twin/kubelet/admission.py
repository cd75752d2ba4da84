"""What the twin's API server checks and fills in before it takes a Pod."""

from http import HTTPStatus

from drcio_controller.kube.jsontypes import JsonObject
from drcio_controller.testing.store import Admission, StoreError

from .errors import ManifestError
from .manifest import parse_manifest
from .qos import qos_class


def admission(node_name: str) -> Admission:
    """Return an admission that binds every pod to the one node there is.

    A manifest that cannot be run is refused with 422 Invalid and the reason.
    """

    def admit(pod: JsonObject) -> JsonObject:
        try:
            manifest = parse_manifest(pod)
        except ManifestError as error:
            raise StoreError(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid", str(error)) from error
        spec = pod["spec"]
        if isinstance(spec, dict):
            spec.setdefault("nodeName", node_name)
            spec.setdefault("restartPolicy", manifest.restart_policy.value)
            spec.setdefault("terminationGracePeriodSeconds", manifest.grace_period_s)
        # What a client sends as status is no news to anybody: kubelet reports it.
        pod["status"] = {"phase": "Pending", "qosClass": qos_class(manifest).value}
        return pod

    return admit
