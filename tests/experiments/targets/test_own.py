"""A user's own pods under the scenarios: what is kept of a run, and how it is shown."""

from pathlib import Path
from typing import cast

import pytest

from experiments.records.jsonfields import JsonObject, JsonValue
from experiments.records.record import RUNS_FOLDER
from experiments.records.spec import plan_runs
from experiments.targets.node import Node
from experiments.targets.own import OwnTarget, keep_results, only_init, pod_figures, volume_figures
from experiments.workloads import Workload
from node_twin.errors import TwinError
from node_twin.kubelet.config import results_of
from node_twin.layout import PODS_FOLDER
from tests.experiments.build import build_spec


def test_what_a_pod_left_is_kept_by_run(tmp_path: Path) -> None:
    first, second = plan_runs(build_spec())[:2]
    for planned in (first, second, first):  # the last as in an output folder that is used again
        left = results_of(tmp_path / PODS_FOLDER, "a")
        left.mkdir(parents=True)
        (left / "fio.json").write_text(planned.file_name)
        results_of(tmp_path / PODS_FOLDER, "silent").mkdir(parents=True, exist_ok=True)
        kept = keep_results(tmp_path, planned, ["a", "silent", "without-a-folder"])
        assert kept == {"a": f"runs/{Path(planned.file_name).stem}/a"}
    for planned in (first, second):
        folder = tmp_path / RUNS_FOLDER / Path(planned.file_name).stem
        assert [path.name for path in folder.iterdir()] == ["a"]
        assert (folder / "a" / "fio.json").read_text() == planned.file_name


def sample(t_s: float, *, ios: int, waited_ms: int = 0, pod: bool = True) -> JsonObject:
    counted: JsonObject = {
        "io": {"259:0": {"rbytes": ios << 20, "wbytes": 0, "rios": ios, "wios": 0}},
        "io_pressure": {"some_us": waited_ms * 1000},
        "io_weight": 100,
    }
    device: JsonObject = {"reads": ios, "writes": 0, "read_bytes": ios << 20, "write_bytes": 0}
    device = {**device, "read_ticks_ms": 3 * ios, "write_ticks_ms": 0}
    return {"t_s": t_s, "pods": {"a": counted} if pod else {}, "device": {"259:0": device}}


def test_figures_are_of_what_follows_the_warm_up() -> None:
    samples = [sample(t, ios=1000 + 10 * t, waited_ms=400 * t) for t in range(3, 11)]
    samples = [sample(0, ios=0), *samples, sample(11, ios=9999, pod=False)]
    figures = pod_figures(samples, "a", skipped_s=3)
    assert figures["seconds"] == 7
    assert figures["ops_s"] == figures["read_ops_s"] == figures["read_mib_s"] == 10
    assert figures["ms_per_op"] == 40
    assert volume_figures(samples[:-1], skipped_s=3)["ms_per_op"] == 3


def test_short_run_counts_whole_and_idle_pod_has_no_latency() -> None:
    samples = [sample(t, ios=5) for t in range(3)]
    figures = pod_figures(samples, "a", skipped_s=30)
    assert (figures["seconds"], figures["ops_s"], figures["ms_per_op"]) == (2, 0, None)
    assert pod_figures(samples[:1], "a", skipped_s=0) == pod_figures(samples, "b", skipped_s=0) == {}


class PretendedTwin:
    """A twin whose pods have the statuses given, and stay as they are."""

    def __init__(self, statuses: dict[str, JsonValue]) -> None:
        self.statuses = statuses
        self.present: list[str] = []
        self.recorded: list[list[str]] = []

    def create_pod(self, manifest: JsonObject) -> None:
        self.present.append(cast("dict[str, str]", manifest["metadata"])["name"])

    def pod(self, name: str) -> JsonObject:
        metadata: JsonObject = {"name": name, "namespace": "drcio", "uid": "u1"}
        return {"metadata": metadata, "status": self.statuses[name]}

    def await_start(self, name: str, _state: str, *, timeout_s: float) -> JsonObject:
        assert timeout_s > 0
        return self.pod(name)

    def record(self, _seconds: float, *, until_ended: list[str], on_elapsed: object) -> list[JsonObject]:
        assert callable(on_elapsed)
        self.recorded.append(until_ended)
        return [sample(t, ios=t) for t in range(20)]

    def wait_ended(self, name: str, *, timeout_s: float) -> None:
        assert timeout_s > 0
        assert self.present == [name]

    def delete_pod(self, name: str) -> None:
        self.present.remove(name)

    def collect(self) -> None:
        assert not self.present


