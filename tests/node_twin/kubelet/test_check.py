"""What a node would refuse is known on the host, by field, before there is a node."""

import sys
from pathlib import Path

import pytest

from drcio_controller.kube.jsontypes import Json, JsonObject
from node_twin.kubelet.check import refusals
from node_twin.layout import container_environment

from .manifests import container, pod

CLAIM: JsonObject = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
MOUNT: Json = {"name": "data", "mountPath": "/data"}


def refused(manifest: JsonObject) -> str:
    return "\n".join(
        f"{error.message} ({error.hint})" for error in refusals(manifest, base_env=container_environment())
    )


@pytest.mark.parametrize(
    "command", [["sh"], ["/bin/sh"], [sys.executable], ["/data/tool"], ["/run/tool"], ["$(TOOL)"]]
)
def test_program_that_is_here_or_only_the_guest_knows_of_is_taken(command: list[Json]) -> None:
    env: Json = [{"name": "TOOL", "value": "sh"}]
    manifest = pod(container(command=command, env=env, volumeMounts=[MOUNT]), volumes=[CLAIM])
    assert refused(manifest) == ""


@pytest.mark.parametrize("command", [["fiooo"], ["/usr/bin/fiooo"], ["./fiooo"], ["/etc/passwd"], ["/usr"]])
def test_program_that_is_not_on_this_machine_is_refused_by_container(command: list[Json]) -> None:
    text = refused(pod(container(command=["sh"]), initContainers=[container("first", command=command)]))
    assert f"pod api.spec.initContainers[first]: command is {command[0]!r}" in text
    assert "install the program" in text


def test_programs_are_looked_for_on_the_containers_own_path(tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.touch(mode=0o755)
    env: Json = [{"name": "PATH", "value": str(tmp_path)}]
    assert refused(pod(container(command=["tool"], env=env))) == ""
    tool.chmod(0o644)
    assert "command is 'tool'" in refused(pod(container(command=["tool"], env=env)))


@pytest.mark.parametrize(
    ("changes", "spec", "message"),
    [
        ({"command": []}, {}, "has no command"),
        ({"volumeMounts": [MOUNT]}, {}, "names the volume 'data'; expected one of none"),
        ({"workingDir": "/no/such/folder"}, {}, "workingDir is '/no/such/folder'"),
        (
            {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}}]},
            {},
            "ConfigMap 'm' has no key 'k'",
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.nothing"}}}]},
            {},
            "fieldPath is 'spec.nothing'",
        ),
        ({}, {"volumes": [{"name": "m", "configMap": {"name": "absent"}}]}, "no ConfigMap 'absent'"),
        ({}, {"volumes": [{"name": "h", "hostPath": {"path": "/no/such"}}]}, "hostPath /no/such does not"),
        ({}, {"volumes": [{"name": "s", "secret": {"secretName": "s"}}]}, "of a type that the twin has not"),
        ({"resources": {"requests": {"cpu": "lots"}}}, {}, "expected a quantity"),
    ],
)
def test_what_the_node_would_find_is_found_here(
    changes: dict[str, Json], spec: dict[str, Json], message: str
) -> None:
    text = refused(pod(container("main", **{"command": ["sh"], **changes}), **spec))
    assert message in text
    assert "pod api" in text


@pytest.mark.parametrize(
    ("changes", "spec", "path", "meant"),
    [
        ({"volumeMount": [MOUNT]}, {}, "spec.containers[main].volumeMount ", "volumeMounts"),
        ({"comand": ["sh"]}, {}, "spec.containers[main].comand ", "command"),
        ({"resources": {"request": {}}}, {}, "containers[main].resources.request ", "requests"),
        ({"resources": {"limits": {"memroy": "1Gi"}}}, {}, "limits.memroy ", "memory"),
        ({"readinessProbe": {"exec": {"command": ["true"]}, "periodSecond": 1}}, {},
         "Probe.periodSecond ", "periodSeconds"),
        ({}, {"restartpolicy": "Never"}, "spec.restartpolicy ", "restartPolicy"),
        ({}, {"volumes": [{**CLAIM, "persistentVolumeClam": {}}]},
         "volumes[data].persistentVolumeClam ", "persistentVolumeClaim"),
    ],
)  # fmt: skip
def test_mistyped_field_is_refused_with_the_one_that_was_meant(
    changes: dict[str, Json], spec: dict[str, Json], path: str, meant: str
) -> None:
    text = refused(pod(container("main", **{"command": ["sh"], **changes}), **spec))
    assert f"{path}is no field of a Pod" in text
    assert f"did you mean {meant}?" in text


def test_fields_without_use_here_are_let_pass() -> None:
    manifest = pod(
        container(
            command=["sh"],
            livenessProbe={"grpc": {"port": 1}},
            resources={"limits": {"example.com/gpu": 1}},
            imagePullPolicy="Always",
        ),
        tolerations=[{"anything": "at all"}],
    )
    manifest["metadata"] = {"name": "api", "annotations": {"any": "thing"}, "creationTimestamp": None}
    assert refused(manifest) == ""
