"""The cluster under a running stack: upgraded in order, its nodes replaced where the volume is."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.engine.bench import GIVEN_IMAGES, Bench

LEAN = {**GIVEN_IMAGES, "drcio:monitoring.enabled": False, "drcio:experiment.enabled": False}


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
    stack = bench.stack("nodes", "dev", {**LEAN, "drcio:network.nat": "single"})
    stack.up()
    volumes = dict(bench.account.volumes)
    for change in ({"drcio:cluster.instanceTypes": "m5.xlarge"}, {"drcio:network.nat": "none"}):
        stack.configure(change)
        assert "replace" in stack.up().ops_of("NodeGroup")
        assert _soon(lambda: _service_runs(bench)), "the service's pod finds its volume"
        assert stack.up().changed == []
    assert bench.account.volumes == volumes
    stack.destroy()
    assert bench.leftovers() == []


def _service_runs(bench: Bench) -> bool:
    kube = bench.clusters.by_name["drcio-demo"].kube
    pods = kube.items("/api/v1/namespaces/drcio/pods?labelSelector=app%3Dhp-gnn-service")
    return [pod["status"].get("phase") for pod in pods] == ["Running"]


def _soon(holds: Callable[[], bool], timeout_s: float = 20.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True
