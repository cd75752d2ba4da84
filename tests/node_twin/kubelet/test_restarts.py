"""When a container runs again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_twin.kubelet.manifest import RestartPolicy
from node_twin.kubelet.restarts import CrashLoopBackOff, init_policy, restarts


@pytest.mark.parametrize(
    ("policy", "exit_code", "again"),
    [
        (RestartPolicy.ALWAYS, 0, True),
        (RestartPolicy.ALWAYS, 1, True),
        (RestartPolicy.ON_FAILURE, 0, False),
        (RestartPolicy.ON_FAILURE, 137, True),
        (RestartPolicy.NEVER, 1, False),
    ],
)
def test_restarts(policy: RestartPolicy, exit_code: int, again: bool) -> None:
    assert restarts(policy, exit_code) is again


def test_init_container_that_succeeded_does_not_run_again() -> None:
    assert not restarts(init_policy(RestartPolicy.ALWAYS), 0)


def test_first_restart_is_immediate_and_later_ones_wait_longer_and_longer() -> None:
    delays: list[float] = []
    delay_s: float | None = None
    for _ in range(8):
        delay_s = CrashLoopBackOff().next_delay_s(delay_s, ran_s=1)
        delays.append(delay_s)
    assert delays == [0, 10, 20, 40, 80, 160, 300, 300]


@given(st.floats(0, 300))
def test_container_that_ran_long_enough_is_forgiven(previous_s: float) -> None:
    assert CrashLoopBackOff().next_delay_s(previous_s, ran_s=600) == 0
