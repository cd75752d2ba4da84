"""Redo everything that follows from stored records: study, verdict, results.json, pictures, page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from experiments.judgement.compare import PolicyComparison, compare_policies, compares_policies
from experiments.judgement.figures import Study
from experiments.judgement.results import results_json, write_results
from experiments.judgement.study import study
from experiments.judgement.verdict import Verdict, judge
from experiments.records.jsonfields import JsonObject, read_document
from experiments.records.record import RUNS_FOLDER, read_runs
from experiments.records.spec import SPEC_SCHEMA, Spec, load_spec
from experiments.records.wholefile import write_json, write_text
from experiments.report.archive import packed
from experiments.report.canvas import Drawn, Picture
from experiments.report.fuzzed import find_fuzzed, fuzz_picture
from experiments.report.page import page
from experiments.report.pareto import pareto
from experiments.report.pictures import pictures

SPEC_FILE: Final = "spec.json"
REPORT_FILE: Final = "report.html"

_SPEC_HINT: Final = "give the folder that `python -m experiments run --output DIR` wrote"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was concluded, and where it was written."""

    study: Study
    verdict: Verdict
    policies: PolicyComparison | None
    """Of an experiment that compares policies."""
    document: JsonObject
    """The content of results.json."""
    html: Path
    results: Path


def write_spec(directory: Path, spec: Spec) -> Path:
    """Store what was asked beside its records, before the first run."""
    directory.mkdir(parents=True, exist_ok=True)
    return write_json(directory / SPEC_FILE, spec.to_json())


def read_spec(directory: Path) -> Spec:
    """Read what was asked; raises RecordError where it is missing or damaged."""
    return load_spec(read_document(directory / SPEC_FILE, schema=SPEC_SCHEMA, hint=_SPEC_HINT))


def build_report(directory: Path, *, on_step: Callable[[str], None] = lambda step: None) -> Report:
    """Judge the records in a folder anew and write results.json, report.html and the pictures there.

    `on_step` is told what is being done, for a progress display.
    Raises RecordError where the folder holds no experiment or a damaged one.
    """
    on_step("reading the records")
    spec, records = read_spec(directory), read_runs(directory)
    on_step("judging")
    result = study(records, spec)
    verdict = judge(result)
    policies = compare_policies(result) if compares_policies(result) else None
    document = results_json(result, verdict)
    results = write_results(directory, document)
    wanted = [*([pareto(policies)] if policies is not None else ()), *pictures(result, verdict, records)]
    drawn = [_drawn(picture, directory, on_step) for picture in wanted]
    fuzzed = find_fuzzed(directory)
    beside = (
        (fuzzed, _drawn(fuzz_picture(fuzzed), directory, on_step) if fuzzed.figures else None)
        if fuzzed is not None
        else None
    )
    on_step("writing the page")
    runs = [directory / RUNS_FOLDER / record.file_name for record in records]
    archive = packed(directory, [directory / SPEC_FILE, results, *runs])
    html = write_text(
        directory / REPORT_FILE, page(result, verdict, records, drawn, policies, archive, beside)
    )
    return Report(
        study=result, verdict=verdict, policies=policies, document=document, html=html, results=results
    )


def _drawn(picture: Picture, directory: Path, on_step: Callable[[str], None]) -> Drawn:
    on_step(f"drawing {picture.title.lower()}")
    drawn = picture.drawn()
    drawn.write(directory)
    return drawn
