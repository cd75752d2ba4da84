"""The controller alone as `make manifests` renders it, applied to a real API server and deleted."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from drcio_controller.manifest import APP_LABEL
from local_cluster.errors import ToolMissing
from local_cluster.programs import VARIABLE
from stacks.render import main
from tests.engine.bench import Bench
from tests.infra.test_alone import ALONE

# The SDKs load lazily, and warn on loading of classes of theirs that are not used here.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

DAEMON_SETS = "/apis/apps/v1/namespaces/drcio-system/daemonsets"


def kubectl() -> str:
    found = shutil.which("kubectl", path=os.environ.get(VARIABLE) or None)
    if found is None:
        raise ToolMissing("kubectl is not found", hint=f"set {VARIABLE}, or install it")
    return found


@pytest.fixture
def base(tmp_path: Path) -> Path:
    config = ALONE | {"drcio:monitoring.enabled": "false"}
    options = [word for key, value in config.items() for word in ("--config", f"{key}={value}")]
    assert main(["--stack", "drcio", "--output", str(tmp_path), *options]) == 0
    return tmp_path


def run(bench: Bench, *command: str) -> str:
    assert bench.existing
    done = subprocess.run(
        [kubectl(), f"--kubeconfig={bench.kubeconfig}", *command],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_base_is_applied_and_deleted_whole(bench: Bench, base: Path) -> None:
    kube = bench.existing.kube
    before = set(kube.objects())

    run(bench, "apply", "-k", str(base))
    (daemon_set,) = kube.items(DAEMON_SETS)
    assert daemon_set["metadata"]["name"] == APP_LABEL

    run(bench, "delete", "-k", str(base), "--wait=true")
    assert kube.items(DAEMON_SETS) == []
    assert {name for name in set(kube.objects()) - before if "drcio" in name} == set()
