"""From observations to a judged record, without a clock and without a network."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from experiments.job.counters import Io
from experiments.job.errors import ScrapeError
from experiments.job.observer import Observation, Observer, Restarts, Sources
from experiments.job.publish import pack, unpack
from experiments.job.recording import Measured, run_record
from experiments.judgement.study import study
from experiments.judgement.testing import BASELINE_BEHAVIOUR
from experiments.judgement.verdict import judge
from experiments.records.record import RunRecord
from experiments.records.spec import plan_runs, scenario
from tests.experiments.build import build_load, build_spec
from tests.experiments.job.served import DEVICE, FakeNode

SPEC = build_spec(repeats=1, arms=[scenario("drcio")])
SOURCES = Sources(
    hp="hp:8080",
    lp="lp:9100",
    controller="agent:9400",
    namespace="drcio",
    hp_app="hp-gnn-service",
    lp_app="lp-batch",
    claim="shared-data",
)


class PagesOf:
    """Answers for a fake node without a network; one pod of each, unless told otherwise."""

    def __init__(self, node: FakeNode, behind: Mapping[str, list[str]] | None = None) -> None:
        self.node = node
        self.behind = dict(behind or {})

    def addresses(self, target: str) -> list[str]:
        return self.behind.get(target, [target])

    def get(self, url: str) -> str:
        page = {"hp": self.node.hp_metrics, "lp": self.node.lp_metrics, "agent": self.node.status}
        status, text, _ = page[url.removeprefix("http://").partition(":")[0]]()
        if status != 200:
            raise ScrapeError(f"{url}: status {status}; expected 200")
        return text


def record_of(node: FakeNode, *, restarts: Restarts | None = None) -> RunRecord:
    """Observe a node over a whole run, a second a look, with its counters moved on by hand."""
    planned = plan_runs(SPEC)[0]
    seconds = int(SPEC.warmup_s + SPEC.duration_s)
    now_s = [0.0]
    observer = Observer(SOURCES, PagesOf(node), clock=lambda: now_s[0])
    seen = []
    for second in range(seconds + 1):
        now_s[0] = float(second)
        node.began_s = node.clock() - second
        node.requests = 20 * second
        seen.append(observer.look())
    return run_record(
        SPEC,
        planned,
        SOURCES,
        Measured(
            load=build_load(SPEC, BASELINE_BEHAVIOUR, seed=1, noise_seed=1),
            observations=seen,
            window_start_s=SPEC.warmup_s,
            started_unix_s=1_790_000_000.0,
            clock="virtual",
            restarts=restarts or Restarts(hp=0, lp=0),
            environment={"target": "cluster"},
            interrupted=False,
        ),
    )


def codes(record: RunRecord) -> set[str]:
    return {reason.code for reason in judge(study([record], SPEC)).reasons}


def test_sound_run_lacks_only_what_to_compare_it_with() -> None:
    record = record_of(FakeNode())
    assert codes(record) == {"scenarios-missing"}
    (result,) = study([record], SPEC).runs
    assert result.cpu.clock == "virtual"
    assert result.health.engine == "iocost"
    assert result.lp.mib_s == pytest.approx(110, rel=0.02)


@pytest.mark.parametrize(
    ("node", "code"),
    [
        (FakeNode(lp_device="259:9"), "lp-other-device"),
        (FakeNode(rows_per_request=0), "hp-idle-on-volume"),
        (FakeNode(engine="none"), "control-inert"),
        (FakeNode(effect="inert"), "control-inert"),
        (FakeNode(weights={"hp-gnn-service": 10, "lp-batch": 1000}), "weights-do-not-favour-hp"),
        (FakeNode(lp_mib_s=0), "lp-idle"),
        (FakeNode(lp_answers=False), "lp-absent"),
        (FakeNode(namespace="elsewhere"), "controller-absent"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_void_or_inert_run_is_told_as_such(node: FakeNode, code: str) -> None:
    assert code in codes(record_of(node))


@pytest.mark.parametrize("engine", ["bfq", "iomax", "iocost"])
def test_engine_is_the_controllers_word(engine: str) -> None:
    (result,) = study([record_of(FakeNode(engine=engine))], SPEC).runs
    assert result.health.engine == engine


def test_restarts_count() -> None:
    assert {"hp-restarted", "lp-restarted"} <= codes(record_of(FakeNode(), restarts=Restarts(hp=1, lp=2)))


def test_packed_record_comes_back_whole() -> None:
    record = record_of(FakeNode())
    assert unpack(pack(record), source="test") == record


def test_pods_behind_one_name_are_added_up() -> None:
    node = FakeNode(requests=10)
    observer = Observer(SOURCES, PagesOf(node, {"hp:8080": ["hp:1", "hp:2"]}))
    observer.look()
    node.requests = 15
    seen = observer.look().hp
    assert seen is not None
    assert seen.rios == 2 * 5 * node.rows_per_request


def test_name_without_pods_is_an_absence_and_not_an_error() -> None:
    observer = Observer(SOURCES, PagesOf(FakeNode(), {"lp:9100": [], "agent:9400": []}))
    seen = observer.look()
    assert (seen.lp, seen.account, observer.failures) == (None, None, 0)


def test_failed_look_is_noted_and_does_not_end_the_observation() -> None:
    observer = Observer(SOURCES, PagesOf(FakeNode(lp_answers=False)))
    assert observer.look().lp is None
    assert (observer.failures, observer.first_failure) == (
        1,
        "http://lp:9100/metrics: status 503; expected 200",
    )


def test_account_is_that_of_the_node_with_the_workloads() -> None:
    class TwoAgents(PagesOf):
        def get(self, url: str) -> str:
            return (
                json.dumps({"devices": [], "pods": []})
                if url.startswith("http://other")
                else super().get(url)
            )

    observer = Observer(SOURCES, TwoAgents(FakeNode(), {"agent:9400": ["other:9400", "agent:9400"]}))
    account = observer.look().account
    assert account is not None
    assert account["devices"]


def test_device_without_a_controller_is_the_claim_that_both_mount() -> None:
    seen = [
        Observation(at_s=float(second), hp=Io(rbytes=second), lp=Io(wbytes=second), account=None)
        for second in range(3)
    ]
    record = run_record(
        SPEC,
        plan_runs(SPEC)[0],
        SOURCES,
        Measured(
            load=build_load(SPEC, BASELINE_BEHAVIOUR, seed=1, noise_seed=1),
            observations=seen,
            window_start_s=0.0,
            started_unix_s=0.0,
            clock="real",
            restarts=Restarts(hp=0, lp=0),
            environment={},
            interrupted=False,
        ),
    )
    assert record.devices.hp == record.devices.lp == ("claim/shared-data",)
    assert DEVICE not in record.samples[-1].pods["lp-batch"].io
