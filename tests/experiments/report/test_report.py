import io
import json
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from experiments.commands import cli
from experiments.errors import RecordError
from experiments.judgement.compare import compare_policies
from experiments.judgement.study import study
from experiments.judgement.testing import CONTENTION_BEHAVIOUR, DRCIO_BEHAVIOUR, Behaviour
from experiments.judgement.verdict import Verdict, judge
from experiments.records.record import RunRecord, write_run
from experiments.records.spec import Spec, command_line, policy_scenarios, scenarios
from experiments.report import Report, build_report, print_summary, write_spec
from experiments.report.page import page
from experiments.report.palette import LIGHT
from experiments.report.pareto import pareto
from experiments.report.pictures import pictures
from experiments.report.scales import milliseconds, nines, ratio, span
from tests.experiments.build import build_records, build_spec

VOID = {"meta", "link", "br", "img", "hr", "input"}


def experiment(directory: Path, spec: Spec, changes: dict[str, Behaviour] | None = None) -> Path:
    write_spec(directory, spec)
    for record in build_records(spec, changes):
        write_run(directory, record)
    return directory


def page_of(records: Sequence[RunRecord], spec: Spec) -> tuple[str, Verdict]:
    """Return the page and the verdict without writing pictures to files, which is what takes time."""
    result = study(records, spec)
    verdict = judge(result)
    return page(
        result, verdict, records, [one.drawn() for one in pictures(result, verdict, records)], None
    ), verdict


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return experiment(tmp_path_factory.mktemp("experiment"), build_spec())


@pytest.fixture(scope="module")
def steps() -> list[str]:
    return []


@pytest.fixture(scope="module")
def report(folder: Path, steps: list[str]) -> Report:
    return build_report(folder, on_step=steps.append)


@pytest.mark.usefixtures("report")
def test_steps_are_told_for_the_progress_display(steps: list[str]) -> None:
    assert steps[0] == "reading the records"
    assert "drawing every run" in steps


@pytest.fixture(scope="module")
def html(report: Report) -> str:
    return report.html.read_text(encoding="utf-8")


