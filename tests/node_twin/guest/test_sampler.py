"""The sampler goes on whatever one look meets."""

import http.client
import time
from pathlib import Path

from experiments.records.jsonfields import JsonObject
from node_twin.guest.sampler import Sampler


def test_look_that_fails_costs_one_sample(tmp_path: Path) -> None:
    answers = iter([http.client.IncompleteRead(b"")])

    def controller() -> JsonObject | None:
        for error in answers:
            raise error
        return None

    sampler = Sampler(
        pods=dict, devices={}, controller=controller, cgroup_root=tmp_path, sys_root=tmp_path, interval_s=0.01
    )
    deadline_s = time.monotonic() + 5
    with sampler.recording():
        while sampler.count < 3 and time.monotonic() < deadline_s:
            time.sleep(0.01)
    assert sampler.count >= 3


def test_window_is_closed_by_a_sample_begun_after_it(tmp_path: Path) -> None:
    sampler = Sampler(pods=dict, devices={}, cgroup_root=tmp_path, sys_root=tmp_path, interval_s=0.02)
    with sampler.recording():
        ended_s = time.monotonic()
        sampler.wait_for_sample_after(ended_s)
    assert sampler.since(0)[-1]["t_s"] > ended_s  # type: ignore[operator]  # a number, as in every sample


def test_nothing_is_recorded_unless_asked_for(tmp_path: Path) -> None:
    sampler = Sampler(pods=dict, devices={}, cgroup_root=tmp_path, sys_root=tmp_path, interval_s=0.01)
    assert sampler.sample()["pods"] == {}
    time.sleep(0.05)
    assert sampler.count == 0
