"""Run the scenarios on a stack of the Pulumi program: deploy each, and read back what its Job measured.

The stack's own configuration is never written: each run deploys with a copy of it that has the run's
values laid over. Afterwards, also after Ctrl-C, the stack is deployed again as it is configured.
"""

from __future__ import annotations

import contextlib
import copy
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, cast

import yaml

from drcio_controller.ebs import Volume
from experiments.errors import ExperimentError
from experiments.job.publish import RECORD_KEY, RESULTS_KEY, unpack
from experiments.judgement.results import RESULTS_SCHEMA
from experiments.records.jsonfields import JsonObject, JsonValue, parse_document
from experiments.records.record import RunRecord
from experiments.records.spec import BASELINE, SCENARIOS, PlannedRun, Spec, checked_volume
from experiments.targets import Progress

if TYPE_CHECKING:
    import pulumi.automation

NAMESPACE: Final = "drcio"
CLI_HINT: Final = (
    "install it as https://www.pulumi.com/docs/install/ says (3.272 or later), then `pulumi login` "
    "(`pulumi login --local` keeps the state on this machine)"
)
LOG_FILE: Final = "pulumi.log"

_READ_NAME: Final = "experiment-read"
"""The resource by which the program reads the Job's ConfigMap (components/experiment.py)."""
_LOCKED_TIMEOUT_S: Final = 900.0
"""An update that was interrupted ends what it has begun; a node group takes minutes."""
_LOCKED_POLL_S: Final = 5.0
_RECORD_HINT: Final = "the Job's log tells more: kubectl -n NAMESPACE logs -l app=drcio-experiment"

Report = Callable[[str], None]
Overrides = Mapping[str, str | int | bool]
"""Values by path, such as `experiment.seed`; without the program's namespace."""


class ClusterError(ExperimentError):
    """A stack could not be deployed, or left nothing to judge."""


class StackLocked(ClusterError):
    """Another update of the stack is under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What the experiment's Job left in its ConfigMap; a part is None where it left none."""

    results: str | None
    """results.json"""
    record: str | None
    """The raw record, as `experiments.job.publish.pack` makes it."""


class Stack(Protocol):
    """The few things that are done to a stack."""

    def configured(self) -> JsonObject:
        """Return the stack's own values, structured as in its file, by full key."""

    def deploy(self, overrides: Overrides, report: Report) -> None:
        """Deploy as configured, with some values laid over; raises ClusterError."""

    def written(self) -> Written:
        """Return what the experiment of the last deployment wrote."""


@contextlib.contextmanager
def deployed_as_configured(stack: Stack, spec: Spec, progress: Progress) -> Iterator[ClusterTarget]:
    """Yield a target, and put the stack back whatever happens; a second Ctrl-C leaves it as it is then."""
    target = ClusterTarget(stack, spec, name=f"{int(time.time()):x}")

    def put_back() -> None:
        if target.touched:
            progress.doing("deploying the stack as it is configured (Ctrl-C leaves it as it is)")
            _once_unlocked(lambda: stack.deploy({}, progress.doing))

    try:
        yield target
    except BaseException as first:
        try:
            put_back()
        except ClusterError as second:
            ended_by = str(first) or "interrupted"
            raise ClusterError(
                f"{ended_by}; nor could the stack be put back: {second}", hint=second.hint
            ) from first
        raise
    put_back()


