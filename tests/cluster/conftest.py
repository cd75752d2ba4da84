"""One cluster for the session, with the images built here; before it, what the stand-in kubelet shows."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from experiments.records.spec import parse_volume
from experiments.targets.twin import TwinOptions, bare_twin
from local_cluster import cluster
from local_cluster.cluster import Cluster
from local_cluster.images.prepare import Prepared, prepared
from local_cluster.node.boot import NodeOptions
from local_cluster.node.settings import DRIVERS
from local_cluster.programs import Programs, find
from node_twin.host.session import running
from tests.cluster.nodes import Real, StandIn
from tests.cluster.observe import Observations, observe
from tests.twin.conftest import spec_of


@pytest.fixture(scope="session", autouse=True)
def programs() -> Programs:
    """What the cluster is started from: what is missing is said before anything is built or booted."""
    return find(cluster.PROGRAMS)


@pytest.fixture(scope="session")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Observations:
    """What a twin shows; asked for before the cluster, it is gone when that comes up."""
    options = TwinOptions(output=tmp_path_factory.mktemp("standin"), cache=cluster.CACHE)
    with running(bare_twin(spec_of(volume=parse_volume("gp3")), options), report=print) as twin:
        node = StandIn(twin)
        node.prepare()
        return observe(node)


@pytest.fixture(scope="session")
def images() -> Prepared:
    """Of the five the two that these tests' pods are made from."""
    return prepared(cluster.CACHE / "cluster", names=("controller", "lp-batch"), tell=print)


@pytest.fixture(scope="session")
def up(images: Prepared) -> Iterator[Cluster]:
    driver = os.environ.get("DRCIO_CGROUP_DRIVER", DRIVERS[0])
    options = NodeOptions(store=images.disk, cgroup_driver=driver)
    with cluster.running(options, tell=print) as started:
        yield started


@pytest.fixture(scope="session")
def real_node(up: Cluster, images: Prepared) -> Real:
    node = Real(up, images.references["lp-batch"])
    node.prepare()
    return node


@pytest.fixture(scope="session")
def real(standin: Observations, real_node: Real) -> Observations:
    return observe(real_node)
