"""What the page says before its pictures: the five answers, the controller's actions, the records inside."""

import base64
import io
import re
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from experiments.judgement.study import study
from experiments.judgement.testing import (
    CONTENTION_BEHAVIOUR,
    DEVICE,
    DRCIO_BEHAVIOUR,
    HP_POD,
    LP_POD,
    Behaviour,
    behaviour_of,
)
from experiments.judgement.verdict import judge
from experiments.records.record import RunRecord, write_run
from experiments.records.spec import scenarios
from experiments.report import archive as archives
from experiments.report import build_report, print_summary, read_spec, write_spec
from experiments.report.actions import Action, Change, actions_of
from experiments.report.answers import Answer, answers
from experiments.report.archive import packed
from experiments.report.page import page
from experiments.report.scales import TIMES
from experiments.report.timeline import MAX_POINTS, requests_of
from tests.experiments.build import build_records, build_spec

SPEC = build_spec()
DRCIO_RUN = next(record for record in build_records(SPEC) if record.scenario == "drcio")


def answered(records: Sequence[RunRecord] | None = None, **changes: Behaviour) -> dict[str, Answer]:
    made = build_records(SPEC, changes) if records is None else records
    result = study(made, SPEC)
    return {answer.question: answer for answer in answers(result, judge(result), made)}


def test_sound_experiment_answers_all_questions() -> None:
    found = answered()
    contention, control, cost, sure, place = found.values()
    assert (contention.short, contention.state) == (f"yes, 10{TIMES}", "yes")
    assert re.fullmatch(rf"yes, 1\.0\d{TIMES}", control.short)
    assert (cost.short, cost.state) == ("8% of its throughput", "yes")
    assert "110 of 119 MiB/s without control" in cost.details
    assert sure.short == "every promise kept, 3 repeats"
    assert "CPU time taken from outside: none" in sure.details
    assert place.short == "Linux 6.1.0-44-amd64"
    assert "A node twin with an emulated CPU, real time" in place.details


def test_look_answers_what_it_saw_and_claims_no_judgement() -> None:
    spec = replace(SPEC, scenarios=scenarios("contention") + scenarios("drcio"))
    made = [record for record in build_records(SPEC) if record.scenario != "baseline"]
    result = study(made, spec)
    verdict = judge(result)
    hurt, under, cost, sure, _ = answers(result, verdict, made)
    assert (hurt.short, under.short) == ("607 ms", "63.8 ms")
    assert under.details[0] == f"Request p95, 9.50{TIMES} as long without control"
    assert (cost.short, sure.short) == ("8% of its throughput", "a look, not judged")
    assert {answer.state for answer in (hurt, under, cost, sure)} == {"plain"}
    whole = page(result, verdict, made, [], None)
    assert "The judgement" not in whole
    first_screen = whole.partition("</header>")[0]
    assert "<title>DRC-IO experiment: a look</title>" in first_screen
    assert 'class="verdict look"' in first_screen
    printed = Console(record=True, width=100, file=io.StringIO())
    print_summary(printed, result, verdict)
    assert "not judged" in (text := printed.export_text())
    assert "inconclusive" not in text


@pytest.mark.parametrize(
    ("question", "short", "state", "changes"),
    [
        (
            "Was there contention?",
            "too little, 1.",
            "no",
            {"contention": replace(CONTENTION_BEHAVIOUR, p95_ms=90)},
        ),
        ("Was it controlled?", "no, 2.", "no", {"drcio": replace(DRCIO_BEHAVIOUR, p95_ms=140)}),
        ("Was it controlled?", "no, 1", "no", {"drcio": replace(DRCIO_BEHAVIOUR, fetch_p95_ms=40)}),
        (
            "Was it controlled?",
            "cannot be told, 2.",
            "open",
            {"drcio": replace(DRCIO_BEHAVIOUR, p95_ms=140, compute_p95_ms=75)},
        ),
        ("What did it cost the batch job?", "50%", "no", {"drcio": replace(DRCIO_BEHAVIOUR, lp_mib_s=59.5)}),
        (
            "What did it cost the batch job?",
            "nothing",
            "yes",
            {"drcio": replace(DRCIO_BEHAVIOUR, lp_mib_s=120)},
        ),
        ("How sure is it?", "a promise missed", "no", {"drcio": replace(DRCIO_BEHAVIOUR, lp_mib_s=60)}),
        ("How sure is it?", "not sure", "open", {"drcio": replace(DRCIO_BEHAVIOUR, cpu_taken_share=0.4)}),
    ],
)
def test_answer_says_what_was_found(
    question: str, short: str, state: str, changes: dict[str, Behaviour]
) -> None:
    answer = answered(None, **changes)[question]
    assert answer.short.startswith(short)
    assert answer.state == state


