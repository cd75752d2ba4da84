"""What security scanners say of the rendered objects and the Dockerfiles; each exception with its reason."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stacks.preview.dryrun import ROOT
from stacks.preview.manifests import manifests
from tests.stacks.dryruns import render

pytestmark = pytest.mark.scanners

REQUIREMENTS = Path(__file__).with_name("scanners.txt")
ENVIRONMENT = ROOT / ".cache" / "scanners"
DOCKERFILES = sorted(ROOT.glob("images/*/Dockerfile"))

NAME_HASH = re.compile(r"-[0-9a-f]{12}$")
"""What ends the name of the experiment's Job."""
CPU_LIMITS = "CKV_K8S_11"
# (check, resource or "*") -> why it may fail.
KUBERNETES_EXCEPTIONS = {
    (
        CPU_LIMITS,
        "*",
    ): "CFS throttling would spoil the latencies that are measured; CPU requests protect others",
    ("CKV_K8S_23", "DaemonSet.drcio-system.drcio-controller"): "cgroup files belong to root",
    ("CKV_K8S_40", "DaemonSet.drcio-system.drcio-controller"): "cgroup files belong to root",
    ("CKV_K8S_38", "DaemonSet.drcio-system.drcio-controller"): "it watches pods, hence its token",
    ("CKV_K8S_38", "ReplicaSet.drcio.drcio-volume-guard"): "it lists volumes, hence its token",
    ("CKV_K8S_8", "ReplicaSet.drcio.drcio-volume-guard"): "it serves nothing until it is told to stop",
    ("CKV_K8S_9", "ReplicaSet.drcio.drcio-volume-guard"): "it serves nothing until it is told to stop",
    ("CKV_K8S_38", "Job.drcio.drcio-experiment"): "it fills its one ConfigMap, hence its token",
}
DOCKER_EXCEPTIONS = {
    (
        "CKV_DOCKER_7",
        "*",
    ): "the base comes as an ARG, given with a digest where it matters; its default has a tag",
    ("CKV_DOCKER_2", "/lp-batch/Dockerfile."): "a Job: it ends, and its exit status is its health",
    ("CKV_DOCKER_2", "/load-generator/Dockerfile."): "a Job: it ends, and its exit status is its health",
    ("CKV_DOCKER_2", "/experiment-runner/Dockerfile."): "a Job: it ends, and its exit status is its health",
}
HADOLINT_EXCEPTIONS = {
    (
        "images/drcio-controller/Dockerfile",
        "DL3002",
    ): "cgroup files belong to root; all capabilities are dropped",
    (
        "images/hp-service/Dockerfile",
        "DL3059",
    ): "one layer each, so that a change of code keeps PyTorch's layer",
    (
        "images/hp-service/Dockerfile",
        "DL3008",
    ): "the base's digest, not a package version, fixes the packages",
}


@pytest.fixture(scope="session")
def scanners() -> Path:
    """Return the folder of the scanners' commands, installed once into an environment of their own."""
    marker = ENVIRONMENT / "installed"
    wanted = REQUIREMENTS.read_text()
    if not marker.is_file() or marker.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)], check=True, timeout=120)
        install = ["tools/install-requirements", str(ENVIRONMENT / "bin" / "python"), str(REQUIREMENTS)]
        subprocess.run(install, cwd=ROOT, check=True, timeout=600)
        marker.write_text(wanted)
    return ENVIRONMENT / "bin"


def failed_checks(scanners: Path, framework: str, folder: Path) -> list[tuple[str, str, str]]:
    """Return (check, resource, what it wants) for each failed check."""
    command = [
        str(scanners / "checkov"),
        *("--directory", str(folder)),
        *("--framework", framework),
        *("--output", "json"),
        *("--skip-download", "--compact", "--quiet"),
    ]
    # Without a platform key checkov still asks its service for a policy mapping, and waits for it.
    environment = {**os.environ, "BC_SKIP_MAPPING": "TRUE"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=environment)
    report = json.loads(done.stdout)
    assert report["summary"]["passed"] > 50, report["summary"]
    assert report["summary"]["parsing_errors"] == 0
    return [
        (check["check_id"], NAME_HASH.sub("", check["resource"]), check["check_name"])
        for check in report["results"]["failed_checks"]
    ]


def unexplained(
    failed: list[tuple[str, str, str]], exceptions: dict[tuple[str, str], str]
) -> list[tuple[str, str, str]]:
    return [
        item for item in failed if (item[0], item[1]) not in exceptions and (item[0], "*") not in exceptions
    ]


def unneeded(
    failed: list[tuple[str, str, str]], exceptions: dict[tuple[str, str], str]
) -> set[tuple[str, str]]:
    """Return exceptions that nothing needs any more."""
    found = {(check, resource) for check, resource, _ in failed} | {(check, "*") for check, _, _ in failed}
    return set(exceptions) - found


def test_rendered_objects_fail_no_check_without_a_reason(scanners: Path, tmp_path: Path) -> None:
    for manifest in manifests(render("drcio")):
        (tmp_path / manifest.file_name).write_text(manifest.as_yaml())
    failed = failed_checks(scanners, "kubernetes", tmp_path)
    assert unexplained(failed, KUBERNETES_EXCEPTIONS) == []
    assert unneeded(failed, KUBERNETES_EXCEPTIONS) == set()


def test_dockerfiles_fail_no_check_without_a_reason(scanners: Path) -> None:
    failed = failed_checks(scanners, "dockerfile", ROOT / "images")
    assert unexplained(failed, DOCKER_EXCEPTIONS) == []
    assert unneeded(failed, DOCKER_EXCEPTIONS) == set()


def test_hadolint_finds_nothing_without_a_reason(scanners: Path) -> None:
    assert len(DOCKERFILES) >= 4
    names = [str(path.relative_to(ROOT)) for path in DOCKERFILES]
    command = [str(scanners / "hadolint"), "--format", "json", "--no-fail", *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    found = {(item["file"], item["code"]): item["message"] for item in json.loads(done.stdout)}
    assert {place: text for place, text in found.items() if place not in HADOLINT_EXCEPTIONS} == {}
    assert set(HADOLINT_EXCEPTIONS) - set(found) == set()
