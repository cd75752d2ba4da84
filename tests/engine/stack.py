"""A stack of the program on the real engine: the program runs in this process, by the Automation API."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import runpy
import shutil
import signal
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from unittest import mock

import pulumi.automation as auto
import yaml
from pulumi.automation import EngineEvent
from pulumi.automation._stack import StackInitMode
from pulumi.automation.events import StepEventMetadata

from local_cluster.programs import ROOT, Programs

LOG_VARIABLE: Final = "DRCIO_BENCH_LOG"
"""Names a file to which each operation's seconds, steps and error are appended."""
PROJECT: Final = "drcio-eks"
OWN_PACKAGES: Final = ("stacks", "components")
FOUND_ON_PATH: Final = "from $PATH at"
"""The engine's warning about a plugin that is not its own installation's; here it is meant."""
HUNG_S: Final = 300.0
"""After this long an operation on the bench waits for what will not come; its engine is then killed."""
UNCHANGED: Final = ("same", "read", "refresh")


class StackFailed(Exception):
    """An operation ended with an error; the message is what the user sees."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What the engine did to one resource."""

    op: str
    """As the engine says it: create, update, delete, replace, create-replacement, delete-replaced, ..."""
    type: str
    name: str

    def __str__(self) -> str:
        return f"{self.op} {self.type.rpartition(':')[2]} {self.name}"


@dataclass(kw_only=True)
class Outcome:
    """What an operation came to."""

    steps: list[Step] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    """Diagnostics: errors and warnings."""
    error: str = ""
    seconds: float = 0.0
    hung: bool = False
    """Whether it waited for something until the bench's patience was at its end."""

    @property
    def changes(self) -> list[Step]:
        return [step for step in self.steps if step.op not in UNCHANGED]

    @property
    def changed(self) -> list[str]:
        return sorted(map(str, self.changes))

    @property
    def counts(self) -> dict[str, int]:
        return dict(Counter(step.op for step in self.steps))

    def ops_of(self, kind: str) -> set[str]:
        """Return what happened to resources of a type, given by its last part."""
        return {step.op for step in self.changes if step.type.rpartition(":")[2] == kind}


