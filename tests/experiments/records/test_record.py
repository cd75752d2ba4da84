import contextlib
import copy
import json
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.errors import RecordError
from experiments.judgement.study import study
from experiments.judgement.verdict import judge
from experiments.records.jsonfields import Field, JsonObject, JsonValue
from experiments.records.record import dump_run, load_run, read_run, read_runs, write_run
from tests.experiments.build import build_records, build_spec

RECORDS = build_records()
RECORD = next(record for record in RECORDS if record.scenario == "drcio")
DOCUMENT = json.loads(json.dumps(dump_run(RECORD)))


def test_record_survives_its_json_form(tmp_path: Path) -> None:
    assert read_run(write_run(tmp_path, RECORD)) == RECORD


def test_records_are_read_in_the_order_of_their_runs(tmp_path: Path) -> None:
    for record in reversed(RECORDS):
        write_run(tmp_path, record)
    assert read_runs(tmp_path) == RECORDS


def test_writing_leaves_no_partial_file(tmp_path: Path) -> None:
    write_run(tmp_path, RECORD)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [RECORD.file_name]


def test_folder_without_records_is_refused_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no run records") as refused:
        read_runs(tmp_path)
    assert refused.value.hint is not None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema": "drcio.run/2"}', "[" * 100_000])
def test_file_of_another_kind_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "01-baseline-r1.json"
    path.write_text(text)
    with pytest.raises(RecordError, match=r"01-baseline-r1\.json"):
        read_run(path)


def test_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecordError, match="cannot be read"):
        read_run(path)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("scenario",), 3, "scenario is 3; expected a string"),
        (("interrupted",), "no", 'interrupted is "no"; expected true or false'),
        (("load", "schema"), "x/9", "load.schema"),
        (("load", "completed"), -1, "load.completed is -1; expected a whole number of at least 0"),
        (("load", "errors"), [1], "load.errors is .*; expected an object"),
        (("load", "latency", "p95_ms"), "fast", "load.latency.p95_ms"),
        (("samples",), {}, "samples is {}; expected a list"),
        (("samples", 3, "pods", "hp-gnn-service", "io", "254:0", "rbytes"), 1.5, r"samples\[3\].*rbytes"),
        (("samples", 3, "pods", "hp-gnn-service", "io", "254:0"), {}, r"io.254:0.rbytes is missing"),
        (("samples", 3, "cpu"), {"cpus": 2}, r"samples\[3\].cpu.busy_us is missing"),
        (("clock",), "sundial", 'clock is "sundial"; expected one of real, virtual'),
        (("pods", "lp-batch", "role"), "batch", "expected one of hp, lp, load, other"),
        (("duration_s",), float("inf"), "duration_s is Infinity; expected a finite number"),
    ],
)
def test_wrong_field_is_named_with_what_was_found_and_expected(
    place: tuple[str | int, ...], value: object, message: str
) -> None:
    document = copy.deepcopy(DOCUMENT)
    *path, last = place
    parent = document
    for step in path:
        parent = parent[step]
    parent[last] = value
    with pytest.raises(RecordError, match=message):
        load_run(Field(document, "", "run.json", "hint"))


def test_missing_field_is_named_with_its_place() -> None:
    document = copy.deepcopy(DOCUMENT)
    del document["load"]["latency"]["histogram"]
    assert load_run(Field(document, "", "run.json", "hint")).load.latency.histogram == ""
    del document["load"]["latency"]
    with pytest.raises(RecordError, match=r"run.json: field load.latency is missing"):
        load_run(Field(document, "", "run.json", "hint"))


def test_field_of_a_newer_writer_is_passed_over() -> None:
    document = {**DOCUMENT, "colour": "blue"}
    assert load_run(Field(document, "", "run.json", "hint")) == RECORD


def test_record_of_an_older_writer_is_read() -> None:
    document = copy.deepcopy(DOCUMENT)
    for later in ("window_s", "lag_histogram", "interrupted", "warmup"):
        del document["load"][later]
    for later in ("clock", "cost", "host"):
        document.pop(later, None)
    loaded = load_run(Field(document, "", "run.json", "hint"))
    assert (loaded.clock, loaded.cost, loaded.host) == ("real", None, ())
    assert (loaded.load.window_s, loaded.load.warmup.sent) == (None, 0)
    assert loaded.load.latency == RECORD.load.latency


def test_unknown_io_counters_are_kept() -> None:
    document = copy.deepcopy(DOCUMENT)
    document["samples"][0]["pods"]["hp-gnn-service"]["io"]["254:0"]["dbytes"] = 7
    loaded = load_run(Field(document, "", "run.json", "hint"))
    assert loaded.samples[0].pods["hp-gnn-service"].io["254:0"]["dbytes"] == 7
    assert json.loads(json.dumps(dump_run(loaded))) == document


_JSON: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


Holder = dict[str | int, JsonValue]
"""A list or an object while it is being damaged: both are changed by key."""


@st.composite
def damaged(draw: st.DrawFn) -> JsonObject:
    """Replace or remove one value somewhere in a sound document."""
    document: Holder = copy.deepcopy(DOCUMENT)
    place = document
    while True:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        key = draw(st.sampled_from(list[str | int](keys)))
        child = place[key]
        if not isinstance(child, dict | list) or not child or draw(st.integers(0, 3)) == 0:
            break
        place = cast(Holder, child)
    if draw(st.booleans()):
        place[key] = draw(_JSON)
    else:
        del place[key]
    return cast(JsonObject, document)


@given(document=damaged())
@settings(max_examples=150, deadline=None)
def test_damage_anywhere_is_refused_in_words_or_can_be_judged(document: JsonObject) -> None:
    with contextlib.suppress(RecordError):
        judge(study([load_run(Field(document, "", "run.json", "hint"))], build_spec()))
