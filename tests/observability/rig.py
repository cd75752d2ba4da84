"""A node in small: the real service, batch job and controller, scraped by a real Prometheus.

The controller works on a fake cgroup tree and a Pod API of our own; its two pods are the service and the
batch job, whose I/O a thread pretends there. The rules are the drcio stack's.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import pytest

from components.observability.rules import Owner
from drcio_controller.agent import Agent, Options
from drcio_controller.kube.endpoint import at_url
from drcio_controller.kube.jsontypes import JsonObject
from drcio_controller.kube.pod import QosClass
from drcio_controller.testing.fakenode import FakeNode
from drcio_controller.testing.server import serving
from drcio_controller.testing.store import PodStore, Resource
from experiments.metrics.prometheus import ScrapeTarget
from hp_service import source
from hp_service.prepare import PrepareOptions, prepare
from node_twin.host.vm import free_ports
from tests import waits
from tests.images.hp_service.conftest import quiet, synthetic_reviews, write_wheel

PATIENCE_S = 180.0
"""For what takes ten seconds on an idle machine."""
eventually = partial(waits.eventually, within_s=PATIENCE_S, every_s=0.2)

NAMESPACE, SYSTEM, NODE = "drcio", "drcio-system", "node-1"
HP, LP, AGENT = "hp-gnn-service-0", "lp-batch-0", "drcio-controller-0"
OWNER = Owner(namespace=NAMESPACE, system_namespace=SYSTEM, whole_cluster=False)
CONFIG = "interval_s: 0.25\nclasses:\n  high: {weight: 1000, latency_target: p95<100ms}\n  low: 10\n"


@dataclass(frozen=True)
class Stack:
    """Addresses of what runs, as HOST:PORT."""

    service: str
    batch: str
    agent: str


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Stack]:
    """Run all three for as long as the context lasts."""
    service_port, batch_port = free_ports(2)
    with contextlib.ExitStack() as parts:
        data = _prepared_data(folder / "hp")
        parts.enter_context(_process("hp_service", "serve", "--data", str(data), "--port", str(service_port)))
        (folder / "lp").mkdir()
        job = ["run", "--dir", str(folder / "lp"), "--file-size", "16MiB", "--block-size", "64KiB"]
        slow = ["--num-workers", "2", "--rate", "2", "--metrics-port", str(batch_port)]
        parts.enter_context(_process("lp_batch", *job, *slow))
        agent = parts.enter_context(_controller(service_port))
        addresses = Stack(
            service=f"127.0.0.1:{service_port}",
            batch=f"127.0.0.1:{batch_port}",
            agent=f"127.0.0.1:{agent.port}",
        )
        for address, path in ((addresses.service, "/readyz"), (addresses.batch, "/metrics")):
            eventually(partial(_answers, f"http://{address}{path}"), f"{address}{path} answers")
        parts.enter_context(_requests(f"http://{addresses.service}/score"))
        yield addresses


def scrape_targets(stack: Stack) -> tuple[ScrapeTarget, ...]:
    """Return the targets with the labels that the stack's PodMonitors give them."""

    def target(namespace: str, app: str, pod: str, address: str, **labels: str) -> ScrapeTarget:
        return ScrapeTarget(
            job=f"{namespace}/{app}",
            address=address,
            labels={"namespace": namespace, "pod": pod, "node": NODE, **labels},
            own_labels=app == "drcio-controller",
        )

    return (
        target(NAMESPACE, "hp-gnn-service", HP, stack.service, priority="high"),
        target(NAMESPACE, "lp-batch", LP, stack.batch, priority="low"),
        target(SYSTEM, "drcio-controller", AGENT, stack.agent),
    )


@contextlib.contextmanager
def _process(module: str, *arguments: str) -> Iterator[None]:
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
            assert process.poll() is None, f"{module} ended by itself"
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()


def _prepared_data(folder: Path) -> Path:
    """Prepare the service's data from its own tests' few hundred synthetic reviews."""
    wheel = folder / "cache" / source.WHEEL_NAME
    wheel.parent.mkdir(parents=True)
    write_wheel(wheel, synthetic_reviews())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "WHEEL_SHA256", hashlib.sha256(wheel.read_bytes()).hexdigest())
        options = PrepareOptions(data_dir=folder / "data", cache_dir=wheel.parent, scale=1, seed=7, epochs=2)
        prepare(options, quiet)
    return options.data_dir


@contextlib.contextmanager
def _controller(service_port: int) -> Iterator[Agent]:
    memory = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as temporary,
        serving(PodStore()) as api,
    ):
        folder = Path(temporary)
        node = FakeNode(folder / "node")
        (folder / "state").mkdir()
        config = folder / "config.yaml"
        config.write_text(CONFIG)
        annotations = {"prometheus.io/port": str(service_port)}
        cgroups = [node.add_pod(uid, QosClass.BURSTABLE) for uid in (HP, LP)]
        api.store.create(Resource.PODS, NAMESPACE, _pod(HP, "high", annotations))
        api.store.create(Resource.PODS, NAMESPACE, _pod(LP, "low", {}))
        agent = Agent(
            Options(
                node_name=NODE,
                endpoint=at_url(api.url),
                roots=node.roots,
                state_dir=folder / "state",
                config_path=config,
                listen=("127.0.0.1", 0),
                write=node.write,
            )
        )
        ended = threading.Event()
        threads = [
            threading.Thread(target=agent.run),
            threading.Thread(target=_pretend_io, args=(node, cgroups, ended)),
        ]
        for thread in threads:
            thread.start()
        try:
            eventually(lambda: agent.port is not None, "the controller listens")
            yield agent
        finally:
            ended.set()
            agent.stop()
            for thread in threads:
                thread.join(20)


def _pretend_io(node: FakeNode, cgroups: list[str], ended: threading.Event) -> None:
    high, low = cgroups
    while not ended.wait(0.2):
        node.do_io(high, read_bytes=1 << 18, ios=64, usage_us=20_000)
        node.do_io(low, read_bytes=1 << 24, ios=64, usage_us=150_000)
        node.do_io(low, written_bytes=1 << 23, ios=32)


def _pod(name: str, priority: str, annotations: Mapping[str, str]) -> JsonObject:
    return {
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": name,
            "labels": {"drcio.io/priority": priority},
            "annotations": dict(annotations),
        },
        "spec": {"nodeName": NODE, "containers": [{"name": "main"}]},
        "status": {"phase": "Running", "qosClass": "Burstable", "podIP": "127.0.0.1"},
    }


@contextlib.contextmanager
def _requests(url: str) -> Iterator[None]:
    ended = threading.Event()

    def ask() -> None:
        with httpx.Client(timeout=60) as client:
            while not ended.wait(0.1):
                client.post(url, content=json.dumps({"ids": [0, 1, 2]}))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(60)


def _answers(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(url, timeout=5).is_success
    return False
