"""Whoever makes the same noise again and again is heard a few times, and others still are."""

from __future__ import annotations

from drcio_controller.loglimit import LogLimit


def test_key_that_comes_again_and_again_is_let_through_a_few_times() -> None:
    now_s = 0.0
    limit = LogLimit(burst=3, refill_s=60, clock=lambda: now_s)

    assert [limit.admits("a") for _ in range(5)] == [True, True, True, False, False]
    assert limit.admits("b")
    assert limit.withheld == 2

    now_s = 60.0
    assert [limit.admits("a") for _ in range(2)] == [True, False]


def test_ever_new_keys_share_one_budget() -> None:
    limit = LogLimit(burst=3, overall=2, clock=lambda: 0.0)

    assert sum(limit.admits(str(index)) for index in range(5000)) == 6
