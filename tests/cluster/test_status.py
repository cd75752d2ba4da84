"""What the cluster says of itself, and what a user asks of it by hand."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from local_cluster import status
from local_cluster.cluster import Cluster
from node_twin.layout import NAMESPACE
from tests.cluster.nodes import Real
from tests.cluster.pods import container, pod
from tests.cluster.waits import eventually
from tests.kubectl import kubectl

pytestmark = pytest.mark.timeout(3600)

ROOM_BYTES = 6 << 30
NAME = "by-hand"
BUSY = "trap 'exit 0' TERM; echo up; while :; do :; done"


@pytest.fixture(scope="module")
def running(real_node: Real) -> Iterator[Real]:
    real_node.create(pod(NAME, container("main", BUSY)))
    eventually(
        lambda: (real_node.pod(NAME) or {})["status"]["phase"] == "Running", lambda: real_node.pod(NAME)
    )
    yield real_node
    real_node.delete(NAME)


def test_status_tells_the_node_its_pods_and_who_takes_its_cpu(running: Real, up: Cluster) -> None:
    told = "\n".join(status.lines(os.getpid()))
    assert "node local: Ready" in told
    assert f"export KUBECONFIG={up.kubeconfig}" in told
    pods = up.plane.kube.items("/api/v1/pods")
    alive = sum(pod["status"]["phase"] == "Running" for pod in pods)
    assert alive >= 1
    assert f"pods: {len(pods)}, {alive} running" in told
    assert NAME in next(line for line in told.splitlines() if "the node's CPU" in line)


def test_cluster_has_room_in_six_gib(running: Real) -> None:
    taken = status.memory_of_children(os.getpid())
    # This process is the tests' and no part of it.
    assert sum(taken.values()) - taken["python"] < ROOM_BYTES


def test_user_looks_into_a_pod_by_hand(running: Real, up: Cluster) -> None:
    space = ("-n", NAMESPACE)
    assert NAME in kubectl(up.kubeconfig, "get", "pods", "--all-namespaces")
    assert kubectl(up.kubeconfig, *space, "logs", NAME) == "up\n"
    assert "Started" in kubectl(up.kubeconfig, *space, "describe", "pod", NAME)
    assert kubectl(up.kubeconfig, *space, "exec", NAME, "--", "cat", "/proc/1/comm") == "sh\n"