class _Balance(HTMLParser):
    """Keep the open elements, and the attributes that could load something."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id" and value:
                self.ids.append(value)
            if tag != "a" and name in ("src", "href", "srcset", "data") and value:
                self.loads.append(value)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(html: str) -> _Balance:
    parser = _Balance()
    parser.feed(html)
    parser.close()
    return parser


def test_page_says_the_verdict_first(html: str) -> None:
    text = re.sub(r"<style>.*?</style>", "", html, flags=re.S)
    headline = re.search(r"<h1>(.*?)</h1>", text)
    assert headline is not None
    assert headline[1].startswith("DRC-IO kept the service fast")
    assert "verdict pass" in text


def test_page_loads_nothing(html: str) -> None:
    assert [url for url in parsed(html).loads if not url.startswith(("#", "data:"))] == []
    assert "@import" not in html
    assert re.findall(r"url\((?!#)", html) == []
    assert "<script" not in html


def test_page_is_well_formed_and_its_ids_are_unique(html: str) -> None:
    page = parsed(html)
    assert page.open == []
    assert len(set(page.ids)) == len(page.ids)


def test_references_inside_the_pictures_resolve(html: str) -> None:
    ids = set(parsed(html).ids)
    references = set(re.findall(r"url\(#([^)]+)\)", html)) | set(re.findall(r'xlink:href="#([^"]+)"', html))
    assert references
    assert references <= ids


def test_page_leaves_no_placeholder_colour(html: str) -> None:
    assert not re.search(r"#010\dfe", html)
    assert "var(--drcio)" in html
    assert "prefers-color-scheme: dark" in html


def test_page_tells_how_to_reproduce(html: str) -> None:
    command = re.search(r"<pre>(python -m experiments run.*?)</pre>", html, flags=re.S)
    assert command is not None
    assert command[1].replace("\\\n    ", "") == command_line(build_spec())
    assert "python -m experiments report DIR" in html


def test_pictures_are_written_as_files_too(report: Report, folder: Path) -> None:
    for name in ("overview", "latency", "timeline", "runs"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        root = ET.parse(folder / f"{name}.svg").getroot()  # noqa: S314 - our own file
        assert root.tag.endswith("svg")


def test_results_are_on_disk_as_returned(report: Report) -> None:
    assert json.loads(report.results.read_text()) == json.loads(json.dumps(report.document))
    assert report.document["verdict"] == report.verdict.outcome == "pass"


def test_report_is_redone_from_disk_alike(report: Report, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "runs", tmp_path / "runs")
    shutil.copy(folder / "spec.json", tmp_path)
    again = build_report(tmp_path)
    assert again.html.read_bytes() == report.html.read_bytes()
    assert again.results.read_bytes() == report.results.read_bytes()


def test_text_of_the_records_is_escaped() -> None:
    spec = build_spec(arms=scenarios("baseline"), repeats=1)
    (record,) = build_records(spec)
    html, _ = page_of(
        [replace(record, notes=("<script>alert(1)</script>",), environment={"<b>": "<i>"})], spec
    )
    assert "<script" not in html
    assert "<i>" not in html
    assert "&lt;script&gt;" in html


def test_single_scenario_still_gets_its_page() -> None:
    spec = build_spec(arms=scenarios("baseline"), repeats=1)
    html, verdict = page_of(build_records(spec), spec)
    assert verdict.outcome == "inconclusive"
    assert "only baseline was run" in html


def test_run_without_a_completed_request_still_gets_its_page() -> None:
    spec = build_spec(repeats=1)
    _, verdict = page_of(
        build_records(spec, {"contention": replace(CONTENTION_BEHAVIOUR, achieved_share=0.0)}), spec
    )
    assert verdict.outcome == "inconclusive"


def test_run_without_samples_is_invalid_and_still_gets_its_page() -> None:
    spec = build_spec(repeats=1)
    html, verdict = page_of([replace(record, samples=()) for record in build_records(spec)], spec)
    assert verdict.outcome == "invalid"
    assert "samples cover only 0%" in html


def test_compared_policies_get_a_table_and_a_picture() -> None:
    spec = build_spec(arms=policy_scenarios(["none", "bfq", "iomax-10", "drcio"]), repeats=2)
    changes = {
        "bfq": replace(CONTENTION_BEHAVIOUR, p95_ms=320, fetch_p95_ms=300, failed=2),
        "iomax-10": replace(DRCIO_BEHAVIOUR, lp_mib_s=12, iocost=False, lp_io_max="254:0 rbps=1"),
    }
    records = build_records(spec, changes)
    result = study(records, spec)
    policies = compare_policies(result)
    html = page(result, judge(result), records, [pareto(policies).drawn()], policies)
    assert parsed(html).open == []
    assert "iomax-10" in html
    assert "Policies compared" in html
    assert "bfq r1: 2 of 300 high-priority requests failed" in html


def test_policy_better_than_alone_lies_inside_its_picture() -> None:
    spec = build_spec(arms=policy_scenarios(["none", "drcio"]), repeats=2)
    records = build_records(spec, {"drcio": replace(DRCIO_BEHAVIOUR, p95_ms=1, fetch_p95_ms=0.5)})
    policies = compare_policies(study(records, spec))
    figure = pareto(policies).draw(LIGHT)
    (ours,) = (policy for policy in policies.policies if policy.policy == "drcio")
    for axes, drawn in zip(figure.axes, (ours.p95_ratio, ours.fetch_p95_ratio), strict=True):
        assert drawn is not None
        assert axes.get_ylim()[0] < drawn < 0.75


def test_page_of_runs_without_a_single_answer_says_so(tmp_path: Path) -> None:
    spec = build_spec(arms=scenarios("contention"))
    nobody = replace(CONTENTION_BEHAVIOUR, failed=round(spec.rate_rps * spec.duration_s))
    report = build_report(experiment(tmp_path, spec, {"contention": nobody}))
    assert report.verdict.outcome == "invalid"
    assert "requests failed" in report.html.read_text()


def test_record_under_another_ones_name_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    first, *_ = sorted((tmp_path / "runs").iterdir())
    renamed = first.rename(first.with_name("77-drcio-r1.json"))
    with pytest.raises(RecordError, match=f"{renamed}: .*{first.name}"):
        build_report(tmp_path)


def test_results_that_cannot_be_written_are_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    results = tmp_path / "results.json"
    results.unlink(missing_ok=True)
    results.mkdir()
    assert cli.main(["report", str(tmp_path)]) == cli.ERROR_STATUS
    assert f"error: {results}: cannot be written" in capsys.readouterr().err


def test_folder_of_something_else_is_refused_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"spec\.json: no such file") as refused:
        build_report(tmp_path)
    assert refused.value.hint is not None


def test_terminal_table_fits_eighty_columns(report: Report) -> None:
    stream = io.StringIO()
    print_summary(
        Console(file=stream, width=80), report.study, report.verdict, report=Path("out") / "report.html"
    )
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert "verdict: pass" in lines
    assert lines[-1] == "report: out/report.html"
    assert "…" not in stream.getvalue()


def test_terminal_gives_the_reasons_unless_it_passes() -> None:
    spec = build_spec(repeats=1)
    result = study(build_records(spec, {"contention": replace(CONTENTION_BEHAVIOUR, lp_pod=False)}), spec)
    stream = io.StringIO()
    print_summary(Console(file=stream, width=200), result, judge(result))
    assert "  - contention r1: no low-priority pod ran" in stream.getvalue()


@pytest.mark.parametrize(("value", "text"), [(0.8123, "0.812 ms"), (12.34, "12.3 ms"), (1530, "1.53 s")])
def test_latency_is_written_as_people_say_it(value: float, text: str) -> None:
    assert milliseconds(value) == text


def test_range_has_its_unit_only_once() -> None:
    assert span("1 ms", "2 ms") == "1\N{EN DASH}2 ms"
    assert span("1.03\N{MULTIPLICATION SIGN}", "11\N{MULTIPLICATION SIGN}")[:-1] == "1.03\N{EN DASH}11"
    assert span("900 ms", "1.2 s") == "900 ms\N{EN DASH}1.2 s"


def test_ratio_without_a_side_is_a_dash() -> None:
    assert ratio(None) == "\N{EN DASH}"
    assert [ratio(value)[:-1] for value in (1.0812, 134.4)] == ["1.08", "134"]


def test_every_nine_is_one_step() -> None:
    assert [round(nines(share), 6) for share in (0.0, 0.9, 0.99)] == [0, 1, 2]
