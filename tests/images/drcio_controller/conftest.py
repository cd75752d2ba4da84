"""Pods and a fake node, as most of these tests need them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from drcio_controller.kube.pod import Pod, QosClass
from drcio_controller.testing.fakenode import FakeNode
from tests.images.drcio_controller.rig import Rig, running

# A property's example takes as long as the machine is busy; what it costs is the bench's matter.
settings.register_profile("shared-machine", deadline=None)
settings.load_profile("shared-machine")

MakePod = Callable[..., Pod]


@pytest.fixture
def fast_folder() -> Iterator[Path]:
    """Return an empty folder in memory: a fake node is thousands of small files."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture
def node(fast_folder: Path) -> FakeNode:
    return FakeNode(fast_folder / "node")


@pytest.fixture
def rig(node: FakeNode, fast_folder: Path) -> Iterator[Rig]:
    """Return an agent that runs on the node, and end it; a file that needs another has its own."""
    with running(node, fast_folder) as made:
        yield made


@pytest.fixture
def make_pod() -> MakePod:
    def make(
        uid: str,
        priority: str | None = None,
        qos: QosClass = QosClass.BURSTABLE,
        *,
        phase: str = "Running",
        pod_ip: str = "",
        host_ip: str = "192.0.2.1",
        host_network: bool = False,
        ports: tuple[int, ...] = (80, 8080),
        **annotations: str,
    ) -> Pod:
        return Pod(
            uid=uid,
            namespace="shop",
            name=f"pod-{uid}",
            labels={} if priority is None else {"drcio.io/priority": priority},
            annotations=annotations,
            qos_class=qos,
            phase=phase,
            pod_ip=pod_ip,
            container_ids=(),
            host_ips=(host_ip,),
            host_network=host_network,
            ports=frozenset(ports),
        )

    return make
