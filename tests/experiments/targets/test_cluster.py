from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pulumi.automation
import pytest
import yaml

from experiments.commands import cli, experiment
from experiments.commands.run import run_all
from experiments.errors import RecordError
from experiments.job.publish import pack
from experiments.judgement.reasons import Reason
from experiments.judgement.testing import behaviour_of
from experiments.records.jsonfields import JsonObject
from experiments.records.record import RunRecord
from experiments.records.spec import PlannedRun, Scenario, Spec, parse_volume, plan_runs
from experiments.report import build_report, write_spec
from experiments.targets.cluster import (
    ClusterError,
    ClusterTarget,
    Overrides,
    PulumiStack,
    StackLocked,
    Written,
    deployed_as_configured,
    laid_over,
    overrides_of,
    volume_of,
    written_in,
)
from tests.experiments.build import build_run, build_spec

PROGRAM = Path(__file__).resolve().parents[3]
SPEC = replace(build_spec(repeats=2), target="cluster")


class Told:
    """Keeps what a progress display is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def doing(self, what: str) -> None:
        self.lines.append(what)

    def within_run(self, elapsed_s: float, total_s: float) -> None: ...

    def run(self, planned: PlannedRun, record: RunRecord | None) -> None: ...

    def more(self, why: Reason, runs: int) -> None: ...


@dataclass
class FakeStack:
    """A stack whose experiment measures what a sound run would."""

    settings: JsonObject = field(default_factory=dict)
    deployed: list[dict[str, str | int | bool]] = field(default_factory=list)
    fails: Callable[[Overrides], BaseException | None] = lambda _overrides: None
    leaves: Callable[[RunRecord], Written] = lambda record: Written(results=None, record=pack(record))

    def configured(self) -> JsonObject:
        return self.settings

    def deploy(self, overrides: Overrides, report: Callable[[str], None]) -> None:
        if (error := self.fails(overrides)) is not None:
            raise error
        self.deployed.append(dict(overrides))
        report("updating")

    def written(self) -> Written:
        last = self.deployed[-1]
        planned = next(
            run
            for run in plan_runs(SPEC)
            if (run.scenario.name, run.load_seed) == (last["scenario"], last["experiment.seed"])
        )
        made = build_run(SPEC, planned, behaviour_of(planned.scenario))
        # The Job knows nothing of repeats: each of its runs is the first of one.
        return self.leaves(replace(made, repeat=1, order=1))


def run_on(stack: FakeStack, output: Path, spec: Spec = SPEC) -> list[RunRecord]:
    progress = Told()
    with deployed_as_configured(stack, spec, progress) as target:
        return run_all(spec, target, output, progress)


def test_all_scenarios_become_one_judged_experiment(tmp_path: Path) -> None:
    stack = FakeStack()
    write_spec(tmp_path, SPEC)
    records = run_on(stack, tmp_path)
    assert [(record.scenario, record.repeat) for record in records] == [
        (run.scenario.name, run.repeat) for run in plan_runs(SPEC)
    ]
    report = build_report(tmp_path)
    assert report.verdict.outcome == "pass"
    assert report.document["schema"] == "drcio.results/1"
    assert report.html.exists()


def test_stack_ends_as_it_is_configured(tmp_path: Path) -> None:
    stack = FakeStack()
    run_on(stack, tmp_path)
    assert stack.deployed[-1] == {}
    assert all(overrides for overrides in stack.deployed[:-1])


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ClusterError("no such luck")])
def test_interrupted_or_failed_run_leaves_the_stack_as_it_is_configured(
    error: BaseException, tmp_path: Path
) -> None:
    stack = FakeStack(fails=lambda overrides: error if overrides.get("scenario") == "drcio" else None)
    with pytest.raises(type(error)):
        run_on(stack, tmp_path)
    assert stack.deployed[-1] == {}


def test_stack_that_cannot_be_put_back_is_told_with_what_came_first(tmp_path: Path) -> None:
    stack = FakeStack(fails=lambda overrides: ClusterError("no quota" if overrides else "no credentials"))
    with pytest.raises(ClusterError, match="no quota; nor could the stack be put back: no credentials"):
        run_on(stack, tmp_path)


def test_putting_back_waits_for_an_update_that_was_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.targets.cluster._LOCKED_POLL_S", 0.0)
    locked = [StackLocked("under way"), StackLocked("under way")]

    def fails(overrides: Overrides) -> BaseException | None:
        if overrides:
            return KeyboardInterrupt()
        return locked.pop() if locked else None

    stack = FakeStack(fails=fails)
    with pytest.raises(KeyboardInterrupt):
        run_on(stack, tmp_path)
    assert stack.deployed == [{}]


def test_refused_specification_deploys_nothing() -> None:
    stack = FakeStack()
    with (
        pytest.raises(ClusterError, match="the rate is"),
        deployed_as_configured(stack, replace(SPEC, load_level="custom"), Told()),
    ):
        pytest.fail("the target was made")  # pragma: no cover
    assert stack.deployed == []


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (replace(SPEC, load_level="custom"), r"the rate is 15/s; on a cluster expected a --load-level"),
        (replace(SPEC, duration_s=20.5), r"duration is 20.5 s; on a cluster expected whole seconds"),
        (
            build_spec(arms=[Scenario(name="bfq", policy="bfq", with_lp=True)]),
            r"policy bfq cannot be run on a cluster",
        ),
    ],
)
def test_what_a_stack_cannot_be_told_is_refused(spec: Spec, told: str) -> None:
    with pytest.raises(ClusterError, match=told):
        ClusterTarget(FakeStack(), spec, name="1")


def test_same_repeat_offers_every_scenario_the_same_requests() -> None:
    told = [overrides_of(SPEC, run, name="1") for run in plan_runs(SPEC)]
    by_repeat = {run.repeat: set[object]() for run in plan_runs(SPEC)}
    for run, overrides in zip(plan_runs(SPEC), told, strict=True):
        by_repeat[run.repeat].add(overrides["experiment.seed"])
    assert by_repeat == {1: {1}, 2: {2}}
    assert len({overrides["experiment.run"] for overrides in told}) == len(told)


def test_run_without_a_record_is_told_with_the_jobs_reason(tmp_path: Path) -> None:
    results = {"schema": "drcio.results/1", "reasons": ["waited 900 s for the batch job"]}
    stack = FakeStack(leaves=lambda _record: Written(results=json.dumps(results), record=None))
    with pytest.raises(ClusterError, match="no record: waited 900 s for the batch job"):
        run_on(stack, tmp_path)


def test_damaged_record_is_refused(tmp_path: Path) -> None:
    stack = FakeStack(leaves=lambda _record: Written(results=None, record="nonsense"))
    with pytest.raises(RecordError, match="not a packed record"):
        run_on(stack, tmp_path)


def test_overrides_are_the_programs_own_keys() -> None:
    from stacks.configuration.config import parse
    from stacks.preview.dryrun import stack_config

    told = overrides_of(SPEC, plan_runs(SPEC)[0], name="6560a1b2")
    config = stack_config(PROGRAM, "dev", {f"drcio:{path}": _text(value) for path, value in told.items()})
    given = {
        name.removeprefix("drcio:"): value for name, value in config.items() if name.startswith("drcio:")
    }
    settings = parse(given, stack="dev", region="us-east-1")
    assert settings.experiment.enabled
    assert settings.experiment.seed == told["experiment.seed"]
    assert settings.duration_seconds == SPEC.duration_s
    assert settings.experiment.arrivals == SPEC.arrivals


def _text(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_values_are_laid_over_a_copy() -> None:
    settings: JsonObject = {
        "encryptionsalt": "v1:x",
        "config": {"aws:region": "eu-west-1", "drcio:batch": {"workers": 4, "fileSize": "1GiB"}},
    }
    merged = laid_over(settings, {"scenario": "drcio", "batch.workers": 32})
    assert merged == {
        "encryptionsalt": "v1:x",
        "config": {
            "aws:region": "eu-west-1",
            "drcio:scenario": "drcio",
            "drcio:batch": {"workers": 32, "fileSize": "1GiB"},
        },
    }
    assert settings["config"] == {
        "aws:region": "eu-west-1",
        "drcio:batch": {"workers": 4, "fileSize": "1GiB"},
    }


def test_volume_is_the_stacks_own() -> None:
    own = {"drcio:storage": {"iops": 6000, "throughputMibps": 250}}
    assert volume_of(FakeStack(settings=own), PROGRAM) == parse_volume("gp3:6000:250")
    assert volume_of(FakeStack(), PROGRAM) == parse_volume("gp3")


def test_record_is_found_in_the_stacks_state() -> None:
    read: JsonObject = {
        "urn": "urn:pulumi:dev::drcio-eks::kubernetes:core/v1:ConfigMap::experiment-read",
        "outputs": {"data": {"results.json": "{}"}, "binaryData": {"run.json.gz": "H4sI"}},
    }
    assert written_in({"resources": [{"urn": "other"}, read]}) == Written(results="{}", record="H4sI")
    assert written_in({}) == Written(results=None, record=None)
    assert written_in({"resources": [{**read, "outputs": {}}]}) == Written(results=None, record=None)


def test_read_resource_has_the_name_that_is_looked_for() -> None:
    from tests.stacks.dryruns import GIVEN_IMAGES, render

    run = render("drcio", {"drcio:experiment.enabled": "true", **GIVEN_IMAGES})
    (read,) = [item for item in run.registrations if item.type == "kubernetes:core/v1:ConfigMapPatch"]
    found = written_in({"resources": [{"urn": read.urn, "outputs": {"data": {"results.json": "{}"}}}]})
    assert found.results == "{}"


def stack_in(tmp_path: Path) -> PulumiStack:
    (tmp_path / "Pulumi.dev.yaml").write_text("config:\n  drcio:loadLevel: low  # mine\n")
    return PulumiStack("acme/drcio-eks/dev", output=tmp_path / "out", program=tmp_path)


def test_missing_cli_is_told_with_the_way_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(ClusterError, match="the Pulumi CLI is not installed") as raised:
        stack_in(tmp_path)
    assert raised.value.hint is not None
    assert "pulumi login" in raised.value.hint


@dataclass
class FakeAutomation:
    """Stands for the Automation API's stack."""

    configs: list[Mapping[str, Any]] = field(default_factory=list)
    error: Exception | None = None

    def up(self, *, config_file: str, on_output: Callable[[str], None], **_more: object) -> None:
        self.configs.append(yaml.safe_load(Path(config_file).read_text()))
        on_output("Updating (dev)\n")
        on_output("\n")
        if self.error is not None:
            raise self.error

    def export_stack(self) -> SimpleNamespace:
        return SimpleNamespace(deployment={"resources": []})


