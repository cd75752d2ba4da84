from hypothesis import given
from hypothesis import strategies as st

from lp_batch.stats import OpStats, bucket_end_us, percentile_us

latencies_us = st.integers(min_value=0, max_value=1 << 36)


@given(latencies_us)
def test_a_latency_lies_in_its_bucket_which_is_narrow(latency_us: int) -> None:
    stats = OpStats()
    stats.observe(1, latency_us)
    (bucket,) = [place for place, count in enumerate(stats.buckets) if count]
    start_us = bucket_end_us(bucket - 1) if bucket else 0
    assert start_us <= latency_us < bucket_end_us(bucket)
    assert bucket_end_us(bucket) - start_us <= max(1, latency_us / 31)


@given(st.lists(latencies_us, min_size=1, max_size=200))
def test_percentiles_are_within_a_bucket_of_the_true_ones(values_us: list[int]) -> None:
    stats = OpStats()
    for value_us in values_us:
        stats.observe(1, value_us)
    median_us = sorted(values_us)[(len(values_us) - 1) // 2]
    assert median_us <= percentile_us([stats], 0.5) <= median_us * 33 / 32 + 1
    assert percentile_us([stats], 1.0) == max(values_us)
    assert stats.operations == len(values_us)
    assert stats.latency_sum_us == sum(values_us)


@given(st.lists(latencies_us, max_size=200))
def test_counts_below_powers_of_two_are_exact(values_us: list[int]) -> None:
    stats = OpStats()
    for value_us in values_us:
        stats.observe(1, value_us)
    bounds_us = [1 << power for power in range(6, 30)]
    assert stats.count_at_most_us(bounds_us) == [sum(v < bound for v in values_us) for bound in bounds_us]


def test_no_operations_have_no_percentile() -> None:
    assert percentile_us([OpStats()], 0.99) == 0
