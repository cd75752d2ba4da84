"""Waits grow, are capped, and never undercut what the server asked for."""

from hypothesis import given
from hypothesis import strategies as st

from drcio_controller.kube.backoff import Backoff

BACKOFF = Backoff(initial_s=0.5, cap_s=30.0, jitter_ratio=0.5)
uniform = st.floats(0, 1, exclude_max=True)


def test_waits_double() -> None:
    assert [BACKOFF.delay_s(n, 0.0) for n in (1, 2, 3)] == [0.5, 1.0, 2.0]


@given(failures=st.integers(1, 10**6), uniform=uniform)
def test_waits_stay_between_initial_and_jittered_cap(failures: int, uniform: float) -> None:
    assert 0.5 <= BACKOFF.delay_s(failures, uniform) <= 45.0


@given(failures=st.integers(1, 100), uniform=uniform, asked_s=st.floats(0, 3600))
def test_retry_after_is_never_undercut(failures: int, uniform: float, asked_s: float) -> None:
    assert BACKOFF.delay_s(failures, uniform, asked_s) >= asked_s
