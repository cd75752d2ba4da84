"""Whose time a machine's clock tells."""

from pathlib import Path

import pytest

from load_generator.clock import VIRTUAL, clock_here


@pytest.mark.parametrize(
    ("arguments", "clock"),
    [
        (f"console=ttyS0 {VIRTUAL} root=/dev/root", "virtual"),
        ("console=ttyS0 root=/dev/root", "real"),
        (f"console=ttyS0 not-{VIRTUAL}", "real"),
        ("", "real"),
    ],
)
def test_clock_is_what_the_kernel_was_booted_with(tmp_path: Path, arguments: str, clock: str) -> None:
    (tmp_path / "cmdline").write_text(f"{arguments}\n")
    assert clock_here(tmp_path) == clock
