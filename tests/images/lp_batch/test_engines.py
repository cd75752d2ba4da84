import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lp_batch.aio import AioUnavailable, NativeAio
from lp_batch.arena import Arena
from lp_batch.engine import Completion, Engine
from lp_batch.patterns import Pattern
from lp_batch.threads import ThreadEngine
from lp_batch.volume import open_volume

SLOTS = 4
BLOCK_BYTES = 8192


@pytest.fixture
def data_file(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.write_bytes(b"".join(bytes([block]) * BLOCK_BYTES for block in range(16)))
    return path


@pytest.fixture(params=["aio", "threads"])
def engine(request: pytest.FixtureRequest, data_file: Path, arena: Arena) -> Iterator[Engine]:
    flags = os.O_RDWR | (os.O_DIRECT if request.param == "aio" else 0)
    try:
        fd = os.open(data_file, flags)
    except OSError as error:
        pytest.skip(f"O_DIRECT: {error}")
    one: Engine = NativeAio(fd, arena) if request.param == "aio" else ThreadEngine(fd, fd, arena)
    yield one
    one.close()
    os.close(fd)


@pytest.fixture
def arena() -> Arena:
    return Arena(SLOTS, BLOCK_BYTES)


def reap_all(engine: Engine, count: int) -> list[Completion]:
    completions: list[Completion] = []
    deadline_s = time.monotonic() + 10
    while len(completions) < count and time.monotonic() < deadline_s:
        completions += engine.reap(0.5)
    return sorted(completions)


def test_a_batch_reads_into_each_slots_buffer(engine: Engine, arena: Arena) -> None:
    for slot in range(SLOTS):
        engine.queue(slot, write=False, offset_bytes=(10 + slot) * BLOCK_BYTES)
    engine.submit()
    assert reap_all(engine, SLOTS) == [(slot, BLOCK_BYTES) for slot in range(SLOTS)]
    assert [buffer[0] for buffer in arena.read_buffers] == [10, 11, 12, 13]
    assert bytes(arena.read_buffers[3]) == bytes([13]) * BLOCK_BYTES


def test_writes_land_where_they_should_and_slots_can_be_used_again(
    engine: Engine, arena: Arena, data_file: Path
) -> None:
    for block in (2, 3):
        arena.write_buffers[1][:] = bytes([100 + block]) * BLOCK_BYTES
        engine.queue(1, write=True, offset_bytes=block * BLOCK_BYTES)
        engine.submit()
        assert reap_all(engine, 1) == [(1, BLOCK_BYTES)]
    content = data_file.read_bytes()
    assert [content[block * BLOCK_BYTES] for block in range(5)] == [0, 1, 102, 103, 4]


def test_a_read_beyond_the_end_moves_nothing(engine: Engine) -> None:
    engine.queue(0, write=False, offset_bytes=100 * BLOCK_BYTES)
    engine.submit()
    assert reap_all(engine, 1) == [(0, 0)]


def test_reaping_nothing_returns_after_the_timeout(engine: Engine) -> None:
    before_s = time.monotonic()
    assert engine.reap(0.05) == []
    assert 0.04 < time.monotonic() - before_s < 1


def test_every_nth_write_is_synced(data_file: Path, arena: Arena) -> None:
    fd = os.open(data_file, os.O_RDWR)
    engine = ThreadEngine(fd, fd, arena, fsync_every=3)
    for turn in range(7):
        engine.queue(turn % SLOTS, write=True, offset_bytes=0)
        engine.submit()
        reap_all(engine, 1)
    engine.close()
    os.close(fd)
    assert engine.fsyncs == 2


def test_direct_patterns_use_native_aio_where_the_machine_has_it(data_file: Path, arena: Arena) -> None:
    volume = open_volume(data_file, Pattern.RANDOM_READ, arena, fsync_every=1)
    assert (volume.engine.name, volume.direct) in {("aio", True), ("threads", True), ("threads", False)}
    assert bool(volume.notes) == (volume.engine.name != "aio")
    volume.close()


def test_the_buffered_pattern_uses_threads(data_file: Path, arena: Arena) -> None:
    volume = open_volume(data_file, Pattern.BUFFERED_WRITE_FSYNC, arena, fsync_every=1)
    assert (volume.engine.name, volume.direct) == ("threads", False)
    volume.close()


def test_without_native_aio_threads_do_direct_io_and_say_why(
    data_file: Path, arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_fd: int, _arena: Arena) -> NativeAio:
        raise AioUnavailable("io_setup for 4 operations: Operation not permitted")

    monkeypatch.setattr("lp_batch.volume.NativeAio", refuse)
    volume = open_volume(data_file, Pattern.RANDOM_READ, arena, fsync_every=1)
    assert volume.engine.name == "threads"
    assert any("Operation not permitted" in note for note in volume.notes)
    volume.close()


def test_without_o_direct_the_page_cache_is_used_and_said(
    data_file: Path, arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_open = os.open

    def refuse(path: Path, flags: int) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return real_open(path, flags)

    monkeypatch.setattr("lp_batch.volume.os.open", refuse)
    volume = open_volume(data_file, Pattern.RANDOM_READ, arena, fsync_every=1)
    assert (volume.engine.name, volume.direct, volume.notes) == (
        "threads",
        False,
        ("O_DIRECT: Invalid argument",),
    )
    volume.close()
