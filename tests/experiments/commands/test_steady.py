"""Figures of a busy host against those of an idle one."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.commands.steady import Steadiness, busy_host, same_runs, steadiness
from experiments.judgement.testing import behaviour_of
from experiments.records.record import RunRecord
from experiments.records.spec import BASELINE, scenario
from tests.experiments.build import build_run, build_spec

SPEC = build_spec(repeats=3)


def figure(*undisturbed_ms: float, busy_ms: float) -> Steadiness:
    return Steadiness(scenario=BASELINE, name="request p95", undisturbed_ms=undisturbed_ms, busy_ms=busy_ms)


@pytest.mark.parametrize(
    ("undisturbed_ms", "busy_ms", "steady"),
    [
        ((10.0, 10.0, 10.0), 10.4, True),
        ((10.0, 10.0, 10.0), 9.6, True),
        ((10.0, 10.0, 10.0), 10.6, False),
        ((10.0, 11.0, 10.0), 10.9, True),
        ((10.0, 11.0, 10.0), 12.0, False),
    ],
)
def test_change_within_the_bound_or_the_runs_own_spread_is_steady(
    undisturbed_ms: tuple[float, ...], busy_ms: float, steady: bool
) -> None:
    assert figure(*undisturbed_ms, busy_ms=busy_ms).steady is steady


def test_one_repeat_more_than_asked_for_and_the_same_requests_in_all() -> None:
    planned = same_runs(SPEC)
    assert {run.repeat for run in planned} == {1, 2, 3, 4}
    assert {run.load_seed for run in planned} == {SPEC.seed}


def test_every_percentile_of_every_scenario_is_compared() -> None:
    def made(repeat: int, p95_ms: float) -> RunRecord:
        spec = replace(SPEC, scenarios=(scenario(BASELINE),))
        (planned,) = [run for run in same_runs(spec) if run.repeat == repeat]
        return build_run(SPEC, planned, replace(behaviour_of(planned.scenario), p95_ms=p95_ms))

    records = [made(1, 60.0), made(2, 60.0), made(3, 60.0), made(4, 90.0)]
    found = {one.name: one for one in steadiness(records, busy_repeat=4)}
    assert set(found) == {f"{part} {name}" for part in ("request", "fetch") for name in ("p50", "p95", "p99")}
    assert not found["request p95"].steady
    assert len(found["request p95"].undisturbed_ms) == 3


def test_busy_host_is_busy_on_every_cpu_and_leaves_no_process_behind() -> None:
    with busy_host() as pids:
        assert len(pids) == len(os.sched_getaffinity(0))
        assert all(Path(f"/proc/{pid}").exists() for pid in pids)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
