"""When somebody should look: alert rules over the contract's metrics, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

Rule = Mapping[str, str | Mapping[str, str]]

RUNBOOK: Final = "docs/how-to/alerts.md"
WINDOW: Final = "2m"
"""Of rates: many scrapes wide, so that one lost scrape raises nothing."""


@dataclass(frozen=True, kw_only=True)
class AlertArgs:
    """What counts as wrong in this stack."""

    namespace: str
    """Of the workloads."""
    controller_namespace: str | None
    """None where there is no controller."""
    batch_job: bool
    percentile: float | None
    """Of the service's latency target; None where none is configured."""
    target_s: float | None
    floor_bytes_per_s: float
    """Below this and `floor_ops_per_s` the batch job is starved: its floor of the volume's two limits."""
    floor_ops_per_s: float


def alert_rules(args: AlertArgs) -> list[Rule]:
    """Return the rules that make sense for the stack."""
    rules = []
    if args.target_s is not None and args.percentile is not None:
        quantile = args.percentile / 100
        rules.append(
            _rule(
                "DrcioLatencyTargetMissed",
                f"histogram_quantile({quantile:g}, sum by (le, namespace) "
                f'(rate(gnn_request_latency_seconds_bucket{{namespace="{args.namespace}"}}[{WINDOW}]))) '
                f"> {args.target_s:g}",
                after="5m",
                severity="critical",
                summary=f"p{args.percentile:g} is {{{{ $value | humanizeDuration }}}}, "
                f"its target {args.target_s:g} s",
            )
        )
    if args.controller_namespace is not None:
        job = f"{args.controller_namespace}/drcio-controller"
        rules += [
            _rule(
                "DrcioWeightInert",
                'drcio_io_effectiveness{state="inert"} == 1',
                after="5m",
                severity="warning",
                summary="The weight of pod {{ $labels.pod }} does nothing on device {{ $labels.device }}",
            ),
            _rule(
                "DrcioControllerDown",
                f'up{{job="{job}"}} == 0 or absent(up{{job="{job}"}})',
                after="2m",
                severity="critical",
                summary="A node's controller does not answer: its pods have whatever weights it left",
            ),
            _rule(
                "DrcioConfigRefused",
                "drcio_config_valid == 0",
                after="2m",
                severity="warning",
                summary="A configuration was refused; the last good one stays in force",
            ),
        ]
    if args.batch_job:
        where = f'namespace="{args.namespace}"'
        rules.append(
            _rule(
                "DrcioLowPriorityStarved",
                f"sum by (namespace) (rate(batch_io_bytes_total{{{where}}}[{WINDOW}])) "
                f"< {args.floor_bytes_per_s:g} and "
                f"sum by (namespace) (rate(batch_io_operations_total{{{where}}}[{WINDOW}])) "
                f"< {args.floor_ops_per_s:g} and "
                f"sum by (namespace) (batch_active_operations{{{where}}}) > 0",
                after="5m",
                severity="warning",
                summary="The batch job has work in flight and gets less than its floor of the volume",
            )
        )
    return rules


def _rule(name: str, expression: str, *, after: str, severity: str, summary: str) -> Rule:
    return {
        "alert": name,
        "expr": expression,
        "for": after,
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "runbook": f"{RUNBOOK}#{name.lower()}"},
    }
