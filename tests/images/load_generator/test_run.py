import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from load_generator.errors import NotReady
from load_generator.plan import Plan
from load_generator.record import LoadRecord
from load_generator.run import Progress, generate
from load_generator.schedule import Arrivals, request_ids
from tests.images.load_generator.stub import StubService, serving


@pytest.fixture
def stub() -> Iterator[StubService]:
    with serving(StubService()) as running:
        yield running


def plan_for(stub: StubService) -> Plan:
    return Plan(
        url=stub.url, rate_rps=100, duration_s=0.5, arrivals=Arrivals.CONSTANT, timeout_s=2, ready_timeout_s=5
    )


def test_every_planned_request_is_sent_and_answered(stub: StubService) -> None:
    record = generate(replace(plan_for(stub), warmup_s=0.2))
    assert (record.planned, record.sent, record.completed) == (50, 50, 50)
    assert record.errors == {}
    assert record.warmup_sent == 20
    assert record.offered_rps == pytest.approx(100)
    assert record.timings["fetch"].percentile_ms(50) == pytest.approx(12.3, rel=0.001)
    assert set(record.timings) == {"sample", "fetch", "model"}
    assert not record.interrupted


def test_ids_come_from_the_seed(stub: StubService) -> None:
    generate(replace(plan_for(stub), seed=9, ids_max=77))
    assert sorted(stub.received_ids) == sorted(request_ids(50, 9, 77))


def test_a_stalled_service_does_not_slow_the_arrivals(stub: StubService) -> None:
    stub.delay_s = 0.8
    began_s = time.monotonic()
    record = generate(plan_for(stub))
    assert record.sent == record.completed == 50
    assert time.monotonic() - began_s < 3
    latency_p50_ms, lag_p50_ms = record.latency.percentile_ms(50), record.lag.percentile_ms(50)
    assert latency_p50_ms is not None
    assert lag_p50_ms is not None
    assert latency_p50_ms >= 800
    assert lag_p50_ms < 400


def test_latency_counts_from_the_schedule_when_the_generator_itself_is_late(stub: StubService) -> None:
    # The callback runs in the loop: while it sleeps nothing is sent.
    record = generate(replace(plan_for(stub), duration_s=1.5), on_progress=lambda _: time.sleep(0.4))
    lag_ms, latency_ms = record.lag.max_ms, record.latency.max_ms
    assert lag_ms is not None
    assert latency_ms is not None
    assert lag_ms > 300
    assert latency_ms > 300
    assert record.fell_behind


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"status": 503}, "http_503"),
        ({"status": 500}, "http_5xx"),
        ({"status": 422}, "http_4xx"),
        ({"hang_up": True}, "disconnected"),
        ({"delay_s": 5}, "timeout"),
    ],
)
def test_failures_are_counted_by_kind(stub: StubService, changes: dict[str, float], kind: str) -> None:
    for name, value in changes.items():
        setattr(stub, name, value)
    record = generate(replace(plan_for(stub), timeout_s=0.3))
    assert record.errors == {kind: 50}
    assert record.completed == 0
    assert record.timings == {}
    assert sum(interval.errors for interval in record.intervals) == 50


def test_a_service_that_goes_away_gives_connect_errors() -> None:
    with serving(StubService()) as stub:
        plan = replace(plan_for(stub), duration_s=2.0)
        records: list[LoadRecord] = []
        worker = threading.Thread(target=lambda: records.append(generate(plan)))
        worker.start()
        time.sleep(0.8)
    worker.join()
    (record,) = records
    assert record.completed > 0
    assert record.errors["connect"] > 0


def test_waits_for_readiness(stub: StubService) -> None:
    stub.ready = False
    timer = threading.Timer(0.3, setattr, (stub, "ready", True))
    timer.start()
    assert generate(plan_for(stub)).completed == 50
    timer.join()


def test_a_service_that_never_gets_ready_is_an_error(stub: StubService) -> None:
    stub.ready = False
    with pytest.raises(NotReady, match=r"status 503; expected 200 within 0\.2 s") as refused:
        generate(replace(plan_for(stub), ready_timeout_s=0.2))
    assert refused.value.hint
    assert stub.received_ids == []


def test_a_stop_ends_the_run_early_and_keeps_what_was_measured(stub: StubService) -> None:
    stop = threading.Event()
    timer = threading.Timer(0.6, stop.set)
    timer.start()
    began_s = time.monotonic()
    record = generate(replace(plan_for(stub), duration_s=60), stop=stop)
    timer.join()
    assert time.monotonic() - began_s < 3
    assert record.interrupted
    assert 0 < record.completed <= record.sent < record.planned
    assert record.offered_rps == pytest.approx(100, rel=0.3)


def test_requests_in_flight_at_a_stop_are_dropped_and_counted(stub: StubService) -> None:
    stub.delay_s = 30
    stop = threading.Event()
    timer = threading.Timer(0.4, stop.set)
    timer.start()
    record = generate(replace(plan_for(stub), timeout_s=60), stop=stop)
    timer.join()
    assert record.errors == {"dropped": record.sent}


def test_progress_is_reported_about_once_a_second(stub: StubService) -> None:
    reports: list[Progress] = []
    generate(replace(plan_for(stub), duration_s=2.5), on_progress=reports.append)
    load = [report for report in reports if report.phase == "load"]
    assert len(load) == 2
    assert 0 < load[0].sent < load[1].sent
    assert load[0].phase_s == 2.5


def test_waiting_for_the_service_is_reported_and_can_be_stopped(stub: StubService) -> None:
    stub.ready = False
    stop = threading.Event()
    phases: list[str] = []

    def on_progress(progress: Progress) -> None:
        phases.append(progress.phase)
        stop.set()

    record = generate(replace(plan_for(stub), ready_timeout_s=60), on_progress=on_progress, stop=stop)
    assert phases == ["ready"]
    assert record.interrupted
    assert record.sent == 0