class ClusterTarget:
    """A stack that is taken through the scenarios."""

    def __init__(self, stack: Stack, spec: Spec, *, name: str) -> None:
        for arm in spec.scenarios:
            if arm.name not in SCENARIOS:
                raise ClusterError(
                    f"policy {arm.name} cannot be run on a cluster; expected scenarios "
                    f"{', '.join(SCENARIOS)}",
                    hint="policies are compared on the twin: python -m experiments compare",
                )
        if spec.load_level == "custom":
            raise ClusterError(
                f"the rate is {spec.rate_rps:g}/s; on a cluster expected a --load-level",
                hint="leave --rate away",
            )
        for name, value in (("duration", spec.duration_s), ("warm-up", spec.warmup_s)):
            if value != int(value):
                raise ClusterError(f"{name} is {value:g} s; on a cluster expected whole seconds")
        self.touched = False
        """Whether anything was deployed."""
        self._stack = stack
        self._spec = spec
        self._name = name

    def run(self, planned: PlannedRun, progress: Progress) -> RunRecord:
        """Deploy one scenario, which runs its experiment, and return the record that it left."""
        progress.doing(f"deploying scenario {planned.scenario.name}; its Job measures")
        self.touched = True
        self._stack.deploy(overrides_of(self._spec, planned, name=self._name), progress.doing)
        written = self._stack.written()
        where = f"scenario {planned.scenario.name}, repeat {planned.repeat}"
        if written.record is None:
            raise ClusterError(f"{where}: no record: {_why(written)}", hint=_RECORD_HINT)
        record = unpack(written.record, source=where)
        if record.scenario != planned.scenario.name:
            raise ClusterError(f"{where}: the stack's record is of scenario {record.scenario}")
        return replace(record, repeat=planned.repeat, order=planned.order)


def overrides_of(spec: Spec, planned: PlannedRun, *, name: str) -> dict[str, str | int | bool]:
    """Return the configuration with which a stack measures one planned run, and measures it anew."""
    overrides: dict[str, str | int | bool] = {
        "scenario": planned.scenario.name,
        "loadLevel": spec.load_level,
        "durationSeconds": int(spec.duration_s),
        "experiment.enabled": True,
        "experiment.warmupSeconds": int(spec.warmup_s),
        "experiment.seed": planned.load_seed,
        "experiment.arrivals": spec.arrivals,
        "experiment.run": f"{name}-{planned.order}",
    }
    if planned.scenario.name != BASELINE:
        overrides |= {
            "batch.pattern": spec.lp_pattern,
            "batch.blockSize": f"{spec.lp_block_bytes >> 10}KiB",
            "batch.workers": spec.lp_workers,
            # The queue depth that was asked for is that of all pods together.
            "batch.parallelism": 1,
        }
    return overrides


def volume_of(stack: Stack, program: Path) -> Volume:
    """Return the volume that a stack has: a live one is not changed for an experiment."""
    declared = cast(
        "Mapping[str, Mapping[str, Mapping[str, int]]]",
        yaml.safe_load((program / "Pulumi.yaml").read_text(encoding="utf-8")),
    )["config"]
    own = stack.configured().get(f"{NAMESPACE}:storage")
    storage = own if isinstance(own, Mapping) else {}

    def value(name: str) -> int:
        found = storage.get(name, declared[f"{NAMESPACE}:storage.{name}"]["value"])
        return int(cast("str | int", found))

    return checked_volume("gp3", value("iops"), value("throughputMibps"))


def laid_over(settings: JsonObject, overrides: Overrides) -> dict[str, JsonValue]:
    """Return a stack file's content with values laid over its `config`."""
    merged = copy.deepcopy(dict(settings))
    config = cast("dict[str, JsonValue]", merged.get("config") or {})
    merged["config"] = config
    for path, value in overrides.items():
        first, *rest = path.split(".")
        *parents, last = [f"{NAMESPACE}:{first}", *rest]
        inner = config
        for name in parents:
            found = inner.get(name)
            inner[name] = dict(found) if isinstance(found, Mapping) else {}
            inner = cast("dict[str, JsonValue]", inner[name])
        inner[last] = value
    return merged


