"""The five questions that whoever gets a report has, each with its answer."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from experiments.judgement.figures import Paired, ScenarioResult, Study, fetch_p95_ms, over, p95_ms
from experiments.judgement.verdict import Criterion, Verdict, is_look
from experiments.records.jsonfields import JsonValue
from experiments.records.record import RunRecord
from experiments.records.spec import BASELINE, CONTENTION, DRCIO
from experiments.report.scales import DASH, milliseconds, percent, ratio, span

State = Literal["yes", "no", "open", "plain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A question, its answer in a few words, and what it rests on."""

    question: str
    short: str
    state: State
    details: tuple[str, ...]


def answers(study: Study, verdict: Verdict, records: Sequence[RunRecord]) -> tuple[Answer, ...]:
    """Answer whether there was contention, whether it was controlled, at what cost, how sure, and on what."""
    if is_look(study, verdict):
        return (*_looked(study), _place(study, records))
    criteria = {item.name: item for item in verdict.criteria}
    open_whole = verdict.outcome in ("invalid", "inconclusive")
    return (
        _contention(study, criteria["contention_p95_ratio"]),
        _control(study, criteria, open_whole=open_whole),
        _cost(study, criteria["work_conservation"], open_whole=open_whole),
        _certainty(study, verdict),
        _place(study, records),
    )


def _looked(study: Study) -> tuple[Answer, ...]:
    """Answer what can be answered without the service alone: how the two scenarios differ."""
    contention, drcio = study.scenarios[CONTENTION], study.scenarios[DRCIO]
    slower = over(contention.hp.p95_ms, drcio.hp.p95_ms)
    kept = over(drcio.lp.mib_s, contention.lp.mib_s)
    return (
        Answer(
            question="What did the batch job do to the service?",
            short=_time(contention.hp.p95_ms),
            state="plain",
            details=("Request p95", f"Disk fetch p95: {_time(contention.hp.fetch_p95_ms)}"),
        ),
        Answer(
            question="And under DRC-IO?",
            short=_time(drcio.hp.p95_ms),
            state="plain",
            details=_known(
                [
                    f"Request p95, {ratio(slower)} as long without control" if slower is not None else "",
                    f"Disk fetch p95: {_time(drcio.hp.fetch_p95_ms)}",
                ]
            ),
        ),
        Answer(
            question="What did it cost the batch job?",
            short="cannot be told" if kept is None else _lost(kept),
            state="plain",
            details=(f"{drcio.lp.mib_s:.0f} of {contention.lp.mib_s:.0f} MiB/s without control",),
        ),
        Answer(
            question="How sure is it?",
            short="a look, not judged",
            state="plain",
            details=("Once each, and the service was not measured alone", "make demo measures and judges"),
        ),
    )


def _time(value_ms: float | None) -> str:
    return "not known" if value_ms is None else milliseconds(value_ms)


def _contention(study: Study, item: Criterion) -> Answer:
    base, contention = study.scenarios.get(BASELINE), study.scenarios.get(CONTENTION)
    details = _against_alone(contention, base)
    if contention is not None:
        used = max(run.health.lp_volume_share for run in contention.runs)
        details.append(f"The batch job used {used:.0%} of the volume")
    state = _state(item, open_whole=False)
    return Answer(
        question="Was there contention?",
        short=_short(item, state, missed="too little"),
        state=state,
        details=_known(details),
    )


def _control(study: Study, criteria: dict[str, Criterion], *, open_whole: bool) -> Answer:
    base, drcio = study.scenarios.get(BASELINE), study.scenarios.get(DRCIO)
    item = criteria["drcio_p95_ratio"]
    fetch = criteria.get("drcio_fetch_p95_ratio")
    worst = fetch if fetch is not None and item.met and fetch.met is False else item
    details = [
        *_against_alone(drcio, base),
        f"Promised: at most {item.limit:g} times as long as alone",
    ]
    state = _state(worst, open_whole=open_whole)
    return Answer(
        question="Was it controlled?",
        short=_short(worst, state, missed="no"),
        state=state,
        details=_known(details),
    )


def _cost(study: Study, item: Criterion, *, open_whole: bool) -> Answer:
    contention, drcio = study.scenarios.get(CONTENTION), study.scenarios.get(DRCIO)
    details = []
    if contention is not None and drcio is not None:
        details.append(f"{drcio.lp.mib_s:.0f} of {contention.lp.mib_s:.0f} MiB/s without control")
    details.append(f"Promised: at least {item.limit:.0%} of it")
    state = _state(item, open_whole=open_whole)
    if item.found is None:
        short = "cannot be told"
    elif state == "open":
        short = f"cannot be told, {1 - item.found:.0%} found"
    else:
        short = _lost(item.found)
    return Answer(
        question="What did it cost the batch job?",
        short=short,
        state=state,
        details=tuple(details),
    )


