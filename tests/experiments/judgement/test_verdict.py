"""Each verdict, and each reason for one, has a record that produces it."""

from dataclasses import replace

import pytest

from experiments.judgement.study import study
from experiments.judgement.testing import BASELINE_BEHAVIOUR, CONTENTION_BEHAVIOUR, DRCIO_BEHAVIOUR, Behaviour
from experiments.judgement.thresholds import Thresholds
from experiments.judgement.verdict import EXIT_CODES, Verdict, headline, judge
from experiments.records.record import RunRecord
from experiments.records.spec import Spec, scenario, scenarios
from tests.experiments.build import OTHER_DEVICE, build_records, build_spec, with_environment

SPEC = build_spec()


def judged(
    records: tuple[RunRecord, ...], spec: Spec = SPEC, thresholds: Thresholds | None = None
) -> Verdict:
    return judge(study(records, spec), thresholds)


def codes(verdict: Verdict) -> set[str]:
    return {reason.code for reason in verdict.reasons}


def test_healthy_runs_pass_and_say_what_held() -> None:
    verdict = judged(build_records())
    assert verdict.outcome == "pass"
    assert verdict.exit_code == 0
    assert all(item.met for item in verdict.criteria)
    assert any("at most 1.3" in text for text in verdict.texts)


CASES: list[tuple[str, str, str, Behaviour]] = [
    # what is changed, expected outcome and code, scenario, behaviour
    ("invalid", "lp-absent", "contention", replace(CONTENTION_BEHAVIOUR, lp_pod=False, lp_mib_s=0)),
    ("invalid", "lp-absent", "drcio", replace(DRCIO_BEHAVIOUR, lp_pod=False, lp_mib_s=0)),
    ("invalid", "lp-idle", "contention", replace(CONTENTION_BEHAVIOUR, lp_mib_s=0)),
    ("invalid", "lp-idle", "drcio", replace(DRCIO_BEHAVIOUR, lp_mib_s=0)),
    ("invalid", "lp-too-light", "contention", replace(CONTENTION_BEHAVIOUR, lp_mib_s=20)),
    ("invalid", "lp-other-device", "contention", replace(CONTENTION_BEHAVIOUR, lp_device=OTHER_DEVICE)),
    ("invalid", "lp-other-device", "drcio", replace(DRCIO_BEHAVIOUR, lp_device=OTHER_DEVICE)),
    ("invalid", "lp-inactive", "contention", replace(CONTENTION_BEHAVIOUR, lp_stops_at_s=8)),
    ("invalid", "lp-inactive", "drcio", replace(DRCIO_BEHAVIOUR, lp_stops_at_s=8)),
    ("invalid", "lp-restarted", "contention", replace(CONTENTION_BEHAVIOUR, lp_restarts=1)),
    ("invalid", "baseline-not-alone", "baseline", replace(BASELINE_BEHAVIOUR, lp_pod=True, lp_mib_s=9)),
    ("invalid", "hp-overloaded-alone", "baseline", replace(BASELINE_BEHAVIOUR, achieved_share=0.7)),
    ("invalid", "generator-fell-behind", "contention", replace(CONTENTION_BEHAVIOUR, fell_behind=True)),
    ("invalid", "sent-too-little", "drcio", replace(DRCIO_BEHAVIOUR, offered_share=0.8)),
    ("invalid", "requests-failed", "baseline", replace(BASELINE_BEHAVIOUR, failed=1)),
    ("invalid", "requests-failed", "contention", replace(CONTENTION_BEHAVIOUR, failed=1)),
    ("fail", "requests-failed", "drcio", replace(DRCIO_BEHAVIOUR, failed=1)),
    ("invalid", "hp-cpu-starved", "contention", replace(CONTENTION_BEHAVIOUR, hp_cpu_wait_share=0.6)),
    ("invalid", "hp-cpu-starved", "drcio", replace(DRCIO_BEHAVIOUR, hp_cpu_wait_share=0.4)),
    ("invalid", "hp-cpu-throttled", "contention", replace(CONTENTION_BEHAVIOUR, hp_throttled_share=0.2)),
    ("invalid", "hp-restarted", "drcio", replace(DRCIO_BEHAVIOUR, hp_restarts=1)),
    ("invalid", "hp-idle-on-volume", "contention", replace(CONTENTION_BEHAVIOUR, hp_reads=False)),
    ("invalid", "not-sampled", "drcio", replace(DRCIO_BEHAVIOUR, sampled_until_share=0.5)),
    ("invalid", "controller-absent", "drcio", replace(DRCIO_BEHAVIOUR, controller_state=None)),
    ("invalid", "slow-but-not-by-the-disk", "contention", replace(CONTENTION_BEHAVIOUR, fetch_p95_ms=6)),
    ("fail", "control-inert", "drcio", replace(DRCIO_BEHAVIOUR, iocost=False)),
    ("fail", "control-inert", "drcio", replace(DRCIO_BEHAVIOUR, controller_effect="inert")),
    ("fail", "weights-do-not-favour-hp", "drcio", replace(DRCIO_BEHAVIOUR, hp_weight=100, lp_weight=100)),
    ("fail", "drcio_p95_ratio", "drcio", replace(DRCIO_BEHAVIOUR, p95_ms=120)),
    ("fail", "drcio_fetch_p95_ratio", "drcio", replace(DRCIO_BEHAVIOUR, fetch_p95_ms=40)),
    ("fail", "work_conservation", "drcio", replace(DRCIO_BEHAVIOUR, lp_mib_s=60)),
    ("inconclusive", "contention_p95_ratio", "contention", replace(CONTENTION_BEHAVIOUR, p95_ms=90)),
    ("inconclusive", "interrupted", "drcio", replace(DRCIO_BEHAVIOUR, interrupted=True)),
    ("inconclusive", "drcio_fetch_p95_ratio", "drcio", replace(DRCIO_BEHAVIOUR, fetch_p95_ms=None)),
]


