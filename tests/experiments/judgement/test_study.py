import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.judgement import series
from experiments.judgement.protection import protection, window_s
from experiments.judgement.results import results_json
from experiments.judgement.study import ratio_of, spread_of, study, study_run
from experiments.judgement.testing import (
    BASELINE_BEHAVIOUR,
    CONTENTION_BEHAVIOUR,
    DEVICE,
    DRCIO_BEHAVIOUR,
    LP_POD,
)
from experiments.judgement.verdict import judge
from experiments.records.record import IoCounters, PodSample, Sample
from tests.experiments.build import build_load, build_records, build_spec

SPEC = build_spec()
RECORDS = build_records()


def samples_of(*values: tuple[float, int | None]) -> list[Sample]:
    """Build samples in which the batch job's pod has read that many bytes (nothing: it is not there)."""
    return [
        Sample(
            t_s=t_s,
            pods={}
            if read is None
            else {LP_POD: PodSample(io={DEVICE: IoCounters(rbytes=read, wbytes=0, rios=0, wios=0)})},
        )
        for t_s, read in values
    ]


LP_BYTES = series.pods_counter([LP_POD], series.pod_bytes)


def test_only_the_measured_window_counts() -> None:
    samples = samples_of((-1, 0), (0, 500), (1, 600), (2, 700), (3, 5000))
    assert series.growth(samples, LP_BYTES, start_s=0, end_s=2).delta == 200


def test_step_across_the_windows_edge_counts_in_proportion() -> None:
    samples = samples_of((-0.5, 0), (0.5, 100), (1.5, 200))
    grown = series.growth(samples, LP_BYTES, start_s=0, end_s=1)
    assert (grown.delta, grown.seconds) == (100, 1)


def test_counter_that_starts_anew_never_counts_backwards() -> None:
    samples = samples_of((0, 1000), (1, 1100), (2, 30), (3, 60))
    assert series.growth(samples, LP_BYTES, start_s=0, end_s=3).delta == 100 + 30 + 30


def test_gap_in_the_samples_is_not_taken_for_idleness() -> None:
    samples = samples_of((0, 0), (1, 100), (2, None), (3, 300), (4, 400))
    grown = series.growth(samples, LP_BYTES, start_s=0, end_s=4)
    assert (grown.delta, grown.seconds, grown.per_s) == (200, 2, 100)


def test_idle_seconds_are_told_from_active_ones() -> None:
    samples = samples_of((0, 0), (1, 100), (2, 100), (3, 100), (4, 200))
    grown = series.growth(samples, LP_BYTES, start_s=0, end_s=4)
    assert (grown.active_seconds, grown.seconds) == (2, 4)


@given(st.lists(st.integers(0, 10**12), min_size=2, max_size=20))
def test_growth_is_never_negative(values: list[int]) -> None:
    samples = samples_of(*((float(index), value) for index, value in enumerate(values)))
    assert series.growth(samples, LP_BYTES, start_s=0, end_s=len(values)).delta >= 0


def test_throughput_is_the_cgroups_own_over_the_window() -> None:
    contention = next(record for record in RECORDS if record.scenario == "contention")
    run = study_run(contention, SPEC.volume)
    assert run.lp.mib_s == pytest.approx(119, rel=1e-6)
    assert run.lp.operations == pytest.approx(119 * 4 * 20, rel=1e-3)
    assert run.health.lp_volume_share == pytest.approx(119 / 125)


def test_scenario_figure_is_the_median_of_its_runs() -> None:
    result = study(RECORDS, SPEC).scenarios["baseline"]
    each = sorted(run.hp.p95_ms for run in result.runs if run.hp.p95_ms is not None)
    assert result.hp.p95_ms == each[1]
    assert (result.hp_spread["p95_ms"].min, result.hp_spread["p95_ms"].max) == (each[0], each[2])


def test_errors_of_all_runs_are_added_up() -> None:
    changes = {"drcio": replace(DRCIO_BEHAVIOUR, failed=2)}
    result = study(build_records(changes=changes), SPEC).scenarios["drcio"]
    assert (result.hp.errors, result.hp.requests) == (6, 900)


def test_half_of_the_runs_lie_within_the_robust_spread() -> None:
    spread = spread_of([10.0, 11.0, 12.0, 13.0, 100.0])
    assert (spread.min, spread.max, spread.mad) == (10.0, 100.0, 1.0)


