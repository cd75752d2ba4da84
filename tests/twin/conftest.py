"""One booted twin for all tests here, with the scoring service ready on it.

Without KVM it takes a minute or two until the first test runs, so nothing here boots another one that
could share this.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.judgement.reasons import Reason
from experiments.records.record import RunRecord
from experiments.records.spec import PlannedRun, Scenario, Spec, parse_volume, scenario
from experiments.targets.node import Node
from experiments.targets.twin import TwinOptions, TwinTarget, twin_target
from node_twin.host.twin import Twin
from tests.twin import pods

CACHE = Path(__file__).resolve().parents[2] / ".cache"


class Silent:
    """Progress that nobody watches."""

    def doing(self, what: str) -> None: ...

    def within_run(self, elapsed_s: float, total_s: float) -> None: ...

    def run(self, planned: PlannedRun, record: RunRecord | None) -> None: ...

    def more(self, why: Reason, runs: int) -> None: ...


def spec_of(*arms: Scenario, **changes: Any) -> Spec:
    """Return a short experiment with the arms given."""
    spec = Spec(
        scenarios=arms or (scenario("contention"),),
        load_level="custom",
        rate_rps=20.0,
        duration_s=8.0,
        warmup_s=2.0,
        repeats=1,
        volume=parse_volume("gp3"),
        lp_block_bytes=1 << 20,
        lp_workers=32,
        seed=1,
    )
    return dataclasses.replace(spec, **changes)


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwinTarget]:
    # The second volume is there for the tests that need one; nobody else touches it.
    options = TwinOptions(output=tmp_path_factory.mktemp("twin"), cache=CACHE, lp_elsewhere=True)
    with twin_target(spec_of(), options, Silent()) as ready:
        yield ready.with_options(lp_elsewhere=False)


@pytest.fixture(scope="session")
def twin(target: TwinTarget) -> Twin:
    return target.twin


@pytest.fixture(scope="session")
def node(target: TwinTarget) -> Node:
    return target.node


@pytest.fixture(scope="module")
def busy_pods(twin: Twin) -> Iterator[None]:
    yield from pods.busy_pods(twin)
