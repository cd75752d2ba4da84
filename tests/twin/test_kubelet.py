"""The kubelet in a real guest: what its pods themselves see of their cgroups, mounts and end."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from drcio_controller.kube.jsontypes import Json, JsonObject, objects_at, text_at
from node_twin.errors import TwinError
from node_twin.host.twin import Twin
from node_twin.layout import NODE_NAME
from node_twin.podstatus import phase_of
from tests.node_twin.kubelet.manifests import resources
from tests.twin.pods import eventually

pytestmark = pytest.mark.twin

TIMEOUT_S = 120.0


def shell(name: str, script: str, *, volumes: Sequence[JsonObject] = (), **fields: Json) -> JsonObject:
    """Return a pod that runs a shell script; `fields` are its container's, but for the pod's own."""
    mounts: list[Json] = [
        {"name": text_at(volume, "name"), "mountPath": f"/mnt/deep/{text_at(volume, 'name')}"}
        for volume in volumes
    ]
    spec: JsonObject = {
        key: fields.pop(key) for key in ("terminationGracePeriodSeconds", "initContainers") if key in fields
    }
    container: JsonObject = {
        "name": "main",
        "command": ["sh", "-c", script],
        "volumeMounts": mounts,
        **fields,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"restartPolicy": "Never", "containers": [container], "volumes": list(volumes), **spec},
    }


def phase(twin: Twin, name: str) -> str:
    pod = twin.pod(name)
    return "gone" if pod is None else phase_of(pod)


def seen_by_api(twin: Twin, name: str) -> JsonObject:
    document = twin.pod(name)
    assert document is not None
    return cast(JsonObject, document)


def main_status(twin: Twin, name: str) -> JsonObject:
    return objects_at(seen_by_api(twin, name), "status", "containerStatuses")[0]


def output(twin: Twin, manifest: JsonObject) -> list[str]:
    """Run a pod to its end and return what it printed."""
    name = text_at(manifest, "metadata", "name")
    twin.create_pod(manifest)
    twin.wait_ended(name, timeout_s=TIMEOUT_S)
    lines = twin.log(name).splitlines()
    assert phase(twin, name) == "Succeeded", (twin.pod(name), lines)
    return lines


SHOW = "c=/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup); echo $c; cd $c; cat cpu.weight cpu.max memory.max"


@pytest.mark.parametrize(
    ("name", "parent", "needs", "knobs"),
    [
        ("best", "kubepods-besteffort.slice", resources(), ["1", "max 100000", "max"]),
        ("burst", "kubepods-burstable.slice", resources({"cpu": "500m"}), ["20", "max 100000", "max"]),
        (
            "sure",
            "kubepods.slice",
            resources(None, {"cpu": "250m", "memory": "64Mi"}),
            ["10", "25000 100000", str(64 << 20)],
        ),
    ],
)
def test_container_is_in_its_scope_with_its_knobs(
    twin: Twin, name: str, parent: str, needs: JsonObject, knobs: list[str]
) -> None:
    path, *seen = output(twin, shell(name, SHOW, resources=needs))
    scope, pod, above = (Path(path).name, Path(path).parent.name, Path(path).parents[1].name)
    document = seen_by_api(twin, name)
    uid = text_at(document, "metadata", "uid").replace("-", "_")
    container_id = text_at(main_status(twin, name), "containerID")
    assert above == parent
    assert pod == f"{parent.removesuffix('.slice')}-pod{uid}.slice"
    assert scope == f"cri-{container_id.replace('://', '-')}.scope"
    assert seen == knobs


def test_io_is_delegated_at_every_level(twin: Twin) -> None:
    script = (
        'p=$(cut -d: -f3 /proc/self/cgroup); while [ "$p" != / ]; do p=$(dirname $p);'
        " cat /sys/fs/cgroup$p/cgroup.subtree_control; done"
    )
    levels = output(twin, shell("levels", script))
    assert len(levels) == 4
    assert all({"io", "cpu", "memory", "pids"} <= set(level.split()) for level in levels)


def test_mounts_env_and_root_are_the_containers_own(twin: Twin) -> None:
    twin.put_config_map("settings", {"a.yaml": "one"})
    volumes: list[JsonObject] = [
        {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
        {"name": "settings", "configMap": {"name": "settings"}},
        {"name": "own", "emptyDir": {}},
        {"name": "host", "hostPath": {"path": "/sys/fs/cgroup"}},
    ]
    script = """
        echo $NODE; cat /mnt/deep/settings/a.yaml; echo
        stat -f -c %T /mnt/deep/data; touch /mnt/deep/own/x /private-to-me && echo writable
        touch /sys/fs/cgroup/x 2>/dev/null || echo read-only
        test -w /mnt/deep/host/cgroup.procs && echo host
    """
    env: Json = [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]
    lines = output(twin, shell("mounts", script, volumes=volumes, env=env))
    assert lines == [NODE_NAME, "one", "ext2/ext3", "writable", "read-only", "host"]
    assert output(twin, shell("other", "test -e /private-to-me || echo private")) == ["private"]


def test_config_map_changes_under_a_running_pod(twin: Twin) -> None:
    twin.put_config_map("live", {"v": "one"})
    volume: JsonObject = {"name": "live", "configMap": {"name": "live"}}
    script = 'while [ "$(cat /mnt/deep/live/v)" != two ]; do sleep 0.2; done; echo seen'
    twin.create_pod(shell("live", script, volumes=[volume]))
    twin.wait_ready("live", timeout_s=TIMEOUT_S)
    twin.put_config_map("live", {"v": "two"})
    assert twin.wait_ended("live", timeout_s=TIMEOUT_S) == "Succeeded"


def test_readiness_by_a_command_in_the_container(twin: Twin) -> None:
    probe: Json = {"exec": {"command": ["test", "-e", "/made-late"]}, "periodSeconds": 1}
    twin.create_pod(shell("ready", "sleep 2; touch /made-late; sleep 600", readinessProbe=probe))
    twin.wait_ready("ready", timeout_s=TIMEOUT_S)
    twin.delete_pod("ready")


def test_sigterm_comes_first_and_nothing_is_left(twin: Twin) -> None:
    script = (
        "trap 'echo bye > /mnt/deep/data/last-words; exit 0' TERM; echo armed; while :; do sleep 0.1; done"
    )
    data: JsonObject = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    twin.create_pod(shell("polite", script, volumes=[data]))
    eventually(twin, lambda: "armed" in twin.log("polite"), lambda: twin.log("polite"))
    uid = text_at(seen_by_api(twin, "polite"), "metadata", "uid").replace("-", "_")
    twin.delete_pod("polite")
    check = (
        f"cat /mnt/deep/data/last-words; ls -d /sys/fs/cgroup/kubepods.slice/*/*{uid}* 2>/dev/null | wc -l"
    )
    assert output(twin, shell("after", check, volumes=[data])) == ["bye", "0"]


def test_process_that_ignores_sigterm_and_its_children_are_killed(twin: Twin) -> None:
    script = "trap '' TERM; sleep 601 & while :; do sleep 1; done"
    twin.create_pod(shell("stubborn", script, terminationGracePeriodSeconds=1))
    twin.wait_ready("stubborn", timeout_s=TIMEOUT_S)
    twin.delete_pod("stubborn")
    assert output(twin, shell("census", "ps ax | grep -c 'sleep 60[1]' || true")) == ["0"]


def test_container_that_takes_too_much_memory_is_oom_killed(twin: Twin) -> None:
    greedy = shell("greedy", "tail /dev/zero", resources=resources(None, {"memory": "32Mi"}))
    twin.create_pod(greedy)
    assert twin.wait_ended("greedy", timeout_s=TIMEOUT_S) == "Failed"
    status = main_status(twin, "greedy")
    assert text_at(status, "state", "terminated", "reason") == "OOMKilled"


def test_command_that_is_not_there_says_so(twin: Twin) -> None:
    twin.create_pod(shell("absent", "", command=["/no/such"]))
    assert twin.wait_ended("absent", timeout_s=TIMEOUT_S) == "Failed"
    status = main_status(twin, "absent")
    assert "'/no/such': No such file" in text_at(status, "state", "terminated", "message")


def test_bad_manifest_is_refused_by_the_api(twin: Twin) -> None:
    with pytest.raises(TwinError, match="expected a quantity"):
        twin.create_pod(shell("bad", "", resources=resources({"cpu": "much"})))
