"""The experiment's own pods, made from the images' container contracts.

What runs on a twin is the pod that runs in a cluster: the same template, given a name and a node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

import drcio_controller.manifest as controller_manifest
import hp_service.manifest as hp_manifest
import lp_batch.manifest as lp_manifest
from drcio_controller.config import PolicyName
from experiments.records.jsonfields import JsonObject, JsonValue
from experiments.records.record import Role
from experiments.records.spec import Spec

DATA_CLAIM: Final = "drcio-data"
OTHER_CLAIM: Final = "drcio-other"
HP_POD: Final = "hp-gnn-service"
LP_POD: Final = "lp-batch"
CONTROLLER_POD: Final = "drcio-controller"
ROLE_ANNOTATION: Final = "experiments.drcio.io/role"
"""On pods brought by a user: hp, lp, load or other."""

SATURATING_FILE_BYTES: Final = 64 << 20
"""What a saturating pod writes first, to read it from then on."""

_LOCAL_IMAGE: Final = "drcio.local/{name}:checkout"
"""A twin has no registry: the name only says that the checkout itself runs."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A pod and the part it plays."""

    role: Role
    manifest: JsonObject

    @property
    def name(self) -> str:
        return cast("Mapping[str, str]", self.manifest["metadata"])["name"]


def pod(name: str, template: Mapping[str, object], *, namespace: str, node: str) -> JsonObject:
    """Turn a pod template into a Pod bound to a node."""
    metadata = cast("Mapping[str, JsonValue]", template["metadata"])
    spec = cast("Mapping[str, JsonValue]", template["spec"])
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**metadata, "name": name, "namespace": namespace},
        "spec": {**spec, "nodeName": node},
    }


def service(*, namespace: str, node: str) -> Workload:
    """Return the high-priority service; its data lies on the volume already, so no init step."""
    template = hp_manifest.pod_template(
        hp_manifest.PodOptions(
            image=_LOCAL_IMAGE.format(name="hp-service"), claim_name=DATA_CLAIM, prepare=False
        )
    )
    return Workload(role="hp", manifest=pod(HP_POD, template, namespace=namespace, node=node))


def batch_job(spec: Spec, *, namespace: str, node: str, file_size: str, claim: str = DATA_CLAIM) -> Workload:
    """Return the low-priority batch job with the spec's pattern, running until it is stopped."""
    template = lp_manifest.pod_template(
        lp_manifest.PodOptions(
            image=_LOCAL_IMAGE.format(name="lp-batch"),
            claim=claim,
            pattern=spec.lp_pattern,
            block_size=str(spec.lp_block_bytes),
            num_workers=spec.lp_workers,
            file_size=file_size,
            seed=spec.seed,
        )
    )
    return Workload(role="lp", manifest=pod(LP_POD, template, namespace=namespace, node=node))


def controller(policy: PolicyName, *, namespace: str, node: str, api_server: str) -> Workload:
    """Return the node agent as its DaemonSet would start it, pointed at the twin's Pod API."""
    template = controller_manifest.pod_template(
        image=_LOCAL_IMAGE.format(name="drcio-controller"), policy=policy
    )
    manifest = cast("dict[str, JsonValue]", pod(CONTROLLER_POD, template, namespace=namespace, node=node))
    spec = dict(cast("Mapping[str, JsonValue]", manifest["spec"]))
    (container,) = cast("list[Mapping[str, JsonValue]]", spec["containers"])
    args = [*cast("list[str]", container["args"]), f"--api-server={api_server}"]
    spec["containers"] = [{**container, "args": args}]
    return Workload(role="other", manifest={**manifest, "spec": spec})


def saturating(
    name: str,
    priority: str,
    *,
    resources: Mapping[str, JsonValue] | None = None,
    block_kib: int = 256,
    depth: int = 16,
    restart_policy: str = "Never",
    namespace: str,
    node: str,
) -> JsonObject:
    """Return a pod that reads from the volume as fast as it is let, until it is deleted."""
    command: list[JsonValue] = [
        *(
            "fio",
            f"--name={name}",
            f"--filename=/data/{name}",
            f"--size={SATURATING_FILE_BYTES}",
            "--rw=randread",
        ),
        *(f"--bs={block_kib}k", f"--iodepth={depth}", "--ioengine=libaio", "--direct=1"),
        *("--time_based", "--runtime=3600"),
    ]
    template: JsonObject = {
        "metadata": {"labels": {"drcio.io/priority": priority}},
        "spec": {
            "restartPolicy": restart_policy,
            "terminationGracePeriodSeconds": 2,
            "containers": [
                {
                    "name": name,
                    "command": command,
                    "resources": dict(resources or {}),
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                }
            ],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": DATA_CLAIM}}],
        },
    }
    return pod(name, template, namespace=namespace, node=node)
