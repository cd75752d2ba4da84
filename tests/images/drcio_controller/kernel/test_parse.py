"""Kernel files: good, `max`, missing, malformed, and anything Hypothesis thinks of."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drcio_controller.errors import Malformed, Vanished
from drcio_controller.kernel.files import OpenFiles, inode_of, read_text, write_text
from drcio_controller.kernel.parse import (
    DeviceId,
    IoStat,
    Limits,
    Pressure,
    parse_block_stat,
    parse_controllers,
    parse_io_max,
    parse_io_stat,
    parse_pressure,
    parse_settings,
    parse_weights,
)

SDA = DeviceId("8:0")
NVME = DeviceId("259:0")


def test_io_stat_is_read_per_device() -> None:
    text = (
        "8:0 rbytes=90430464 wbytes=299008000 rios=8950 wios=1252 dbytes=50331648 dios=3021\n"
        "259:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6 cost.vrate=100.50 cost.usage=7 cost.wait=8\n"
    )

    stats = parse_io_stat(text)

    assert stats[SDA] == IoStat(90430464, 299008000, 8950, 1252)
    assert stats[NVME] == IoStat(1, 2, 3, 4, cost_usage_us=7)


def test_io_stat_line_that_the_kernel_merged_belongs_to_its_last_device() -> None:
    assert list(parse_io_stat("11:0 254:0 rbytes=1 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n")) == ["254:0"]


def test_io_stat_device_without_counters_is_left_out() -> None:
    assert parse_io_stat("11:0 \n") == {}


def test_io_stat_key_of_a_newer_kernel_is_ignored() -> None:
    assert parse_io_stat("8:0 rbytes=1 latency.p99=3ms\n") == {SDA: IoStat(rbytes=1)}


@pytest.mark.parametrize(
    "text", ["8:0 rbytes=-1\n", "8:0 rbytes=1e3\n", "sda rbytes=1\n", "rbytes=1\n", "8:0 rbytes=1 loose\n"]
)
def test_io_stat_that_is_not_in_the_format_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        parse_io_stat(text)


def test_pressure_totals_are_read() -> None:
    text = "some avg10=1.00 avg60=0.00 avg300=0.00 total=12\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=3\n"

    assert parse_pressure(text) == Pressure(some_us=12, full_us=3)


def test_pressure_without_a_full_line_is_read() -> None:
    assert parse_pressure("some avg10=0.00 total=5\n") == Pressure(some_us=5, full_us=0)


@pytest.mark.parametrize("text", ["", "some avg10=0.00\n", "full total=1\n", "some total=x\n"])
def test_pressure_without_a_total_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        parse_pressure(text)


def test_weights_have_a_default_and_exceptions() -> None:
    weights = parse_weights("default 100\n8:0 500\n")

    assert weights.per_device[SDA] == 500
    assert NVME not in weights.per_device


def test_weight_as_a_bare_number_is_the_default() -> None:
    assert parse_weights("250\n").default == 250


@pytest.mark.parametrize(
    "text", ["", "8:0 10\n", "default 0\n", "default 10001\n", "default max\n", "a b c\n"]
)
def test_weights_out_of_the_kernels_range_are_refused(text: str) -> None:
    with pytest.raises(Malformed):
        parse_weights(text)


def test_io_max_reads_max_as_unlimited() -> None:
    limits = parse_io_max("8:0 rbps=2097152 wbps=max riops=max wiops=120\n")

    assert limits == {SDA: Limits(rbps=2097152, wiops=120)}
    assert limits[SDA].render() == "rbps=2097152 wbps=max riops=max wiops=120"


def test_io_max_that_is_empty_limits_nothing() -> None:
    assert parse_io_max("") == {}


def test_settings_are_read_per_device() -> None:
    assert parse_settings("8:0 enable=1 ctrl=user\n", "io.cost.qos") == {SDA: {"enable": "1", "ctrl": "user"}}


def test_controllers_are_words() -> None:
    assert "io" in parse_controllers("cpuset cpu io memory\n")


def test_block_stat_of_any_kernel_since_eleven_columns_is_read() -> None:
    text = (
        "  3557  53  1274642  565123  1122  465  2412528  22228  7  11952  587365  4  0  6291464  3  14  9\n"
    )

    stat = parse_block_stat(text)

    assert stat.ios == 3557 + 1122
    assert stat.ticks_ms == 565123 + 22228
    assert stat.in_flight == 7
    assert stat.total_bytes == (1274642 + 2412528) * 512


def test_block_stat_that_is_cut_off_is_refused() -> None:
    with pytest.raises(Malformed):
        parse_block_stat("1 2 3\n")


PARSERS: list[Callable[[str], object]] = [
    parse_io_stat,
    parse_pressure,
    parse_weights,
    parse_io_max,
    parse_block_stat,
    lambda text: parse_settings(text, "io.cost.qos"),
]


@pytest.mark.parametrize("parser", PARSERS)
@given(text=st.text())
def test_any_text_is_read_or_refused_and_nothing_else(parser: Callable[[str], object], text: str) -> None:
    with contextlib.suppress(Malformed):
        parser(text)


@pytest.mark.parametrize("parser", PARSERS)
@given(
    words=st.lists(
        st.sampled_from(
            ["8:0", "259:3", "rbytes=1", "some", "total=9", "default", "100", "max", "=", "\n", "x=²"]
        )
    )
)
def test_almost_right_text_is_read_or_refused(parser: Callable[[str], object], words: list[str]) -> None:
    with contextlib.suppress(Malformed):
        parser(" ".join(words))


counters = st.integers(0, 2**63)


@given(st.dictionaries(st.tuples(st.integers(0, 4095), st.integers(0, 9999)), st.tuples(counters, counters)))
def test_io_stat_that_was_written_is_read_back(devices: dict[tuple[int, int], tuple[int, int]]) -> None:
    text = "".join(
        f"{major}:{minor} rbytes={read} wbytes={written} rios=1 wios=2 dbytes=0 dios=0\n"
        for (major, minor), (read, written) in devices.items()
    )

    stats = parse_io_stat(text)

    assert {(stat.rbytes, stat.wbytes) for stat in stats.values()} == set(devices.values())
    assert len(stats) == len(devices)


@given(st.lists(counters, min_size=8, max_size=8), st.booleans())
def test_usual_line_reads_as_it_does_when_it_is_taken_apart(values: list[int], with_usage: bool) -> None:
    """An unknown key at the end keeps a line from being matched whole."""
    keys = ("rbytes", "wbytes", "rios", "wios", "dbytes", "dios", "cost.usage")
    words = [f"{key}={value}" for key, value in zip(keys, values, strict=False)][: 7 if with_usage else 6]
    line = " ".join(["259:3", *words])

    assert parse_io_stat(f"{line}\n") == parse_io_stat(f"{line} newer=1\n")


@given(counters, counters)
def test_usual_pressure_reads_as_it_does_when_it_is_taken_apart(some: int, full: int) -> None:
    averages = "avg10=0.00 avg60=12.34 avg300=100.00"
    text = f"some {averages} total={some}\nfull {averages} total={full}\n"

    assert parse_pressure(text) == parse_pressure(text.replace("avg10", "avg9")) == Pressure(some, full)


def test_missing_file_is_vanished(tmp_path: Path) -> None:
    with pytest.raises(Vanished):
        read_text(tmp_path / "io.stat")
    with pytest.raises(Vanished):
        write_text(tmp_path / "io.weight", "default 1")
    with pytest.raises(Vanished):
        inode_of(tmp_path / "gone")
    assert list(tmp_path.iterdir()) == []


def test_open_file_shows_what_is_in_it_now(tmp_path: Path) -> None:
    file = tmp_path / "io.stat"
    file.write_text("one")
    files = OpenFiles()
    assert files.read(str(file)) == "one"

    file.write_text("two")

    assert files.read(str(file)) == "two"
    files.forget_below(str(tmp_path))
    file.unlink()
    with pytest.raises(Vanished):
        files.read(str(file))


def test_file_larger_than_one_read_is_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "io.stat"
    file.write_text("x" * 200_000)

    assert len(read_text(file)) == 200_000
