"""What the doctor says of a machine, one line for each thing."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.commands import doctor
from experiments.commands.doctor import Machine
from experiments.targets.twin import TwinOptions, bare_twin
from local_cluster import cluster, deploy
from tests.experiments.build import build_spec

MEMINFO = "MemTotal:       {total} kB\nMemFree:          1 kB\nMemAvailable:   {available} kB\n"
REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Return one without any program."""
    (tmp_path / "bin").mkdir()
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(MEMINFO.format(total=16 << 20, available=8 << 20))
    return Machine(
        repository=tmp_path,
        environment={"PATH": str(tmp_path / "bin")},
        meminfo=meminfo,
        kvm_device=tmp_path / "kvm",
        system_path="",
    )


def program(machine: Machine, name: str, script: str = "") -> None:
    file = machine.repository / "bin" / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def test_another_architecture_cannot_run_the_guest(machine: Machine) -> None:
    assert not doctor.cores(dataclasses.replace(machine, architecture="x86_64")).stops_demo
    assert doctor.cores(dataclasses.replace(machine, architecture="aarch64")).stops_demo


def test_memory_is_enough_only_with_room_for_the_guest(machine: Machine) -> None:
    assert not doctor.memory(machine).stops_demo
    assert "16.0 GiB, 8.0 available" in doctor.memory(machine).text
    machine.meminfo.write_text(MEMINFO.format(total=16 << 20, available=3 << 20))
    assert doctor.memory(machine).stops_demo


def test_disk_needs_room_only_for_what_is_still_to_come(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(machine.repository)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=int(2.96 * doctor.GIB)))
    assert doctor.disk(machine).stops_demo
    assert "3.0 GiB free" in doctor.disk(machine).text
    assert "4.3 are needed" in doctor.disk(machine).text
    for there in doctor.DISK_ONCE_GIB:
        (machine.repository / there).mkdir(parents=True)
    assert not doctor.disk(machine).stops_demo
    assert "needed" not in doctor.disk(machine).text


def test_emulator_is_asked_for_its_version(machine: Machine) -> None:
    assert doctor.emulation(machine).stops_demo
    program(machine, "apt-get")
    assert not doctor.emulation(machine).stops_demo
    assert "make demo installs it" in doctor.emulation(machine).text
    program(machine, "qemu-system-x86_64", "echo QEMU 9; echo more")
    assert doctor.emulation(machine).text == "QEMU 9"
    program(machine, "qemu-system-x86_64", "exit 1")
    assert "does not start" in doctor.emulation(machine).text
    assert doctor.emulation(machine).stops_demo


def test_without_apt_only_a_kernel_that_is_there_lets_the_demo_run(machine: Machine) -> None:
    assert doctor.packages(machine).stops_demo
    options = TwinOptions(output=machine.repository / "results", cache=machine.cache)
    kernel = bare_twin(build_spec(), options).cache / "kernel" / options.kernel
    modules = kernel / "lib" / "modules" / "6.1"
    modules.mkdir(parents=True)
    (modules / "modules.dep").touch()
    (kernel / "boot").mkdir()
    (kernel / "boot" / "vmlinuz-6.1").touch()
    assert not doctor.packages(machine).stops_demo


@pytest.mark.parametrize(("boots", "said"), [(True, "yes:"), (False, "no:")])
def test_kvm_is_tried(machine: Machine, monkeypatch: pytest.MonkeyPatch, boots: bool, said: str) -> None:
    assert doctor.kvm(machine).text.startswith("no: there is no")
    machine.kvm_device.touch()
    test_without_apt_only_a_kernel_that_is_there_lets_the_demo_run(machine)
    monkeypatch.setattr(doctor, "kvm_boots", lambda _, *, console: boots)
    assert doctor.kvm(machine).text.startswith(said)


def test_docker_counts_when_its_engine_answers(machine: Machine) -> None:
    assert "none" in doctor.docker(machine).text
    program(machine, "docker", "echo cannot connect >&2; exit 1")
    assert "no engine answers" in doctor.docker(machine).text
    program(machine, "docker", "echo 28.1")
    assert doctor.docker(machine).text == "engine 28.1 answers"


def test_engines_programs_are_looked_for_where_the_variable_points(machine: Machine, tmp_path: Path) -> None:
    assert "no pulumi" in doctor.engine(machine).text
    for name in doctor.ENGINE_PROGRAMS:
        program(machine, name)
    assert "are in PATH" in doctor.engine(machine).text
    elsewhere = Machine(
        repository=tmp_path, environment={**machine.environment, doctor.ENGINE_VARIABLE: "/nowhere"}
    )
    assert "DRCIO_ENGINE=/nowhere" in doctor.engine(elsewhere).text
    assert doctor.engine(elsewhere).text.startswith("no pulumi")


def test_engine_is_there_only_with_all_that_cluster_and_program_start() -> None:
    assert set(doctor.ENGINE_PROGRAMS) >= {*cluster.PROGRAMS, *deploy.PROGRAMS}


def test_runs_before_anything_is_installed(tmp_path: Path) -> None:
    """Plain Python, none of our packages; one line for each thing, and the verdict."""
    environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", RUN, str(REPOSITORY)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(doctor.CHECKS) + 1, done.stderr
    assert lines[-1] == "make demo:   can run here" if done.returncode == 0 else "cannot" in lines[-1]


RUN = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from experiments.commands import doctor; sys.exit(doctor.main())"
)
