"""The low-priority batch job: a Job whose pods do real I/O on the shared volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import pulumi
import pulumi_kubernetes as k8s

from components import kubernetes as kube
from components.kubernetes import Destination, Tree
from components.presence import Presence
from lp_batch import manifest

INDEX_VARIABLE: Final = "JOB_COMPLETION_INDEX"
"""What Kubernetes itself calls it in an indexed Job's containers."""

DISRUPTED_IS_NOT_FAILED: Final[Tree] = {
    "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
}
"""A pod that a node's end, its pressure or the service's priority took away is made anew as often as that
happens: none of it is the job's own failure, of which there may be `backoffLimit`. Kubernetes lets each next
pod wait twice as long all the same, from 20 s up to ten minutes."""


@dataclass(frozen=True, kw_only=True)
class BatchJobArgs:
    """What the job does."""

    namespace: str
    image: pulumi.Input[str]
    claim: str
    pattern: str
    block_size: str
    workers: int
    parallelism: int
    operations: int
    """Per pod; 0 works until the job is removed."""
    file_size: str
    rate_mib_s: int
    """Per pod; 0 is no limit."""
    stack: str | None
    """Whose nodes to use; None leaves the choice to the scheduler."""
    presence: Presence
    """What the job goes with when the scenario has none."""


class BatchJob(pulumi.ComponentResource):
    """A Job whose end nobody waits for: it must run while other things happen."""

    def __init__(self, name: str, args: BatchJobArgs, where: Destination) -> None:
        super().__init__("drcio:workloads:BatchJob", name, {}, where.options)
        self.job = k8s.batch.v1.Job(
            name,
            metadata=kube.metadata_of(
                manifest.APP,
                args.namespace,
                name=args.presence.tie(manifest.APP),
                annotations=kube.ONCE_STARTED,
            ),
            spec=kube.as_args(
                k8s.batch.v1.JobSpecArgs,
                {
                    "parallelism": args.parallelism,
                    "completions": args.parallelism,
                    "completionMode": "Indexed",
                    "backoffLimit": 6,
                    "podFailurePolicy": DISRUPTED_IS_NOT_FAILED,
                    "template": _template(args),
                },
            ),
            # A Job's template cannot change, and its name is fixed.
            opts=kube.in_cluster(self, where, replace_first=True),
        )
        network = kube.serves_only(manifest.METRICS_PORT)
        kube.network_policy(self, name, manifest.APP, args.namespace, where, **network)
        self.register_outputs({"job": self.job.id})


def _template(args: BatchJobArgs) -> Tree:
    pod = manifest.pod_template(
        manifest.PodOptions(
            image="",
            claim=args.claim,
            pattern=args.pattern,
            block_size=args.block_size,
            num_workers=args.workers,
            file_size=args.file_size,
            num_operations=args.operations or None,
            rate_mib_s=args.rate_mib_s or None,
        )
    )
    placed = kube.sharing_volume(kube.with_image(_own_folder(pod), args.image), args.claim)
    return kube.on_stack_node(placed, args.stack)


def _own_folder(pod: Tree) -> Tree:
    """Give each pod of the Job a folder of its own: two that write the same file would spoil each other's.

    Kubernetes puts the pod's index into an annotation, and $(...) in an argument is expanded by the kubelet.
    """
    spec = cast(Tree, pod["spec"])
    (container,) = cast(Sequence[Tree], spec["containers"])
    args = [
        f"{arg}/$({INDEX_VARIABLE})" if arg == f"--dir={manifest.DATA_DIR}" else arg
        for arg in cast(Sequence[str], container["args"])
    ]
    index = {
        "name": INDEX_VARIABLE,
        "valueFrom": {
            "fieldRef": {"fieldPath": "metadata.annotations['batch.kubernetes.io/job-completion-index']"}
        },
    }
    return {**pod, "spec": {**spec, "containers": [{**container, "args": args, "env": [index]}]}}
