"""requirements.txt holds what the Pulumi program imports, and no more: `pulumi up` installs it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from stacks.preview.dryrun import ROOT
from tests.repository.imports import reached_from

PROGRAM = (ROOT / "__main__.py", ROOT / "stacks" / "render.py")
HEAVY = ("torch", "dgl", "numpy", "matplotlib", "virtme", "aiohttp", "prometheus_client")
"""What the experiment and the images' programs need, none of it small."""
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
        lines += tomllib.loads((folder / "pyproject.toml").read_text())["project"]["dependencies"]
    return {canonical(re.split(r"[=<>!~\[; ]", line)[0]) for line in lines}


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


RENDER = """
import json, sys
from stacks.render import main
statuses = {stack: main(["--stack", stack, "--output", f"{sys.argv[1]}/{stack}"]) for stack in sys.argv[2:]}
json.dump({"statuses": statuses, "modules": sorted(sys.modules)}, open(f"{sys.argv[1]}/outcome", "w"))
"""


@pytest.mark.fresh
def test_every_stack_renders_with_requirements_txt_alone(tmp_path: Path) -> None:
    """Make the environment as Pulumi does: venv, then pip, then the file."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True, timeout=120)
    python = str(tmp_path / "venv" / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "--requirement", "requirements.txt"]
    subprocess.run(install, cwd=ROOT, check=True, timeout=800)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [python, "-c", RENDER, str(tmp_path), *STACKS]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=300)
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
