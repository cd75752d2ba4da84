"""The node: what is in the store runs, what is deleted goes, and nothing is left at the end."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drcio_controller.kube.jsontypes import JsonObject, object_at, text_at
from drcio_controller.testing.store import PodStore, Resource, StoreError
from node_twin.kubelet import Kubelet, KubeletConfig, admission, running
from tests.node_twin.kubelet.manifests import container, pod, resources
from tests.node_twin.kubelet.pretence import Pretence
from tests.waits import eventually

PODS = Resource.PODS


class Node:
    """A kubelet whose containers only pretend, and its store."""

    def __init__(self, tmp_path: Path) -> None:
        self.cgroups = tmp_path / "cgroup"
        self.cgroups.mkdir()
        self.state = tmp_path / "state"
        self.log = tmp_path / "log"
        self.runtime = Pretence({})
        self.store = PodStore(graceful_deletion=True, admit=admission("n1"))

        async def start_runtime() -> Pretence:
            return self.runtime

        config = KubeletConfig(
            node_name="n1", cgroup_root=self.cgroups, state_dir=self.state, log_dir=self.log, claims={}
        )
        self.kubelet = Kubelet(self.store, config, start_runtime=start_runtime)

    def create(self, name: str, **spec: str) -> JsonObject:
        document = pod(container(), **spec)
        document["metadata"] = {"name": name}
        return self.store.create(PODS, "shop", document)

    def phase(self, name: str) -> str:
        try:
            return text_at(self.store.get(PODS, "shop", name), "status", "phase")
        except StoreError:
            return "gone"

    def until(self, condition: Callable[[], bool]) -> None:
        eventually(condition, "the kubelet has done it", within_s=5, every_s=0.002)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path)
    with running(node.kubelet):
        yield node


def test_pod_in_the_store_runs(node: Node) -> None:
    node.create("a")
    node.until(lambda: node.phase("a") == "Running")


def test_pods_from_before_the_start_run_too(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.create("a")
    with running(node.kubelet):
        node.until(lambda: node.phase("a") == "Running")


def test_pod_of_another_node_is_left_alone(node: Node) -> None:
    node.create("elsewhere", nodeName="n2")
    node.create("here")
    node.until(lambda: node.phase("here") == "Running")
    assert node.phase("elsewhere") == "Pending"


def test_deleted_pod_goes_with_all_it_had(node: Node) -> None:
    node.create("a")
    node.until(lambda: node.phase("a") == "Running")
    node.store.delete(PODS, "shop", "a")
    node.until(lambda: node.phase("a") == "gone")
    node.until(lambda: not any((node.state / "pods").iterdir()))
    assert not list(node.cgroups.glob("kubepods.slice/*/*pod*"))


def test_pod_that_ended_stays_until_it_is_deleted(node: Node) -> None:
    node.runtime.codes["run"] = [0]
    node.create("a", restartPolicy="Never")
    node.until(lambda: node.phase("a") == "Succeeded")
    node.store.delete(PODS, "shop", "a")
    node.until(lambda: node.phase("a") == "gone")


def test_pod_deleted_by_force_is_ended(node: Node) -> None:
    node.create("a")
    node.until(lambda: node.phase("a") == "Running")
    node.store.delete(PODS, "shop", "a", 0)
    node.until(lambda: bool(node.runtime.signals))
    node.until(lambda: not list(node.cgroups.glob("kubepods.slice/*/*pod*")))


def test_name_can_be_used_again(node: Node) -> None:
    first = node.create("a")
    node.until(lambda: node.phase("a") == "Running")
    node.store.delete(PODS, "shop", "a")
    node.until(lambda: node.phase("a") == "gone")
    second = node.create("a")
    node.until(lambda: node.phase("a") == "Running")
    assert text_at(first, "metadata", "uid") != text_at(second, "metadata", "uid")


def test_changed_config_map_reaches_running_pods(node: Node) -> None:
    node.store.create(Resource.CONFIG_MAPS, "shop", {"metadata": {"name": "c"}, "data": {"k": "1"}})
    document = pod(
        container(volumeMounts=[{"name": "v", "mountPath": "/v"}]),
        volumes=[{"name": "v", "configMap": {"name": "c"}}],
    )
    node.store.create(PODS, "shop", document)
    node.until(lambda: bool(node.runtime.launched))
    file = Path(node.runtime.launched[0]["binds"][0]["source"]) / "k"
    assert file.read_text() == "1"
    node.store.patch(Resource.CONFIG_MAPS, "shop", "c", {"data": {"k": "2"}})
    node.until(lambda: file.read_text() == "2")


def test_fault_of_ours_does_not_look_like_a_running_pod(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(node.runtime, "run", fault)
    node.create("a")
    node.until(lambda: node.phase("a") == "Failed")
    status = object_at(node.store.get(PODS, "shop", "a"), "status")
    assert status["reason"] == "KubeletFault"


def test_stopped_kubelet_leaves_nothing(tmp_path: Path) -> None:
    node = Node(tmp_path)
    with running(node.kubelet):
        node.create("a")
        node.until(lambda: node.phase("a") == "Running")
    assert list(node.cgroups.iterdir()) == []
    assert node.runtime.closed


def test_log_is_the_newest_of_the_container(node: Node) -> None:
    folder = node.log / "shop_a_uid" / "main"
    folder.mkdir(parents=True)
    (folder / "0.log").write_text("one\ntwo\nthree\n")
    assert node.kubelet.read_log("shop", "a", "", 2) == b"two\nthree\n"
    (node.log / "shop_a_uid" / "side").mkdir()
    with pytest.raises(StoreError, match="choose one of: main, side"):
        node.kubelet.read_log("shop", "a", "", None)
    with pytest.raises(StoreError, match="no log"):
        node.kubelet.read_log("shop", "b", "", None)


def test_log_without_a_name_is_the_one_containers_and_no_init_containers(node: Node) -> None:
    document = pod(container("main"), initContainers=[container("first")])
    node.store.create(PODS, "shop", document)
    name = document["metadata"]["name"]
    for each in ("first", "main"):
        folder = node.log / f"shop_{name}_uid" / each
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "0.log").write_text(f"{each}\n")
    assert node.kubelet.read_log("shop", name, "", None) == b"main\n"


def test_requests_reach_the_slices_weight(node: Node) -> None:
    weight = node.cgroups / "kubepods.slice/kubepods-burstable.slice/cpu.weight"
    weight.touch()
    node.store.create(PODS, "shop", pod(container(resources=resources({"cpu": "500m"}))))
    node.until(lambda: weight.read_text().startswith("20"))
    weight.unlink()
