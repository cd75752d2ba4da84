"""Every kind of stack is previewed, goes up, is then unchanged, and comes down without leaving anything."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.engine import volumes
from tests.engine.bench import EXISTING, Bench
from tests.engine.stack import Stack

KINDS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "dev": ("dev", {}),
    "baseline": ("baseline", {}),
    "contention": ("contention", {}),
    "drcio": ("drcio", {}),
    "existing": ("drcio", EXISTING),
}

PLATFORM = "organization/drcio-eks/life-platform"


def goes_up_and_stays(stack: Stack) -> None:
    """Preview, update twice, look, refresh: all that a user does with a stack that nobody disturbs."""
    assert set(stack.preview().counts) <= {"create", "read"}
    assert set(stack.up().counts) <= {"create", "read"}
    assert stack.up().changed == []
    outputs = stack.outputs()
    assert outputs["serviceUrl"].startswith("http://")
    if "verdict" in outputs:
        assert (outputs["verdict"], outputs["p95_ms"]) == ("pass", 9.0)
    assert stack.refresh().changed == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_stack_goes_up_stays_as_it_is_and_comes_down_whole(
    bench: Bench, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    like, config = KINDS[kind]
    stack = bench.stack(f"life-{kind}", like, config)

    goes_up_and_stays(stack)

    assert ("verdict" in stack.outputs()) == (kind != "dev")
    if kind == "drcio":
        assert len(bench.account.volumes) == 2, "the workloads' and Prometheus'"
        # Detaching and deleting take longer than all that pulumi destroy does meanwhile.
        monkeypatch.setattr(volumes, "DELETE_S", 15.0)
    stack.destroy()
    if kind != "existing":
        assert bench.account.volumes == {}, "a disk is left behind by a driver that went before it"
    assert bench.leftovers() == []


def test_a_stack_on_another_ones_cluster_comes_and_goes_without_touching_it(bench: Bench) -> None:
    platform = bench.stack("life-platform", "dev")
    assert any("the whole internet reaches the API server" in message for message in platform.up().messages)
    guest = bench.stack("My_Guest", "drcio", {"drcio:platformStack": PLATFORM})

    goes_up_and_stays(guest)

    assert guest.outputs()["namespace"].startswith("drcio-my-guest-")
    refused = platform.destroy(fails=True)
    assert refused.changed == []
    assert "pulumi destroy --stack My_Guest first" in refused.error
    assert platform.up().changed == []
    _refuses_what_aws_would(bench)
    _refuses_spaces_that_are_taken(bench, guest.outputs()["namespace"], "drcio")
    # The provider's refresh takes a Job that runs for one that is not there yet; it is applied as it is.
    assert guest.up().changed == ["update Job lp-batch"]
    assert guest.up().changed == []
    guest.destroy()
    assert platform.up().changed == []
    platform.destroy()
    assert bench.leftovers() == []


def _refuses_spaces_that_are_taken(bench: Bench, *spaces: str) -> None:
    """Assert that another guest takes neither the first guest's namespace nor the platform's own."""
    intruder = bench.stack("intruder", "drcio", {"drcio:platformStack": PLATFORM})
    for space in spaces:
        intruder.configure({"drcio:namespace": space})
        for refused in (intruder.preview(fails=True), intruder.up(fails=True)):
            assert refused.changed == []
            assert (
                f"the cluster of stack {PLATFORM} has a namespace {space} that is not this stack's"
                in refused.error
            )
            assert "\nhint: pulumi config set drcio:namespace NAME" in refused.error


def _refuses_what_aws_would(bench: Bench) -> None:
    """Assert that another stack takes neither a cluster's name nor an instance type that is none."""
    for config, message in (
        ({}, "drcio:cluster.name is drcio-demo, and region us-east-1 of this AWS account has an EKS cluster"),
        (
            {"drcio:cluster.name": "another", "drcio:cluster.instanceTypes": "m6i.large,z9z.large"},
            "drcio:cluster.instanceTypes names z9z.large, which region us-east-1 of this AWS account",
        ),
    ):
        stack = bench.stack("second", "dev", config)
        refused = stack.up(fails=True)
        assert refused.changed == []
        assert message in refused.error
        assert "\nhint: " in refused.error
