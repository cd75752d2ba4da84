"""The volumes' model under a clock of its own, against what EBS's two limits must come to."""

import statistics
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node_twin import volume

DEVICE = Path(volume.__file__).parent / "device"
MAIN = Path(__file__).with_name("simulate.c")
CACHE = Path(__file__).resolve().parents[3] / ".cache" / "twin"
MS = 1_000_000
S = 1_000_000_000
KIB = 1 << 10
MIB = 1 << 20
UNIT = 256 * KIB
INSTANT = "read_us=0,read_p99_us=0,write_us=0,write_p99_us=0,link_mib_s=0"
"""A volume without latency: what is left is the buckets' doing."""


@dataclass(frozen=True)
class Outcome:
    due_ns: dict[int, int]
    """Line of the script -> instant of completion."""
    failed: frozenset[int]
    answers: list[str]


Simulate = Callable[..., Outcome]


@pytest.fixture(scope="session")
def simulate() -> Simulate:
    program = CACHE / "device" / "ebs-simulate"
    command = ["make", "-s", "-C", str(DEVICE), f"OUT={program.parent}", f"MAIN={MAIN}", str(program)]
    subprocess.run(command, check=True)

    def run(script: Sequence[str], *volumes: str) -> Outcome:
        options = [
            word
            for index, volume in enumerate(volumes)
            for word in ("--volume", f"serial=vol{index},size_mib=65536,{volume}")
        ]
        done = subprocess.run(
            [str(program), *options],
            input="".join(f"{line}\n" for line in script),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        rows = [line.split() for line in done.stdout.splitlines()]
        ends = [row for row in rows if row[0] == "due"]
        return Outcome(
            due_ns={int(row[1]): int(row[2]) for row in ends},
            failed=frozenset(int(row[1]) for row in ends if row[3] == "failed"),
            answers=[" ".join(row) for row in rows if row[0] != "due"],
        )

    return run


def admitted_ns(arrivals: Sequence[int], costs: Sequence[float], per_s: float, burst: float) -> list[float]:
    """Return when a token bucket lets each through, by its definition.

    Whatever span of requests is looked at, it never gets more than a full bucket and what flows in meanwhile.
    """
    sums = [0.0, *accumulate(costs)]
    return [
        max(
            float(arrivals[i]),
            *(arrivals[j] + (sums[i + 1] - sums[j] - burst) / per_s * S for j in range(i + 1)),
        )
        for i in range(len(arrivals))
    ]


@given(
    requests=st.lists(
        st.tuples(st.integers(0, 40 * MS), st.integers(1, 1024), st.sampled_from(["read", "write"])),
        min_size=1,
        max_size=60,
    ),
    iops=st.integers(50, 20_000),
    mib_s=st.integers(1, 1000),
    burst_ms=st.integers(0, 200),
)
@settings(max_examples=60, deadline=None)
def test_each_request_is_due_when_both_buckets_had_its_tokens(
    simulate: Simulate,
    requests: list[tuple[int, int, str]],
    iops: int,
    mib_s: int,
    burst_ms: int,
) -> None:
    arrivals = list(accumulate(gap for gap, _, _ in requests))
    sizes = [kib * KIB for _, kib, _ in requests]
    script = [
        f"{at} {op} 0 {(index * 2) * MIB} {size}"  # never one behind another: nothing is merged
        for index, (at, size, (_, _, op)) in enumerate(zip(arrivals, sizes, requests, strict=True))
    ]
    outcome = simulate(script, f"iops={iops},mib_s={mib_s},burst_ms={burst_ms},{INSTANT}")
    units = [-(-size // UNIT) for size in sizes]
    by_count = admitted_ns(arrivals, units, iops, iops * burst_ms / 1000)
    by_bytes = admitted_ns(arrivals, sizes, mib_s * MIB, mib_s * MIB * burst_ms / 1000)
    for index, limits in enumerate(zip(by_count, by_bytes, strict=True)):
        assert outcome.due_ns[index] == pytest.approx(max(limits), abs=2_000)  # 2 us of rounding in 60 sums


@pytest.mark.parametrize(
    ("size", "expected_per_s"),
    [(4 * KIB, 3000), (32 * KIB, 3000), (64 * KIB, 2000), (UNIT, 500), (MIB, 125)],
)
def test_saturated_gp3_gives_the_smaller_of_its_two_limits(
    simulate: Simulate, size: int, expected_per_s: int
) -> None:
    count = 2 * expected_per_s
    outcome = simulate(
        [f"0 read 0 {2 * index * MIB} {size}" for index in range(count)], f"type=gp3,{INSTANT}"
    )
    half_s = (outcome.due_ns[count - 1] - outcome.due_ns[count // 2 - 1]) / S
    assert count / 2 / half_s == pytest.approx(expected_per_s, rel=0.001)


def test_small_sequential_requests_that_wait_together_count_as_one_of_256_kib(simulate: Simulate) -> None:
    # EBS user guide, "I/O characteristics": 8 sequential ones of 32 KiB are one operation, 8 random are 8.
    tight = f"iops=10,mib_s=0,burst_ms=0,{INSTANT}"
    sequential = simulate([f"0 read 0 {index * 32 * KIB} {32 * KIB}" for index in range(16)], tight)
    scattered = simulate([f"0 read 0 {index * 64 * KIB} {32 * KIB}" for index in range(16)], tight)
    assert max(sequential.due_ns.values()) == 2 * S // 10
    assert max(scattered.due_ns.values()) == 16 * S // 10


def test_sequential_requests_one_after_another_are_not_merged(simulate: Simulate) -> None:
    script = [f"{index * S} read 0 {index * 32 * KIB} {32 * KIB}" for index in range(4)]
    outcome = simulate([*script, f"{9 * S} stats"], f"iops=100,{INSTANT}")
    assert "merged=0" in outcome.answers[0]


@pytest.mark.parametrize(("kind", "median_us", "p99_us"), [("gp3", 600, 1600), ("io2", 300, 550)])
def test_latency_has_its_types_median_and_tail(
    simulate: Simulate, kind: str, median_us: int, p99_us: int
) -> None:
    script = [f"{index * 20 * MS} read 0 {index * MIB} 512" for index in range(20_000)]
    due_ns = simulate(script, f"type={kind}").due_ns
    latencies_us = [(due_ns[index] - index * 20 * MS) / 1000 for index in range(len(script))]
    assert statistics.median(latencies_us) == pytest.approx(median_us, rel=0.02)
    assert statistics.quantiles(latencies_us, n=100)[-1] == pytest.approx(p99_us, rel=0.05)


def test_a_seed_repeats_its_latencies_and_another_has_its_own(simulate: Simulate) -> None:
    script = [f"{index * MS} read 0 {index * MIB} 4096" for index in range(200)]
    first, again, other = (simulate(script, f"seed={seed}").due_ns for seed in (7, 7, 8))
    assert first == again
    assert first != other


@pytest.mark.parametrize(("before", "after"), [(100, 1000), (1000, 100)])
def test_a_modified_rate_holds_for_what_already_waits(simulate: Simulate, before: int, after: int) -> None:
    script = [
        *(f"0 read 0 {2 * index * MIB} 4096" for index in range(400)),
        f"{S // 10} modify vol0 iops={after}",
    ]
    outcome = simulate(script, f"iops={before},burst_ms=0,{INSTANT}")
    done_before = before // 10
    assert outcome.due_ns[done_before - 1] <= S // 10
    for waited in (1, 10, 399 - done_before):
        assert outcome.due_ns[done_before - 1 + waited] == pytest.approx(
            S / 10 + waited * S / after, abs=S / after
        )


def test_a_pause_holds_everything_and_the_backlog_then_goes_at_the_volumes_rate(simulate: Simulate) -> None:
    script = [
        f"0 pause vol0 {5000}",
        *(f"{S} read 0 {2 * index * MIB} 4096" for index in range(100)),
    ]
    outcome = simulate(script, f"iops=100,burst_ms=0,{INSTANT}")
    due_ns = sorted(outcome.due_ns.values())
    assert due_ns[0] >= 5 * S
    assert due_ns[-1] == pytest.approx(6 * S, abs=S / 100)


def test_a_pause_without_an_end_lasts_until_resumed(simulate: Simulate) -> None:
    outcome = simulate(["0 pause all", "0 read 0 0 4096", f"{70 * S} resume all"], f"type=gp3,{INSTANT}")
    assert outcome.due_ns[1] == pytest.approx(70 * S, abs=MS)


def test_an_instances_limit_is_shared_by_its_volumes(simulate: Simulate) -> None:
    script = ["0 instance mib_s=100"]
    script += [f"0 read {volume} {2 * index * MIB} {MIB}" for index in range(200) for volume in (0, 1)]
    outcome = simulate(script, f"mib_s=125,{INSTANT}", f"mib_s=125,{INSTANT}")
    assert max(outcome.due_ns.values()) == pytest.approx(4 * S, rel=0.03)  # 400 MiB at 100, less a bucketful


def test_an_idle_volume_does_not_wait_behind_another_ones_own_limit(simulate: Simulate) -> None:
    script = ["0 instance mib_s=100"]
    script += [
        f"0 read 0 {2 * index * MIB} {MIB}" for index in range(100)
    ]  # at 10 MiB/s: ten seconds of queue
    script += [f"{5 * S} read 1 0 4096"]
    outcome = simulate(script, f"mib_s=10,{INSTANT}", f"mib_s=125,{INSTANT}")
    assert outcome.due_ns[101] == pytest.approx(5 * S, abs=MS)


def test_injected_latency_and_errors_strike_the_share_asked_for(simulate: Simulate) -> None:
    script = ["0 modify vol0 added_ms=20 added_pct=25 error_pct=10"]
    script += [f"{(index + 1) * 50 * MS} write 0 {index * MIB} 4096" for index in range(4000)]
    outcome = simulate(script, INSTANT)
    late = sum(due_ns - at * 50 * MS >= 20 * MS for at, due_ns in outcome.due_ns.items())
    assert late / 4000 == pytest.approx(0.25, abs=0.03)
    assert len(outcome.failed) / 4000 == pytest.approx(0.10, abs=0.02)


def test_no_more_errors_than_asked_for(simulate: Simulate) -> None:
    script = ["0 modify vol0 error_pct=100 errors_left=3", *(f"{index} read 0 0 4096" for index in range(9))]
    assert simulate(script, INSTANT).failed == {1, 2, 3}


def test_a_snapshots_block_is_fetched_when_first_touched(simulate: Simulate) -> None:
    script = [
        f"0 read 0 0 {4 * KIB}",  # fetches block 0
        f"{S} read 0 {100 * KIB} {4 * KIB}",  # which is here now
        f"{2 * S} read 0 {512 * KIB} {4 * KIB}",  # block 1 is not
        f"{3 * S} write 0 {1024 * KIB} {512 * KIB}",  # nothing is fetched to be overwritten whole
        f"{4 * S} read 0 {1024 * KIB} {4 * KIB}",
        f"{5 * S} write 0 {1536 * KIB} {4 * KIB}",  # in part it is
    ]
    due_ns = simulate(script, f"snapshot=1,{INSTANT}").due_ns
    waited_ms = [(due_ns[index] - index * S) / MS for index in range(len(script))]
    fetched = [8 <= waited <= 17 for waited in waited_ms]
    assert fetched == [True, False, True, False, False, True]
    assert all(waited < 1 for waited, slow in zip(waited_ms, fetched, strict=True) if not slow)


def test_a_snapshots_blocks_come_at_its_rate(simulate: Simulate) -> None:
    script = [f"0 read 0 {index * 512 * KIB} {4 * KIB}" for index in range(400)]
    due_ns = simulate(script, f"snapshot=1,snapshot_mib_s=50,iops=0,mib_s=0,{INSTANT}").due_ns
    assert max(due_ns.values()) / S == pytest.approx(200 / 50, rel=0.03)


def test_the_rest_of_a_snapshot_comes_by_itself(simulate: Simulate) -> None:
    script = [f"{10 * S} read 0 {offset * MIB} 4096" for offset in (99, 101)]
    due_ns = simulate(script, f"snapshot=1,hydrate_mib_s=10,{INSTANT}").due_ns
    assert due_ns[0] - 10 * S < MS
    assert due_ns[1] - 10 * S >= 8 * MS


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("modify vol0 iops=fast", "iops=fast: expected a number"),
        ("modify vol0 iops=-1", "iops=-1: out of range"),
        ("modify vol0 speed=9", "speed=9: no such setting"),
        ("modify vol0 iops", "iops: expected NAME=VALUE"),
        ("modify vol7 iops=9", "no volume vol7"),
        ("modify", "no volume named"),
        ("pause vol0 -5", "expected a number above 0"),
        ("explode vol0", "no command explode"),
    ],
)
def test_a_command_that_cannot_be_is_refused_with_its_reason(
    simulate: Simulate, command: str, reason: str
) -> None:
    (answer,) = simulate([f"0 {command}"], INSTANT).answers
    assert answer.startswith("error: ")
    assert reason in answer