@pytest.mark.parametrize(
    ("outcome", "code", "scenario", "behaviour"),
    CASES,
    ids=[f"{code}-in-{scenario}-{index}" for index, (_, code, scenario, _) in enumerate(CASES)],
)
def test_fault_gives_its_verdict_and_its_reason(
    outcome: str, code: str, scenario: str, behaviour: Behaviour
) -> None:
    verdict = judged(build_records(changes={scenario: behaviour}))
    assert verdict.outcome == outcome, verdict.texts
    assert code in codes(verdict), verdict.texts
    assert verdict.exit_code == EXIT_CODES[verdict.outcome] != 0


def test_figure_that_just_misses_is_not_rounded_onto_its_limit() -> None:
    verdict = judged(build_records(changes={"drcio": replace(DRCIO_BEHAVIOUR, lp_mib_s=119 * 0.7996)}))
    assert "uncontrolled is 0.7996 (at least 0.8)" in verdict.texts[0]


def test_fault_in_one_of_many_runs_is_enough() -> None:
    records = list(build_records())
    bad = build_records(changes={"contention": replace(CONTENTION_BEHAVIOUR, lp_device=OTHER_DEVICE)})
    index = next(i for i, record in enumerate(records) if record.scenario == "contention")
    records[index] = bad[index]
    verdict = judged(tuple(records))
    assert verdict.outcome == "invalid"
    (reason,) = (reason for reason in verdict.reasons if reason.code == "lp-other-device")
    assert len(reason.runs) == 1
    assert "the same in" not in reason.text


def test_fault_that_runs_share_is_told_once_with_the_runs_named() -> None:
    verdict = judged(build_records(changes={"drcio": replace(DRCIO_BEHAVIOUR, hp_restarts=1)}))
    assert [reason.code for reason in verdict.reasons].count("hp-restarted") == 1
    assert "drcio r1" in verdict.texts[0]
    assert "the same in drcio r2, drcio r3" in verdict.texts[0]


@pytest.mark.parametrize("only", ["baseline", "contention", "drcio"])
def test_single_scenario_is_inconclusive_and_says_so(only: str) -> None:
    spec = build_spec(arms=scenarios(only))
    verdict = judged(build_records(spec), spec)
    assert verdict.outcome == "inconclusive"
    assert verdict.texts == (f"only {only} was run: there is nothing to compare it with",)


def test_single_scenario_that_is_unsound_is_invalid() -> None:
    spec = build_spec(arms=scenarios("contention"))
    records = build_records(spec, {"contention": replace(CONTENTION_BEHAVIOUR, lp_pod=False)})
    assert judged(records, spec).outcome == "invalid"


def test_missing_runs_are_inconclusive_and_counted() -> None:
    verdict = judged(build_records()[:-1])
    assert verdict.outcome == "inconclusive"
    assert "only 8 of 9 planned runs exist" in verdict.texts


def test_a_run_that_is_there_twice_cannot_stand_in_for_a_missing_one() -> None:
    *most, last = build_records()
    again = next(record for record in most if record.scenario == last.scenario)
    verdict = judged((*most, again))
    assert codes(verdict) == {"runs-missing", "runs-doubled"}
    assert verdict.outcome == "invalid"


def test_no_run_at_all_is_inconclusive() -> None:
    verdict = judged(())
    assert (verdict.outcome, codes(verdict)) == ("inconclusive", {"no-runs"})


