"""Which guest to boot is checked when the command line is read, not after minutes of preparation."""

import os
from pathlib import Path

import pytest

from experiments.commands import guest_options
from experiments.commands.cli import build_parser, main


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as left:
        build_parser().parse_args(words)
    assert left.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--memory-mib", "100", "expected 1024 to"),
        ("--memory-mib", str(10**9), "MiB, all that this machine has"),
        ("--memory-mib", "much", "'much' is out of range"),
        ("--guests", "50", "expected 1 to 2 guests"),
        ("--guests", "0", "expected 1 to 2 guests"),
        ("--kernel", "5.4", "no kernel '5.4'; expected one of 6.1, 6.12"),
        ("--kernel", "/etc/passwd", "no kernel image"),
        ("--kvm", "perhaps", "invalid choice"),
    ],
)
@pytest.mark.parametrize("command", ["run", "look", "compare", "sweep", "steady"])
def test_guest_that_cannot_be_is_refused(
    command: str, option: str, value: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in refusal(capsys, command, option, value)


def test_other_commands_refuse_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no kernel '5.4'" in refusal(capsys, "fuzz", "--kernel", "5.4")
    for jobs in ("0", "-3", "100000", "many"):
        assert "expected 1 to 256 seeds at a time" in refusal(capsys, "fuzz", "--jobs", jobs)


@pytest.mark.parametrize("command", ["run", "fuzz", "respond"])
def test_kvm_is_not_insisted_on_without_its_device(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(guest_options, "_KVM_DEVICE", tmp_path / "kvm")
    assert "it is not there; --kvm auto emulates then" in refusal(capsys, command, "--kvm", "on")
    (tmp_path / "kvm").touch()
    assert build_parser().parse_args([command, "--kvm", "on"]).kvm == "on"
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    assert "this user may not use it" in refusal(capsys, command, "--kvm", "on")


def test_what_a_guest_boots_in_is_taken() -> None:
    options = build_parser().parse_args(["run", "--memory-mib", "1024", "--guests", "2", "--kernel", "6.1"])
    assert (options.memory_mib, options.guests, options.kernel) == (1024, 2, "6.1")


@pytest.mark.parametrize(
    "option",
    [("--target", "cluster"), ("--prometheus",), ("--lp-idle",), ("--lp-elsewhere",), ("--guests", "2")],
)
def test_option_about_our_pods_is_refused_beside_own_ones(
    option: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    assert main(["run", "--workloads", str(tmp_path), "--output", str(output), *option]) == 2
    assert f"error: {' '.join(option)} beside --workloads" in capsys.readouterr().err
    assert not output.exists()
