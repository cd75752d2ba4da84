"""A kernel whose io controller is off: nothing can be done, and that is said."""

import dataclasses
from pathlib import Path
from typing import cast

import pytest

from experiments import workloads
from experiments.targets.node import Node
from experiments.targets.twin import TwinOptions, bare_twin
from node_twin.host.session import running
from node_twin.layout import NAMESPACE, NODE_NAME
from tests.twin.conftest import CACHE, spec_of
from tests.twin.pods import eventually, restarts

pytestmark = pytest.mark.twin


def test_controller_says_that_it_is_passive_and_goes_on(tmp_path: Path) -> None:
    spec = spec_of()
    config = bare_twin(spec, TwinOptions(output=tmp_path, cache=CACHE))
    with running(dataclasses.replace(config, kernel_arguments=("cgroup_disable=io",))) as twin:
        node = Node(twin, spec.volume, give_controller_volume=True)
        twin.create_pod(workloads.saturating("backup", "low", namespace=NAMESPACE, node=NODE_NAME))
        node.start_controller("drcio")

        def problems() -> str:
            status = cast("dict[str, list[str]]", twin.sample()["controller"] or {"problems": []})
            return "; ".join(status["problems"])

        eventually(twin, lambda: "no io controller" in problems(), problems)
        assert restarts(twin, workloads.CONTROLLER_POD) == 0
        twin.delete_pod(workloads.CONTROLLER_POD)
        assert not node.changed_knobs()
