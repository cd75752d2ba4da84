import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lp_batch.pages import PAGE_BYTES, BlockReader, BlockWriter, mirrored, payload_pool

POOL = payload_pool(4, seed=1)


def written(
    pages: int, first_page: int, generation: int, *, data_set: int = 5, rotation: int = 0
) -> bytearray:
    block = bytearray(pages * PAGE_BYTES)
    BlockWriter(memoryview(block), POOL, rotation, data_set).stamp(first_page, generation)
    return block


def test_what_was_written_verifies() -> None:
    reader = BlockReader(memoryview(written(4, 100, 9)), 5)
    assert reader.verify(100, 9, sample=3, full=True) is None
    assert reader.verify(100, None, sample=0, full=True) is None


def test_a_block_verifies_page_by_page() -> None:
    block = written(4, 100, 9)
    second = block[PAGE_BYTES : 2 * PAGE_BYTES]
    assert BlockReader(memoryview(second), 5).verify(101, 9, sample=0, full=True) is None


@pytest.mark.parametrize(
    ("first_page", "generation", "data_set", "field"),
    [
        pytest.param(101, 9, 5, "place", id="a block that landed elsewhere"),
        pytest.param(100, 10, 5, "generation", id="a write that was lost"),
        pytest.param(100, 9, 6, "place", id="another data set"),
    ],
)
def test_intact_pages_in_the_wrong_place_are_found(
    first_page: int, generation: int, data_set: int, field: str
) -> None:
    fault = BlockReader(memoryview(written(4, 100, 9)), data_set).verify(
        first_page, generation, sample=0, full=False
    )
    assert fault is not None
    assert fault.field == field


def test_a_torn_block_is_found_at_its_first_old_page() -> None:
    block = written(4, 100, 10)
    block[2 * PAGE_BYTES :] = written(4, 100, 9)[2 * PAGE_BYTES :]
    fault = BlockReader(memoryview(block), 5).verify(100, 10, sample=0, full=False)
    assert fault is not None
    assert (fault.page, fault.field, fault.expected, fault.found) == (102, "generation", "10", "9")


def test_in_a_large_block_the_sampled_headers_move_with_the_sample() -> None:
    block = written(64, 0, 10)
    block[9 * PAGE_BYTES : 10 * PAGE_BYTES] = written(64, 0, 9)[9 * PAGE_BYTES : 10 * PAGE_BYTES]
    reader = BlockReader(memoryview(block), 5)
    assert reader.verify(0, 10, sample=0, full=False) is None
    for sample, full in ((1, False), (0, True)):
        fault = reader.verify(0, 10, sample=sample, full=full)
        assert fault is not None
        assert (fault.page, fault.found) == (9, "9")


def test_zeros_are_found() -> None:
    fault = BlockReader(memoryview(bytearray(PAGE_BYTES)), 0).verify(0, None, sample=0, full=False)
    assert fault is not None
    assert fault.field == "magic"


@given(
    position=st.integers(min_value=0, max_value=4 * PAGE_BYTES - 1),
    change=st.integers(min_value=1, max_value=255),
)
def test_a_full_check_finds_any_changed_byte(position: int, change: int) -> None:
    block = written(4, 100, 9)
    block[position] ^= change
    page = position // PAGE_BYTES
    fault = BlockReader(memoryview(block), 5).verify(100, 9, sample=page, full=True)
    assert fault is not None
    assert fault.page == 100 + page


def test_a_sampled_check_finds_damage_in_the_sampled_tail_only() -> None:
    block = written(4, 100, 9)
    block[3 * PAGE_BYTES - 1] ^= 1
    reader = BlockReader(memoryview(block), 5)
    assert reader.verify(100, 9, sample=0, full=False) is None
    fault = reader.verify(100, 9, sample=2, full=False)
    assert fault is not None
    assert fault.field == "tail checksum"


def test_a_generation_of_an_earlier_run_must_be_whole() -> None:
    block = written(1, 0, 9)
    block[16] ^= 1
    fault = BlockReader(memoryview(block), 5).verify(0, None, sample=0, full=False)
    assert fault is not None
    assert fault.field == "generation"


@given(st.integers(min_value=0, max_value=0xFFFFFFFF))
def test_a_mirrored_word_fits_64_bits_and_shows_any_single_flip(value: int) -> None:
    word = mirrored(value)
    assert 0 <= word < 1 << 64
    bit = random.Random(value).randrange(64)
    flipped = word ^ (1 << bit)
    assert flipped != mirrored(flipped & 0xFFFFFFFF)


def test_payload_does_not_compress() -> None:
    assert len(zlib.compress(POOL[: len(POOL) // 2])) > 0.98 * len(POOL) / 2
