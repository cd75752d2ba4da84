"""One set of pods for both kubelets: what a pod can differ in that matters to this project, each once."""

from __future__ import annotations

from typing import Any, Final

Object = dict[str, Any]

STAY: Final = "trap 'exit 0' TERM; echo up; while :; do sleep 1 & wait $!; done"
"""Runs until it is told to stop, and stops at once."""
CONFIG_MAP: Final = "settings"
CONFIG: Final = {"level": "seven", "file.txt": "content"}
UID: Final = 10001
CLAIM: Final = "shared"


def container(name: str, script: str, **fields: object) -> Object:
    return {"name": name, "image": "", "command": ["sh", "-c", script], **fields}


def pod(name: str, *containers: Object, **spec: object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name, "drcio.io/priority": "high"}},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 5,
            "containers": list(containers),
            **spec,
        },
    }


def resources(requests: dict[str, str] | None = None, limits: dict[str, str] | None = None) -> Object:
    return {"resources": {"requests": requests or {}, "limits": limits or {}}}


_PRINT: Final = (
    "echo name=$NAME namespace=$NAMESPACE label=$LABEL; echo level=$LEVEL missing=[$MISSING];"
    " echo expanded=$EXPANDED kept=$KEPT"
)
_ENV: Final = [
    *(
        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
        for name, path in (
            ("NAME", "metadata.name"),
            ("NAMESPACE", "metadata.namespace"),
            ("LABEL", "metadata.labels['app']"),
        )
    ),
    {"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": CONFIG_MAP, "key": "level"}}},
    {
        "name": "MISSING",
        "valueFrom": {"configMapKeyRef": {"name": CONFIG_MAP, "key": "none", "optional": True}},
    },
    {"name": "EXPANDED", "value": "$(NAME)-of-$(NAMESPACE)"},
    {"name": "KEPT", "value": "$$(NAME)-$(NOBODY)"},
]
_VOLUMES: Final = [
    {"name": "scratch", "emptyDir": {}},
    {"name": "config", "configMap": {"name": CONFIG_MAP, "items": [{"key": "file.txt", "path": "in/file"}]}},
    {"name": "data", "persistentVolumeClaim": {"claimName": CLAIM}},
]
_MOUNTS: Final = [
    {"name": "scratch", "mountPath": "/scratch"},
    {"name": "config", "mountPath": "/config", "readOnly": True},
    {"name": "data", "mountPath": "/data", "subPath": "part"},
]
_LOOK: Final = (
    "echo one > /scratch/file && cat /scratch/file; cat /config/in/file; echo;"
    " (echo no > /config/in/file) 2>/dev/null || echo read-only;"
    " echo two > /data/file && cat /data/file; stat -f -c %T /data; cat /proc/self/oom_score_adj;"
)

RUNNING: Final[dict[str, Object]] = {
    it["metadata"]["name"]: it
    for it in (
        pod("best-effort", container("main", STAY)),
        pod("burstable-cpu", container("main", STAY, **resources({"cpu": "20m"}))),
        pod("burstable-memory", container("main", STAY, **resources({"memory": "32Mi"}, {"memory": "64Mi"}))),
        pod("cpu-limit", container("main", STAY, **resources({"cpu": "10m"}, {"cpu": "150m"}))),
        pod("guaranteed", container("main", STAY, **resources(limits={"cpu": "30m", "memory": "48Mi"}))),
        pod(
            "two-containers",
            container("one", STAY, **resources({"cpu": "10m"}, {"memory": "32Mi"})),
            container("two", STAY, **resources({"cpu": "20m", "memory": "16Mi"}, {"memory": "48Mi"})),
        ),
        pod(
            "half-limited",
            container("one", STAY, **resources(limits={"cpu": "20m", "memory": "32Mi"})),
            container("two", STAY),
        ),
        pod(
            "with-init",
            container("main", STAY, **resources({"cpu": "10m"}, {"memory": "32Mi"})),
            initContainers=[
                container(
                    "first", "echo first", **resources({"cpu": "40m"}, {"cpu": "90m", "memory": "80Mi"})
                )
            ],
        ),
        pod("environment", container("main", f"{_PRINT}; {STAY}", env=_ENV)),
        pod(
            "volumes",
            container("main", _LOOK + STAY, volumeMounts=_MOUNTS),
            volumes=_VOLUMES,
            # As each of the project's pods has it: who writes to a claim owns it by its group.
            securityContext={"runAsUser": UID, "runAsGroup": UID, "fsGroup": UID},
        ),
        pod(
            "not-ready",
            container("main", STAY, readinessProbe={"exec": {"command": ["false"]}, "periodSeconds": 10}),
        ),
        pod(
            "probed",
            container(
                "main",
                STAY,
                startupProbe={"exec": {"command": ["true"]}, "periodSeconds": 10},
                readinessProbe={"exec": {"command": ["true"]}, "periodSeconds": 10},
            ),
        ),
    )
}
"""They are looked at while they run, and then deleted."""

ENDING: Final[dict[str, Object]] = {
    it["metadata"]["name"]: it
    for it in (
        pod("succeeds", container("main", "echo done"), restartPolicy="Never"),
        pod("fails", container("main", "echo bad; exit 3"), restartPolicy="Never"),
        pod(
            "one-of-two-fails",
            container("one", "exit 0"),
            container("two", "exit 4"),
            restartPolicy="Never",
        ),
        pod(
            "init-fails",
            container("main", STAY),
            initContainers=[container("first", "exit 5")],
            restartPolicy="Never",
        ),
        pod("killed", container("main", "kill -KILL $$"), restartPolicy="Never"),
        pod(
            "out-of-memory",
            container(
                "main",
                "exec python3 -c 'b\"x\" * (64 << 20)'",
                **resources(limits={"cpu": "50m", "memory": "24Mi"}),
            ),
            restartPolicy="Never",
        ),
    )
}
"""They are looked at when they have ended."""

RESTARTING: Final[dict[str, Object]] = {
    it["metadata"]["name"]: it
    for it in (
        pod("restarts-on-failure", container("main", "exit 6"), restartPolicy="OnFailure"),
        pod("restarts-always", container("main", "exit 0")),
    )
}
"""They are looked at when they have run twice."""
