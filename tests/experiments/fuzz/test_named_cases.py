"""Cases with a name, on the simulated node: the law under them, against what is wanted of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from drcio_controller.config import Config, Engine
from drcio_controller.kube.pod import QosClass
from drcio_controller.law.drcio import DrcioPolicy
from drcio_controller.law.law import Law
from experiments.fuzz.mix import BASE_S, High, HighKind, Low, Mix
from experiments.fuzz.mix import Engine as Submits
from experiments.fuzz.simulated import BUCKET_S, LINK_BYTES_PER_S, SPREAD, WRITE_BASE_S, Simulated
from experiments.simulator.node import Job

KIB, MIB = 1 << 10, 1 << 20
SERVICE = High(
    kind=HighKind.BURSTY, qos=QosClass.BURSTABLE, block_bytes=4 * KIB, read_percent=100,
    threads=1, burst=24, think_s=0.2, load_ratio=0.04,
)  # fmt: skip


def low(**changes: object) -> Low:
    values: dict[str, object] = {
        "engine": Submits.LIBAIO, "qos": QosClass.BEST_EFFORT, "block_bytes": MIB, "read_percent": 50,
        "sequential": False, "depth": 32,
    }  # fmt: skip
    return Low(**{**values, **changes})  # type: ignore[arg-type]  # a test's shorthand


def mix(*jobs: Low, high: High = SERVICE, iops: int = 3000, mib_s: int = 125) -> Mix:
    return Mix(seed=77, iops=iops, mib_s=mib_s, high=high, low=jobs)


Setup = Callable[[Simulated], None]


def nothing(_simulated: Simulated) -> None:
    return


def run(
    what: Mix,
    *,
    control: bool = True,
    low_runs: bool = True,
    told: bool = True,
    seconds: float = 30.0,
    setup: Setup = nothing,
    from_s: float = 4.0,
) -> tuple[float, float, Simulated]:
    """Return high priority's p95 in milliseconds and low priority's bytes per second."""
    simulated = Simulated(
        what, DrcioPolicy(Config()) if control else None, Engine.IOCOST, low=low_runs, told=told
    )
    setup(simulated)
    simulated.run(from_s)
    before = simulated.done("low")[1]
    simulated.run(from_s + seconds)
    moved = (simulated.done("low")[1] - before) / seconds
    return float(np.percentile(simulated.latencies_ms(from_s), 95)), moved, simulated


def ratios(what: Mix, *, setup: Setup = nothing, **options: object) -> tuple[float, float, float]:
    """Return p95 over alone under the law and without it, and low priority's share."""
    alone, _, _ = run(what, control=False, low_runs=False, setup=setup)
    none, free, _ = run(what, control=False, setup=setup)
    law, moved, _ = run(what, setup=setup, **options)  # type: ignore[arg-type]  # passed on
    return law / alone, none / alone, moved / free


def test_batch_job_that_it_was_built_with() -> None:
    law, none, share = ratios(mix(low()))

    assert law <= 1.5
    assert none > 50
    assert share >= 0.75


def test_threads_that_each_wait_for_256_kib() -> None:
    law, none, share = ratios(
        mix(low(engine=Submits.THREADS, block_bytes=256 * KIB, read_percent=100, depth=32))
    )

    assert law <= 1.5
    assert none > 10
    assert share >= 0.7


def initialising(simulated: Simulated) -> None:
    simulated.node.set_base(
        BASE_S, WRITE_BASE_S, SPREAD, link_bytes_per_s=LINK_BYTES_PER_S, extra_s=0.012, extra_share=1.0
    )


def test_volume_that_initialises_from_a_snapshot_is_slow_and_not_queueing() -> None:
    law, none, share = ratios(mix(low(read_percent=100, depth=1)), setup=initialising)

    assert law <= 1.1 * none
    assert share >= 0.9


def outside(simulated: Simulated) -> None:
    simulated.add_outside(Job(size=MIB, depth=32, start_s=2.0))


def test_bulk_reads_outside_of_pods_yield_to_a_labelled_service() -> None:
    alone, _, _ = run(mix(), control=False)
    none, _, _ = run(mix(), control=False, setup=outside)
    law, _, simulated = run(mix(), setup=outside)

    assert none > 50 * alone
    assert law <= 2 * alone
    assert simulated.done("system")[1] / 34 > 0.5 * 125 * MIB


def changing(simulated: Simulated) -> None:
    sizes = (MIB, 4 * KIB, 64 * KIB)
    for index, size in enumerate(sizes):
        simulated.add(
            f"low{index}",
            QosClass.BEST_EFFORT,
            Job(size=size, depth=32, start_s=2.0 + 10 * index, on_s=10.0, off_s=20.0),
            priority="low",
        )


