from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

import hp_service

SCRIPT = Path(hp_service.__file__).parents[2] / "install-torch"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader = SourceFileLoader("install_torch", str(SCRIPT))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def fake_pip(tmp_path: Path, names: list[str]) -> str:
    """Return a `python` whose pip plans to install the packages of these names."""
    plan = {"install": [{"metadata": {"name": name}} for name in names]}
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\ncat <<'PLAN'\n{json.dumps(plan)}\nPLAN\n")
    path.chmod(0o755)
    return str(path)


def test_version_is_the_packages_pin(script: ModuleType) -> None:
    assert f'"torch=={script.pinned_version()}"' in (SCRIPT.parent / "pyproject.toml").read_text()


@pytest.mark.parametrize("extra", ["nvidia-cublas-cu12", "triton", "cuda-toolkit", "nvidia_cudnn_cu13"])
def test_plan_with_cuda_packages_is_noticed(script: ModuleType, extra: str, tmp_path: Path) -> None:
    assert script.would_install_cuda(fake_pip(tmp_path, ["torch", extra]), "torch==2.13.0")


def test_plan_without_cuda_packages_is_left_to_pip(script: ModuleType, tmp_path: Path) -> None:
    assert not script.would_install_cuda(fake_pip(tmp_path, ["torch", "sympy", "numpy"]), "torch==2.13.0")


def test_installed_cpu_build_is_left_alone() -> None:
    done = subprocess.run([SCRIPT, sys.executable], capture_output=True, text=True, check=True)
    assert "is there already" in done.stdout


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("way", ["pip", "uv"])
def test_bytecode_is_made_unless_somebody_else_does(
    script: ModuleType, way: str, compiled: bool, tmp_path: Path
) -> None:
    log, uv, python = tmp_path / "log", tmp_path / "uv", tmp_path / "python"
    uv.write_text(f'#!/bin/sh\necho "uv $@" >> {log}\n')
    # `pip install --quiet --target DIR uv` installs the uv above.
    python.write_text(
        f'#!/bin/sh\necho "pip $@" >> {log}\n[ "$5" != --target ] || install -D {uv} "$6/bin/uv"\n'
    )
    python.chmod(0o755)

    install = script.install_with_pip if way == "pip" else script.install_with_uv
    assert install(str(python), "torch==2.13.0", compiled=compiled) == 0

    command = log.read_text().splitlines()[-1]
    assert command.startswith(way)
    assert command.endswith("torch==2.13.0")
    assert ("--no-compile" not in command if way == "pip" else "--compile-bytecode" in command) is compiled
