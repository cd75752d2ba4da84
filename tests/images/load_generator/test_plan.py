from collections.abc import Callable

import pytest

from load_generator.errors import UsageError
from load_generator.levels import LEVELS_RPS, level_rps
from load_generator.plan import Plan

URL = "http://localhost:8080/score"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Plan(url="localhost:8080", rate_rps=1, duration_s=1), "url is 'localhost:8080'"),
        (lambda: Plan(url="ftp://x/score", rate_rps=1, duration_s=1), "expected http://"),
        (lambda: Plan(url=URL, rate_rps=0, duration_s=1), "rate is 0"),
        (lambda: Plan(url=URL, rate_rps=float("inf"), duration_s=1), "rate is inf"),
        (lambda: Plan(url=URL, rate_rps=1, duration_s=-1), "duration is -1"),
        (lambda: Plan(url=URL, rate_rps=1, duration_s=1, warmup_s=-1), "warmup is -1"),
        (lambda: Plan(url=URL, rate_rps=1, duration_s=1, timeout_s=10_000), "expected at most 600 s"),
        (lambda: Plan(url=URL, rate_rps=1, duration_s=1, ids_max=0), "ids max is 0"),
        (lambda: Plan(url=URL, rate_rps=1e6, duration_s=60), "is over 5000000 requests"),
        (lambda: level_rps("extreme"), "level is 'extreme'; expected one of low, medium, high"),
    ],
)
def test_a_bad_value_is_refused_by_name(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        make()
    assert message in str(refused.value)


def test_levels_rise() -> None:
    assert list(LEVELS_RPS.values()) == sorted(LEVELS_RPS.values())
    assert level_rps("medium") == LEVELS_RPS["medium"]


def test_readiness_is_asked_at_the_same_origin() -> None:
    assert Plan(url=URL + "?x=1", rate_rps=1, duration_s=1).ready_url == "http://localhost:8080/readyz"
