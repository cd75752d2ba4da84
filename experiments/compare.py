"""Set policies against each other: what each costs the service and what it leaves to the batch job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from experiments.jsonfields import JsonObject
from experiments.spec import BASELINE, CONTENTION, DRCIO, SCENARIOS
from experiments.study import (
    Paired,
    ScenarioResult,
    Study,
    fetch_p95_ms,
    lp_mib_s,
    p95_ms,
    pair_ratios,
    ratio_of,
)

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
    p95_pairs: Paired | None
    fetch_p95_pairs: Paired | None
    lp_pairs: Paired | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyComparison:
    """All policies, and what can be said of them against ours."""

    policies: tuple[PolicyResult, ...]
    as_good_as_ours: tuple[str, ...]
    """Lose nothing to DRC-IO: in no figure worse by more than the tolerance."""
    better_somewhere: tuple[str, ...]
    """Beat DRC-IO by more than the tolerance in at least one figure (and may lose another)."""

    @property
    def sentence(self) -> str:
        """Say in one sentence how ours stands, without flattering it."""
        if not any(result.policy == DRCIO for result in self.policies):
            return "DRC-IO was not among the policies, so nothing is said of it."
        if self.as_good_as_ours:
            verb = "loses" if len(self.as_good_as_ours) == 1 else "lose"
            return f"{_list(self.as_good_as_ours)} {verb} nothing to DRC-IO in this experiment."
        one = len(self.better_somewhere) == 1
        others = (
            f" {_list(self.better_somewhere)} {'beats' if one else 'beat'} it in one figure "
            f"and {'pays' if one else 'pay'} in another."
            if self.better_somewhere
            else ""
        )
        return f"No other policy is as good as DRC-IO in latency and throughput together.{others}"


def compares_policies(study: Study) -> bool:
    """Say whether the experiment has more arms than the three scenarios."""
    return any(name not in SCENARIOS for name in study.scenarios)


def compare_policies(study: Study, *, tolerance: float = TIE_TOLERANCE) -> PolicyComparison:
    """Work out the policies' figures and who stands where against ours."""
    base, contention = study.scenarios.get(BASELINE), study.scenarios.get(CONTENTION)
    policies = tuple(
        _policy_result(result, base, contention)
        for name, result in study.scenarios.items()
        if name != BASELINE
    )
    ours = next((result for result in policies if result.policy == DRCIO), None)
    others = [result for result in policies if result.policy != DRCIO]
    return PolicyComparison(
        policies=policies,
        as_good_as_ours=tuple(
            other.policy for other in others if ours is not None and _loses_nothing(other, ours, tolerance)
        ),
        better_somewhere=tuple(
            other.policy
            for other in others
            if ours is not None
            and not _loses_nothing(other, ours, tolerance)
            and _beats_somewhere(other, ours, tolerance)
        ),
    )


def comparison_json(comparison: PolicyComparison) -> JsonObject:
    """Turn the comparison into the `policies` part of results.json."""
    return {
        "tolerance": TIE_TOLERANCE,
        "sentence": comparison.sentence,
        "as_good_as_ours": list(comparison.as_good_as_ours),
        "better_somewhere": list(comparison.better_somewhere),
        "policies": [
            {
                "policy": result.policy,
                "p95_ratio": _rounded(result.p95_ratio),
                "fetch_p95_ratio": _rounded(result.fetch_p95_ratio),
                "lp_share": _rounded(result.lp_share),
                "lp_mib_s": _rounded(result.lp_mib_s),
                "errors": result.errors,
                "paired": {
                    name: [_rounded(ratio) for ratio in pairs.ratios]
                    for name, pairs in _pairs(result).items()
                    if pairs is not None
                },
            }
            for result in comparison.policies
        ],
    }


def _policy_result(
    result: ScenarioResult, base: ScenarioResult | None, contention: ScenarioResult | None
) -> PolicyResult:
    return PolicyResult(
        policy=result.policy,
        p95_ratio=ratio_of(result, base, p95_ms),
        fetch_p95_ratio=ratio_of(result, base, fetch_p95_ms),
        lp_share=ratio_of(result, contention, lp_mib_s),
        lp_mib_s=result.lp.mib_s,
        errors=result.hp.errors,
        p95_pairs=pair_ratios(result, base, p95_ms),
        fetch_p95_pairs=pair_ratios(result, base, fetch_p95_ms),
        lp_pairs=pair_ratios(result, contention, lp_mib_s),
    )


def _losses(other: PolicyResult, ours: PolicyResult) -> Sequence[float]:
    """How much worse another policy is in each figure that both have: 1.1 is 10% worse, 0.9 better."""
    both = [
        (other.p95_ratio, ours.p95_ratio),
        (other.fetch_p95_ratio, ours.fetch_p95_ratio),
        (ours.lp_share, other.lp_share),
    ]
    return [
        worse / better if better else float("inf")
        for worse, better in both
        if worse is not None and better is not None
    ]


def _loses_nothing(other: PolicyResult, ours: PolicyResult, tolerance: float) -> bool:
    losses = _losses(other, ours)
    return bool(losses) and all(loss <= 1 + tolerance for loss in losses)


def _beats_somewhere(other: PolicyResult, ours: PolicyResult, tolerance: float) -> bool:
    return any(loss < 1 / (1 + tolerance) for loss in _losses(other, ours))


def _pairs(result: PolicyResult) -> Mapping[str, Paired | None]:
    return {
        "p95_ratio": result.p95_pairs,
        "fetch_p95_ratio": result.fetch_p95_pairs,
        "lp_share": result.lp_pairs,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
