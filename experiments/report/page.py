"""Compose report.html: one file, no network, light and dark."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Final

from experiments.compare import PolicyComparison
from experiments.figures import Paired, RunResult, ScenarioResult, Spread, Study, fetch_p95_ms, p95_ms
from experiments.jsonfields import JsonValue
from experiments.record import RunRecord
from experiments.report.canvas import Drawn
from experiments.report.labels import label_of
from experiments.report.palette import DARK, LIGHT, css_variables
from experiments.report.scales import DASH, milliseconds, ratio, span
from experiments.spec import BASELINE, command_line
from experiments.study import pair_ratios, ratio_of
from experiments.verdict import Criterion, Verdict, headline

_LIGHT: Final = f"{css_variables(LIGHT)} --page: #f6f8fa; --good: #1a7f4b; --bad: #b3261e; --warn: #8a6100;"
_DARK: Final = f"{css_variables(DARK)} --page: #0d1117; --good: #56c288; --bad: #ff7b72; --warn: #e3b341;"

_VERDICT_MEANING: Final = {
    "pass": "every promise was kept, and every run measured what it was meant to",
    "fail": "the runs are sound, and a promise was not kept",
    "inconclusive": "the runs are sound, but do not suffice to tell",
    "invalid": "the runs did not measure what they were meant to; nothing follows from the figures",
}

_UNITS: Final = {"iops": "IOPS", "mib_s": "MiB/s"}
_LATENCY_HEADS: Final = ("p50", "p95", "p99", "p95 / alone")

_GLOSSARY: Final = (
    (
        "p50, p95, p99",
        "The latency that 50, 95 or 99 in a hundred requests stay below. People feel the slow ones, so "
        "p95 is what is judged.",
    ),
    (
        "request latency",
        "From the moment at which a request was due by the schedule to its answer. The load generator does "
        "not wait for answers before it sends on, so that a service that stalls cannot hide it.",
    ),
    (
        "disk fetch",
        "The part of a request in which the service reads feature rows from the volume, by its own clock. "
        "On a twin without KVM the CPU part of a request is inflated about twentyfold and would hide the "
        "disk; so both are shown, and both are judged.",
    ),
    (
        "batch throughput",
        "What the low-priority job's cgroup moved to and from the volume (io.stat), not what it says "
        "of itself.",
    ),
    (
        "ratio",
        "A scenario's median over the median of baseline, the service alone, in the same experiment. The "
        "range below it is that of the single repeats, each against its neighbour in time.",
    ),
    (
        "work conservation",
        "Batch throughput under DRC-IO over batch throughput without control: what protection costs. "
        "A fixed limit could protect too, but would waste what the service does not need.",
    ),
    (
        "isolation",
        "Requests answered in time against the service alone, sampled through the run, at most 100%; "
        "the 1st percentile is the worst moment. The measure is resctl-bench's.",
    ),
    (
        "latency impact",
        "How much longer requests took on average than alone, sampled the same way; 0% is no impact.",
    ),
    (
        "spread",
        "Lowest to highest run. A run, not a request, is the sample: requests of one run share its luck.",
    ),
)


def page(
    study: Study,
    verdict: Verdict,
    records: Sequence[RunRecord],
    pictures: Sequence[Drawn],
    policies: PolicyComparison | None,
) -> str:
    """Return the whole page."""
    sections = [
        _header(study, verdict, records),
        _judgement(verdict),
        _scenarios(study),
        _policies(policies, verdict) if policies is not None else "",
        *(_figure(drawn) for drawn in pictures),
        _runs(study),
        _glossary(),
        _environment(study, records),
        _reproduce(study),
    ]
    themes = f":root {{ {_LIGHT} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {_DARK} }} }}\n"
    css = files("experiments.report").joinpath("report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>DRC-IO experiment: {verdict.outcome}</title>\n<style>\n{themes}{css}</style>\n</head>\n"
        f"<body>\n<main>\n{''.join(section for section in sections if section)}</main>\n</body>\n</html>\n"
    )


def _header(study: Study, verdict: Verdict, records: Sequence[RunRecord]) -> str:
    when = _utc(records[0].started_unix_s) if records else "no run"
    spec = study.spec
    return (
        f"<header>\n<p class='kicker'>DRC-IO experiment, {escape(when)}</p>\n"
        f"<h1>{escape(headline(study, verdict))}</h1>\n"
        f"<p><span class='verdict {verdict.outcome}'>{verdict.outcome}</span> "
        f"{escape(_VERDICT_MEANING[verdict.outcome])}.</p>\n"
        f"<p>A latency-critical service and a batch job share one volume ({escape(str(spec.volume))}: "
        f"{spec.volume.iops} IOPS, {spec.volume.mib_s} MiB/s). {len(study.runs)} runs of "
        f"{spec.duration_s:g} s each, {spec.rate_rps:g} requests a second, batch pattern "
        f"{escape(spec.lp_pattern)}.</p>\n</header>\n"
    )


def _judgement(verdict: Verdict) -> str:
    rows = [
        f"<tr><th scope='row'>{escape(_sentence_case(item.label))}</th><td>{_found(item)}</td>"
        f"<td>{'at least' if item.at_least else 'at most'} {item.limit:g}</td>{_met(item)}</tr>"
        for item in verdict.criteria
    ]
    reasons = (
        ""
        if verdict.outcome == "pass"
        else "<p>Why:</p>\n<ul>\n"
        + "".join(f"<li>{escape(reason.text)}.</li>\n" for reason in verdict.reasons)
        + "</ul>\n"
    )
    return (
        "<section>\n<h2>The judgement</h2>\n"
        + reasons
        + _table(["Promise", "Found", "Limit", "Kept"], rows)
        + "</section>\n"
    )


def _found(item: Criterion) -> str:
    return f"{item.found:.0f}" if item.name == "failed_requests" and item.found is not None else item.shown


def _met(item: Criterion) -> str:
    if item.met is None:
        return "<td>unknown</td>"
    return "<td class='yes'>yes</td>" if item.met else "<td class='no'>no</td>"


def _scenarios(study: Study) -> str:
    rows = [_scenario_row(study, result) for result in study.scenarios.values()]
    found = study.comparison
    protection = (
        f"<p>Under DRC-IO isolation is <b>{_percent(found.isolation)}</b> (1st percentile "
        f"{_percent(found.isolation_01)}) and latency impact <b>{_percent(found.lat_imp)}</b> (disk fetch "
        f"{_percent(found.fetch_lat_imp)}); without control they are {_percent(found.contention_isolation)} "
        f"and {_percent(found.contention_lat_imp)}.</p>\n"
        if found.isolation is not None
        else ""
    )
    return (
        "<section>\n<h2>The scenarios</h2>\n"
        "<p>Medians of the runs; below each the range from the lowest run to the highest.</p>\n"
        + _table(
            ["", *_LATENCY_HEADS, *_LATENCY_HEADS, "MiB/s", "failed"],
            rows,
            groups=(("", 1), ("Requests", 4), ("Disk fetch", 4), ("Batch job", 1), ("Requests", 1)),
        )
        + protection
        + "</section>\n"
    )


def _scenario_row(study: Study, result: ScenarioResult) -> str:
    hp, spread = result.hp, result.hp_spread
    base = study.scenarios.get(BASELINE)
    against = base if base is not result else None
    cells = [
        _with_range(hp.p50_ms, spread.get("p50_ms"), milliseconds),
        _with_range(hp.p95_ms, spread.get("p95_ms"), milliseconds),
        _with_range(hp.p99_ms, spread.get("p99_ms"), milliseconds),
        _with_range(ratio_of(result, against, p95_ms), pair_ratios(result, against, p95_ms), ratio),
        _with_range(hp.fetch_p50_ms, spread.get("fetch_p50_ms"), milliseconds),
        _with_range(hp.fetch_p95_ms, spread.get("fetch_p95_ms"), milliseconds),
        _with_range(hp.fetch_p99_ms, spread.get("fetch_p99_ms"), milliseconds),
        _with_range(
            ratio_of(result, against, fetch_p95_ms), pair_ratios(result, against, fetch_p95_ms), ratio
        ),
        _with_range(result.lp.mib_s, result.lp_spread.get("mib_s"), lambda value: f"{value:.1f}"),
        f"<td>{hp.errors}<small>of {hp.requests}</small></td>",
    ]
    return f"<tr><th scope='row'>{_key(result.name)}</th>{''.join(cells)}</tr>"


def _with_range(value: float | None, spread: Spread | Paired | None, write: Callable[[float], str]) -> str:
    if value is None:
        return f"<td>{DASH}</td>"
    text = f"<td>{escape(write(value))}"
    if spread is not None and spread.max > spread.min:
        text += f"<small>{escape(span(write(spread.min), write(spread.max)))}</small>"
    return f"{text}</td>"


def _policies(policies: PolicyComparison, verdict: Verdict) -> str:
    rows = [
        f"<tr><th scope='row'>{escape(result.policy)}</th>"
        + _with_range(result.p95_ratio, result.p95_pairs, ratio)
        + _with_range(result.fetch_p95_ratio, result.fetch_p95_pairs, ratio)
        + _with_range(result.lp_share, result.lp_pairs, lambda value: f"{value:.0%}")
        + f"<td>{result.lp_mib_s:.1f}</td><td>{result.errors}</td></tr>"
        for result in policies.policies
    ]
    remarks = "".join(f"<li>{escape(remark.text)}.</li>\n" for remark in verdict.remarks)
    if remarks:
        remarks = f"<p>To be read with care:</p>\n<ul>\n{remarks}</ul>\n"
    return (
        f"<section>\n<h2>The policies</h2>\n<p>{escape(policies.sentence)}</p>\n"
        + _table(
            [
                "Policy",
                "Request p95 against alone",
                "Fetch p95 against alone",
                "Batch throughput of uncontrolled",
                "Batch MiB/s",
                "Failed requests",
            ],
            rows,
        )
        + remarks
        + "</section>\n"
    )


def _figure(drawn: Drawn) -> str:
    picture = drawn.picture
    return (
        f"<section>\n<h2>{escape(picture.title)}</h2>\n"
        f"<figure role='group' aria-label=\"{escape(picture.alt)}\">\n{drawn.inline_svg()}\n"
        f"<figcaption>{escape(picture.caption)} <a href='{picture.name}.png'>PNG</a>, "
        f"<a href='{picture.name}.svg'>SVG</a></figcaption>\n</figure>\n</section>\n"
    )


def _runs(study: Study) -> str:
    rows = [_run_row(run) for run in study.runs]
    return (
        "<details>\n<summary>Every run in figures, with what shows whether it was sound</summary>\n"
        + _table(
            [
                "Run",
                "Repeat",
                "p95",
                "p99",
                "Fetch p95",
                "Answered",
                "Failed",
                "Sent late (p99)",
                "Batch MiB/s",
                "Batch share of volume",
                "Service waited for CPU",
                "Engine",
                "Weights",
            ],
            rows,
        )
        + "</details>\n"
    )


def _run_row(run: RunResult) -> str:
    health = run.health
    cells = [
        str(run.repeat),
        _or_dash(run.hp.p95_ms),
        _or_dash(run.hp.p99_ms),
        _or_dash(run.hp.fetch_p95_ms),
        str(health.completed),
        str(run.hp.errors),
        milliseconds(health.lag_p99_ms),
        f"{run.lp.mib_s:.1f}",
        f"{health.lp_volume_share:.0%}",
        f"{health.hp_cpu_wait_share:.0%}",
        health.engine,
        f"{health.hp_weight or DASH} : {health.lp_weight or DASH}",
    ]
    return (
        f"<tr><th scope='row'>{run.order}. {_key(run.scenario)}</th>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
    )


def _glossary() -> str:
    entries = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>\n" for name, text in _GLOSSARY)
    return f"<section>\n<h2>What the figures mean</h2>\n<dl class='glossary'>\n{entries}</dl>\n</section>\n"


def _environment(study: Study, records: Sequence[RunRecord]) -> str:
    entries = "".join(
        f"<dt>{escape(name.replace('_', ' '))}</dt><dd>{escape(_plain(value))}</dd>\n"
        for name, value in study.environment.items()
    )
    notes = "".join(
        f"<li>{escape(note)}</li>\n"
        for note in dict.fromkeys(note for record in records for note in record.notes)
    )
    noted = f"<p>Notes of the runs:</p>\n<ul>\n{notes}</ul>\n" if notes else ""
    return f"<section>\n<h2>Where it was measured</h2>\n<dl>\n{entries}</dl>\n{noted}</section>\n"


def _reproduce(study: Study) -> str:
    command = command_line(study.spec).replace(" --", " \\\n    --")
    return (
        "<section>\n<h2>How to reproduce it</h2>\n<p>The same experiment again, with the same request "
        f"schedules and order of runs:</p>\n<pre>{escape(command)}</pre>\n"
        "<p>This page from the stored records, without running anything:</p>\n"
        "<pre>python -m experiments report DIR</pre>\n"
        "<p>Beside this page lie <code>results.json</code> (these figures for machines) and "
        "<code>runs/</code> (one raw record for each run: latency histograms and every counter and knob once "
        "a second).</p>\n</section>\n"
    )


def _table(heads: Sequence[str], rows: Iterable[str], groups: Sequence[tuple[str, int]] = ()) -> str:
    """Lay out a table; `groups` are headings over several columns each."""
    over = "".join(f"<th scope='colgroup' colspan='{width}'>{escape(text)}</th>" for text, width in groups)
    head = "".join(f"<th scope='col'>{escape(text)}</th>" for text in heads)
    body = "\n".join(rows)
    return (
        f"<div class='scroll'><table>\n<thead>{f'<tr>{over}</tr>' if over else ''}<tr>{head}</tr></thead>\n"
        f"<tbody>\n{body}\n</tbody>\n</table></div>\n"
    )


def _key(scenario: str) -> str:
    colour = scenario if scenario in ("baseline", "contention", "drcio") else "other"
    name = label_of(scenario)
    told = "" if name == scenario else f"<small>{escape(name)}</small>"
    return f"<span class='key' style='background: var(--{colour})'></span>{escape(scenario)}{told}"


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


def _utc(unix_s: float) -> str:
    return datetime.datetime.fromtimestamp(unix_s, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def _or_dash(value_ms: float | None) -> str:
    return DASH if value_ms is None else milliseconds(value_ms)


def _percent(value: float | None) -> str:
    return DASH if value is None else f"{value:.0%}"


def _sentence_case(text: str) -> str:
    return text[:1].upper() + text[1:]
