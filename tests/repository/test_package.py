"""The component package brings what it needs and no more, from the checkout and as a copy of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from components.packaged import IoControllerArgs, configuration
from drcio_controller.config import Config
from drcio_controller.errors import ConfigError
from stacks.preview.dryrun import ROOT
from tests.repository.imports import reached_from
from tests.repository.test_requirements import canonical, requirements

# The SDKs load lazily, and warn on loading of classes of theirs that are not used here.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

PACKAGE = ROOT / "package"
IMAGE = f"registry.example/drcio-controller@sha256:{'0' * 64}"


def test_it_requires_what_it_imports_as_the_program_pins_it() -> None:
    needed = requirements(PACKAGE / "requirements.txt")
    distributions = packages_distributions()
    imported = reached_from(PACKAGE / "__main__.py").others
    named = {canonical(line.partition("==")[0]) for line in needed}
    assert named == {canonical(name) for module in imported for name in distributions[module]}
    assert set(needed) <= set(requirements(ROOT / "requirements.txt"))


def test_copy_without_its_links_is_whole(tmp_path: Path) -> None:
    copy = tmp_path / "package"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "venv"))
    program = (
        "import sys, components.packaged, drcio_controller.config as c;"
        "print(components.packaged.__file__, c.__file__)"
    )
    # As Pulumi runs it, with the folder first on the path.
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"import sys; sys.path.insert(0, {str(copy)!r}); {program}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert all(file.startswith(str(copy)) for file in done.stdout.split())


def test_nothing_given_is_the_agents_own_defaults() -> None:
    assert configuration({"image": IMAGE}) == Config()


def test_whole_numbers_come_as_such_though_the_wire_has_none() -> None:
    args = IoControllerArgs(image=IMAGE, classes={"high": {"weight": 900.0}})  # type: ignore[typeddict-item]
    assert configuration(args).classes["high"].weight == 900


def test_half_a_weight_is_refused() -> None:
    args = IoControllerArgs(image=IMAGE, classes={"high": {"weight": 9.5}})  # type: ignore[typeddict-item]
    with pytest.raises(ConfigError, match=r"classes\.high\.weight is 9\.5; expected a whole number"):
        configuration(args)
