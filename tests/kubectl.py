"""The real kubectl, on a test's cluster."""

from __future__ import annotations

import subprocess
from pathlib import Path

from local_cluster.programs import find


def words_of(kubeconfig: Path, *words: str) -> list[str]:
    """Return the words of a call, found as the engine's programs are."""
    return [find(("kubectl",))["kubectl"], f"--kubeconfig={kubeconfig}", *words]


def call(
    kubeconfig: Path, *words: str, given: str | None = None, timeout_s: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run it to its end, however it ends."""
    return subprocess.run(
        words_of(kubeconfig, *words),
        input=given,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def kubectl(kubeconfig: Path, *words: str, given: str | None = None, timeout_s: float | None = None) -> str:
    """Run it and return what it prints; it has to succeed."""
    done = call(kubeconfig, *words, given=given, timeout_s=timeout_s)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout
