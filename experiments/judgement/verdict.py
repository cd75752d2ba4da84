"""Judge a study: pass, fail, inconclusive or invalid, each with its reasons in plain words.

invalid       the runs did not measure what they were meant to; nothing follows from the figures
inconclusive  the runs are sound, but do not suffice for a decision
fail          the figures suffice, and DRC-IO missed what was promised
pass          every criterion is met by sound runs

The worst finding decides, in this order: invalid, inconclusive, fail, pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from experiments.judgement.cpu import QUIET_REMEDY, without_cpu
from experiments.judgement.faults import faults_of_runs, faults_of_study
from experiments.judgement.figures import Study
from experiments.judgement.reasons import Badness, Outcome, Reason
from experiments.judgement.thresholds import Thresholds
from experiments.records.spec import CONTENTION, DRCIO, SCENARIOS

EXIT_CODES: Final[dict[Outcome, int]] = {"pass": 0, "fail": 1, "inconclusive": 3, "invalid": 4}
"""What `run` and `report` exit with; 2 is left to wrong usage and to errors."""

_WORST_FIRST: Final[tuple[Badness, ...]] = ("invalid", "inconclusive", "fail")


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One promise with what was found."""

    name: str
    label: str
    found: float | None
    limit: float
    at_least: bool
    """Whether the limit is the least that is allowed; otherwise it is the most."""
    missed: Badness
    """What missing it makes of the study."""
    without_cpu: tuple[float, ...] = ()
    """What the figure may have been without what the CPUs did; empty where that is unknown."""

    @property
    def met(self) -> bool | None:
        """Return whether it holds; None where there is no figure to hold against it."""
        return self._holds(self.found)

    @property
    def decided_otherwise(self) -> float | None:
        """Return the figure without the CPUs' part that decides it otherwise; None if none does."""
        return next((figure for figure in self.without_cpu if self._holds(figure) != self.met), None)

    def _holds(self, figure: float | None) -> bool | None:
        if figure is None:
            return None
        return figure >= self.limit if self.at_least else figure <= self.limit

    @property
    def text(self) -> str:
        if self.found is None:
            return f"{self.label} is unknown (limit {self._limit})"
        return f"{self.label} is {self.shown} ({self._limit})"

    @property
    def shown(self) -> str:
        """Write the figure with two decimals, and more where it would look like a limit that it misses."""
        if self.found is None:
            return "unknown"
        decimals = 2
        while not self.met and decimals < 6 and round(self.found, decimals) == self.limit:
            decimals += 1
        return f"{self.found:.{decimals}f}"

    @property
    def _limit(self) -> str:
        return f"at {'least' if self.at_least else 'most'} {self.limit:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The outcome, why, and every promise beside its figure."""

    outcome: Outcome
    reasons: tuple[Reason, ...]
    criteria: tuple[Criterion, ...]
    remarks: tuple[Reason, ...] = ()
    """Faults of the runs of compared policies: they touch the comparison, not the verdict on ours."""

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.outcome]

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(reason.text for reason in self.reasons)

    @property
    def remedies(self) -> tuple[str, ...]:
        """Return what to do about it, each once."""
        return tuple(dict.fromkeys(reason.remedy for reason in self.reasons if reason.remedy))


def unsettled_by(verdict: Verdict) -> Reason | None:
    """Return what keeps a study from being decided that more repeats may settle; None if they cannot.

    They cannot where the study is decided, and where another reason would still keep it open.
    """
    reasons = [reason for reason in verdict.reasons if reason.outcome == verdict.outcome]
    if verdict.outcome != "inconclusive" or not all(reason.more_repeats_may_settle for reason in reasons):
        return None
    return reasons[0]


def judge(study: Study, thresholds: Thresholds | None = None) -> Verdict:
    """Judge a study against the thresholds (by default those of the contract)."""
    limits = thresholds or Thresholds()
    criteria = criteria_of(study, limits)
    reasons = [
        *faults_of_runs(study, limits, lambda run: run.scenario in SCENARIOS),
        *faults_of_study(study, limits),
    ]
    if all(name in study.scenarios for name in SCENARIOS):
        reasons += _missed(criteria)
    outcome: Outcome = next(
        (level for level in _WORST_FIRST if any(reason.outcome == level for reason in reasons)), "pass"
    )
    if outcome == "pass":
        reasons = [Reason(outcome="pass", code=item.name, statement=item.text) for item in criteria]
    return Verdict(
        outcome=outcome,
        reasons=tuple(sorted(reasons, key=lambda reason: (*_WORST_FIRST, "pass").index(reason.outcome))),
        criteria=criteria,
        remarks=tuple(faults_of_runs(study, limits, lambda run: run.scenario not in SCENARIOS)),
    )


