import pytest
from hypothesis import given
from hypothesis import strategies as st

from lp_batch.pacing import Pacer

PACER = Pacer(rate_bytes_s=1000, block_bytes=100, burst_ops=4)


def test_the_first_operation_is_due_at_once() -> None:
    assert PACER.budget(0, issued=0, forgiven=0) == (1, 0)


def test_operations_become_due_at_the_rate() -> None:
    assert PACER.budget(0.25, issued=1, forgiven=0) == (2, 0)
    assert PACER.budget(0.25, issued=3, forgiven=0) == (0, 0)
    assert PACER.wait_s(0.25, issued=3, forgiven=0) == pytest.approx(0.05)


def test_a_backlog_beyond_the_burst_is_forgiven() -> None:
    budget, forgiven = PACER.budget(10, issued=0, forgiven=0)
    assert (budget, forgiven) == (4, 97)
    assert PACER.budget(10, issued=4, forgiven=forgiven) == (0, 97)


@given(
    st.lists(st.floats(min_value=0, max_value=0.5), min_size=1, max_size=100),
    st.integers(min_value=1, max_value=20),
)
def test_never_more_than_the_rate_plus_one_operation(steps_s: list[float], burst_ops: int) -> None:
    pacer = Pacer(rate_bytes_s=1000, block_bytes=100, burst_ops=burst_ops)
    elapsed_s, issued, forgiven = 0.0, 0, 0
    for step_s in steps_s:
        elapsed_s += step_s
        budget, forgiven = pacer.budget(elapsed_s, issued, forgiven)
        assert 0 <= budget <= burst_ops
        issued += budget
        assert issued <= elapsed_s * 10 + 1