def test_batch_job_that_changes_its_mix_every_ten_seconds() -> None:
    alone, _, _ = run(mix(), control=False, seconds=60)
    _, free, _ = run(mix(), control=False, setup=changing, seconds=60)
    law, moved, _ = run(mix(), setup=changing, seconds=60)

    assert law <= 1.5 * alone
    assert moved >= 0.6 * free


def test_bursts_with_nobody_beside_them_are_as_without_the_agent() -> None:
    service = High(
        kind=HighKind.BURSTY, qos=QosClass.BURSTABLE, block_bytes=16 * KIB, read_percent=100,
        threads=1, burst=37, think_s=0.3, load_ratio=0.1,
    )  # fmt: skip
    what = mix(high=service, iops=800, mib_s=125)

    without, _, _ = run(what, control=False, from_s=1.0)
    under, _, _ = run(what, from_s=1.0)

    assert under <= 1.1 * without


def test_burst_of_a_hundred_reads() -> None:
    service = High(
        kind=HighKind.BURSTY, qos=QosClass.GUARANTEED, block_bytes=4 * KIB, read_percent=100,
        threads=1, burst=100, think_s=1.0, load_ratio=0.03,
    )  # fmt: skip

    law, _, share = ratios(mix(low(), high=service), from_s=10.0)

    assert law <= 1.5
    assert share >= 0.6  # a burst takes 33 ms of a bucket that holds 50


@pytest.mark.parametrize("seed", range(70, 74))
@pytest.mark.parametrize(("iops", "mib_s"), [(6000, 250), (1500, 60)])
def test_volume_that_nobody_told_about_is_found_by_its_queue(iops: int, mib_s: int, seed: int) -> None:
    what = replace(mix(low(), iops=iops, mib_s=mib_s), seed=seed)
    law, none, share = ratios(what, told=False, from_s=20.0)

    assert law <= 2.5
    assert none > 20
    assert share >= 0.55  # a burst takes 16 ms of the smaller one's bucket


def test_volume_that_is_made_smaller_is_followed() -> None:
    def shrink(simulated: Simulated) -> None:
        simulated.run(10.0)
        simulated.node.set_volume(1500, 60 * MIB, BUCKET_S)

    law, moved, _ = run(mix(low()), setup=shrink, from_s=20.0)
    alone, _, _ = run(mix(), control=False)

    assert law <= 8 * alone
    assert moved >= 0.6 * 60 * MIB


def hiccups(law: Law, seconds: int = 200) -> tuple[float, float]:
    """Return p95 and low priority's bytes per second on a volume that is slow for a second in every ten."""
    steady = replace(SERVICE, kind=HighKind.STEADY, block_bytes=16 * KIB, burst=1, think_s=0.01)
    simulated = Simulated(mix(low(depth=8), high=steady), DrcioPolicy(Config(), law), Engine.IOCOST)
    for second in range(seconds):
        slow = 3 if second % 10 == 9 else 1
        simulated.node.set_base(
            slow * BASE_S, slow * WRITE_BASE_S, SPREAD, link_bytes_per_s=LINK_BYTES_PER_S / slow
        )
        simulated.run(float(second))
    p95 = float(np.percentile(simulated.latencies_ms(4.0), 95))
    moved = simulated.done("low")[1] / seconds
    simulated.close()
    return p95, moved


def test_volume_that_is_slow_now_and_then_costs_low_priority_little() -> None:
    """No bucket is empty then, and whatever is withheld changes nothing."""
    without_p95, without = hiccups(Law(withhold_step=0.0))
    p95, moved = hiccups(Law())

    assert p95 <= 1.1 * without_p95
    assert moved >= 0.8 * without


def test_whole_device_is_low_prioritys_when_high_priority_stops() -> None:
    rare = High(
        kind=HighKind.STEADY, qos=QosClass.BURSTABLE, block_bytes=4 * KIB, read_percent=100,
        threads=1, burst=1, think_s=1000.0, load_ratio=0.02,
    )  # fmt: skip
    simulated = Simulated(mix(low(), high=rare), DrcioPolicy(Config()), Engine.IOCOST)
    simulated.run(8.0)
    before = simulated.done("low")[1]
    simulated.run(18.0)

    assert simulated.decisions[-1][1].state == "open"
    assert (simulated.done("low")[1] - before) / 10 >= 0.97 * 125 * MIB
