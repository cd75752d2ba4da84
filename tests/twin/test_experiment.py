"""Whole runs: what they measure when all is well, and that a void run cannot pass."""

from pathlib import Path

import pytest

from experiments.commands.run import run_all
from experiments.judgement.study import study
from experiments.judgement.verdict import Verdict, judge
from experiments.records.spec import Spec, scenario
from experiments.targets.twin import TwinTarget
from tests.twin.conftest import Silent, spec_of

pytestmark = pytest.mark.twin


def judged(target: TwinTarget, spec: Spec, output: Path, **options: bool) -> Verdict:
    records = run_all(spec, target.with_options(spec=spec, **options), output, Silent())
    return judge(study(records, spec))


def codes(verdict: Verdict) -> set[str]:
    return {reason.code for reason in verdict.reasons}


def test_contention_hurts_and_drcio_protects(target: TwinTarget, tmp_path: Path) -> None:
    spec = spec_of(*(scenario(name) for name in ("baseline", "contention", "drcio")))
    records = run_all(spec, target.with_options(spec=spec), tmp_path, Silent())
    comparison = study(records, spec).comparison
    assert [record.notes for record in records] == [(), (), ()], "knobs must be as found between runs"
    assert comparison.contention_fetch_p95_ratio is not None
    assert comparison.drcio_fetch_p95_ratio is not None
    assert comparison.work_conservation is not None
    # Far from the figures that the demo judges by: this only tells working from not working.
    assert comparison.contention_fetch_p95_ratio > 5
    assert comparison.drcio_fetch_p95_ratio < comparison.contention_fetch_p95_ratio / 2
    assert comparison.work_conservation > 0.4
    assert all(record.load.failed == 0 for record in records)


def test_idle_batch_job_makes_the_run_invalid(target: TwinTarget, tmp_path: Path) -> None:
    verdict = judged(target, spec_of(scenario("contention")), tmp_path, lp_idle=True)
    assert verdict.outcome == "invalid"
    assert "lp-absent" in codes(verdict)


def test_batch_job_on_another_device_makes_the_run_invalid(target: TwinTarget, tmp_path: Path) -> None:
    verdict = judged(target, spec_of(scenario("contention")), tmp_path, lp_elsewhere=True)
    assert verdict.outcome == "invalid"
    assert "lp-other-device" in codes(verdict)


def test_impossible_rate_makes_the_run_invalid(target: TwinTarget, tmp_path: Path) -> None:
    spec = spec_of(scenario("baseline"), rate_rps=600.0, duration_s=1.5, warmup_s=0.5)
    verdict = judged(target, spec, tmp_path)
    assert verdict.outcome == "invalid"
    assert {"generator-fell-behind", "hp-overloaded-alone", "requests-failed"} & codes(verdict), verdict.texts
