"""What is concluded from a pod's status."""

import pytest

from node_twin.jsontypes import JsonObject
from node_twin.podstatus import failures_of


def container(**states: JsonObject) -> JsonObject:
    return {"name": "main", **{name: {"terminated": state} for name, state in states.items()}}


@pytest.mark.parametrize(
    ("status", "failures"),
    [
        ({"phase": "Running", "containerStatuses": [{"name": "main", "state": {"running": {}}}]}, {}),
        ({"containerStatuses": [container(state={"exitCode": 0})]}, {}),
        ({"containerStatuses": [container(state={"exitCode": 1})]}, {"main": "ended with status 1"}),
        ({"containerStatuses": [container(lastState={"exitCode": 137})]}, {"main": "ended by signal 9"}),
        (
            {"containerStatuses": [container(state={"exitCode": 137, "reason": "OOMKilled"})]},
            {"main": "was killed, out of memory"},
        ),
        (
            {"initContainerStatuses": [container(state={"exitCode": 2})], "containerStatuses": []},
            {"main": "ended with status 2"},
        ),
        ({"phase": "Failed", "message": "no ConfigMap"}, {"": "no ConfigMap"}),
    ],
)  # fmt: skip
def test_failed_containers_are_told_from_others(status: JsonObject, failures: dict[str, str]) -> None:
    assert failures_of({"status": status}) == failures
    assert failures_of(None) == {}
