"""A fuzz that lies beside a report's records has its place on the page, and no say in the verdict."""

from __future__ import annotations

import html
import json
from pathlib import Path

import numpy as np
import pytest

from experiments.errors import RecordError
from experiments.fuzz.drive import Asked, run_seeds, simulated, summarise
from experiments.records.record import write_run
from experiments.report import build_report, write_spec
from experiments.report.fuzzed import find_fuzzed, fuzz_picture
from experiments.report.palette import LIGHT
from tests.experiments.build import build_records, build_spec


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder as a user's: a run's results, and a fuzz's beside it."""
    folder = tmp_path_factory.mktemp("results")
    spec = build_spec()
    write_spec(folder / "latest", spec)
    for record in build_records(spec):
        write_run(folder / "latest", record)
    asked = Asked(
        seeds=(3, 4, 9),
        arms=("alone", "none", "drcio", "iomax-50"),
        output=folder / "fuzz",
        where="simulated",
        measured_s=6.0,
    )
    records = run_seeds(asked, lambda todo: simulated(todo, measured_s=6.0, jobs=1), on_seed=lambda _: None)
    summarise(records, folder / "fuzz")
    return folder


def test_page_has_the_bounds_and_a_picture(results: Path) -> None:
    report = build_report(results / "latest")
    text = html.unescape(report.html.read_text())
    summary = json.loads((results / "fuzz" / "fuzz.json").read_text())

    assert "3 random mixes of work on the simulated node" in text
    for check in summary["checks"]:
        assert check["name"][1:] in text
    assert "Mixes that nobody tuned for" in text
    assert (results / "latest" / "fuzz.svg").is_file()


def test_verdict_and_results_are_the_same_without_it(results: Path, tmp_path: Path) -> None:
    spec = build_spec()
    write_spec(tmp_path / "latest", spec)
    for record in build_records(spec):
        write_run(tmp_path / "latest", record)

    without, beside = build_report(tmp_path / "latest"), build_report(results / "latest")

    assert without.document == beside.document
    assert find_fuzzed(tmp_path / "latest") is None
    assert "nobody tuned" not in without.html.read_text()


def test_damaged_one_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "fuzz").mkdir()
    (tmp_path / "fuzz" / "fuzz.json").write_text('{"schema": "drcio.fuzz/1"}')
    with pytest.raises(RecordError) as refused:
        find_fuzzed(tmp_path)
    assert refused.value.hint


def test_every_seed_and_arm_is_a_dot(results: Path) -> None:
    fuzzed = find_fuzzed(results / "latest")
    assert fuzzed is not None
    (axes,) = fuzz_picture(fuzzed).draw(LIGHT).axes
    assert sorted(len(np.asarray(dots.get_offsets())) for dots in axes.collections) == [3, 3, 3]