_PROMISES: Final[tuple[tuple[str, str, str, Badness], ...]] = (
    (
        "contention_p95_ratio",
        "p95 under contention over p95 alone",
        "contention_p95_ratio_min",
        "inconclusive",
    ),
    ("drcio_p95_ratio", "p95 under DRC-IO over p95 alone", "drcio_p95_ratio_max", "fail"),
    ("drcio_fetch_p95_ratio", "disk fetch p95 under DRC-IO over alone", "drcio_fetch_p95_ratio_max", "fail"),
    ("work_conservation", "batch throughput under DRC-IO over uncontrolled", "work_conservation_min", "fail"),
)
"""Each figure's one name in the comparison and without the CPUs' part, its label, its limit in `Thresholds`,
and what missing it makes of the study."""


def criteria_of(study: Study, limits: Thresholds) -> tuple[Criterion, ...]:
    """Set every promise beside its figure."""
    cpu = without_cpu(study)
    ratios = (
        Criterion(
            name=name,
            label=label,
            found=getattr(study.comparison, name),
            without_cpu=getattr(cpu, name),
            limit=limit,
            at_least=threshold.endswith("_min"),
            missed=missed,
        )
        for name, label, threshold, missed in _PROMISES
        if (limit := getattr(limits, threshold)) is not None
    )
    errors = sum(result.hp.errors for name, result in study.scenarios.items() if name in SCENARIOS)
    failed = Criterion(
        name="failed_requests",
        label="failed requests",
        found=float(errors) if study.scenarios else None,
        limit=limits.failed_requests_max,
        at_least=False,
        missed="fail",
    )
    return (*ratios, failed)


def headline(study: Study, verdict: Verdict) -> str:
    """Return the outcome in one sentence."""
    found = study.comparison
    if is_look(study, verdict):
        return _looked(study)
    if verdict.outcome in ("invalid", "inconclusive"):
        word = "not valid" if verdict.outcome == "invalid" else "not conclusive"
        more = len(verdict.reasons) - 1
        tail = f" (and {more} more reason{'s' if more > 1 else ''})" if more else ""
        return f"This experiment is {word}: {verdict.reasons[0].statement}{tail}."
    kept = (
        f"p95 latency is {found.drcio_p95_ratio:.2f}x of what it is alone, "
        f"against {found.contention_p95_ratio:.1f}x without control, "
        f"and the batch job gets {found.work_conservation:.0%} of its uncontrolled throughput"
    )
    if verdict.outcome == "pass":
        return f"DRC-IO kept the service fast: {kept}."
    return f"DRC-IO missed its promise: {kept}; {verdict.reasons[0].statement}."


def is_look(study: Study, verdict: Verdict) -> bool:
    """Return whether only contention and drcio were run, soundly: that shows what control does, no more."""
    return verdict.outcome == "inconclusive" and set(study.scenarios) == {CONTENTION, DRCIO}


def _looked(study: Study) -> str:
    contention, drcio = study.scenarios[CONTENTION], study.scenarios[DRCIO]
    parts = []
    if contention.hp.p95_ms is not None and drcio.hp.p95_ms is not None:
        parts.append(
            f"p95 latency is {drcio.hp.p95_ms:.0f} ms against {contention.hp.p95_ms:.0f} ms without control"
        )
    if contention.lp.mib_s > 0:
        parts.append(
            f"the batch job gets {drcio.lp.mib_s / contention.lp.mib_s:.0%} of its uncontrolled throughput"
        )
    return f"A look and no proof: {' and '.join(parts) or 'it shows no figure'}."


def _missed(criteria: Sequence[Criterion]) -> Iterator[Reason]:
    for item in criteria:
        if item.met is None:
            yield Reason(outcome="inconclusive", code=item.name, statement=item.text)
        elif (other := item.decided_otherwise) is not None:
            yield Reason(
                outcome="inconclusive",
                code="cpu-decides",
                statement=f"{item.text}, but may have been {other:.2f} with as much CPU in every run: "
                "the CPU decides, not the volume",
                remedy=QUIET_REMEDY,
                more_repeats_may_settle=True,
            )
        elif not item.met and item.name == "contention_p95_ratio":
            yield Reason(
                outcome=item.missed,
                code=item.name,
                statement=f"{item.text}: there was nothing to protect the service from",
            )
        elif not item.met and item.name != "failed_requests":
            yield Reason(outcome=item.missed, code=item.name, statement=item.text)