@dataclass
class Workspace:
    """A copy of the project's files in which stacks live; the repository is never written."""

    programs: Programs
    folder: Path
    environment: Mapping[str, str]
    patches: Mapping[str, object] = field(default_factory=dict)
    """`module.NAME` to a value that stands for the program's own: addresses of the world outside."""
    source: Path = ROOT
    """The checkout whose program runs."""

    def __post_init__(self) -> None:
        for part in ("work", "state", "home", "bin"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        # The Automation API wants a folder that has bin/pulumi.
        (self.folder / "bin" / "pulumi").symlink_to(self.programs["pulumi"])
        self.command = auto.PulumiCommand(root=str(self.folder))
        project = yaml.safe_load((self.source / "Pulumi.yaml").read_text())
        # The inline program is its own language host.
        project["runtime"] = "python"
        (self.folder / "work" / "Pulumi.yaml").write_text(yaml.safe_dump(project, sort_keys=False))
        for file in self.source.glob("Pulumi.*.yaml"):
            shutil.copy(file, self.folder / "work")

    @property
    def variables(self) -> dict[str, str]:
        return {
            **self.environment,
            "PATH": self.programs.search_path,
            "PULUMI_HOME": str(self.folder / "home"),
            "PULUMI_BACKEND_URL": f"file://{self.folder / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": "bench",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }

    def stack(self, name: str, like: str | None = None, config: Mapping[str, object] | None = None) -> Stack:
        """Make a stack, with the file of a stack that the repository has, and settings laid over it."""
        made = Stack(self, name)
        if like is not None:
            made.file.write_text((self.source / f"Pulumi.{like}.yaml").read_text())
        made.configure(config or {})
        made.create()
        return made

    def program(self) -> None:
        """Run the program as `pulumi up` would; another checkout's in modules of its own."""
        # The engine's process starts the program, which so has its environment.
        environment = mock.patch.dict(os.environ, self.variables)
        with environment, warnings.catch_warnings(action="ignore"), _program_of(self.source):
            for name, value in self.patches.items():
                module, _, attribute = name.rpartition(".")
                owner = importlib.import_module(module)
                assert hasattr(owner, attribute), f"the bench stands in for {name}, which is no more"
                setattr(owner, attribute, value)
            runpy.run_path(str(self.source / "__main__.py"), run_name="__main__")


@contextlib.contextmanager
def _program_of(source: Path) -> Iterator[None]:
    """Import the program's packages from another checkout within the block, unless it is this one."""
    if source == ROOT:
        yield
        return
    # The SDK looks annotations up in the modules by name, some of them after the program has ended.
    importlib.import_module("stacks.stack")
    ours = {name: it for name, it in sys.modules.items() if name.split(".")[0] in OWN_PACKAGES}
    for name in ours:
        del sys.modules[name]
    sys.path.insert(0, str(source))
    try:
        yield
    finally:
        sys.path.remove(str(source))
        for name in [it for it in sys.modules if it.split(".")[0] in OWN_PACKAGES]:
            del sys.modules[name]
        sys.modules.update(ours)


class _Stack(auto.Stack):
    """Asks for outputs and history on demand only: each is a run of the CLI, and half a second of key
    derivation.
    """

    quiet = False

    def outputs(self) -> auto.OutputMap:
        return {} if self.quiet else super().outputs()

    def info(self, show_secrets: bool = False) -> Any:
        return object() if self.quiet else super().info(show_secrets)


class Stack:
    """One stack. Operations return their outcome; `up` and `destroy` raise where they fail."""

    def __init__(self, workspace: Workspace, name: str) -> None:
        self.name = name
        self._workspace = workspace
        self._auto: _Stack | None = None

    @property
    def file(self) -> Path:
        return self._workspace.folder / "work" / f"Pulumi.{self.name}.yaml"

    def create(self) -> None:
        workspace = auto.LocalWorkspace(
            work_dir=str(self._workspace.folder / "work"),
            env_vars=self._workspace.variables,
            program=self._workspace.program,
            pulumi_command=self._workspace.command,
        )
        self._auto = _Stack(self.name, workspace, StackInitMode.CREATE_OR_SELECT)

    def configure(self, values: Mapping[str, object]) -> None:
        """Set keys such as `drcio:storage.iops`, as `pulumi config set --path` would; None removes one."""
        document = (yaml.safe_load(self.file.read_text()) if self.file.exists() else None) or {}
        config = document.setdefault("config", {})
        for key, value in values.items():
            *parents, last = key.split(".")
            target = config
            for part in parents:
                target = target.setdefault(part, {})
            if value is None:
                target.pop(last, None)
            else:
                target[last] = value
        self.file.write_text(yaml.safe_dump(document, sort_keys=False))

    def preview(self, *, fails: bool | None = False) -> Outcome:
        return self._run("preview", fails=fails)

    def up(self, *, fails: bool | None = False) -> Outcome:
        """Update; `fails` is whether it is expected to, None where either will do."""
        return self._run("up", fails=fails)

    def refresh(self, *, fails: bool | None = False) -> Outcome:
        return self._run("refresh", fails=fails)

    def destroy(self, *, only: str | None = None, fails: bool | None = False) -> Outcome:
        """Destroy it, or `only` what matches a pattern of URNs and what depends on that."""
        chosen = {"target": [only], "target_dependents": True} if only else {}
        return self._run("destroy", fails=fails, **chosen)

    def cancel(self) -> None:
        """Give up the lock of an operation that was killed, as `pulumi cancel` does.

        A checkpoint that the engine was just writing is empty; the file backend keeps the one before beside
        it.
        """
        checkpoint = self._workspace.folder / "state" / ".pulumi" / "stacks" / PROJECT / f"{self.name}.json"
        before = checkpoint.with_name(f"{checkpoint.name}.bak")
        if checkpoint.exists() and checkpoint.stat().st_size == 0 and before.exists():
            shutil.copy(before, checkpoint)
        self._stack.cancel()

    def rename(self, name: str) -> None:
        """Give the stack another name, as `pulumi stack rename` does."""
        self._stack.rename(name)
        self.name = name
        self.create()

    def forget(self, name: str) -> None:
        """Take a resource, and what depends on it, out of the state and leave them where they are.

        As `pulumi state delete --target-dependents` does.
        """
        known = (it for it in self.state()["resources"] if it.get("custom"))
        (urn,) = (it["urn"] for it in known if it["urn"].endswith(f"::{name}"))
        self._workspace.command.run(
            ["state", "delete", urn, "--target-dependents", "--stack", self.name, "--yes"],
            str(self._workspace.folder / "work"),
            self._workspace.variables,
        )

    def outputs(self) -> dict[str, Any]:
        return {name: output.value for name, output in self._stack.outputs().items()}

    def state(self) -> dict[str, Any]:
        """Return the stack's state as `pulumi stack export` shows it."""
        found: dict[str, Any] = json.loads(json.dumps(self._stack.export_stack().deployment))
        return found

    @property
    def _stack(self) -> _Stack:
        assert self._auto is not None
        return self._auto

    def _run(self, operation: str, *, fails: bool | None = False, **options: object) -> Outcome:
        outcome, began = Outcome(), time.monotonic()
        method: Callable[..., object] = getattr(self._stack, operation)
        watchdog = threading.Timer(HUNG_S, kill_engine, (self.name,))
        watchdog.start()
        self._stack.quiet = True
        try:
            method(on_event=_collector(operation, outcome), color="never", **options)
        except auto.errors.CommandError as error:
            outcome.error = _reason(outcome, str(error))
        finally:
            self._stack.quiet = False
            watchdog.cancel()
        outcome.seconds = time.monotonic() - began
        if outcome.seconds > HUNG_S:
            outcome.hung = True
            outcome.error = f"{operation} still waited after {HUNG_S:.0f} s\n{outcome.error}"
        if log := os.environ.get(LOG_VARIABLE):
            with Path(log).open("a") as file:
                print(f"{operation} {self.name}: {outcome.seconds:.1f} s {outcome.counts}", file=file)
                print(outcome.error, end="\n" * bool(outcome.error), file=file)
        if fails is not None and bool(outcome.error) != fails:
            raise StackFailed(
                f"{operation} of {self.name} {'succeeded' if fails else 'failed'} after "
                f"{outcome.seconds:.0f} s\n"
                f"{outcome.error or outcome.changed}"
            )
        return outcome


def kill_engine(stack: str) -> None:
    """Kill the engine that works on a stack, and its plugins, as a machine that goes down would."""
    parents: dict[int, int] = {}
    engines: list[int] = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            status, command = (folder / "stat").read_text(), (folder / "cmdline").read_bytes().split(b"\0")
            pid, parent = int(folder.name), int(status.rpartition(")")[2].split()[1])
            parents[pid] = parent
            if parent == os.getpid() and command[0].endswith(b"pulumi") and stack.encode() in command:
                engines.append(pid)
    plugins = [pid for pid, parent in parents.items() if parent in engines]
    for pid in (*engines, *plugins):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _collector(operation: str, outcome: Outcome) -> Callable[[EngineEvent], None]:
    def collect(event: EngineEvent) -> None:
        metadata = None
        if event.res_outputs_event:
            metadata = event.res_outputs_event.metadata
        elif event.resource_pre_event and event.resource_pre_event.planning:
            metadata = event.resource_pre_event.metadata
        elif event.diagnostic_event and event.diagnostic_event.severity in ("error", "warning"):
            message = f"{event.diagnostic_event.severity}: {event.diagnostic_event.message.strip()}"
            if FOUND_ON_PATH not in message:
                outcome.messages.append(message)
        if metadata is not None and not metadata.type.startswith(("pulumi:pulumi", "pulumi:providers")):
            name = metadata.urn.rpartition("::")[2]
            noted = operation == "refresh" and _is_bookkeeping(metadata)
            op = "same" if noted else metadata.op.value
            outcome.steps.append(Step(op=op, type=metadata.type, name=name))

    return collect


def _is_bookkeeping(metadata: StepEventMetadata) -> bool:
    """Return whether a refresh changes only what the provider notes for itself.

    The Kubernetes provider notes the inputs of an object that is only read (`__inputs`) in another way
    when it refreshes than when it reads; the object is the same.
    """
    if metadata.op.value != "update" or metadata.old is None or metadata.new is None:
        return False
    old, new = (
        {name: value for name, value in (state.outputs or {}).items() if not name.startswith("__")}
        for state in (metadata.old, metadata.new)
    )
    return old == new


def _reason(outcome: Outcome, whole: str) -> str:
    errors = [message for message in outcome.messages if message.startswith("error:")]
    return "\n".join(errors) or whole[-2000:]
