from dataclasses import replace

import pytest

from experiments.judgement.compare import PolicyComparison, compare_policies
from experiments.judgement.results import comparison_json, results_json
from experiments.judgement.study import study
from experiments.judgement.testing import CONTENTION_BEHAVIOUR, DRCIO_BEHAVIOUR, Behaviour
from experiments.judgement.verdict import judge
from experiments.records.spec import policy_scenarios
from tests.experiments.build import build_records, build_spec

BFQ = replace(CONTENTION_BEHAVIOUR, p95_ms=320, fetch_p95_ms=300)
TIGHT_CAP = replace(DRCIO_BEHAVIOUR, p95_ms=60, fetch_p95_ms=3, lp_mib_s=12)


def compared(others: dict[str, Behaviour], *, ours: bool = True) -> PolicyComparison:
    spec = build_spec(arms=policy_scenarios([*others, *(["drcio"] if ours else [])]))
    return compare_policies(study(build_records(spec, others), spec))


def test_policy_that_is_worse_everywhere_is_not_named() -> None:
    comparison = compared({"bfq": replace(BFQ, lp_mib_s=60)})
    assert comparison.as_good_as_ours == comparison.lower_latency == ()
    assert comparison.more_throughput == ("none",)


def test_policy_that_trades_one_figure_for_another_is_named_as_such() -> None:
    comparison = compared({"iomax-10": TIGHT_CAP})
    assert comparison.lower_latency == ("iomax-10",)
    assert comparison.more_throughput == ("none",)
    assert "iomax-10 keeps latency lower, at the batch job's expense." in comparison.sentence


def test_policy_that_has_one_latency_lower_and_one_higher_is_said_to() -> None:
    mixed = replace(DRCIO_BEHAVIOUR, p95_ms=1.3 * DRCIO_BEHAVIOUR.p95_ms, fetch_p95_ms=3)
    comparison = compared({"iocost-static": mixed})
    assert comparison.as_good_as_ours == comparison.lower_latency == ()
    assert comparison.other_latency == ("iocost-static",)
    assert "iocost-static keeps one latency lower and the other higher." in comparison.sentence


def test_policy_that_loses_nothing_to_ours_is_named_honestly() -> None:
    comparison = compared({"iocost-static": DRCIO_BEHAVIOUR})
    assert comparison.as_good_as_ours == ("iocost-static",)
    assert comparison.sentence == "iocost-static loses nothing to DRC-IO in this experiment."


def test_draw_within_the_tolerance_counts_as_losing_nothing() -> None:
    comparison = compared({"iocost-static": replace(DRCIO_BEHAVIOUR, lp_mib_s=108)})
    assert comparison.as_good_as_ours == ("iocost-static",)


def test_figures_are_ratios_against_alone_and_against_no_policy() -> None:
    by_name = {result.policy: result for result in compared({"bfq": BFQ}).policies}
    assert by_name["none"].lp_share == 1.0
    assert by_name["bfq"].p95_ratio == pytest.approx(320 / 60, rel=0.1)
    assert by_name["drcio"].lp_share == pytest.approx(110 / 119)


def test_without_ours_nothing_is_claimed() -> None:
    comparison = compared({"bfq": BFQ}, ours=False)
    assert comparison.as_good_as_ours == comparison.lower_latency == comparison.more_throughput == ()
    assert "not among the policies" in comparison.sentence


def test_comparison_is_part_of_the_results() -> None:
    spec = build_spec(arms=policy_scenarios(["bfq", "drcio"]))
    result = study(build_records(spec, {"bfq": BFQ}), spec)
    document = results_json(result, judge(result))
    assert document["policies"] == comparison_json(compare_policies(result))


def test_faults_of_a_compared_policy_are_remarked_and_do_not_touch_ours() -> None:
    spec = build_spec(arms=policy_scenarios(["weight-only", "drcio"]))
    changes = {"weight-only": replace(CONTENTION_BEHAVIOUR, failed=3)}
    verdict = judge(study(build_records(spec, changes), spec))
    assert verdict.outcome == "pass"
    assert [remark.code for remark in verdict.remarks] == ["requests-failed"]
