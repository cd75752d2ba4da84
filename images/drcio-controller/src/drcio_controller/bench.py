"""Measure what the agent costs: CPU share, memory, the time of a tick, on a made-up cgroup tree.

The tree is plain files on a tmpfs. Reading a real cgroup file costs the kernel a little more; the
node twin's records hold the agent's own CPU use on a real one.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from drcio_controller.agent import STATUS_INTERVAL_S
from drcio_controller.config import Config
from drcio_controller.knobs.journal import Journal
from drcio_controller.knobs.writers import Knobs
from drcio_controller.kube.pod import Pod, QosClass
from drcio_controller.loop import Controller
from drcio_controller.testing.fakenode import FakeNode

CPU_BUDGET_PERCENT: Final = 1.0
MEMORY_BUDGET_MIB: Final = 50.0
LARGE_TICK_BUDGET_MS: Final = 50.0
LARGE_CGROUPS: Final = 1000

_QOS: Final = (QosClass.GUARANTEED, QosClass.BURSTABLE, QosClass.BEST_EFFORT)
_CLASSES: Final = ("high", "medium", "low")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured."""

    pods: int
    interval_s: float
    cpu_percent: float
    """Of one core, by the process's own CPU time in ticks."""
    rss_mib: float
    """With every module of the running agent loaded."""
    tick_ms: float
    """Median."""
    large_cgroups: int
    large_tick_cpu_ms: float
    """CPU time, as the wall's would depend on what else the machine was doing."""


def measure(*, pods: int, seconds: float, large: int = LARGE_CGROUPS) -> Figures:
    """Run the loop over a tree of `pods`, then a few ticks over a large one."""
    config = Config()
    cpu_s, ticks_ms = _run(pods, config, max(2, round(seconds / config.interval_s)))
    rss_mib = _rss_mib()
    large_s, _ = _run(large, config, 7)
    return Figures(
        pods=pods,
        interval_s=config.interval_s,
        cpu_percent=100 * statistics.mean(cpu_s) / config.interval_s,
        rss_mib=rss_mib,
        tick_ms=statistics.median(ticks_ms),
        large_cgroups=large,
        large_tick_cpu_ms=1000 * statistics.median(large_s),
    )


def render(figures: Figures) -> str:
    """Return the figures for people, each beside its budget."""
    return "\n".join(
        (
            f"{figures.pods} pods, a tick every {figures.interval_s:g} s:"
            f" {figures.cpu_percent:.2f}% of one core (budget {CPU_BUDGET_PERCENT:g}%),"
            f" {figures.tick_ms:.2f} ms a tick",
            f"resident memory: {figures.rss_mib:.1f} MiB (budget {MEMORY_BUDGET_MIB:g} MiB)",
            f"{figures.large_cgroups} cgroups: {figures.large_tick_cpu_ms:.1f} ms of CPU a tick"
            f" (budget {LARGE_TICK_BUDGET_MS:g} ms)",
        )
    )


def to_json(figures: Figures) -> str:
    """Return the figures for machines."""
    return json.dumps(asdict(figures), indent=2)


def exit_status(figures: Figures) -> int:
    """Return 1 if a budget is exceeded."""
    within = (
        figures.cpu_percent <= CPU_BUDGET_PERCENT,
        figures.rss_mib <= MEMORY_BUDGET_MIB,
        figures.large_tick_cpu_ms <= LARGE_TICK_BUDGET_MS,
    )
    return int(not all(within))


def _run(count: int, config: Config, ticks: int) -> tuple[list[float], list[float]]:
    with tempfile.TemporaryDirectory(dir=_fast_folder()) as folder:
        node = FakeNode(Path(folder) / "node")
        pods = {}
        cgroups = []
        for index in range(count):
            qos = _QOS[index % 3]
            uid = f"{index:08d}-0000-4000-8000-000000000000"
            cgroups.append(node.add_pod(uid, qos))
            pods[uid] = _pod(uid, qos, _CLASSES[index // 3 % 3])
        knobs = Knobs(node.roots, Journal(None), write=node.write)
        controller = Controller(node_name="bench", roots=node.roots, knobs=knobs, config=config)
        controller.set_pods(pods)
        now_s = 0.0
        for _ in range(3):
            _let_work(node, cgroups)
            controller.tick(now_s)
            now_s += config.interval_s
        cpu_s, wall_ms = [], []
        status_every = max(1, round(STATUS_INTERVAL_S / config.interval_s))
        for index in range(ticks):
            _let_work(node, cgroups)
            cpu_before_s, before_s = time.process_time(), time.perf_counter()
            controller.tick(now_s)
            if index % status_every == 0:
                controller.status(now_s, synced=True, config_error="")
            cpu_s.append(time.process_time() - cpu_before_s)
            wall_ms.append(1000 * (time.perf_counter() - before_s))
            now_s += config.interval_s
        controller.close()
        return cpu_s, wall_ms


def _let_work(node: FakeNode, cgroups: Sequence[str]) -> None:
    """Let every pod do I/O, so that no file reads as it did a tick ago."""
    for cgroup in cgroups:
        node.do_io(cgroup, read_bytes=4096, usage_us=10)


def _pod(uid: str, qos: QosClass, priority: str) -> Pod:
    return Pod(
        uid=uid,
        namespace="bench",
        name=f"pod-{uid[:8]}",
        labels={"drcio.io/priority": priority},
        annotations={},
        qos_class=qos,
        phase="Running",
        pod_ip="",
        container_ids=(),
    )


def _fast_folder() -> Path | None:
    """Return a tmpfs, as cgroup files never touch a disk either."""
    memory = Path("/dev/shm")  # noqa: S108 - a fresh folder with a random name is made in it
    return memory if memory.is_dir() else None


def _rss_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20
