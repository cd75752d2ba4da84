"""The sampler goes on whatever one look meets."""

import http.client
import time
from pathlib import Path

from experiments.jsonfields import JsonObject
from experiments.twin.sampler import Sampler


def test_look_that_fails_costs_one_sample(tmp_path: Path) -> None:
    answers = iter([http.client.IncompleteRead(b"")])

    def controller() -> JsonObject | None:
        for error in answers:
            raise error
        return None

    sampler = Sampler(
        pods=dict, devices={}, controller=controller, cgroup_root=tmp_path, sys_root=tmp_path, interval_s=0.01
    )
    sampler.start()
    deadline_s = time.monotonic() + 5
    while sampler.since(0)[0] < 3 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    sampler.stop()
    assert sampler.since(0)[0] >= 3
