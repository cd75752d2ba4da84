"""The set-up's tools: patient with whoever holds apt's locks, helpful where there is no apt."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stacks.preview.dryrun import ROOT

APT_INSTALL = ROOT / "tools" / "apt-install"
PACKAGES = ROOT / "tools" / "packages"
HOLD = """
import fcntl, sys, time
with open(sys.argv[1], "w") as lock:
    fcntl.lockf(lock, fcntl.LOCK_EX)
    print("held", flush=True)
    time.sleep(600)
"""
FROM_HOST = ("awk", "cat", "date", "dirname", "grep", "head", "id", "sed", "sh", "sleep")


@contextmanager
def held(lock: str) -> Iterator[subprocess.Popen[str]]:
    """Let another process hold one of apt's locks, as an unattended upgrade does."""
    command = [sys.executable, "-c", HOLD, lock]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.terminate()


def forgetful_dpkg(folder: Path) -> dict[str, str]:
    """Return an environment in which every package seems missing; apt knows better and changes nothing."""
    program = folder / "dpkg-query"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("lock", ["/var/lib/dpkg/lock-frontend", "/var/lib/apt/lists/lock"])
def test_waits_for_apts_lock_and_says_for_whom(lock: str, tmp_path: Path) -> None:
    command, environment = [str(APT_INSTALL), "kmod"], forgetful_dpkg(tmp_path)
    with (
        held(lock) as holder,
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as tool,
    ):
        try:
            assert tool.stdout is not None
            named = f"(process {holder.pid})"
            # Another apt may be busy on this machine as well.
            assert next((line for line in tool.stdout if named in line), None)
            time.sleep(5)  # two more tries
            assert tool.poll() is None
            holder.terminate()
            assert named not in tool.stdout.read()
            assert tool.wait(timeout=300) == 0
        finally:
            tool.kill()


def test_gives_up_in_the_end(tmp_path: Path) -> None:
    environment = {**forgetful_dpkg(tmp_path), "APT_PATIENCE_S": "1"}
    with held("/var/lib/apt/lists/lock") as holder:
        done = subprocess.run(
            [str(APT_INSTALL), "kmod"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert f"(process {holder.pid}) held apt's lock" in done.stderr
    assert "hint:" in done.stderr


def test_other_failures_of_apt_are_shown_at_once(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(APT_INSTALL), "drcio-no-such-package"],
        env=forgetful_dpkg(tmp_path),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode != 0
    assert "drcio-no-such-package" in done.stderr


def without_apt(folder: Path, *programs: str) -> dict[str, str]:
    """Return an environment of a distribution that has no apt, with these programs."""
    for name in FROM_HOST:
        (folder / name).symlink_to(shutil.which(name) or "")
    for name in programs:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return {"PATH": str(folder)}


def test_without_apt_what_is_missing_has_its_names_there(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(APT_INSTALL), "qemu-system-x86", "procps", "drcio-no-such-package"],
        env=without_apt(tmp_path, "pkill"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "lacks qemu-system-x86_64 drcio-no-such-package" in done.stderr
    assert "dnf install qemu-system-x86-core" in done.stderr
    assert "zypper install qemu-x86" in done.stderr
    assert "procps" not in done.stderr


def test_without_apt_nothing_is_asked_for_when_all_is_there(tmp_path: Path) -> None:
    environment = without_apt(tmp_path, "qemu-system-x86_64", "docker")
    command = [str(APT_INSTALL), "qemu-system-x86", "docker-cli?"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_package_of_the_makefile_has_its_other_names() -> None:
    table = [line.split() for line in PACKAGES.read_text().splitlines() if line and not line.startswith("#")]
    assert {len(row) for row in table} == {5}
    lines = (ROOT / "Makefile").read_text().splitlines()
    listed = [line.partition(":=")[2].split() for line in lines if line.startswith("APT_")]
    assert {row[0] for row in table} == {name.removesuffix("?") for names in listed for name in names}


def test_environment_has_python_3_11_where_the_distribution_has_another(tmp_path: Path) -> None:
    """Here uv finds the machine's own; elsewhere it fetches one."""
    command = [str(ROOT / "tools" / "make-venv"), str(tmp_path / "venv"), "python3.none"]
    subprocess.run(command, check=True, timeout=300)
    version = subprocess.run(
        [tmp_path / "venv" / "bin" / "python", "-m", "pip", "--version"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "python 3.11" in version.stdout


@pytest.mark.parametrize("target", ["render", "manifests", "setup-program"])
def test_rendering_installs_neither_guest_nor_model(target: str) -> None:
    command = ["make", "--dry-run", "--always-make", target, f"CONTROLLER_IMAGE=here/it@sha256:{'0' * 64}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "install-requirements .venv/bin/python requirements.txt" in done.stdout
    assert not re.search("qemu|torch|requirements-", done.stdout)


def test_set_up_of_the_demo_is_on_top_of_the_programs() -> None:
    command = ["make", "--dry-run", "--always-make", "setup"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    asked = re.findall(r"requirements\S*\.txt", done.stdout)
    assert asked == ["requirements.txt", "requirements-experiments.txt"]


def test_picture_of_the_rooms_is_that_of_the_imports() -> None:
    done = run_tool("draw-architecture", "--check")
    assert done.returncode == 0, f"hint: tools/draw-architecture\n{done.stderr}"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("experiments/records/spec.py", "tests/experiments/records/test_spec.py"),
        ("images/drcio-controller/src/drcio_controller/pods/mapping.py", "test_mapping.py"),
        ("tools/packages", "tests/repository/test_tools.py"),
        ("tests/stacks/cost/test_estimate.py", "1 test files: tests/stacks/cost/test_estimate.py"),
    ],
)
def test_tests_of_a_file_are_those_that_name_it(path: str, expected: str) -> None:
    done = run_tool("test", path, "--", "--collect-only", "-q")
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout.splitlines()[0]


def test_a_modules_own_tests_are_run_and_the_rest_on_demand() -> None:
    module = "experiments/judgement/verdict.py"
    few, every = (run_tool("test", *words, module, "--", "--collect-only", "-q") for words in ([], ["--all"]))
    assert few.returncode == every.returncode == 0, few.stderr + every.stderr
    first, second, *_ = few.stdout.splitlines()
    assert first == "1 test files: tests/experiments/judgement/test_verdict.py"
    assert re.fullmatch(r"\d+ more name them; hint: tools/test --all runs these too", second)
    assert "tests/experiments/report/test_browser.py: " in every.stdout


def test_what_needs_a_browser_is_left_out_until_asked_for() -> None:
    folder, file = "tests/experiments/report", "test_browser.py"
    for words, found in (([folder], False), (["--all", folder], True), ([f"{folder}/{file}"], True)):
        done = run_tool("test", *words, "--", "--collect-only", "-q")
        assert done.returncode == 0, done.stderr
        assert (f"{folder}/{file}: " in done.stdout) == found, words


def test_without_pytest_the_set_up_is_named_and_nothing_else(tmp_path: Path) -> None:
    tool = tmp_path / "tools" / "test"
    tool.parent.mkdir()
    shutil.copy(ROOT / "tools" / "test", tool)
    for environment in (False, True):
        if environment:
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / ".venv"], check=True)
        done = subprocess.run([sys.executable, tool, tool], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"error: there is no pytest in {tmp_path}/.venv\nhint: make setup-dev\n"


def test_a_file_that_is_not_there_is_refused() -> None:
    done = run_tool("test", "nowhere.py")
    assert done.returncode == 2
    assert "nowhere.py does not exist" in done.stderr


def run_tool(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "tools" / name, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
