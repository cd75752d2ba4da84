"""The agent's container contract: DaemonSet pod template and rights, as plain Kubernetes JSON.

Light on purpose: the Pulumi program and the node twin import it, and define nothing a second time.
"""

from __future__ import annotations

from typing import Final

from drcio_controller.config import PolicyName
from drcio_controller.kube.jsontypes import Json, JsonObject

APP_LABEL: Final = "drcio-controller"
PORT: Final = 9400
CONFIG_FILE: Final = "config.yaml"
"""The key that the ConfigMap must have."""

_CGROUP_MOUNT: Final = "/host/sys/fs/cgroup"
_CONFIG_MOUNT: Final = "/etc/drcio"
_STATE_DIR: Final = "/run/drcio"

RBAC_RULES: Final[tuple[JsonObject, ...]] = (
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
)
"""Rules of the ClusterRole. Pods of all namespaces are read, filtered by node in the request; of namespaces
and of the agent's own node the metadata alone, for their labels."""


def pod_template(
    *,
    image: str,
    policy: PolicyName = PolicyName.DRCIO,
) -> JsonObject:
    """Return the DaemonSet's pod template.

    The ConfigMap of the same name holds `config.dump`'s text under `config.yaml`. BFQ switches a scheduler
    in sysfs, so only that policy gets a writable one.
    """
    needs_sysfs = policy is PolicyName.BFQ
    return {
        "metadata": {
            "labels": {"app": APP_LABEL},
            "annotations": {
                "prometheus.io/scrape": "true",
                "prometheus.io/port": str(PORT),
                "prometheus.io/path": "/metrics",
            },
        },
        "spec": {
            "serviceAccountName": APP_LABEL,
            "priorityClassName": "system-node-critical",
            # A node with a taint has pods and volumes too.
            "tolerations": [{"operator": "Exists"}],
            # On the host's network the agent reaches pods and is reached while the CNI is not up yet.
            "hostNetwork": True,
            "dnsPolicy": "ClusterFirstWithHostNet",
            "terminationGracePeriodSeconds": 15,
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [_container(image, writable_sysfs=needs_sysfs)],
            "volumes": _volumes(writable_sysfs=needs_sysfs),
        },
    }


def _container(image: str, *, writable_sysfs: bool) -> JsonObject:
    # In the environment and not in the arguments: what is run in the container by `kubectl exec` (doctor,
    # status) then looks at the same tree as the agent, and not at the container's own.
    environment: dict[str, Json] = {
        "DRCIO_CGROUP_ROOT": _CGROUP_MOUNT,
        "DRCIO_CONFIG": f"{_CONFIG_MOUNT}/{CONFIG_FILE}",
        "DRCIO_STATE_DIR": _STATE_DIR,
        "DRCIO_STATUS_URL": f"http://127.0.0.1:{PORT}",
    }
    mounts: list[Json] = [
        {"name": "cgroup", "mountPath": _CGROUP_MOUNT},
        {"name": "state", "mountPath": _STATE_DIR},
        {"name": "config", "mountPath": _CONFIG_MOUNT, "readOnly": True},
    ]
    if writable_sysfs:
        environment["DRCIO_SYS_ROOT"] = "/host/sys"
        mounts.append({"name": "sys", "mountPath": "/host/sys"})
    return {
        "name": APP_LABEL,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["drcio-controller"],
        "args": [f"--listen=0.0.0.0:{PORT}"],
        "env": [
            {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            *[{"name": name, "value": value} for name, value in environment.items()],
        ],
        "ports": [{"name": "metrics", "containerPort": PORT, "protocol": "TCP"}],
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": PORT},
            "periodSeconds": 5,
            "timeoutSeconds": 3,
        },
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": PORT},
            "initialDelaySeconds": 30,
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        "resources": {
            "requests": {"cpu": "20m", "memory": "64Mi"},
            "limits": {"memory": "128Mi"},
        },
        "securityContext": {
            # Cgroup files belong to root and have mode 0644; writing them needs the owner, no capability.
            "runAsUser": 0,
            "runAsNonRoot": False,
            "privileged": False,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    }


def _volumes(*, writable_sysfs: bool) -> list[Json]:
    volumes: list[Json] = [
        {"name": "cgroup", "hostPath": {"path": "/sys/fs/cgroup", "type": "Directory"}},
        # On the node's tmpfs: what was found must outlive the container, and must not outlive the boot.
        {"name": "state", "hostPath": {"path": "/run/drcio", "type": "DirectoryOrCreate"}},
        {"name": "config", "configMap": {"name": APP_LABEL}},
    ]
    if writable_sysfs:
        volumes.append({"name": "sys", "hostPath": {"path": "/sys", "type": "Directory"}})
    return volumes
