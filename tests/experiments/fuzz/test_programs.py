"""A mix's programs are fio jobs that fio takes, and that do what the mix says."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest

from drcio_controller.config import VolumeProfile
from drcio_controller.engines.iocost import PAGE_BYTES, CostModel
from drcio_controller.kube.pod import QosClass
from drcio_controller.law.registry import engine_of, make_policy
from experiments.fuzz.arms import ARMS, FIXED, FixedCost, agent_config, policy_of
from experiments.fuzz.mix import Engine, High, HighKind, Low, draw
from experiments.fuzz.programs import HIGH, high_pod, high_words, low_pods, low_words
from experiments.records.jsonfields import JsonObject


def fio(words: Sequence[str], folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run the command line that a pod would, with its folders in `folder`."""
    own = [
        word.replace("/data/", f"{folder}/").replace("/results/", f"{folder}/")
        for word in words[words.index("--library-path") + 3 :]
    ]
    return subprocess.run(["fio", *own, *more], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("seed", range(1, 41))
def test_fio_takes_every_program(seed: int, tmp_path: Path) -> None:
    mix = draw(seed)
    words = [high_words(mix.high, 5.0), *(low_words(low, f"low{i}", 5.0) for i, low in enumerate(mix.low))]
    for command in words:
        done = fio(command, tmp_path, "--parse-only")
        assert (done.returncode, done.stderr) == (0, ""), command


def high(**changes: object) -> High:
    fields = {
        "kind": HighKind.BURSTY,
        "qos": QosClass.BURSTABLE,
        "block_bytes": 4096,
        "read_percent": 100,
        "threads": 1,
        "burst": 6,
        "think_s": 0.05,
        "load_ratio": 0.1,
    }
    return High(**{**fields, **changes})  # type: ignore[arg-type]  # a test's own fields


def logged_ms(folder: Path) -> list[list[int]]:
    """Return when each thread's I/Os ended."""
    return [
        [int(line.split(",")[0]) for line in path.read_text().splitlines()]
        for path in sorted(folder.glob("ios_lat.*.log"))
    ]


def test_high_priority_does_a_burst_and_pauses_in_each_thread(tmp_path: Path) -> None:
    (tmp_path / HIGH).write_bytes(b"x" * (1 << 20))
    done = fio(high_words(high(threads=2), 1.0), tmp_path, "--size=1M", "--direct=0")

    assert done.returncode == 0, done.stderr
    threads = logged_ms(tmp_path)
    assert len(threads) == 2
    for ended_ms in threads:
        assert len(ended_ms) % 6 == 0
        bursts = [ended_ms[index : index + 6] for index in range(0, len(ended_ms), 6)]
        pauses_ms = [after[0] - before[-1] for before, after in itertools.pairwise(bursts)]
        assert bursts[1:]
        assert min(pauses_ms) >= 45


def test_stop_and_go_is_the_shells_and_each_turn_as_long_as_drawn() -> None:
    low = Low(
        engine=Engine.LIBAIO,
        qos=QosClass.BURSTABLE,
        block_bytes=4096,
        read_percent=100,
        sequential=False,
        depth=4,
        on_s=3.5,
        off_s=2.25,
    )
    assert "--runtime=3500ms" in low_words(low, "low0", 20.0)
    steady = low_words(Low(**{**_fields(low), "on_s": 0.0, "off_s": 0.0}), "low0", 20.0)  # type: ignore[arg-type]  # a test's own fields
    assert {"--runtime=18000ms", "--startdelay=2"} <= set(steady)


def _fields(low: Low) -> Mapping[str, object]:
    return {name: getattr(low, name) for name in Low.__dataclass_fields__}


def test_pods_have_the_drawn_classes_and_wait_for_the_protected_one(tmp_path: Path) -> None:
    mix = draw(5)
    pods = [high_pod(mix, runtime_s=5, others=3), *low_pods(mix, runtime_s=5)]
    labels = [_at(pod, "metadata", "labels", "drcio.io/priority") for pod in pods]
    assert labels == ["high", "low", "low", "low"]

    scripts = [cast("list[str]", _container(pod)["command"])[2] for pod in pods]
    for script in scripts:
        assert "/gate/go" in script
    here = [script.replace("/gate", str(tmp_path)) for script in scripts]
    lows = [subprocess.Popen(["sh", "-c", script, "sh", "true"]) for script in here[1:]]
    assert all(low.poll() is None for low in lows)
    # It holds the gate open for as long as its program lasts, so that nobody comes too late.
    with subprocess.Popen(["sh", "-c", here[0], "sh", "cat"], stdin=subprocess.PIPE) as high:
        assert [low.wait(timeout=30) for low in lows] == [0, 0, 0]
    assert high.returncode == 0


def _at(document: JsonObject, *path: str) -> object:
    value: object = document
    for key in path:
        value = cast("Mapping[str, object]", value)[key]
    return value


def _container(pod: JsonObject) -> Mapping[str, object]:
    (container,) = cast("list[Mapping[str, object]]", _at(pod, "spec", "containers"))
    return container


@pytest.mark.parametrize("seed", range(1, 21))
def test_agent_does_on_a_twin_what_an_arm_does_simulated(seed: int) -> None:
    """What an arm's agent writes for the device is what its policy decides in the simulator."""
    profile = draw(seed).profile
    for arm in ARMS:
        config = agent_config(arm, profile)
        policy, engine = policy_of(arm)
        if config is None:
            assert policy is None
            continue
        if isinstance(policy, FixedCost):
            (told,) = config.volumes
            model, wanted = CostModel.doubled(told), CostModel.stated(profile).faster(policy.percent / 100)
            for size in (4096, 65536, 262144):
                assert charged_s(model, size) == pytest.approx(charged_s(wanted, size), rel=0.01)
        else:
            assert type(make_policy(config)) is type(policy)
            assert config.volumes == (VolumeProfile(iops=profile.iops, mib_s=profile.mib_s),)
        assert engine_of(config) in (engine, "auto")
    assert {arm for arm in ARMS if agent_config(arm, profile)} == {"drcio", *FIXED}


def charged_s(model: CostModel, size_bytes: int) -> float:
    return model.io_s + model.page_s * size_bytes / PAGE_BYTES
