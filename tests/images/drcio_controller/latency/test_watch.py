"""An application's own latency, read out of its Prometheus text."""

from __future__ import annotations

import itertools
import threading
import time
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drcio_controller.config import LatencyTarget
from drcio_controller.kube.pod import QosClass
from drcio_controller.latency.histogram import BOUNDS_LIMIT, parse_histogram, percentile_between
from drcio_controller.latency.scrape import BODY_LIMIT_BYTES
from drcio_controller.latency.watch import ROUND_LIMIT_CPU_S, STALE_AFTER_S, LatencyWatch
from drcio_controller.pods.nodepod import LatencySource, NodePod

METRIC = "request_seconds"


def text(*counts: int, labels: str = 'path="/score"') -> str:
    bounds = ("0.01", "0.1", "1.0", "+Inf")
    lines = [f"# TYPE {METRIC} histogram", f"{METRIC}_sum 3", "request_seconds_bucket_other 1"]
    lines += [
        f'{METRIC}_bucket{{{labels},le="{bound}"}} {count}'
        for bound, count in zip(bounds, counts, strict=True)
    ]
    return "\n".join(lines)


def test_histogram_is_summed_over_its_label_sets() -> None:
    both = text(1, 2, 3, 4) + "\n" + text(10, 20, 30, 40, labels='path="/other"')

    assert parse_histogram(both, METRIC) == {0.01: 11, 0.1: 22, 1.0: 33, float("inf"): 44}


def test_other_metric_is_not_taken_for_it() -> None:
    assert parse_histogram(text(1, 2, 3, 4), "request") == {}


def test_percentile_is_of_what_happened_between_two_looks() -> None:
    before = parse_histogram(text(0, 0, 1000, 1000), METRIC)
    after = parse_histogram(text(0, 100, 1100, 1100), METRIC)

    assert percentile_between(before, after, 50) == pytest.approx(0.01 + 0.09 / 2)


def test_restarted_program_is_counted_from_zero() -> None:
    before = parse_histogram(text(500, 500, 500, 500), METRIC)
    after = parse_histogram(text(0, 10, 10, 10), METRIC)

    assert percentile_between(before, after, 100) == pytest.approx(0.1)


def test_what_is_over_the_last_bound_counts_as_that_bound() -> None:
    assert percentile_between({}, parse_histogram(text(0, 0, 0, 10), METRIC), 95) == 1.0


def test_nothing_observed_has_no_percentile() -> None:
    same = parse_histogram(text(1, 2, 3, 4), METRIC)

    assert percentile_between(same, same, 95) is None


@given(st.text())
def test_any_text_is_survived(body: str) -> None:
    parse_histogram(f"{METRIC}_bucket{body}", METRIC)


@pytest.mark.parametrize(
    "line",
    [
        '{le="0.1"} 7 # {trace_id="0af7651916cd43dd"} 0.054 1520879607.789',
        '{le="0.1",path="a}b"} 7 1520879607789',
        '{path="le=\\"9\\" {x}",le="0.1"}\t7',
        '{path="line\u2028separator\x0b",le="0.1"} 7',
        '{le="1e-1",} 7.0',
    ],
)
def test_what_the_format_allows_beside_bound_and_count_is_not_taken_for_them(line: str) -> None:
    assert parse_histogram(f"{METRIC}_bucket{line}\n", METRIC) == {0.1: 7}


@pytest.mark.parametrize(
    "number", ["NaN", "-1", "-Inf", "+Inf", "1e999", "1_000", "0x10", "\uff15", "1.2.3", ""]
)
def test_count_that_is_no_count_is_skipped(number: str) -> None:
    assert parse_histogram(f'{METRIC}_bucket{{le="1"}} {number}', METRIC) == {}


@pytest.mark.parametrize("bound", ["NaN", "1_000", "\uff11", "0x1", "nan"])
def test_bound_that_is_no_number_is_skipped(bound: str) -> None:
    assert parse_histogram(f'{METRIC}_bucket{{le="{bound}"}} 1', METRIC) == {}


def test_counts_without_an_end_leave_a_percentile_that_is_a_number() -> None:
    huge = "\n".join(
        f'{METRIC}_bucket{{path="{path}",le="{bound}"}} 9.2e18'
        for path in range(400)
        for bound in ("1", "+Inf")
    )
    after = parse_histogram(huge, METRIC)

    assert percentile_between({}, after, 95) == pytest.approx(0.95)
    assert percentile_between(after, after, 95) is None


