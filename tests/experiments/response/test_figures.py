"""Reaction times and shares, worked out of observations made by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.response.figures import (
    RUN_OF,
    Look,
    Request,
    Targets,
    full_speed_after_s,
    inside_after_s,
    mib_s,
    percentile,
    settled_after_s,
    share_errors,
    targets,
)

MIB = 1 << 20
TARGET = Targets(request_ms=50.0, fetch_ms=10.0)


def requests(latencies_ms: list[float]) -> list[Request]:
    """Return requests ten a second from 100 s on."""
    return [Request(100 + index / 10, latency, latency / 5) for index, latency in enumerate(latencies_ms)]


def inside(sent: list[Request]) -> float | None:
    """Return the figure of the requests, which is that of the fetches here."""
    found = inside_after_s(sent, 100.0, TARGET)
    assert found["request"] == found["fetch"]
    return found["request"]


def looks(rates_mib_s: list[float], pod: str = "lp") -> list[Look]:
    """Return a look each tenth of a second from 0 s on, at a rate for each second."""
    total = 0.0
    found = [Look(0.0, {pod: 0})]
    for second, rate in enumerate(rates_mib_s):
        for tenth in range(1, 11):
            total += rate * MIB / 10
            found.append(Look(second + tenth / 10, {pod: round(total)}))
    return found


def test_never_outside_is_inside_at_once() -> None:
    assert inside(requests([20.0] * 40)) == 0.0


def test_single_late_requests_far_apart_do_not_count() -> None:
    latencies = [20.0] * 60
    latencies[10] = latencies[40] = 500.0
    assert inside(requests(latencies)) == 0.0


def test_back_inside_is_counted_from_the_event() -> None:
    late = [500.0] * 12
    after_s = inside(requests([*late, *[20.0] * 40]))
    # One late request in twenty is still inside, but what was late is not when it got better.
    assert after_s == pytest.approx(1.2)


def test_relapse_counts_to_its_end() -> None:
    latencies = [500.0] * 5 + [20.0] * 30 + [500.0] * 3 + [20.0] * 40
    assert inside(requests(latencies)) == pytest.approx(3.8)


def test_over_a_longer_run_two_late_ones_side_by_side_do_not_count() -> None:
    latencies = [500.0] * 5 + [20.0] * 30 + [500.0] * 2 + [20.0] * 90
    sent = requests(latencies)
    assert inside(sent) == pytest.approx(3.7)
    assert inside_after_s(sent, 100.0, TARGET, run_of=80)["fetch"] == pytest.approx(0.5)
    assert inside_after_s(sent[:60], 100.0, TARGET, run_of=80)["fetch"] is None


def test_not_seen_inside_for_long_enough_is_no_figure() -> None:
    assert inside(requests([500.0] * 20 + [20.0] * (RUN_OF - 1))) is None
    assert inside([]) is None


@given(st.lists(st.sampled_from([10.0, 60.0]), max_size=120))
def test_from_the_figure_on_every_run_is_inside(latencies: list[float]) -> None:
    sent = requests(latencies)
    after_s = inside(sent)
    if after_s is None:
        return
    rest = [one.latency_ms > TARGET.request_ms for one in sent if one.sent_s >= 100.0 + after_s - 1e-9]
    assert len(rest) >= RUN_OF
    assert all(sum(rest[start : start + RUN_OF]) <= 1 for start in range(len(rest)))


def test_throughput_between_two_moments() -> None:
    assert mib_s(looks([10, 30, 30]), "lp", 1.0, 3.0) == pytest.approx(30, rel=0.01)
    assert mib_s(looks([10]), "lp", 5.0, 6.0) is None


def test_full_speed_is_the_first_second_at_it() -> None:
    after_s = full_speed_after_s(looks([50, 50, 125, 125, 125]), "lp", 1.0, 5.0, 125.0)
    assert after_s == pytest.approx(1.0, abs=0.11)
    assert full_speed_after_s(looks([50] * 5), "lp", 0.0, 5.0, 125.0) is None


def test_settled_means_from_then_on() -> None:
    rates = [125.0, 125, 125, 125, 125, 125, 20, 20, 20, *[120.0] * 12]
    after_s = settled_after_s(looks(rates), "lp", 0.0, float(len(rates)), 125.0)
    # Five seconds of which one is slow are fast enough; of which two are slow, are not.
    assert after_s == pytest.approx(8.0, abs=0.5)


def test_never_settled_is_no_figure() -> None:
    assert settled_after_s(looks([20.0] * 20), "lp", 0.0, 20.0, 125.0) is None


def test_shares_against_weights() -> None:
    both = [Look(second, {"a": second * 100 * MIB, "b": second * 10 * MIB}) for second in range(11)]
    errors = share_errors(both, {"a": 1000, "b": 100}, 0.0, 10.0)
    assert errors is not None
    assert errors["a"] == pytest.approx(0.0, abs=0.001)
    equal = share_errors(both, {"a": 100, "b": 100}, 0.0, 10.0)
    assert equal is not None
    assert equal["b"] == pytest.approx(-0.818, abs=0.001)
    assert share_errors(both, {"a": 1, "gone": 1}, 0.0, 10.0) is None


@pytest.mark.parametrize(("share", "expected"), [(0.5, 2.0), (0.95, 4.0), (0.25, 1.0)])
def test_percentile_is_one_of_the_values(share: float, expected: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], share) == expected
    assert percentile([], share) is None


def test_targets_follow_from_the_service_alone() -> None:
    assert targets(requests([20.0] * 20)) == Targets(request_ms=26.0, fetch_ms=8.0)
    assert targets([]) is None


def test_fetch_may_be_inside_while_the_request_is_not() -> None:
    slow = [Request(100 + index / 10, 500.0, 1.0) for index in range(40)]
    assert inside_after_s(slow, 100.0, TARGET) == {"request": None, "fetch": 0.0}