@pytest.fixture
def automation(monkeypatch: pytest.MonkeyPatch) -> FakeAutomation:
    fake = FakeAutomation()
    monkeypatch.setattr(shutil, "which", lambda _name: "/usr/bin/pulumi")
    monkeypatch.setattr(pulumi.automation, "select_stack", lambda **_arguments: fake)
    return fake


def test_deployment_uses_a_copy_of_the_stacks_file_and_keeps_a_log(
    tmp_path: Path, automation: FakeAutomation
) -> None:
    stack, told = stack_in(tmp_path), Told()
    before = (tmp_path / "Pulumi.dev.yaml").read_bytes()
    stack.deploy({"scenario": "baseline"}, told.doing)
    assert automation.configs == [{"config": {"drcio:loadLevel": "low", "drcio:scenario": "baseline"}}]
    assert (tmp_path / "Pulumi.dev.yaml").read_bytes() == before
    assert told.lines == ["Updating (dev)"]
    assert "Updating (dev)" in (tmp_path / "out" / "pulumi.log").read_text()
    assert stack.configured() == {"drcio:loadLevel": "low"}
    assert stack.written() == Written(results=None, record=None)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (pulumi.automation.CommandError, ClusterError),
        (pulumi.automation.ConcurrentUpdateError, StackLocked),
    ],
)
def test_cli_errors_are_told_in_one_line(
    kind: Any, expected: type[ClusterError], tmp_path: Path, automation: FakeAutomation
) -> None:
    automation.error = kind("stdout: Updating\nstderr: \nerror: no such nodes\n")
    with pytest.raises(expected) as raised:
        stack_in(tmp_path).deploy({"scenario": "baseline"}, Told().doing)
    assert "\n" not in str(raised.value)
    assert raised.value.hint


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "--target cluster needs a stack"),
        (["--stack", "dev"], "the Pulumi CLI is not installed"),
        (["--stack", "dev", "--rate", "7"], "--rate is 7; on a cluster expected a --load-level"),
    ],
)
def test_command_line_refuses_in_one_line_with_a_hint(
    arguments: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    kept = signal.getsignal(signal.SIGTERM)
    try:
        assert cli.main(["run", "--target", "cluster", "--output", str(tmp_path), *arguments]) == 2
    finally:
        signal.signal(signal.SIGTERM, kept)
    first, *_ = capsys.readouterr().err.splitlines()
    assert first.startswith(f"error: {told}")
    assert not list(tmp_path.iterdir()), "nothing is cleared or written before it is known to run"


@pytest.mark.parametrize(("asked", "arrivals"), [((), "poisson"), (("--arrivals", "constant"), "constant")])
def test_command_line_judges_what_the_stack_measured(
    asked: tuple[str, ...],
    arrivals: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stack = FakeStack()
    monkeypatch.setattr(experiment, "PulumiStack", lambda _name, **_folders: stack)
    kept = signal.getsignal(signal.SIGTERM)
    command = ["run", "--target", "cluster", "--stack", "dev", "--repeats", "2", "--duration", "20"]
    try:
        status = cli.main([*command, "--warmup", "5", "--json", "--output", str(tmp_path), *asked])
    finally:
        signal.signal(signal.SIGTERM, kept)
    assert status == 0
    spec = json.loads(capsys.readouterr().out)["spec"]
    assert (spec["target"], spec["arrivals"]) == ("cluster", arrivals)
    assert {told.get("experiment.arrivals") for told in stack.deployed[:-1]} == {arrivals}
    assert stack.deployed[-1] == {}