class PulumiStack:
    """A stack, driven through Pulumi's Automation API and so through the Pulumi CLI."""

    def __init__(self, name: str, *, output: Path, program: Path) -> None:
        """`output` is where pulumi.log is written, `program` the folder of Pulumi.yaml."""
        if shutil.which("pulumi") is None:
            raise ClusterError(
                "the Pulumi CLI is not installed: no `pulumi` on PATH; --target cluster needs it",
                hint=CLI_HINT,
            )
        self._name, self._output, self._program = name, output, program
        self._stack = self._select()

    def configured(self) -> JsonObject:
        config = self._file().get("config")
        return config if isinstance(config, Mapping) else {}

    def deploy(self, overrides: Overrides, report: Report) -> None:
        from pulumi import automation

        self._output.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(prefix="drcio-") as folder,
            (self._output / LOG_FILE).open("a", encoding="utf-8") as log,
        ):
            settings = Path(folder) / f"Pulumi.{self._name.rpartition('/')[2]}.yaml"
            settings.write_text(yaml.safe_dump(laid_over(self._file(), overrides)), encoding="utf-8")

            def show(line: str) -> None:
                log.write(line.rstrip("\n") + "\n")
                if line.strip():
                    report(line.strip())

            try:
                self._stack.up(
                    config_file=str(settings), on_output=show, color="never", suppress_outputs=True
                )
            except automation.ConcurrentUpdateError as error:
                raise StackLocked(
                    f"stack {self._name}: another update is under way",
                    hint=f"wait for it; if there is none: pulumi cancel --stack {self._name}",
                ) from error
            except automation.CommandError as error:
                raise ClusterError(
                    f"stack {self._name} could not be deployed: {_last_error(str(error))}",
                    hint=f"the whole output is in {log.name}",
                ) from error

    def written(self) -> Written:
        deployment = cast("JsonObject", self._stack.export_stack().deployment or {})
        return written_in(deployment)

    def _file(self) -> JsonObject:
        path = self._program / f"Pulumi.{self._name.rpartition('/')[2]}.yaml"
        found: JsonValue = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None
        return found if isinstance(found, Mapping) else {}

    def _select(self) -> pulumi.automation.Stack:
        # Only here: the Automation API takes a second to import, and nothing else of the experiment has it.
        from pulumi import automation

        try:
            return automation.select_stack(stack_name=self._name, work_dir=str(self._program))
        except automation.StackNotFoundError as error:
            raise ClusterError(
                f"stack {self._name} does not exist in {self._program.name}",
                hint=f"pulumi stack ls; pulumi stack init {self._name}",
            ) from error
        except automation.InvalidVersionError as error:
            raise ClusterError(f"the Pulumi CLI is too old: {error}", hint=CLI_HINT) from error
        except automation.CommandError as error:
            raise ClusterError(f"the Pulumi CLI refused: {_last_error(str(error))}", hint=CLI_HINT) from error


def written_in(deployment: JsonObject) -> Written:
    """Find the ConfigMap that the program read back in a stack's state."""
    resources = deployment.get("resources")
    for resource in resources if isinstance(resources, list) else ():
        if not isinstance(resource, Mapping):
            continue
        if str(resource.get("urn", "")).endswith(f"::{_READ_NAME}"):
            return Written(
                results=_entry(resource, "data", RESULTS_KEY),
                record=_entry(resource, "binaryData", RECORD_KEY),
            )
    return Written(results=None, record=None)


def _entry(resource: JsonObject, part: str, name: str) -> str | None:
    found: JsonValue = resource
    for key in ("outputs", part, name):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, str) else None


def _why(written: Written) -> str:
    if written.results is None:
        return "its Job wrote nothing"
    document = parse_document(written.results, source=RESULTS_KEY, schema=RESULTS_SCHEMA, hint=_RECORD_HINT)
    return "; ".join(document.get("reasons").texts())


def _last_error(text: str) -> str:
    """Return the line of a CLI's output that names the error."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error:")]
    return (errors or lines or ["no output"])[-1].removeprefix("error: ")


def _once_unlocked(deploy: Callable[[], None]) -> None:
    """Deploy as soon as an update that was interrupted has ended."""
    deadline_s = time.monotonic() + _LOCKED_TIMEOUT_S
    while True:
        try:
            return deploy()
        except StackLocked:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(_LOCKED_POLL_S)
