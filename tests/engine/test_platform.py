"""The cluster under a running stack: nodes, network, volume and version change, and what runs comes back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from hp_service.manifest import NAME as SERVICE
from lp_batch.manifest import APP as BATCH
from tests.engine.bench import GIVEN_IMAGES, Bench
from tests.engine.kube import label
from tests.engine.running import Running
from tests.waits import wait_until

CONFIG = {
    **GIVEN_IMAGES,
    "drcio:monitoring.enabled": False,
    "drcio:experiment.enabled": False,
    "drcio:network.nat": "single",
    "drcio:cluster.version": "1.34",
}
BACK_S = 200.0
"""Well before the scheduler tries again what it overlooked (five minutes); with a Job's first back-off."""


@pytest.fixture(scope="module")
def running(bench: Bench) -> Iterator[Running]:
    running = Running(bench, "cluster", "dev", CONFIG)
    yield running
    assert running.end() == []


def comes_back(running: Running, expected: Mapping[str, int]) -> None:
    """Wait for so many running pods of each app on the volume; those of the batch job were no failures."""
    back = wait_until(lambda: _running(running).items() >= expected.items(), BACK_S)
    assert back, running.cluster.troubles()
    for job in running.cluster.kube.items("/apis/batch/v1/namespaces/drcio/jobs"):
        assert job["status"].get("failed", 0) == 0


def _running(running: Running) -> dict[str, int]:
    pods = running.cluster.kube.items("/api/v1/namespaces/drcio/pods")
    apps = [label(pod, "app") for pod in pods if pod["status"].get("phase") == "Running"]
    return {app: apps.count(app) for app in (SERVICE, BATCH) if app in apps}


@pytest.mark.parametrize(
    ("scenario", "expected"), [("baseline", {SERVICE: 1}), ("contention", {SERVICE: 1, BATCH: 2})]
)
def test_nodes_that_are_replaced_come_back_where_the_volume_is(
    running: Running, scenario: str, expected: Mapping[str, int]
) -> None:
    assert running.stack
    running.up(scenario=scenario)
    volumes = dict(running.bench.account.volumes)

    outcome = running.up(fails=False, **{"cluster.instanceTypes": f"m5.{len(expected)}xlarge"})

    assert "replace" in outcome.ops_of("NodeGroup")
    comes_back(running, expected)
    assert running.bench.account.volumes == volumes
    running.is_unchanged()


def test_the_nat_layout_changes_in_place(running: Running) -> None:
    assert running.stack
    running.up(scenario="contention")
    volumes = dict(running.bench.account.volumes)
    for layout in ("per-az", "single", "none", "per-az"):
        running.up(fails=False, **{"network.nat": layout})
        # The batch job's pods wait for longer and longer, for Kubernetes counts disruptions there.
        comes_back(running, {SERVICE: 1})
        running.is_unchanged()
    assert running.bench.account.volumes == volumes


def test_another_volume_is_had_by_what_the_refusal_says(running: Running) -> None:
    stack = running.stack
    refused = running.up(fails=True, **{"storage.iops": 6000})
    assert refused.changed == []
    assert "pulumi destroy --target '**storage-claim' --target-dependents" in refused.error

    stack.destroy(only="**storage-claim")
    stack.up()

    volumes = running.bench.account.volumes.values()
    assert [volume["parameters"]["iops"] for volume in volumes] == ["6000"]
    running.is_unchanged()


def test_an_upgrade_takes_control_plane_network_nodes_and_the_rest_in_order(running: Running) -> None:
    assert running.stack
    refused = running.up(fails=True, **{"cluster.version": "1.36"})
    assert refused.changed == []
    assert "pulumi config set --path 'drcio:cluster.version' 1.35" in refused.error
    since = len(running.bench.account.journal)

    running.up(fails=False, **{"cluster.version": "1.35"})

    cluster, *addons = _updates(running.bench, since)
    assert cluster == "Cluster drcio-demo-eks-eksCluster"
    nodes = addons.index("NodeGroup drcio-demo-nodes")
    assert sorted(addons[:nodes]) == ["Addon eks-pod-identity-agent", "Addon kube-proxy", "Addon vpc-cni"]
    assert sorted(addons[nodes + 1 :]) == [
        "Addon aws-ebs-csi-driver",
        "Addon coredns",
        "Addon metrics-server",
    ]
    running.is_unchanged()


def _updates(bench: Bench, since: int) -> list[str]:
    """Return the changes that EKS was asked for, in order."""
    return [
        f"{it.type.rpartition(':')[2]} {it.name}"
        for it in bench.account.journal[since:]
        if it.act == "update" and it.type.startswith("aws:eks/")
    ]


def test_a_stack_with_another_name_keeps_its_cluster_and_its_volume(running: Running) -> None:
    stack = running.stack
    volumes = dict(running.bench.account.volumes)
    stack.rename("renamed")
    since = len(running.bench.account.journal)

    running.up()

    comes_back(running, {SERVICE: 1, BATCH: 2})
    assert running.bench.account.volumes == volumes
    replaced = [it for it in running.bench.account.journal[since:] if it.act in ("create", "delete")]
    assert [f"{it.act} {it.type}" for it in replaced] == []
    running.is_unchanged()
