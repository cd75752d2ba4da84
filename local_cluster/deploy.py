"""The program on this cluster, run in this process against the real engine: no language host is needed.

A user has the same from the plain CLI, in a checkout of his own; here the stack's files and its state lie in
the cache, and the checkout is never written.
"""

from __future__ import annotations

import json
import os
import runpy
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, cast
from unittest import mock

import pulumi.automation as auto
import yaml

from experiments.records.jsonfields import JsonObject
from experiments.targets.cluster import Overrides, Written, laid_over, written_in
from local_cluster.errors import ClusterError
from local_cluster.programs import ROOT, Programs
from stacks.configuration.config import parse
from stacks.configuration.keys import NAMESPACE
from stacks.configuration.settings import Settings

PROJECT: Final = "drcio-eks"
PROGRAMS: Final = ("pulumi", "pulumi-resource-kubernetes", "kubectl")

Value = str | int | bool


def settings_in(configured: JsonObject, *, stack: str) -> Settings:
    """Return a stack's settings for its own values, structured as in its file, by full key."""
    prefix = f"{NAMESPACE}:"
    given = {
        key.removeprefix(prefix): value if isinstance(value, str) else json.dumps(value)
        for key, value in configured.items()
        if key.startswith(prefix)
    }
    return parse(given, stack=stack, region="")


class LocalStack:
    """One stack of the program, made from its file in the checkout."""

    def __init__(self, name: str, programs: Programs, kubeconfig: Path, folder: Path) -> None:
        self._programs = programs
        self._kubeconfig = kubeconfig
        self._folder = folder
        self.name = name
        self._stack = self._create()

    def configured(self) -> JsonObject:
        """Return the stack's own values, structured as in its file, by full key."""
        document = yaml.safe_load(self._file.read_text(encoding="utf-8")) or {}
        return cast("JsonObject", document.get("config") or {})

    def settings(self) -> Settings:
        """Return what the program will read of them, with its defaults for the rest."""
        return settings_in(self.configured(), stack=self.name)

    def deploy(self, overrides: Overrides, tell: Callable[[str], None]) -> None:
        """Update the stack as it is configured, with some values laid over."""
        before = self._file.read_text(encoding="utf-8")
        settings = laid_over(cast("JsonObject", yaml.safe_load(before)), overrides)
        self._file.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
        try:
            self.up(tell)
        finally:
            self._file.write_text(before, encoding="utf-8")

    def configure(self, values: Mapping[str, Value]) -> None:
        """Set values by path, such as `drcio:ioWeights.low`, as `pulumi config set --path` does."""
        for key, value in values.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            self._stack.set_config(key, auto.ConfigValue(text), path=True)

    def up(self, tell: Callable[[str], None]) -> None:
        """Update the stack; raises ClusterError with the engine's own words where that fails."""
        self._do(lambda: self._stack.up(on_output=tell, color="never", suppress_outputs=True))

    def destroy(self, tell: Callable[[str], None]) -> None:
        self._do(lambda: self._stack.destroy(on_output=tell, color="never"))

    def outputs(self) -> dict[str, object]:
        """Return the stack's outputs, secrets too."""
        return {name: output.value for name, output in self._stack.outputs().items()}

    def written(self) -> Written:
        """Return what the last experiment wrote."""
        return written_in(cast("JsonObject", self._stack.export_stack().deployment or {}))

    @property
    def _file(self) -> Path:
        return self._folder / "work" / f"Pulumi.{self.name}.yaml"

    def _do(self, operation: Callable[[], object]) -> None:
        try:
            operation()
        except auto.errors.CommandError as error:
            raise ClusterError(f"stack {self.name}: {str(error)[-3000:]}") from error

    def _create(self) -> auto.Stack:
        for part in ("work", "state", "home", "bin"):
            (self._folder / part).mkdir(parents=True, exist_ok=True)
        command = self._folder / "bin" / "pulumi"
        command.unlink(missing_ok=True)
        # The Automation API wants a folder that has bin/pulumi.
        command.symlink_to(self._programs["pulumi"])
        project = yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))
        # An inline program is its own language host: it has no virtual environment to be looked for.
        project["runtime"] = "python"
        work = self._folder / "work"
        (work / "Pulumi.yaml").write_text(yaml.safe_dump(project, sort_keys=False), encoding="utf-8")
        shutil.copy(ROOT / f"Pulumi.{self.name}.yaml", work)
        workspace = auto.LocalWorkspace(
            work_dir=str(work),
            env_vars=self._variables,
            program=self._program,
            pulumi_command=auto.PulumiCommand(root=str(self._folder)),
        )
        return auto.Stack.create_or_select(self.name, workspace)

    @property
    def _variables(self) -> dict[str, str]:
        return {
            "PATH": self._programs.search_path,
            "KUBECONFIG": str(self._kubeconfig),
            "HOME": str(self._folder / "home"),
            "PULUMI_HOME": str(self._folder / "home"),
            "PULUMI_BACKEND_URL": f"file://{self._folder / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": "local",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }

    def _program(self) -> None:
        # The engine's process would start the program, which so has its environment.
        with mock.patch.dict(os.environ, self._variables):
            runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__")
