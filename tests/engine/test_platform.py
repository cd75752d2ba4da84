"""The cluster under a running stack: upgraded in order, its nodes replaced where the volume is."""

from __future__ import annotations

import time
from collections.abc import Mapping

from hp_service.manifest import NAME as SERVICE
from lp_batch.manifest import APP as BATCH
from tests.engine.bench import GIVEN_IMAGES, Bench
from tests.engine.kube import label
from tests.engine.stack import Stack

LEAN = {**GIVEN_IMAGES, "drcio:monitoring.enabled": False, "drcio:experiment.enabled": False}
BACK_S = 200.0
"""Well before the scheduler tries again what it has overlooked, after five minutes; with a Job's back-off."""


def updates(bench: Bench, since: int) -> list[str]:
    """Return what EKS was told to change, in order."""
    return [
        f"{it.type.rpartition(':')[2]} {it.name}"
        for it in bench.account.journal[since:]
        if it.act == "update" and it.type.startswith("aws:eks/")
    ]


def test_an_upgrade_takes_control_plane_network_nodes_and_the_rest_in_order(bench: Bench) -> None:
    stack = bench.stack("upgrade", "dev", {**LEAN, "drcio:cluster.version": "1.34"})
    stack.up()
    stack.configure({"drcio:cluster.version": "1.36"})
    refused = stack.up(fails=True)
    assert refused.changed == []
    assert "pulumi config set --path 'drcio:cluster.version' 1.35" in refused.error
    stack.configure({"drcio:cluster.version": "1.35"})
    since = len(bench.account.journal)

    stack.up()

    cluster, *addons = updates(bench, since)
    assert cluster == "Cluster drcio-demo-eks-eksCluster"
    nodes = addons.index("NodeGroup drcio-demo-nodes")
    assert sorted(addons[:nodes]) == ["Addon eks-pod-identity-agent", "Addon kube-proxy", "Addon vpc-cni"]
    assert sorted(addons[nodes + 1 :]) == [
        "Addon aws-ebs-csi-driver",
        "Addon coredns",
        "Addon metrics-server",
    ]
    assert stack.up().changed == []
    stack.destroy()
    assert bench.leftovers() == []


def test_nodes_that_are_replaced_come_back_where_the_volume_is(bench: Bench) -> None:
    alone = {**LEAN, "drcio:network.nat": "single", "drcio:scenario": "baseline"}
    stack = bench.stack("nodes", "dev", alone)
    stack.up()
    volumes = dict(bench.account.volumes)
    stack.configure({"drcio:cluster.instanceTypes": "m5.xlarge"})
    _nodes_are_replaced(bench, stack, {SERVICE: 1})
    stack.configure({"drcio:scenario": "contention"})
    stack.up()
    stack.configure({"drcio:network.nat": "none"})
    _nodes_are_replaced(bench, stack, {SERVICE: 1, BATCH: 2})
    assert bench.account.volumes == volumes
    stack.destroy()
    assert bench.leftovers() == []


def _nodes_are_replaced(bench: Bench, stack: Stack, expected: Mapping[str, int]) -> None:
    assert "replace" in stack.up().ops_of("NodeGroup")
    deadline = time.monotonic() + BACK_S
    while (running := _running(bench)) != expected and time.monotonic() < deadline:
        time.sleep(0.2)
    assert running == expected, bench.clusters.by_name["drcio-demo"].troubles()
    assert stack.up().changed == []


def _running(bench: Bench) -> dict[str, int]:
    """Return how many pods of each app run on the volume, all others being none."""
    pods = bench.clusters.by_name["drcio-demo"].kube.items("/api/v1/namespaces/drcio/pods")
    apps = [label(pod, "app") for pod in pods if pod["status"].get("phase") == "Running"]
    return {app: apps.count(app) for app in (SERVICE, BATCH) if app in apps}