def _lost(kept: float) -> str:
    return "nothing" if kept >= 1 else f"{1 - kept:.0%} of its throughput"


def _certainty(study: Study, verdict: Verdict) -> Answer:
    paired = study.comparison.paired
    found = paired.get("drcio_p95_ratio")
    added = study.repeats - study.spec.repeats
    details = [
        _range("DRC-IO over alone", found, ratio),
        _range("No control over alone", paired.get("contention_p95_ratio"), ratio),
        _range("Batch job", paired.get("work_conservation"), percent),
        f"{study.spec.repeats} repeats asked for, {added} added to settle it" if added else "",
        _cpu(study),
    ]
    word = {"pass": "every promise kept", "fail": "a promise missed"}.get(verdict.outcome, "not sure")
    repeats = f"{study.repeats} repeat{'s' if study.repeats != 1 else ''}"
    return Answer(
        question="How sure is it?",
        short=f"{word}, {repeats}",
        state={"pass": "yes", "fail": "no"}.get(verdict.outcome, "open"),  # type: ignore[arg-type]
        details=_known(details),
    )


def _cpu(study: Study) -> str:
    """Describe how alike the CPUs were in all runs."""
    runs = study.runs
    if any(run.cpu.clock == "virtual" for run in runs):
        return "Virtual time: what the host did does not count"
    lost = [max(run.cpu.steal_share or 0.0, run.cpu.taken_share or 0.0) for run in runs]
    if all(run.cpu.steal_share is None and run.cpu.taken_share is None for run in runs):
        return "What else the CPUs did was not recorded"
    most = f"{max(lost):.0%}"
    return f"CPU time taken from outside: {'none' if most == '0%' else f'at most {most} of a run'}"


def _place(study: Study, records: Sequence[RunRecord]) -> Answer:
    environment = study.environment
    target, accelerator = environment.get("target"), environment.get("accelerator")
    where = {"twin": "a node twin", "cluster": "a cluster"}.get(str(target), _text(target))
    how = {"kvm": "KVM", "tcg": "an emulated CPU"}.get(str(accelerator), _text(accelerator))
    clock = "virtual time" if records and records[0].clock == "virtual" else "real time"
    volume = study.spec.volume
    cpus, machine = _text(environment.get("cpus")), _text(environment.get("machine"))
    processors = f"{cpus} CPU{'' if cpus == '1' else 's'}"
    details = [
        f"{where[:1].upper()}{where[1:]} with {how}, {clock}" if how else f"{where[:1].upper()}{where[1:]}",
        f"{processors}{f', {machine}' if machine else ''}" if cpus else machine,
        f"Volume {volume}: {volume.iops} IOPS, {volume.mib_s} MiB/s",
        f"DRC-IO {_text(environment.get('commit'))}, {utc(records[0].started_unix_s)}" if records else "",
    ]
    return Answer(
        question="On what?",
        short=f"Linux {_text(environment.get('kernel')) or 'unknown'}",
        state="plain",
        details=_known(details),
    )


def utc(unix_s: float) -> str:
    """Write a moment for people."""
    return datetime.datetime.fromtimestamp(unix_s, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def _short(item: Criterion, state: State, *, missed: str) -> str:
    if item.found is None or state == "open":
        return "cannot be told" if item.found is None else f"cannot be told, {ratio(item.found)} found"
    return f"{'yes' if item.met else missed}, {ratio(item.found)}"


def _state(item: Criterion, *, open_whole: bool) -> State:
    if open_whole or item.met is None or item.decided_otherwise is not None:
        return "open"
    return "yes" if item.met else "no"


def _against_alone(result: ScenarioResult | None, base: ScenarioResult | None) -> list[str]:
    """Set a scenario's latencies against those of the service alone, as far as both are known."""
    if result is None or base is None:
        return []
    parts = (("Request p95", p95_ms), ("Disk fetch p95", fetch_p95_ms))
    pairs = [(what, read(result), read(base)) for what, read in parts]
    return [
        f"{what}: {milliseconds(found)}, alone {milliseconds(alone)}"
        for what, found, alone in pairs
        if found is not None and alone is not None
    ]


def _range(what: str, paired: Paired | None, write: Callable[[float], str]) -> str:
    if paired is None:
        return ""
    low, high = write(paired.min), write(paired.max)
    return f"{what}: {low if low == high else span(low, high)}"


def _text(value: JsonValue) -> str:
    return "" if value is None else str(value)


def _known(details: Sequence[str]) -> tuple[str, ...]:
    return tuple(detail for detail in details if detail and detail != DASH)
