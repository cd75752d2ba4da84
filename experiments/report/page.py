"""Compose report.html from its templates: one file, no network, no script, light and dark, on paper."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from experiments.fuzz.outcome import Outcome
from experiments.judgement.compare import PolicyComparison
from experiments.judgement.figures import Figure, Paired, ScenarioResult, Spread, Study, fetch_p95_ms, p95_ms
from experiments.judgement.study import pair_ratios, ratio_of
from experiments.judgement.verdict import Criterion, Verdict, headline, is_look
from experiments.records.jsonfields import JsonValue
from experiments.records.record import RunRecord
from experiments.records.spec import BASELINE, NO_POLICY, SCENARIOS, command_line
from experiments.report.actions import actions_of
from experiments.report.answers import answers, utc
from experiments.report.archive import ARCHIVE_FILE
from experiments.report.canvas import Drawn
from experiments.report.palette import DARK, LIGHT, css_variables, label_of
from experiments.report.scales import DASH, milliseconds, percent, ratio, span
from experiments.report.timeline import middle_runs

_LIGHT: Final = f"{css_variables(LIGHT)} --page: #f6f8fa; --good: #1a7f4b; --bad: #b3261e; --warn: #8a6100;"
_DARK: Final = f"{css_variables(DARK)} --page: #0d1117; --good: #56c288; --bad: #ff7b72; --warn: #e3b341;"
_UNITS: Final = {"iops": "IOPS", "mib_s": "MiB/s"}

Cell = tuple[str, str]
"""What a cell says, and the smaller line below it."""


def page(
    study: Study,
    verdict: Verdict,
    records: Sequence[RunRecord],
    pictures: Sequence[Drawn],
    policies: PolicyComparison | None,
    archive: bytes | None = None,
    fuzzed: tuple[Outcome, Drawn | None] | None = None,
) -> str:
    """Return the whole page; `archive` is what it carries of the raw records, as a .tar.gz.

    `fuzzed` is a distribution's outcome that lies beside them, and its picture.
    """
    fuzz_drawing = fuzzed[1] if fuzzed is not None else None
    return (
        _templates()
        .get_template("page.html")
        .render(
            study=study,
            spec=study.spec,
            verdict=verdict,
            look=is_look(study, verdict),
            headline=headline(study, verdict),
            repeated=any(len(result.runs) > 1 for result in study.scenarios.values()),
            when=utc(records[0].started_unix_s) if records else "no run",
            answers=answers(study, verdict, records),
            scenarios=[(name, _scenario_cells(study, result)) for name, result in study.scenarios.items()],
            policies=policies,
            policy_rows=_policy_rows(policies),
            fuzzed=fuzzed[0] if fuzzed is not None else None,
            fuzz_drawing=fuzz_drawing,
            fuzz_svg=Markup(fuzz_drawing.inline_svg()) if fuzz_drawing is not None else "",  # noqa: S704 - likewise
            pictures=[(drawn.picture, Markup(drawn.inline_svg())) for drawn in pictures],  # noqa: S704 - our own drawing
            acted=[(run, actions_of(run)) for run in middle_runs(study, records) if run.policy != NO_POLICY],
            notes=list(dict.fromkeys(note for record in records for note in record.notes)),
            command=command_line(study.spec).replace(" --", " \\\n    --"),
            archive=base64.b64encode(archive).decode("ascii") if archive is not None else None,
            archive_kib=len(archive) / 1024 if archive is not None else 0,
            archive_file=ARCHIVE_FILE,
        )
    )


def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("experiments.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "ms": milliseconds,
        "percent": percent,
        "plain": _plain,
        "sentence_case": lambda text: text[:1].upper() + text[1:],
        "label": label_of,
        "colour": lambda scenario: scenario if scenario in SCENARIOS else "other",
        "found": _found,
    }
    environment.globals |= {
        "style": Markup(_style()),  # noqa: S704 - our own file
        "dash": DASH,
    }
    return environment


def _style() -> str:
    themes = f":root {{ {_LIGHT} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {_DARK} }} }}\n"
    return (
        themes
        + f"@media print {{ :root {{ {_LIGHT} }} }}\n"
        + files("experiments.report").joinpath("report.css").read_text(encoding="utf-8")
    )


def _found(item: Criterion) -> str:
    return f"{item.found:.0f}" if item.name == "failed_requests" and item.found is not None else item.shown


def _scenario_cells(study: Study, result: ScenarioResult) -> list[Cell]:
    hp, spread = result.hp, result.hp_spread
    base = study.scenarios.get(BASELINE)
    against = base if base is not result else None

    def latencies(of_part: str, p95: Figure) -> list[Cell]:
        names = (f"{of_part}p50_ms", f"{of_part}p95_ms", f"{of_part}p99_ms")
        return [
            *(_cell(getattr(hp, name), spread.get(name), milliseconds) for name in names),
            _cell(ratio_of(result, against, p95), pair_ratios(result, against, p95), ratio),
        ]

    return [
        *latencies("", p95_ms),
        *latencies("fetch_", fetch_p95_ms),
        _cell(result.lp.mib_s, result.lp_spread.get("mib_s"), lambda value: f"{value:.1f}"),
        (str(hp.errors), f"of {hp.requests}"),
    ]


def _policy_rows(policies: PolicyComparison | None) -> list[tuple[str, list[Cell]]]:
    return [
        (
            result.policy,
            [
                _cell(result.p95_ratio, result.paired.get("p95_ratio"), ratio),
                _cell(result.fetch_p95_ratio, result.paired.get("fetch_p95_ratio"), ratio),
                _cell(result.lp_share, result.paired.get("lp_share"), percent),
                (f"{result.lp_mib_s:.1f}", ""),
                (str(result.errors), ""),
            ],
        )
        for result in (policies.policies if policies is not None else ())
    ]


def _cell(value: float | None, spread: Spread | Paired | None, write: Callable[[float], str]) -> Cell:
    if value is None:
        return DASH, ""
    apart = spread is not None and spread.max > spread.min
    return write(value), span(write(spread.min), write(spread.max)) if spread is not None and apart else ""


def _plain(value: JsonValue) -> str:
    """Write a fact of the environment as text."""
    if isinstance(value, Mapping):
        return ", ".join(
            f"{_UNITS.get(name, name.replace('_', ' '))} {_plain(entry)}" for name, entry in value.items()
        )
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence):
        return ", ".join(_plain(entry) for entry in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "unknown" if value is None else str(value)
