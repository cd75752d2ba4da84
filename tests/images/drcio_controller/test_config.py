"""The configuration file: what is taken, what is refused, and how."""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drcio_controller.config import (
    DEFAULT_CLASSES,
    MAX_FILE_BYTES,
    Config,
    Engine,
    LatencyTarget,
    PolicyName,
    PriorityClass,
    VolumeProfile,
    digest,
    dump,
    parse,
    parse_latency_target,
)
from drcio_controller.configfile import ConfigFile
from drcio_controller.errors import ConfigError
from drcio_controller.instance import limit_of


def test_default_classes_are_the_contracts() -> None:
    assert {name: entry.weight for name, entry in DEFAULT_CLASSES.items()} == {
        "high": 1000,
        "medium": 100,
        "low": 10,
    }


def test_absent_keys_keep_their_defaults() -> None:
    assert parse("policy: drcio") == Config()


def test_whole_file_is_taken() -> None:
    config = parse(
        """
        policy: iomax-10
        engine: bfq
        interval_s: 1
        idle_after_s: 3
        floor_percent: 5
        default_class: bulk
        classes:
          critical: {weight: 5000, latency_target: p99.9<1.5s}
          bulk: 20
        volumes:
          - {iops: 6000, mib_s: 250, serial: "vol0*"}
        """
    )

    assert (config.policy, config.iomax_percent, config.engine) == (PolicyName.IOMAX, 10, Engine.BFQ)
    assert config.classes["critical"].latency_target == LatencyTarget(percentile=99.9, limit_s=1.5)
    assert config.classes["bulk"] == PriorityClass(weight=20)
    assert config.default_class == "bulk"
    assert config.volumes[0].matches(name="nvme1n1", serial="vol0abc")
    assert not config.volumes[0].matches(name="nvme1n1", serial="AWS123")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("- a", "configuration is a list"),
        ("a: [", "not YAML"),
        ("2024-99-99", "not YAML"),
        ("polcy: drcio", "unknown key 'polcy'"),
        ("policy: nope", "policy is 'nope'; expected one of drcio"),
        ("policy: iomax-0", "policy is 'iomax-0'"),
        ("policy: iomax", "policy is 'iomax'"),
        ("interval_s: 0", "interval_s is 0; expected a number from 0.05 to 60"),
        ("interval_s: yes", "interval_s is True"),
        ("classes: {}", "classes is empty"),
        ("classes: {High: 1}", "classes.High"),
        ("classes: {high: 0}", "classes.high.weight is 0; expected a whole number from 1 to 10000"),
        ("classes: {high: {weight: 1, wait: 2}}", "unknown key 'wait'"),
        ("classes: {high: {weight: 1, latency_target: fast}}", "latency target is 'fast'"),
        ("volumes: {iops: 1}", "volumes is a dict"),
        ("volumes: [{iops: 3000}]", "volumes[0].mib_s is None"),
        ("default_class: hi", "default_class is 'hi'; expected one of high, medium, low, or empty"),
        ("default_class: low\nclasses: {high: 1}", "default_class is 'low'; expected one of high"),
        ("instance: x9.huge", "instance is 'x9.huge'; expected a type of the table, or its figures"),
        ("instance: {mib_s: 100}", "instance.iops is None"),
        ("instance: {mib_s: 100, iops: 10, burst_iops: 5}", "instance.burst_iops is 5"),
        ("instance: {mib_s: 100, iops: 10, burst: 5}", "unknown key 'burst'"),
        ("1: 2", "the key 1"),
        ("[" * 5000, "not YAML"),
        ("x" * (MAX_FILE_BYTES + 1), "characters long"),
    ],
)
def test_bad_file_is_refused_with_what_was_found_and_expected(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        parse(text)

    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@given(st.text() | st.binary().map(lambda raw: raw.decode(errors="replace")))
def test_any_text_is_taken_or_refused_and_nothing_else(text: str) -> None:
    with contextlib.suppress(ConfigError):
        parse(text)


names = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)
targets = st.none() | st.builds(
    LatencyTarget,
    percentile=st.sampled_from([50.0, 95.0, 99.9]),
    limit_s=st.integers(1, 10_000).map(lambda ms: ms / 1000),
)
configs = st.builds(
    Config,
    classes=st.dictionaries(
        names, st.builds(PriorityClass, weight=st.integers(1, 10_000), latency_target=targets), min_size=1
    ),
    policy=st.sampled_from([PolicyName.DRCIO, PolicyName.STEP, PolicyName.BFQ]),
    engine=st.sampled_from(Engine),
    interval_s=st.integers(1, 60).map(float),
    idle_after_s=st.integers(1, 600).map(float),
    floor_percent=st.integers(1, 100).map(float),
    instance=st.none() | st.sampled_from(["t3.xlarge", "m6i.xlarge", "c5a.large"]).map(limit_of),
    volumes=st.lists(
        st.builds(
            VolumeProfile,
            iops=st.integers(1, 100_000),
            mib_s=st.integers(1, 4000).map(float),
            serial=st.sampled_from(["*", "vol*"]),
        ),
        max_size=3,
    ).map(tuple),
)