@pytest.mark.parametrize(
    "line",
    [
        "\n",
        "\U0001f600a\n",
        f'{METRIC}_bucket{{le="1"}} 1\n',
        f'{METRIC}_bucket{{le="1"}}',
        f'{METRIC}_bucket{{le="',
        f"{METRIC}_bucket{{",
        '","',
    ],
)
def test_megabyte_of_anything_is_read_in_little_memory_and_time(line: str) -> None:
    body = line * (BODY_LIMIT_BYTES // len(line.encode()))
    tracemalloc.start()
    began_s = time.process_time()
    parse_histogram(body, METRIC)
    took_s = time.process_time() - began_s
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak_bytes < 4 << 20
    assert took_s < 2.0


def test_text_of_a_million_bounds_is_refused() -> None:
    endless = "\n".join(f'{METRIC}_bucket{{le="{bound}"}} 1' for bound in range(BOUNDS_LIMIT + 1))

    with pytest.raises(ValueError, match="bounds"):
        parse_histogram(endless, METRIC)


def pod_with_target() -> NodePod:
    source = LatencySource(
        target=LatencyTarget(percentile=95, limit_s=0.05), metric=METRIC, url="http://pod/metrics"
    )
    return NodePod(
        uid="a", cgroup_uid="a", namespace="n", name="p", qos=QosClass.BURSTABLE,
        priority="high", weight=1000, latency=source,
    )  # fmt: skip


def test_pod_that_names_a_target_is_asked_and_goes_stale_when_silent() -> None:
    now_s = 0.0
    answers = [text(0, 0, 0, 0), text(100, 100, 100, 100)]
    watch = LatencyWatch(3.0, get=lambda url: answers.pop(0), clock=lambda: now_s)
    pods = {"a": pod_with_target()}
    assert watch.latencies(pods, now_s) == {}
    watch.poll()
    now_s = 1.0
    watch.poll()

    found = watch.latencies(pods, now_s)["a"]

    assert found.measured_s == pytest.approx(0.0095)
    assert found.limit_s == 0.05
    assert watch.latencies(pods, now_s + STALE_AFTER_S) == {}


def test_pod_that_does_not_answer_is_complained_about_once(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(url: str) -> str:
        raise ConnectionRefusedError(url)

    watch = LatencyWatch(3.0, get=refuse, clock=lambda: 0.0)
    watch.latencies({"a": pod_with_target()}, 0.0)
    watch.poll()
    watch.poll()

    assert len(caplog.records) == 1


def test_pod_that_does_not_answer_is_asked_ever_less_often_and_others_are_not_kept_waiting() -> None:
    now_s = 0.0
    asked: list[str] = []

    def slow(url: str) -> str:
        nonlocal now_s
        asked.append(url)
        now_s += 1.0
        raise TimeoutError

    watch = LatencyWatch(3.0, get=slow, clock=lambda: now_s)
    watch.latencies({"a": pod_with_target()}, 0.0)
    while now_s < 300:
        before_s = now_s
        watch.poll()
        now_s = max(now_s, before_s + 1.0)

    assert len(asked) <= 12


def test_slow_answer_earns_a_long_wait() -> None:
    now_s = 0.0
    count = 0

    def slow(url: str) -> str:
        nonlocal now_s, count
        count += 1
        now_s += 0.9
        return text(1, 2, 3, 4)

    watch = LatencyWatch(3.0, get=slow, clock=lambda: now_s)
    watch.latencies({"a": pod_with_target()}, 0.0)
    while now_s < 180:
        watch.poll()
        now_s += 1.0

    assert count <= 11


def asked_beside_a_hundred(answer_s: float, until_s: float, *, ends: bool) -> list[float]:
    """Return when a quick pod was asked, beside a hundred whose answers take long, or never end."""
    now_s = 0.0
    honest: list[float] = []

    def get(url: str) -> str:
        nonlocal now_s
        if url == "http://pod/metrics":
            honest.append(now_s)
            now_s += 0.01
            return text(1, 2, 3, 4)
        now_s += answer_s
        if not ends:
            raise TimeoutError
        return text(1, 2, 3, 4)

    watch = LatencyWatch(3.0, get=get, clock=lambda: now_s)
    watch.latencies(many("slow", 100) | {"a": pod_with_target()}, 0.0)
    while now_s < until_s:
        watch.poll()
        now_s += 1.0
    return honest


def many(name: str, count: int) -> dict[str, NodePod]:
    pod = pod_with_target()
    assert pod.latency is not None
    return {
        str(index): replace(pod, uid=str(index), latency=replace(pod.latency, url=f"http://{name}-{index}/"))
        for index in range(count)
    }


def test_hundred_pods_that_never_end_their_answer_keep_nobody_else_waiting() -> None:
    honest = asked_beside_a_hundred(1.0, 300, ends=False)

    assert max(later - earlier for earlier, later in itertools.pairwise(honest[1:])) < STALE_AFTER_S


def test_pods_that_answer_as_slowly_as_they_may_keep_a_quick_one_waiting_for_no_long() -> None:
    """Each is well within its share of the time, and together they would fill every round."""
    honest = asked_beside_a_hundred(0.06, 120, ends=True)

    assert honest[0] < 30
    assert max(later - earlier for earlier, later in itertools.pairwise(honest)) < STALE_AFTER_S


def test_pods_with_a_megabyte_to_read_take_a_part_of_the_threads_time() -> None:
    heavy = f'{METRIC}_bucket{{le="1"}} 1\n' * (BODY_LIMIT_BYTES // 33)
    pods = many("heavy", 40)
    watch = LatencyWatch(3.0, get=lambda url: heavy, clock=lambda: 0.0)
    watch.latencies(pods, 0.0)
    began_s = time.thread_time()
    watch.poll()

    assert time.thread_time() - began_s < 3 * ROUND_LIMIT_CPU_S


def test_answer_that_breaks_the_reader_ends_nobody_elses_asking(caplog: pytest.LogCaptureFixture) -> None:
    asked = threading.Event()
    failed = threading.Event()

    def get(url: str) -> str:
        if not failed.is_set():
            failed.set()
            raise RuntimeError("a fault of this program's own")
        asked.set()
        return text(1, 2, 3, 4)

    watch = LatencyWatch(3.0, get=get)
    watch.latencies({"a": pod_with_target()}, 0.0)
    watch.start()
    try:
        assert asked.wait(10)
    finally:
        watch.stop()
    assert "latency_poll_failed" in caplog.text
