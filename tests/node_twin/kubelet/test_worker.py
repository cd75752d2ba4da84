"""A pod's life with a runtime that only pretends: order, restarts, the end."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from drcio_controller.kube.jsontypes import Json, JsonObject, objects_at, text_at
from drcio_controller.kube.pod import parse_pod
from node_twin.kubelet.cgroups import CgroupTree
from node_twin.kubelet.config import KubeletConfig
from node_twin.kubelet.manifest import parse_manifest
from node_twin.kubelet.qos import qos_class
from node_twin.kubelet.restarts import CrashLoopBackOff
from node_twin.kubelet.worker import PodWorker
from tests.node_twin.kubelet.manifests import container, pod
from tests.node_twin.kubelet.pretence import Pretence


class Life:
    """A worker, its runtime, and every status it published."""

    def __init__(self, tmp_path: Path, document: JsonObject, codes: dict[str, list[int]]) -> None:
        self.tmp_path = tmp_path
        self.document = document
        self.runtime = Pretence(codes)
        self.statuses: list[JsonObject] = []
        manifest = parse_manifest(document)
        tree = CgroupTree(tmp_path / "cgroup")
        (tmp_path / "cgroup/kubepods.slice/kubepods-besteffort.slice").mkdir(parents=True)
        self.worker = PodWorker(
            manifest,
            qos_class(manifest),
            config=KubeletConfig(
                node_name="n1",
                state_dir=tmp_path / "state",
                log_dir=tmp_path / "log",
                claims={"data": tmp_path},
                image_dirs=(Path("/tmp/checkout"), Path("/usr/lib/python3")),
                crash_loop=CrashLoopBackOff(initial_s=0.01),
            ),
            runtime=self.runtime,
            tree=tree,
            read_config_map=lambda _: None,
            publish=self.statuses.append,
        )

    @property
    def phases(self) -> list[str]:
        """Return the phases gone through, without repetitions."""
        phases = [text_at(status, "phase") for status in self.statuses]
        return [p for n, p in enumerate(phases) if n == 0 or phases[n - 1] != p]

    @property
    def container_status(self) -> JsonObject:
        return objects_at(self.statuses[-1], "containerStatuses")[0]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0.001)

    def runs(self, meanwhile: Callable[[], Awaitable[None]] | None = None) -> None:
        async def main() -> None:
            task = asyncio.create_task(self.worker.run())
            if meanwhile is not None:
                await meanwhile()
            await asyncio.wait_for(task, 5)

        asyncio.run(main())

    def slices_left(self) -> list[Path]:
        return list((self.tmp_path / "cgroup/kubepods.slice/kubepods-besteffort.slice").iterdir())


def life(
    tmp_path: Path, codes: dict[str, list[int]], *containers: JsonObject, **spec: str | list[JsonObject]
) -> Life:
    async def make() -> Life:
        return Life(tmp_path, pod(*containers, **spec), codes)  # type: ignore[arg-type]  # lists are invariant

    return asyncio.run(make())


def test_pod_that_does_its_work_succeeds_and_leaves_nothing(tmp_path: Path) -> None:
    one = life(tmp_path, {"run": [0]}, restartPolicy="Never")
    one.runs()
    assert one.phases == ["Pending", "Running", "Succeeded"]
    assert one.slices_left() == []


def test_init_containers_come_first_and_in_order(tmp_path: Path) -> None:
    init = [container("i1", command=["first"]), container("i2", command=["second"])]
    one = life(
        tmp_path, {"first": [0], "second": [0], "run": [0]}, restartPolicy="Never", initContainers=init
    )
    one.runs()
    assert one.runtime.names == ["first", "second", "run"]


def test_volume_does_not_hide_what_stands_for_the_image(tmp_path: Path) -> None:
    mounts: list[Json] = [{"name": "scratch", "mountPath": "/tmp"}]
    volumes: list[Json] = [{"name": "scratch", "emptyDir": {}}]
    one = Life(
        tmp_path,
        pod(container(volumeMounts=mounts), restartPolicy="Never", volumes=volumes),
        {"run": [0]},
    )
    one.runs()
    (launch,) = one.runtime.launched
    assert [bind["target"] for bind in launch["binds"]] == ["/tmp", "/tmp/checkout"]


def test_failed_init_container_fails_a_pod_that_never_restarts(tmp_path: Path) -> None:
    one = life(
        tmp_path, {"first": [2]}, restartPolicy="Never", initContainers=[container("i", command=["first"])]
    )
    one.runs()
    assert one.phases[-1] == "Failed"
    assert one.runtime.names == ["first"]


def test_failures_are_tried_again_each_in_a_new_scope(tmp_path: Path) -> None:
    one = life(tmp_path, {"run": [1, 1, 0]}, restartPolicy="OnFailure")
    one.runs()
    assert one.phases[-1] == "Succeeded"
    assert one.container_status["restartCount"] == 2
    assert len({launch["cgroup"] for launch in one.runtime.launched}) == 3


def test_command_that_is_not_there_is_a_start_error(tmp_path: Path) -> None:
    one = life(tmp_path, {}, container(command=["missing"]), restartPolicy="Never")
    one.runs()
    assert one.phases[-1] == "Failed"
    terminated = one.container_status["state"]
    assert isinstance(terminated, dict)
    assert text_at(terminated, "terminated", "reason") == "StartError"
    assert "No such file" in text_at(terminated, "terminated", "message")


def test_stop_is_a_sigterm_first(tmp_path: Path) -> None:
    one = life(tmp_path, {})

    async def meanwhile() -> None:
        await one.until(lambda: one.phases[-1:] == ["Running"])
        one.worker.stop(5)

    one.runs(meanwhile)
    assert one.runtime.signals == [signal.SIGTERM]
    assert one.slices_left() == []


def test_stop_while_backing_off_does_not_start_it_again(tmp_path: Path) -> None:
    one = life(tmp_path, {"run": [1] * 50})

    async def meanwhile() -> None:
        await one.until(lambda: len(one.runtime.launched) >= 3)
        one.worker.stop(5)

    one.runs(meanwhile)
    assert len(one.runtime.launched) <= 5


def test_missing_config_map_fails_the_pod_with_the_reason(tmp_path: Path) -> None:
    one = life(tmp_path, {}, volumes=[{"name": "c", "configMap": {"name": "none"}}])
    one.runs()
    assert one.phases[-1] == "Failed"
    assert "no ConfigMap 'none'" in text_at(one.statuses[-1], "message")


def test_ready_follows_the_probe(tmp_path: Path) -> None:
    probed = container(readinessProbe={"exec": {"command": ["true"]}, "periodSeconds": 1})
    one = life(tmp_path, {}, probed)

    async def meanwhile() -> None:
        await one.until(lambda: bool(one.statuses) and one.container_status["ready"] is True)
        one.worker.stop(0)

    one.runs(meanwhile)
    assert objects_at(one.statuses[1], "containerStatuses")[0]["ready"] is False


def test_startup_probe_that_gives_up_restarts_the_container(tmp_path: Path) -> None:
    probed = container(startupProbe={"exec": {"command": ["false"]}, "failureThreshold": 1})
    one = life(tmp_path, {}, probed)
    one.runtime.probe_code = 1

    async def meanwhile() -> None:
        await one.until(lambda: len(one.runtime.launched) >= 2)
        one.worker.stop(0)

    one.runs(meanwhile)
    assert one.runtime.signals[0] == signal.SIGTERM


@pytest.mark.parametrize("codes", [[0], [1]])
def test_every_status_is_one_that_the_controller_reads(tmp_path: Path, codes: list[int]) -> None:
    one = life(tmp_path, {"run": codes}, restartPolicy="Never")
    one.runs()
    for status in one.statuses:
        parse_pod({**one.document, "status": status})
