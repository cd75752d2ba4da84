from itertools import islice

import pytest

from lp_batch.patterns import Pattern, accesses


def test_sequences_run_through_the_file_and_wrap_around() -> None:
    assert list(islice(accesses(Pattern.SEQUENTIAL_WRITE, 3, seed=1), 5)) == [
        (True, 0),
        (True, 1),
        (True, 2),
        (True, 0),
        (True, 1),
    ]


@pytest.mark.parametrize("pattern", Pattern)
def test_the_same_seed_gives_the_same_accesses_inside_the_file(pattern: Pattern) -> None:
    first, second = (list(islice(accesses(pattern, 50, seed=7), 2000)) for _ in range(2))
    assert first == second
    assert {block for _, block in first} == set(range(50))


def test_another_seed_gives_other_accesses() -> None:
    first, second = (list(islice(accesses(Pattern.MIXED, 50, seed=seed), 100)) for seed in (1, 2))
    assert first != second


def test_mixed_reads_and_writes_in_equal_parts() -> None:
    writes = sum(write for write, _ in islice(accesses(Pattern.MIXED, 50, seed=1), 10_000))
    assert 4800 < writes < 5200


def test_only_mixed_and_write_patterns_write() -> None:
    assert [pattern for pattern in Pattern if not pattern.writes] == [
        Pattern.SEQUENTIAL_READ,
        Pattern.RANDOM_READ,
    ]
    assert not Pattern.MIXED.only_writes
    assert [pattern for pattern in Pattern if not pattern.direct] == [Pattern.BUFFERED_WRITE_FSYNC]
