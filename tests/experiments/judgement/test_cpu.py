"""What the CPU did is not taken for what the volume did."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.commands.run import run_all
from experiments.judgement.cpu import cpu_of, without_cpu
from experiments.judgement.reasons import Reason
from experiments.judgement.study import study
from experiments.judgement.testing import (
    BASELINE_BEHAVIOUR,
    CONTENTION_BEHAVIOUR,
    DRCIO_BEHAVIOUR,
    Behaviour,
    behaviour_of,
)
from experiments.judgement.verdict import Verdict, judge, unsettled_by
from experiments.records.jsonfields import Field
from experiments.records.record import RunRecord, dump_run, load_run, read_runs
from experiments.records.spec import PlannedRun, plan_runs
from experiments.targets import Progress
from tests.experiments.build import build_records, build_run, build_spec

SPEC = build_spec()
SOUND = {"baseline": BASELINE_BEHAVIOUR, "contention": CONTENTION_BEHAVIOUR, "drcio": DRCIO_BEHAVIOUR}


def judged(**changes: Behaviour) -> Verdict:
    return judge(study(build_records(SPEC, changes), SPEC))


def everywhere(**changes: object) -> dict[str, Behaviour]:
    return {name: replace(behaviour, **changes) for name, behaviour in SOUND.items()}  # type: ignore[arg-type]


def codes(verdict: Verdict) -> set[str]:
    return {reason.code for reason in verdict.reasons}


@pytest.mark.parametrize("scenario", ["baseline", "contention", "drcio"])
@pytest.mark.parametrize("cause", ["cpu_taken_share", "cpu_steal_share"])
def test_cpu_taken_from_one_scenario_leaves_it_open_with_a_remedy(scenario: str, cause: str) -> None:
    verdict = judged(**{scenario: replace(SOUND[scenario], **{cause: 0.4})})  # type: ignore[arg-type]
    assert (verdict.outcome, codes(verdict)) == ("inconclusive", {"cpu-taken"})
    assert f"40% of {'this machine' if 'taken' in cause else 'the node'}" in verdict.texts[0]
    assert "end what else runs on the machine" in verdict.remedies[0]


def test_cpu_taken_from_all_scenarios_leaves_it_open_too() -> None:
    assert codes(judged(**everywhere(cpu_taken_share=0.3))) == {"cpu-taken"}


def test_host_that_is_busy_and_yet_has_idle_cpus_takes_nothing() -> None:
    (record, *_) = build_records(SPEC)
    crowded = tuple(
        replace(seen, cpus=64, busy_us=seen.busy_us * 20, idle_us=seen.busy_us * 20) for seen in record.host
    )
    found = cpu_of(replace(record, host=crowded))
    assert found.taken_share == 0
    assert found.others_share is not None
    assert found.others_share > 0.4


def test_in_virtual_time_a_busy_host_is_no_reason() -> None:
    assert judged(**everywhere(clock="virtual", cpu_taken_share=0.4)).outcome == "pass"


def test_promise_missed_because_computing_was_slow_is_no_fail() -> None:
    verdict = judged(drcio=replace(DRCIO_BEHAVIOUR, p95_ms=120, compute_p95_ms=60))
    assert (verdict.outcome, codes(verdict)) == ("inconclusive", {"cpu-decides"})


def test_promise_kept_because_the_service_alone_computed_slowly_is_no_pass() -> None:
    verdict = judged(
        baseline=replace(BASELINE_BEHAVIOUR, p95_ms=120, compute_p95_ms=60),
        drcio=replace(DRCIO_BEHAVIOUR, p95_ms=100),
    )
    assert (verdict.outcome, codes(verdict)) == ("inconclusive", {"cpu-decides"})


def test_contention_for_the_cpu_is_no_contention() -> None:
    slow = replace(CONTENTION_BEHAVIOUR, p95_ms=300, fetch_p95_ms=15, compute_p95_ms=240)
    assert judged(contention=slow).outcome == "inconclusive"


def test_slow_computing_that_decides_nothing_is_borne() -> None:
    slow = replace(CONTENTION_BEHAVIOUR, compute_p95_ms=45)
    assert judged(contention=slow, drcio=replace(DRCIO_BEHAVIOUR, compute_p95_ms=33)).outcome == "pass"


def test_batch_job_that_may_have_wanted_for_cpu_does_not_tell_what_control_cost_it() -> None:
    slow = replace(CONTENTION_BEHAVIOUR, lp_mib_s=70, lp_cpu_wait_share=0.4)
    verdict = judged(contention=slow, drcio=replace(DRCIO_BEHAVIOUR, lp_mib_s=65))
    assert (verdict.outcome, codes(verdict)) == ("inconclusive", {"cpu-decides"})


def test_batch_job_that_filled_the_volume_wanted_for_no_cpu() -> None:
    busy = replace(CONTENTION_BEHAVIOUR, lp_mib_s=124, lp_cpu_wait_share=0.6)
    assert judged(contention=busy).outcome == "pass"


def test_wait_stands_in_for_a_service_that_does_not_report_its_computing() -> None:
    # 0.3 of a CPU and 0.15 of waiting: half as long again, which is all of what was missed.
    slow = replace(DRCIO_BEHAVIOUR, p95_ms=90, compute_p95_ms=None, hp_cpu_wait_share=0.25)
    changes = everywhere(compute_p95_ms=None) | {"drcio": slow}
    assert codes(judged(**changes)) == {"cpu-decides"}


def test_where_nothing_is_known_of_the_cpus_nothing_is_decided() -> None:
    silent = everywhere(compute_p95_ms=None, cpu_steal_share=None, cpu_taken_share=None)
    verdict = judged(**silent)
    assert (verdict.outcome, codes(verdict)) == ("inconclusive", {"cpu-unknown"})
    assert "Server-Timing" in verdict.remedies[0]
    assert unsettled_by(verdict) is None


def test_services_own_word_is_enough() -> None:
    assert judged(**everywhere(cpu_steal_share=None, cpu_taken_share=None)).outcome == "pass"


def test_common_slowness_cancels() -> None:
    figures = without_cpu(study(build_records(SPEC, everywhere(compute_p95_ms=200)), SPEC))
    found = study(build_records(SPEC), SPEC).comparison
    assert figures.drcio_p95_ratio == pytest.approx((found.drcio_p95_ratio,), rel=0.01)


def test_record_from_before_cpus_were_recorded_still_loads() -> None:
    record = build_records(SPEC)[0]
    document = json.loads(json.dumps(dump_run(record)))
    del document["clock"], document["host"]
    for sample in document["samples"]:
        del sample["cpu"]
    loaded = load_run(Field(document, "", "run.json", "hint"))
    assert loaded.clock == "real"
    assert loaded.host == ()
    assert all(sample.cpu is None for sample in loaded.samples)
    assert loaded.load == record.load


def test_unknown_clock_is_refused() -> None:
    document = copy.deepcopy({**dump_run(build_records(SPEC)[0]), "clock": "sidereal"})
    with pytest.raises(Exception, match='clock is "sidereal"; expected one of real, virtual'):
        load_run(Field(document, "", "run.json", "hint"))


# --- further repeats ---


class _Target:
    """Disturbed as long as `busy` says."""

    def __init__(self, busy: Callable[[PlannedRun], bool]) -> None:
        self._busy = busy

    def run(self, planned: PlannedRun, progress: Progress) -> RunRecord:
        behaviour = behaviour_of(planned.scenario)
        if self._busy(planned):
            behaviour = replace(behaviour, cpu_taken_share=0.4)
        return build_run(SPEC, planned, behaviour)


class _Asked:
    """Keeps why further repeats were made, and of how many runs."""

    def __init__(self) -> None:
        self.more_runs: list[tuple[Reason, int]] = []

    def doing(self, what: str) -> None: ...

    def within_run(self, elapsed_s: float, total_s: float) -> None: ...

    def run(self, planned: PlannedRun, record: RunRecord | None) -> None: ...

    def more(self, why: Reason, runs: int) -> None:
        self.more_runs.append((why, runs))


def ran(
    busy: Callable[[PlannedRun], bool], output: Path, more: int = 2
) -> tuple[list[RunRecord], list[tuple[Reason, int]]]:
    asked = _Asked()
    return run_all(replace(SPEC, more_repeats=more), _Target(busy), output, asked), asked.more_runs


def test_disturbed_repeats_are_outvoted_by_further_ones(tmp_path: Path) -> None:
    records, asked = ran(lambda run: run.repeat <= 2 and run.scenario.name == "drcio", tmp_path)
    assert [(why.code, runs) for why, runs in asked] == [("cpu-taken", 3), ("cpu-taken", 3)]
    spec = replace(SPEC, more_repeats=2)
    assert judge(study(records, spec)).outcome == "pass"
    assert read_runs(tmp_path) == tuple(records)


def test_further_repeats_follow_the_plan_of_so_many(tmp_path: Path) -> None:
    records, _ = ran(lambda run: True, tmp_path)
    planned = plan_runs(replace(SPEC, repeats=5))
    assert [record.file_name for record in records] == [run.file_name for run in planned]


def test_further_repeats_are_bounded(tmp_path: Path) -> None:
    records, asked = ran(lambda run: True, tmp_path, more=1)
    assert (len(records), len(asked)) == (12, 1)
    assert judge(study(records, SPEC)).outcome == "inconclusive"


def test_decided_experiment_is_not_prolonged(tmp_path: Path) -> None:
    assert len(ran(lambda run: False, tmp_path)[0]) == 9


def test_further_repeat_that_was_broken_off_is_missed(tmp_path: Path) -> None:
    records, _ = ran(lambda run: run.repeat <= 2, tmp_path)
    verdict = judge(study(records[:-1], SPEC))
    assert "only 14 of 15 planned runs exist" in verdict.texts


@pytest.mark.parametrize(("taken", "outcome"), [(0.4, "pass"), (0.05, "inconclusive")])
def test_run_that_is_known_to_be_disturbed_does_not_make_the_baseline_unsteady(
    taken: float, outcome: str
) -> None:
    slow = replace(BASELINE_BEHAVIOUR, p95_ms=150, cpu_taken_share=taken)
    mixed = tuple(
        other if record.scenario == "baseline" and record.repeat == 1 else record
        for record, other in zip(build_records(SPEC), build_records(SPEC, {"baseline": slow}), strict=True)
    )
    assert judge(study(mixed, SPEC)).outcome == outcome