class PretendedNode:
    def __init__(self, twin: PretendedTwin) -> None:
        self.twin = twin

    def clean(self) -> list[str]:
        return []

    def controller(self, _policy: str) -> None:
        return None


class Quiet:
    def doing(self, what: str) -> None: ...
    def within_run(self, elapsed_s: float, total_s: float) -> None: ...


def with_init(name: str, *init: str) -> Workload:
    spec: JsonObject = {
        "restartPolicy": "Always",
        "initContainers": [{"name": each} for each in init],
        "containers": [{"name": "main"}],
    }
    return Workload(role="hp", manifest={"metadata": {"name": name}, "spec": spec})


def test_init_containers_are_a_pod_that_ends() -> None:
    prepared = only_init(with_init("a", "one", "two").manifest)
    assert prepared is not None
    assert prepared["spec"] == {
        "restartPolicy": "Never",
        "initContainers": [{"name": "one"}],
        "containers": [{"name": "two"}],
    }
    assert only_init({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "main"}]}}) is None


def test_preparation_is_of_each_pod_alone_and_fails_with_its_reason(tmp_path: Path) -> None:
    twin = PretendedTwin({"a": ended(0), "b": ended(4)})
    workloads = [with_init("a", "one"), with_init("b", "one")]
    node = cast(Node, PretendedNode(twin))
    target = OwnTarget(spec=build_spec(), node=node, workloads=workloads, output=tmp_path)
    with pytest.raises(TwinError, match="pod b: init container main ended with status 4") as raised:
        target.prepare(Quiet())
    assert raised.value.hint == f"its log is in {tmp_path}/pods/drcio_b_u1"
    assert twin.present == []


RUNNING: JsonObject = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


def ended(code: int, **why: str) -> JsonObject:
    terminated: JsonObject = {"exitCode": code, **why}
    return {
        "phase": "Failed" if code else "Succeeded",
        "containerStatuses": [{"name": "main", "state": {"terminated": terminated}}],
    }


@pytest.mark.parametrize(
    ("served", "load", "measured", "errors"),
    [
        (RUNNING, ended(0), True, {}),
        (ended(0), ended(0), True, {}),
        (RUNNING, ended(3), False, {"b": "container main ended with status 3"}),
        (ended(1), ended(0), False, {"a": "container main ended with status 1"}),
        (
            ended(128, reason="StartError", message="command 'fiooo': No such file"),
            ended(0),
            False,
            {"a": "container main could not be started: command 'fiooo': No such file"},
        ),
    ],
)
def test_pod_that_fails_is_in_the_record_with_its_reason_and_log(
    tmp_path: Path, served: JsonObject, load: JsonObject, measured: bool, errors: dict[str, str]
) -> None:
    twin = PretendedTwin({"a": served, "b": load})
    workloads = [
        Workload(role="hp", manifest={"metadata": {"name": "a"}}),
        Workload(role="load", manifest={"metadata": {"name": "b"}}),
    ]
    node = cast(Node, PretendedNode(twin))
    target = OwnTarget(spec=build_spec(), node=node, workloads=workloads, output=tmp_path)
    document = target.run(plan_runs(build_spec())[0], Quiet())
    assert bool(document["samples"]) is measured
    accounts = cast("dict[str, dict[str, str]]", document["pods"])
    assert {name: account["error"] for name, account in accounts.items() if "error" in account} == errors
    assert all(account["log"] == f"pods/drcio_{name}_u1" for name, account in accounts.items())
    assert twin.present == []
