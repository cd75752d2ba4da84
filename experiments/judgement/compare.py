"""Set policies against each other: what each costs the service and what it leaves to the batch job."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from experiments.judgement.figures import Paired, ScenarioResult, Study, fetch_p95_ms, lp_mib_s, p95_ms
from experiments.judgement.study import paired_ratios, ratio_of
from experiments.records.spec import BASELINE, CONTENTION, DRCIO, SCENARIOS

TIE_TOLERANCE: Final = 0.05
"""Figures within 5% of each other are a draw: a quiet twin's own runs lie further apart than that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyResult:
    """One policy's three figures, each a ratio of medians, with the ratios of each repeat beside it."""

    policy: str
    p95_ratio: float | None
    """Against the service alone; 1 is perfect."""
    fetch_p95_ratio: float | None
    lp_share: float | None
    """The batch job's throughput against its throughput without any policy; 1 is perfect."""
    lp_mib_s: float
    errors: int
    paired: Mapping[str, Paired]
    """The three ratios' own names; what no repeat has is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyComparison:
    """All policies, each compared with ours."""

    as_good_as_ours: tuple[str, ...]
    """Lose nothing to DRC-IO: in no figure worse by more than the tolerance."""
    lower_latency: tuple[str, ...]
    """Beat DRC-IO in a latency by more than the tolerance, and lose to it in throughput."""
    more_throughput: tuple[str, ...]
    """Beat DRC-IO in throughput by more than the tolerance, and lose to it in a latency."""
    other_latency: tuple[str, ...]
    """Beat DRC-IO in one latency by more than the tolerance, and lose to it in the other."""
    policies: tuple[PolicyResult, ...]

    @property
    def sentence(self) -> str:
        """Return in one sentence how ours stands, without flattering it."""
        if not any(result.policy == DRCIO for result in self.policies):
            return "DRC-IO was not among the policies, so nothing is said of it."
        if self.as_good_as_ours:
            return f"{_who(self.as_good_as_ours, 'lose')} nothing to DRC-IO in this experiment."
        trades = ""
        if self.lower_latency:
            trades += f" {_who(self.lower_latency, 'keep')} latency lower, at the batch job's expense."
        if self.more_throughput:
            trades += f" {_who(self.more_throughput, 'give')} the batch job more, at the service's expense."
        if self.other_latency:
            trades += f" {_who(self.other_latency, 'keep')} one latency lower and the other higher."
        return "No other policy is as good as DRC-IO in latency and throughput together." + trades


def compares_policies(study: Study) -> bool:
    """Return whether the experiment has more arms than the three scenarios."""
    return any(name not in SCENARIOS for name in study.scenarios)


def compare_policies(study: Study) -> PolicyComparison:
    """Work out the policies' figures and who stands where against ours."""
    base, contention = study.scenarios.get(BASELINE), study.scenarios.get(CONTENTION)
    policies = tuple(
        _policy_result(result, base, contention)
        for name, result in study.scenarios.items()
        if name != BASELINE
    )
    ours = [result for result in policies if result.policy == DRCIO]
    rivals = [(other, one) for one in ours for other in policies if other.policy != DRCIO]
    return PolicyComparison(
        policies=policies,
        as_good_as_ours=tuple(other.policy for other, one in rivals if _loses_nothing(other, one)),
        lower_latency=_trading(rivals, _latency_losses, _throughput_losses),
        more_throughput=_trading(rivals, _throughput_losses, _latency_losses),
        other_latency=_trading(rivals, _latency_losses, _latency_losses),
    )


def _policy_result(
    result: ScenarioResult, base: ScenarioResult | None, contention: ScenarioResult | None
) -> PolicyResult:
    ratios = {
        "p95_ratio": (result, base, p95_ms),
        "fetch_p95_ratio": (result, base, fetch_p95_ms),
        "lp_share": (result, contention, lp_mib_s),
    }
    return PolicyResult(
        policy=result.policy,
        lp_mib_s=result.lp.mib_s,
        errors=result.hp.errors,
        **{name: ratio_of(*sides) for name, sides in ratios.items()},
        paired=paired_ratios(ratios),
    )


Losses = Callable[[PolicyResult, PolicyResult], list[float]]
"""How much worse another policy is than ours in some figures: 1.1 is 10% worse, 0.9 better."""


def _latency_losses(other: PolicyResult, ours: PolicyResult) -> list[float]:
    return [
        *_loss(other.p95_ratio, ours.p95_ratio),
        *_loss(other.fetch_p95_ratio, ours.fetch_p95_ratio),
    ]


def _throughput_losses(other: PolicyResult, ours: PolicyResult) -> list[float]:
    return _loss(ours.lp_share, other.lp_share)


def _loss(worse_if_more: float | None, reference: float | None) -> list[float]:
    """Divide two figures that both exist; against a reference of zero every figure loses."""
    if worse_if_more is None or reference is None:
        return []
    return [worse_if_more / reference if reference else float("inf")]


def _loses_nothing(other: PolicyResult, ours: PolicyResult) -> bool:
    losses = _latency_losses(other, ours) + _throughput_losses(other, ours)
    return bool(losses) and all(loss <= 1 + TIE_TOLERANCE for loss in losses)


def _trading(
    rivals: Sequence[tuple[PolicyResult, PolicyResult]], won: Losses, lost: Losses
) -> tuple[str, ...]:
    """Name the policies that beat ours in one of the first figures, and lose to it in one of the second."""
    return tuple(
        other.policy
        for other, ours in rivals
        if any(loss < 1 / (1 + TIE_TOLERANCE) for loss in won(other, ours))
        and any(loss > 1 + TIE_TOLERANCE for loss in lost(other, ours))
    )


def _who(names: Sequence[str], verb: str) -> str:
    """Return all the names and the verb that agrees with them."""
    if len(names) == 1:
        return f"{names[0]} {verb}s"
    return f"{', '.join(names[:-1])} and {names[-1]} {verb}"