def test_experiment_of_one_scenario_answers_what_it_can() -> None:
    spec = build_spec(arms=scenarios("baseline"))
    records = build_records(spec)
    result = study(records, spec)
    found = answers(result, judge(result), records)
    assert [answer.short for answer in found][:3] == ["cannot be told"] * 3
    assert answers(study((), spec), judge(study((), spec)), ())[-1].short == "Linux unknown"


def test_virtual_time_and_further_repeats_are_told() -> None:
    spec = build_spec(repeats=4)
    changes = {arm.name: replace(behaviour_of(arm), clock="virtual") for arm in spec.scenarios}
    found = answered(build_records(spec, changes))
    assert "3 repeats asked for, 1 added to settle it" in found["How sure is it?"].details
    assert "Virtual time: what the host did does not count" in found["How sure is it?"].details
    assert "A node twin with an emulated CPU, virtual time" in found["On what?"].details


def test_actions_are_what_changed_from_one_look_to_the_next() -> None:
    def turned(record: RunRecord) -> RunRecord:
        samples = []
        for sample in record.samples:
            early = sample.t_s < 3
            pods = {
                name: replace(pod, io_weight=100 if early else pod.io_weight)
                for name, pod in sample.pods.items()
            }
            model = (
                f"{DEVICE} ctrl=user model=linear rbps={(120 if sample.t_s < 7 else 90) << 20} rrandiops=6000"
            )
            qos = "" if early else sample.qos
            io_max = {LP_POD: f"{DEVICE} rbps=1048576"} if sample.t_s >= 9 else {}
            samples.append(replace(sample, pods=pods, qos=qos, model=model, io_max=io_max))
        return replace(record, samples=tuple(samples))

    assert actions_of(DRCIO_RUN) == ()
    first, second, third = actions_of(turned(DRCIO_RUN))
    assert first.t_s == 3
    assert set(first.changes) == {
        Change("weight of the service", "100", "1000"),
        Change("weight of the batch job", "100", "10"),
        Change("iocost", "off", "on, speed held at 100.00 to 100.00%"),
        Change("iocost's model", "not set", "120 MiB/s, 6000 IOPS"),
    }
    model = Change("iocost's model", "120 MiB/s, 6000 IOPS", "90 MiB/s, 6000 IOPS")
    assert second == Action(7, (model,))
    assert third.changes == (Change(f"io.max of {LP_POD}", "not set", f"{DEVICE} rbps=1048576"),)


def test_controllers_state_is_an_action_too() -> None:
    samples = tuple(
        replace(
            sample,
            controller={"devices": [{"device": DEVICE, "state": "probing" if sample.t_s < 5 else "holding"}]},
        )
        for sample in DRCIO_RUN.samples
    )
    (action,) = actions_of(replace(DRCIO_RUN, samples=samples))
    assert action.changes == (Change("controller's state", "probing", "holding"),)


def test_every_request_is_a_point_in_its_second() -> None:
    points = requests_of(DRCIO_RUN)
    assert len(points) == DRCIO_RUN.load.completed
    per_second = [sum(int(point.t_s) == second for point in points) for second in range(20)]
    assert per_second == [interval.count for interval in DRCIO_RUN.load.intervals]
    assert max(point.latency_ms for point in points) == DRCIO_RUN.load.latency.max_ms


def test_of_many_requests_the_slow_ones_are_kept() -> None:
    spec = replace(SPEC, rate_rps=400.0)
    (record, *_) = build_records(replace(spec, repeats=1))
    points = requests_of(record)
    assert len(points) <= MAX_POINTS
    assert max(point.latency_ms for point in points) == record.load.latency.max_ms


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("experiment")
    spec = build_spec(repeats=1)
    write_spec(made, spec)
    for record in build_records(spec):
        write_run(made, record)
    return made


def test_records_inside_the_page_can_be_judged_again(folder: Path, tmp_path: Path) -> None:
    report = build_report(folder)
    inside = re.search(
        r'href="data:application/gzip;base64,([^"]+)"', report.html.read_text(encoding="utf-8")
    )
    assert inside is not None
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(inside[1]))) as archive:
        archive.extractall(tmp_path, filter="data")
    assert read_spec(tmp_path) == read_spec(folder)
    assert build_report(tmp_path).document == report.document


def test_records_too_large_for_a_page_stay_beside_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_BYTES", 100)
    assert packed(folder, [folder / "spec.json"]) is None
    spec = build_spec(repeats=1)
    records = build_records(spec)
    result = study(records, spec)
    html = page(result, judge(result), records, [], None, None)
    assert "data:application/gzip" not in html
    assert 'href="runs/"' in html


def test_verdict_that_is_open_says_what_to_do() -> None:
    records = build_records(SPEC, {"drcio": replace(DRCIO_BEHAVIOUR, cpu_taken_share=0.4)})
    result = study(records, SPEC)
    html = page(result, judge(result), records, [], None)
    assert "What to do: end what else runs on the machine" in html
    assert HP_POD not in html
