"""The guest's clock while something is measured: the same on an idle host and on a busy one."""

import json
import sys
from pathlib import Path
from typing import cast

import pytest

from drcio_controller.kube.jsontypes import JsonObject
from experiments.commands.run import run_all
from experiments.commands.steady import busy_host
from experiments.records.spec import scenario
from experiments.targets.twin import TwinTarget
from node_twin.host.twin import Twin
from tests.twin.conftest import Silent, spec_of

pytestmark = pytest.mark.twin

_SLEEPS = """
import json, time
late_us = []
for _ in range(300):
    due = time.monotonic_ns() + 1_000_000
    time.sleep((due - time.monotonic_ns()) / 1e9)
    late_us.append((time.monotonic_ns() - due) / 1e3)
print(json.dumps(sorted(late_us)))
"""


def lateness_us(twin: Twin) -> list[float]:
    """Return how late 300 sleeps of a millisecond were, by the guest's clock, in order of size."""
    manifest: JsonObject = {
        "metadata": {"name": "sleeper"},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "sleeper", "command": [sys.executable, "-I", "-S", "-c", _SLEEPS]}],
        },
    }
    with twin.exact():
        twin.create_pod(manifest)
        assert twin.wait_ended("sleeper", timeout_s=120) == "Succeeded"
    log = twin.log("sleeper")
    twin.delete_pod("sleeper")
    return cast("list[float]", json.loads(log))


def test_timers_are_on_time_whatever_the_host_does(twin: Twin) -> None:
    if twin.kvm:
        pytest.skip("with KVM the guest's time is the host's")
    idle = lateness_us(twin)
    with busy_host(), busy_host():
        busy = lateness_us(twin)
    # A timer of a program has a slack of 50 us, and idle time gives way at once; who waits for a tick waits
    # for milliseconds, and so does who waits for the host.
    assert idle[285] < 100
    assert busy[285] == pytest.approx(idle[285], rel=0.1, abs=20)


def test_measured_window_asks_the_host_for_no_file(target: TwinTarget, tmp_path: Path) -> None:
    spec = spec_of(scenario("drcio"), duration_s=4.0)
    (record,) = run_all(spec, target.with_options(spec=spec), tmp_path, Silent())
    assert record.notes == ()
    assert record.cost is not None
    assert record.cost.guest_s == pytest.approx(spec.warmup_s + spec.duration_s, abs=2)
