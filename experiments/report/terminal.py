"""The short table for the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments.judgement.compare import PolicyComparison
from experiments.judgement.figures import Study, fetch_p95_ms, p95_ms
from experiments.judgement.study import ratio_of
from experiments.judgement.verdict import Verdict, headline, is_look
from experiments.records.spec import BASELINE
from experiments.report.scales import milliseconds, percent, ratio
from experiments.tables import plain_table

_STYLES: Final = {
    "pass": "bold green",
    "fail": "bold red",
    "inconclusive": "bold yellow",
    "invalid": "bold red",
}


def print_summary(
    console: Console,
    study: Study,
    verdict: Verdict,
    *,
    policies: PolicyComparison | None = None,
    report: Path | None = None,
) -> None:
    """Print figures, verdict, reasons, and where the report lies."""
    console.print(_scenario_table(study) if policies is None else _policy_table(policies))
    look = is_look(study, verdict)
    if look:
        console.print(Text("not judged", "bold"))
    else:
        console.print(Text.assemble(("verdict: ", "bold"), (verdict.outcome, _STYLES[verdict.outcome])))
    console.print(Text(headline(study, verdict)))
    if verdict.outcome != "pass" and not look:
        for reason in verdict.reasons:
            console.print(Text(f"  - {reason.text}"))
        for remedy in verdict.remedies:
            console.print(Text(f"hint: {remedy}"))
    if policies is not None:
        console.print(Text(policies.sentence))
        for remark in verdict.remarks:
            console.print(Text(f"  - {remark.text}"))
    if report is not None:
        # soft_wrap keeps the path whole, so that it can be clicked or copied.
        console.print(Text(f"report: {report}"), soft_wrap=True)


def _scenario_table(study: Study) -> Table:
    numbers = ("p50", "p95", "/ alone", "fetch p95", "/ alone", "batch MiB/s", "failed")
    table = plain_table(["scenario"], numbers)
    base = study.scenarios.get(BASELINE)
    for name, result in study.scenarios.items():
        against = base if base is not result else None
        table.add_row(
            name,
            milliseconds(result.hp.p50_ms),
            milliseconds(result.hp.p95_ms),
            ratio(ratio_of(result, against, p95_ms)),
            milliseconds(result.hp.fetch_p95_ms),
            ratio(ratio_of(result, against, fetch_p95_ms)),
            f"{result.lp.mib_s:.1f}",
            str(result.hp.errors),
        )
    return table


def _policy_table(policies: PolicyComparison) -> Table:
    numbers = ("p95 / alone", "fetch p95 / alone", "batch share", "batch MiB/s", "failed")
    table = plain_table(["policy"], numbers)
    for result in policies.policies:
        table.add_row(
            result.policy,
            ratio(result.p95_ratio),
            ratio(result.fetch_p95_ratio),
            percent(result.lp_share),
            f"{result.lp_mib_s:.1f}",
            str(result.errors),
        )
    return table
