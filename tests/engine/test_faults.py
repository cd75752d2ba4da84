"""What goes wrong around a stack: after it, `pulumi up` brings what was asked for, and `destroy` leaves
nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from tests.engine.bench import EXISTING, Bench
from tests.engine.kube import api_server_away
from tests.engine.stack import Outcome, kill_engine
from tests.waits import wait_until

LEAN = {**EXISTING, "drcio:monitoring.enabled": False}
AWAY_S = 30.0
SHORTLY_AWAY_S = 5.0


class Update(threading.Thread):
    """An update, a refresh or a destroy that runs while the test does something else."""

    def __init__(self, operation: Callable[..., Outcome]) -> None:
        super().__init__()
        self._operation = operation
        self.outcome = Outcome()

    def run(self) -> None:
        self.outcome = self._operation(fails=None)


def wait_for_pod(bench: Bench, app: str) -> None:
    """Return as soon as a pod of an app exists."""
    kube, path = bench.existing.kube, f"/api/v1/pods?labelSelector=app%3D{app}"
    assert wait_until(lambda: bool(kube.items(path)), every_s=0.05), f"no pod of {app}"


def restart_controllers(bench: Bench) -> None:
    """Start the control plane's controllers anew, as they do with a machine that comes back.

    Else their watches, which are tried ever more seldom (client-go's back-off), see nothing for up to another
    minute, and the test waits for them and not for what it is about.
    """
    for name in ("kube-controller-manager", "kube-scheduler"):
        process = bench.existing.plane.processes[name]
        process.stop(grace_s=0.5)
        process.start()


def test_an_update_survives_an_api_server_that_is_away_for_half_a_minute(bench: Bench) -> None:
    stack = bench.stack("fault-away", "drcio", LEAN)
    update = Update(stack.up)
    update.start()
    wait_for_pod(bench, "hp-gnn-service")

    with api_server_away(bench.existing.plane):
        time.sleep(AWAY_S)
    restart_controllers(bench)
    update.join()

    assert not update.outcome.hung
    stack.up()
    assert stack.up().changed == []
    assert stack.outputs()["verdict"] == "pass"
    stack.destroy()
    assert bench.leftovers() == []


def test_no_refresh_and_no_destroy_loses_anything_to_an_api_server_that_is_away(bench: Bench) -> None:
    stack = bench.stack("fault-unseen", "drcio", {**LEAN, "drcio:experiment.enabled": False})
    stack.up()
    kube, plane = bench.existing.kube, bench.existing.plane
    with api_server_away(plane):
        refreshed = stack.refresh(fails=None)
        destroyed = stack.destroy(fails=None)
    restart_controllers(bench)
    assert not refreshed.hung
    assert not destroyed.hung
    assert stack.refresh().changed == []
    # The provider's refresh takes a Job that runs for one that is not there yet; it is applied as it is.
    assert stack.up().changed == ["update Job lp-batch"]
    assert stack.up().changed == []

    ending = Update(stack.destroy)
    ending.start()
    assert wait_until(lambda: not kube.items("/apis/apps/v1/namespaces/drcio/deployments"), every_s=0.05)
    with api_server_away(plane):
        time.sleep(SHORTLY_AWAY_S)
    restart_controllers(bench)
    ending.join()

    assert not ending.outcome.hung
    stack.destroy()
    assert bench.leftovers() == []


def test_an_update_whose_engine_was_killed_is_run_again(bench: Bench) -> None:
    stack = bench.stack("fault-killed", "drcio", LEAN)
    update = Update(stack.up)
    update.start()
    wait_for_pod(bench, "hp-gnn-service")

    kill_engine(stack.name)
    update.join()

    assert update.outcome.error
    # The lock of a machine that is gone; the engine's own message names the command.
    stack.cancel()
    stack.up()
    assert stack.up().changed == []
    assert stack.outputs()["verdict"] == "pass"
    stack.destroy()
    assert bench.leftovers() == []


def test_a_stack_whose_namespace_was_deleted_by_hand_is_destroyed_at_once(bench: Bench) -> None:
    stack = bench.stack("fault-namespace", "baseline", LEAN)
    stack.up()
    kube = bench.existing.kube
    kube.delete("/api/v1/namespaces/drcio")
    assert wait_until(lambda: kube.get("/api/v1/namespaces/drcio") is None)

    stack.destroy()

    assert bench.leftovers() == []
