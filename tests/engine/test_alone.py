"""The controller alone as `make manifests` renders it, applied to a real API server and deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from drcio_controller.manifest import APP_LABEL
from stacks.render import main
from tests.engine.bench import Bench
from tests.engine.kube import objects
from tests.kubectl import kubectl
from tests.stacks.preview.test_alone import ALONE

# The SDKs load lazily, and warn on loading of classes of theirs that are not used here.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

DAEMON_SETS = "/apis/apps/v1/namespaces/drcio-system/daemonsets"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    config = ALONE | {"drcio:monitoring.enabled": "false"}
    options = [word for key, value in config.items() for word in ("--config", f"{key}={value}")]
    assert main(["--stack", "drcio", "--output", str(tmp_path), *options]) == 0
    return tmp_path


def run(bench: Bench, *command: str) -> str:
    assert bench.existing
    return kubectl(bench.kubeconfig, *command, timeout_s=120)


def test_base_is_applied_and_deleted_whole(bench: Bench, base: Path) -> None:
    kube = bench.existing.kube
    before = set(objects(kube))

    run(bench, "apply", "-k", str(base))
    (daemon_set,) = kube.items(DAEMON_SETS)
    assert daemon_set["metadata"]["name"] == APP_LABEL

    run(bench, "delete", "-k", str(base), "--wait=true")
    assert kube.items(DAEMON_SETS) == []
    assert {name for name in set(objects(kube)) - before if "drcio" in name} == set()
