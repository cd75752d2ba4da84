"""A seed of the distribution on a guest of its own: the command, from the mix to its exit status."""

import json
from pathlib import Path

import pytest

from experiments.commands.cli import main
from experiments.fuzz.drive import judged
from experiments.fuzz.judge import figures_of
from experiments.fuzz.measure import simulate
from tests.experiments.fuzz.agreement import factors, ordered

pytestmark = pytest.mark.twin

SEED = 4
ARMS = ("alone", "none", "drcio", "iomax-10")


def test_seed_on_a_twin_from_the_mix_to_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["fuzz", "--seeds", str(SEED), "--arms", ",".join(ARMS), "--duration", "5"]
    command += ["--output", str(tmp_path), "--json", "--resume"]
    status = main(command)

    summary = json.loads(capsys.readouterr().out)
    record = json.loads((tmp_path / "seeds" / f"{SEED}.json").read_text())
    assert summary["errors"] == {}
    assert judged([record])
    assert status == (0 if all(check["met"] for check in summary["checks"]) else 1)
    assert record["environment"]["clock"] in ("virtual", "real")
    figures = figures_of(record)
    # Far from the bounds: this only tells working from not working.
    assert figures["none"].p95_ratio > 3
    assert figures["drcio"].p95_ratio < figures["none"].p95_ratio / 2
    assert figures["iomax-10"].p95_ratio < figures["none"].p95_ratio / 2
    assert 0.05 < figures["iomax-10"].share < 0.2
    simulated = simulate(SEED, ARMS, 5.0)
    assert all(0.4 < factor < 2.5 for factor in factors(simulated, record).values()), "the law on both"
    apart, agreed = ordered(simulated, record)
    assert apart == agreed >= 3
    assert record["arms"]["drcio"]["states"], "the shipped agent was there and answered"
    assert {path.name for path in (tmp_path / "raw").iterdir()} == {f"{SEED}-{arm}.json.gz" for arm in ARMS}

    assert main(command) == status, "what is stored is judged again, and no guest booted"
    assert json.loads(capsys.readouterr().out)["figures"] == summary["figures"]
