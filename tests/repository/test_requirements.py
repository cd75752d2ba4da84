"""Each environment holds what is imported there, and no more: the Pulumi program's, the images' tests'."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

from stacks.preview.dryrun import ROOT
from tests.repository.imports import reached_from

PROGRAM = (ROOT / "__main__.py", ROOT / "stacks" / "render.py")
HEAVY = ("torch", "dgl", "numpy", "matplotlib", "virtme", "aiohttp", "prometheus_client")
"""What the experiment and the images' programs need, none of it small."""
TESTED_WITH = {"pytest", "pytest-timeout", "pytest-xdist"}
"""Imported or not: pyproject.toml sets the time-out, tests/conftest.py what shares a worker."""
STACKS = sorted({file.name.split(".")[1] for file in ROOT.glob("Pulumi.*.yaml")} - {"local"})
"""All but the one whose images are named by whoever has built them (test_local_cluster renders it)."""


def requirements(file: Path) -> list[str]:
    """Return the lines without their comments."""
    lines = (line.partition("#")[0].strip() for line in file.read_text().splitlines())
    return [line for line in lines if line]


def canonical(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def own_packages() -> set[Path]:
    """Return the folders of the images' packages that requirements.txt names; none with an extra."""
    named = [
        line.removeprefix("-e ") for line in requirements(ROOT / "requirements.txt") if line.startswith("-e ")
    ]
    return {ROOT / folder for folder in named}


def declared() -> set[str]:
    """Return the distributions that the program may import: requirements.txt's and those of our packages."""
    lines = [line for line in requirements(ROOT / "requirements.txt") if not line.startswith("-")]
    for folder in own_packages():
        lines += project(folder.name)["dependencies"]
    return names(lines)


def names(lines: list[str]) -> set[str]:
    return {canonical(re.split(r"[=<>!~\[; ]", line)[0]) for line in lines}


def new_environment(folder: Path) -> str:
    """Make an environment as Pulumi does, with venv, and return its Python."""
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True, timeout=120)
    return str(folder / "venv" / "bin" / "python")


def without_python_settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def test_declared_is_what_the_program_imports() -> None:
    distributions = packages_distributions()
    imported = reached_from(*PROGRAM).others
    assert {canonical(name) for module in imported for name in distributions[module]} == declared()


def test_every_package_of_ours_is_one_that_the_program_imports() -> None:
    reached = reached_from(*PROGRAM).files
    imported = {folder for folder in ROOT.glob("images/*") if any(folder in file.parents for file in reached)}
    assert own_packages() == imported


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-experiments.txt", "requirements-dev.txt"])
def test_every_requirement_is_pinned(file: str) -> None:
    loose = [line for line in requirements(ROOT / file) if not line.startswith("-") and "==" not in line]
    assert loose == []


def images() -> list[str]:
    return sorted(file.parent.name for file in ROOT.glob("images/*/pyproject.toml"))


def project(image: str) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "images" / image / "pyproject.toml").read_text())["project"]
    return found


def extra(image: str, name: str) -> list[str]:
    """Return what an image's extra asks for beyond the package's own other extras."""
    found = project(image).get("optional-dependencies", {}).get(name, [])
    return [line for line in found if not line.startswith(f"{project(image)['name']}[")]


@pytest.mark.parametrize("image", images())
def test_an_images_extra_test_is_what_its_tests_import_and_its_program_does_not(image: str) -> None:
    distributions = packages_distributions()
    tests = (ROOT / "tests" / "images" / image.replace("-", "_")).rglob("*.py")
    asked = {canonical(name) for module in reached_from(*tests).others for name in distributions[module]}
    # The experiment's code is tested with what its Dockerfile installs: these two images' packages.
    beside = ("load-generator", "drcio-controller") if image == "experiment-runner" else ()
    program = [line for each in (image, *beside) for line in project(each)["dependencies"]]
    for each in (image, *beside):
        program += extra(each, "run") + extra(each, "testing")
    assert names(extra(image, "test")) == asked - names(program) | TESTED_WITH


def test_a_distribution_has_one_pin_wherever_it_is_required() -> None:
    lines = [line for file in ROOT.glob("requirements*.txt") for line in requirements(file)]
    for image in images():
        lines += project(image)["dependencies"]
        lines += [line for name in ("run", "testing", "test") for line in extra(image, name)]
    pins: dict[str, set[str]] = {}
    for line in lines:
        if not line.startswith("-"):
            pins.setdefault(canonical(line.partition("==")[0]), set()).add(line.partition("==")[2])
    assert {name: found for name, found in pins.items() if len(found) > 1} == {}


@pytest.mark.fresh
@pytest.mark.parametrize("image", ["load-generator", "lp-batch"])
def test_an_images_tests_run_with_its_extra_test_alone(image: str, tmp_path: Path) -> None:
    python = new_environment(tmp_path)
    install = [python, "-m", "pip", "install", "--quiet", "--editable", f"images/{image}[test]"]
    subprocess.run(install, cwd=ROOT, check=True, timeout=800)
    command = [python, "-m", "pytest", "-q", f"tests/images/{image.replace('-', '_')}"]
    done = subprocess.run(
        command, cwd=ROOT, env=without_python_settings(), capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout[-4000:]


RENDER = """
import json, sys
from stacks.render import main
statuses = {stack: main(["--stack", stack, "--output", f"{sys.argv[1]}/{stack}"]) for stack in sys.argv[2:]}
json.dump({"statuses": statuses, "modules": sorted(sys.modules)}, open(f"{sys.argv[1]}/outcome", "w"))
"""


@pytest.mark.fresh
def test_every_stack_renders_with_requirements_txt_alone(tmp_path: Path) -> None:
    """Install as Pulumi does: with pip, from the file."""
    python = new_environment(tmp_path)
    install = [python, "-m", "pip", "install", "--quiet", "--requirement", "requirements.txt"]
    subprocess.run(install, cwd=ROOT, check=True, timeout=800)
    command = [python, "-c", RENDER, str(tmp_path), *STACKS]
    subprocess.run(command, cwd=ROOT, env=without_python_settings(), check=True, timeout=300)
    outcome = json.loads((tmp_path / "outcome").read_text())
    assert outcome["statuses"] == dict.fromkeys(STACKS, 0)
    assert {"pulumi_aws", "hp_service.manifest"} <= set(outcome["modules"])
    listed = subprocess.run(
        [python, "-c", f"import importlib.util as u; print([m for m in {HEAVY} if u.find_spec(m)])"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert listed.stdout.strip() == "[]"