def test_instance_is_named_by_type_or_by_its_figures() -> None:
    assert parse("instance: m6i.xlarge").instance == limit_of("m6i.xlarge")

    own = parse("instance: {mib_s: 100, iops: 4000, burst_mib_s: 300}").instance
    assert own is not None
    assert (own.baseline_bytes_per_s, own.burst_bytes_per_s) == (100 * 2**20, 300 * 2**20)
    assert (own.baseline_iops, own.burst_iops) == (4000, 4000)


@given(configs)
def test_dumped_configuration_is_read_back_equal(config: Config) -> None:
    assert parse(dump(config)) == config


@given(configs, configs)
def test_digest_is_of_the_meaning(one: Config, other: Config) -> None:
    assert digest(parse(dump(one))) == digest(one)
    assert (digest(one) == digest(other)) == (one == other)


@pytest.mark.parametrize(
    "text", ["", "p95", "p0<1ms", "p100<1ms", "p95<0ms", "p95<-1ms", "95<1ms", "p95>1ms"]
)
def test_impossible_latency_target_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_latency_target(text)


def test_latency_target_is_written_as_in_an_annotation() -> None:
    assert parse_latency_target("p95 < 100ms") == LatencyTarget(percentile=95, limit_s=0.1)


def swap(file: Path, text: str) -> None:
    """Replace a file as kubelet does: at once, by another inode."""
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(file)


def _aliases(depth: int) -> str:
    """Return a mapping of a few hundred bytes that stands for ten to the power of `depth` words."""
    names = "abcdefghijkl"[:depth]
    lines = [f"{names[0]}: &{names[0]} [x, x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{name}: &{name} [{', '.join([f'*{inner}'] * 10)}]" for inner, name in itertools.pairwise(names)
    ]
    return "\n".join(f"  {line}" for line in lines)


@pytest.mark.parametrize(
    "text",
    [
        *(
            f"{key}:\n{_aliases(12)}\n"
            for key in ("policy", "engine", "interval_s", "default_class", "instance")
        ),
        f"classes:\n  high:\n    weight:\n    {_aliases(9).replace(chr(10), chr(10) + '    ')}\n",
        f"interval_s: 0x{'f' * 10_000}\n",
        f"floor_percent: [0x{'f' * 10_000}]\n",
        f"? 0x{'f' * 10_000}\n: 1\n",
        f"{'x' * 100_000}: 1\n",
        f"policy: {'x' * 100_000}\n",
        f"classes: {{{'X' * 100_000}: 1}}\n",
        f"classes: {{{'x' * 63}: {{weight: 0, {'y' * 100_000}: 1}}}}\n",
    ],
)
def test_refusal_of_whatever_stands_there_is_short(text: str) -> None:
    """The file is an administrator's, and a slip of theirs must not end the agents of all nodes."""
    with pytest.raises(ConfigError) as refusal:
        parse(text)

    assert len(str(refusal.value)) < 1000


def test_changed_file_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("policy: drcio")
    file = ConfigFile(path)
    file.poll()

    swap(path, "policy: step")

    assert file.poll()
    assert file.config.policy is PolicyName.STEP
    assert not file.poll()


@pytest.mark.parametrize("text", ["", "policy: dr", "{", "classes: {hi"])
def test_bad_file_leaves_the_last_good_one_in_force(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("policy: step")
    file = ConfigFile(path)
    file.poll()

    swap(path, text)

    assert not file.poll()
    assert file.config.policy is PolicyName.STEP
    assert str(path) in file.error
    swap(path, "policy: drcio")
    assert file.poll()
    assert file.error == ""


def test_missing_file_is_an_error_until_it_is_there(tmp_path: Path) -> None:
    file = ConfigFile(tmp_path / "config.yaml")

    assert not file.poll()
    assert "No such file" in file.error


def test_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(os.urandom(64) + b"\xff\xfe")
    file = ConfigFile(path)

    file.poll()

    assert "not UTF-8" in file.error