def test_unsteady_baseline_is_inconclusive() -> None:
    slow = build_records(changes={"baseline": replace(BASELINE_BEHAVIOUR, p95_ms=150)})
    mixed = tuple(
        other if record.scenario == "baseline" and record.repeat == 1 else record
        for record, other in zip(build_records(), slow, strict=True)
    )
    assert "baseline-unstable" in codes(judged(mixed))


def test_too_few_requests_are_inconclusive() -> None:
    spec = replace(SPEC, rate_rps=3.0)
    verdict = judged(build_records(spec), spec)
    assert (verdict.outcome, "too-few-requests" in codes(verdict)) == ("inconclusive", True)


def test_impossible_rate_is_invalid_for_the_generator_not_for_the_service() -> None:
    verdict = judged(
        build_records(
            changes={
                "baseline": replace(BASELINE_BEHAVIOUR, offered_share=0.3, fell_behind=True),
                "contention": replace(CONTENTION_BEHAVIOUR, offered_share=0.3, fell_behind=True),
                "drcio": replace(DRCIO_BEHAVIOUR, offered_share=0.3, fell_behind=True),
            }
        )
    )
    assert verdict.outcome == "invalid"
    assert "generator-fell-behind" in codes(verdict)


def test_records_of_two_experiments_are_not_judged_together() -> None:
    first, *others = build_records()
    verdict = judged((with_environment(first, kernel="5.15.0"), *others))
    assert (verdict.outcome, codes(verdict)) == ("invalid", {"different-environments"})


def test_runs_under_different_loads_are_not_judged_together() -> None:
    records = build_records()
    louder = replace(records[0].load, plan={**records[0].load.plan, "rate_rps": 30.0})
    assert "different-loads" in codes(judged((replace(records[0], load=louder), *records[1:])))


def test_control_by_limits_alone_needs_no_weights() -> None:
    capped = replace(
        DRCIO_BEHAVIOUR, iocost=False, lp_io_max="254:0 rbps=1 wbps=1", hp_weight=100, lp_weight=100
    )
    assert judged(build_records(changes={"drcio": capped})).outcome == "pass"


def test_small_random_io_that_fills_the_iops_is_contention() -> None:
    changes = {
        "contention": replace(CONTENTION_BEHAVIOUR, lp_mib_s=11.0, lp_ops_s=2800),
        "drcio": replace(DRCIO_BEHAVIOUR, lp_mib_s=10.0, lp_ops_s=2560),
    }
    assert judged(build_records(changes=changes)).outcome == "pass"


def test_service_without_fetch_times_can_be_judged_by_its_requests_alone() -> None:
    changes = {
        "baseline": replace(BASELINE_BEHAVIOUR, fetch_p95_ms=None),
        "contention": replace(CONTENTION_BEHAVIOUR, fetch_p95_ms=None),
        "drcio": replace(DRCIO_BEHAVIOUR, fetch_p95_ms=None),
    }
    verdict = judged(build_records(changes=changes), thresholds=Thresholds(drcio_fetch_p95_ratio_max=None))
    assert verdict.outcome == "pass"


@pytest.mark.parametrize(
    ("scenario", "behaviour", "words"),
    [
        ("drcio", DRCIO_BEHAVIOUR, "DRC-IO kept the service fast"),
        ("drcio", replace(DRCIO_BEHAVIOUR, lp_mib_s=60), "DRC-IO missed its promise"),
        ("drcio", replace(DRCIO_BEHAVIOUR, interrupted=True), "not conclusive"),
        ("contention", replace(CONTENTION_BEHAVIOUR, lp_pod=False), "not valid"),
    ],
)
def test_headline_says_the_outcome_in_one_sentence(scenario: str, behaviour: Behaviour, words: str) -> None:
    result = study(build_records(changes={scenario: behaviour}), SPEC)
    sentence = headline(result, judge(result))
    assert "r1" not in sentence
    assert words in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_a_look_names_both_figures_and_claims_nothing() -> None:
    spec = replace(SPEC, scenarios=(scenario("contention"), scenario("drcio")), repeats=1)
    records = tuple(run for run in build_records() if run.scenario != "baseline" and run.repeat == 1)
    result = study(records, spec)
    verdict = judge(result)
    assert verdict.outcome == "inconclusive"
    assert verdict.remedies == ("run all three scenarios, repeated: make demo",)
    sentence = headline(result, verdict)
    assert sentence.startswith("A look and no proof: p95 latency is ")
    assert "without control and the batch job gets" in sentence


def test_a_look_that_measured_something_else_is_invalid() -> None:
    spec = replace(SPEC, scenarios=(scenario("contention"), scenario("drcio")), repeats=1)
    idle = build_records(changes={"drcio": replace(DRCIO_BEHAVIOUR, lp_mib_s=0)})
    result = study([run for run in idle if run.scenario != "baseline" and run.repeat == 1], spec)
    assert "not valid" in headline(result, judge(result))
