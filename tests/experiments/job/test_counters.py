from hypothesis import given
from hypothesis import strategies as st

from experiments.job.counters import GrowingSum, Io


def moved(count: int) -> Io:
    return Io(rbytes=count, rios=count)


def test_pod_counts_from_its_first_scrape_on() -> None:
    total = GrowingSum()
    assert total.update({"a": moved(1000)}).rbytes == 0
    assert total.update({"a": moved(1100)}).rbytes == 100


def test_counter_that_went_down_began_anew() -> None:
    total = GrowingSum()
    for count in (1000, 1100):
        total.update({"a": moved(count)})
    assert total.update({"a": moved(30)}).rbytes == 130
    assert total.restarts == 1


def test_pod_that_replaces_another_counts_whole_and_as_a_restart() -> None:
    total = GrowingSum()
    total.update({"a": moved(10)})
    total.settled()
    assert total.update({"b": moved(7)}).rbytes == 7
    assert total.restarts == 1


def test_pod_that_joins_before_all_are_there_is_no_restart() -> None:
    total = GrowingSum()
    total.update({"a": moved(10)})
    total.update({"a": moved(20), "b": moved(5)})
    total.settled()
    assert (total.update({"a": moved(20), "b": moved(6)}).rbytes, total.restarts) == (11, 0)


def test_pod_that_misses_a_scrape_loses_nothing() -> None:
    total = GrowingSum()
    total.update({"a": moved(10), "b": moved(10)})
    total.update({"a": moved(20)})
    assert total.update({"a": moved(30), "b": moved(40)}).rbytes == 50


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 100)), max_size=20))
def test_sum_never_goes_back(scrapes: list[dict[str, int]]) -> None:
    total, before = GrowingSum(), Io()
    for scrape in scrapes:
        now = total.update({address: moved(count) for address, count in scrape.items()})
        assert now.rbytes >= before.rbytes
        before = now