def test_comparison_sets_medians_against_medians() -> None:
    result = study(RECORDS, SPEC)
    medians = {name: scenario.hp.p95_ms for name, scenario in result.scenarios.items()}
    assert medians["contention"] is not None
    assert medians["baseline"] is not None
    expected = medians["contention"] / medians["baseline"]
    assert result.comparison.contention_p95_ratio == expected
    assert result.comparison.work_conservation == pytest.approx(110 / 119)


def test_paired_ratios_compare_runs_of_one_repeat() -> None:
    paired = study(RECORDS, SPEC).comparison.paired["drcio_p95_ratio"]
    p95_ms = {(record.scenario, record.repeat): record.load.latency.p95_ms or 0 for record in RECORDS}
    assert paired.ratios == tuple(
        p95_ms["drcio", repeat] / p95_ms["baseline", repeat] for repeat in (1, 2, 3)
    )
    assert paired.min <= paired.median <= paired.max


def test_ratio_needs_both_sides() -> None:
    result = study(RECORDS, SPEC).scenarios["baseline"]
    assert ratio_of(None, result, lambda run: run.hp.p95_ms) is None
    assert ratio_of(result, result, lambda run: run.lp.mib_s) is None


def test_order_of_the_records_does_not_matter() -> None:
    assert study(tuple(reversed(RECORDS)), SPEC).comparison == study(RECORDS, SPEC).comparison


def test_isolation_is_full_where_as_many_requests_complete_as_alone() -> None:
    load = build_load(SPEC, BASELINE_BEHAVIOUR, seed=1, noise_seed=1)
    found = protection(load, load, duration_s=SPEC.duration_s)
    assert found is not None
    assert (found.isolation, found.isolation_01) == (1.0, 1.0)
    assert found.lat_imp == pytest.approx(0, abs=0.15)


def test_isolation_falls_with_the_requests_that_complete() -> None:
    base = build_load(SPEC, BASELINE_BEHAVIOUR, seed=1, noise_seed=1)
    run = build_load(SPEC, replace(BASELINE_BEHAVIOUR, achieved_share=0.5), seed=1, noise_seed=1)
    found = protection(run, base, duration_s=SPEC.duration_s)
    assert found is not None
    assert found.isolation == pytest.approx(0.5, abs=0.02)


def test_isolation_falls_when_answers_come_after_the_window() -> None:
    base = build_load(SPEC, BASELINE_BEHAVIOUR, seed=1, noise_seed=1)
    run = build_load(SPEC, replace(BASELINE_BEHAVIOUR, p95_ms=8000), seed=1, noise_seed=1)
    found = protection(run, base, duration_s=SPEC.duration_s)
    assert found is not None
    assert found.isolation_01 < 0.5


def test_latency_impact_is_the_growth_over_alone() -> None:
    base = build_load(SPEC, BASELINE_BEHAVIOUR, seed=1, noise_seed=1)
    run = build_load(SPEC, CONTENTION_BEHAVIOUR, seed=1, noise_seed=1)
    found = protection(run, base, duration_s=SPEC.duration_s)
    assert found is not None
    assert found.lat_imp == pytest.approx(620 / 60 - 1, rel=0.05)


def test_window_holds_enough_requests_at_any_rate() -> None:
    assert (window_s(500), window_s(50), window_s(15), window_s(0)) == (1, 1, 4, 1)


def test_results_have_the_contracts_fields() -> None:
    result = study(RECORDS, SPEC)
    document = json.loads(json.dumps(results_json(result, judge(result))))
    assert document["schema"] == "drcio.results/1"
    assert document["verdict"] == "pass"
    assert isinstance(document["reasons"], list)
    assert set(document["scenarios"]) == {"baseline", "contention", "drcio"}
    for scenario in document["scenarios"].values():
        for figures in (scenario, *scenario["repeats"]):
            assert {"p50_ms", "p95_ms", "p99_ms", "max_ms", "fetch_p50_ms", "fetch_p95_ms", "fetch_p99_ms",
                    "offered_rps", "achieved_rps", "requests", "errors"} <= set(figures["hp"])  # fmt: skip
            assert set(figures["lp"]) == {"mib_s", "ops_s", "operations"}
    assert {"contention_p95_ratio", "drcio_p95_ratio", "contention_fetch_p95_ratio", "drcio_fetch_p95_ratio",
            "isolation", "lat_imp", "work_conservation"} <= set(document["comparison"])  # fmt: skip


def test_results_of_nothing_are_still_a_document() -> None:
    result = study((), SPEC)
    assert json.loads(json.dumps(results_json(result, judge(result))))["verdict"] == "inconclusive"
