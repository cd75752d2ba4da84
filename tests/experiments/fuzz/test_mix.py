"""A seed stands for one mix for ever, and the distribution is as wide as it says."""

from __future__ import annotations

import json
from collections import Counter

from experiments.fuzz.mix import BURST_LIMIT_S, IN_FLIGHT_LIMIT_BYTES, Engine, HighKind, draw, io_s

MANY = [draw(seed) for seed in range(100_000, 101_000)]


def test_same_seed_is_the_same_mix_and_goes_into_json() -> None:
    assert draw(7) == draw(7) != draw(8)
    assert json.loads(json.dumps(draw(7).to_json()))["seed"] == 7


def test_volumes_are_as_ebs_sells_them() -> None:
    for mix in MANY:
        assert 500 <= mix.iops <= 16_000
        assert 30 <= mix.mib_s <= 1000
    assert min(mix.iops for mix in MANY) < 600
    assert max(mix.mib_s for mix in MANY) > 900


def test_every_kind_comes_about_equally_often() -> None:
    kinds = Counter(mix.high.kind for mix in MANY)
    assert set(kinds) == set(HighKind)
    assert min(kinds.values()) > 100
    assert {low.engine for mix in MANY for low in mix.low} == set(Engine)
    assert {len(mix.low) for mix in MANY} == {1, 2, 3}
    placements = Counter((mix.high.qos, mix.low[0].qos) for mix in MANY)
    assert len(placements) == 9


def test_high_priority_is_a_service_and_low_priority_fits_into_memory() -> None:
    for mix in MANY:
        high = mix.high
        assert high.burst == 1 or high.burst * io_s(mix.profile, high.block_bytes) <= BURST_LIMIT_S
        assert 0.02 <= high.load_ratio <= 0.35
        for low in mix.low:
            assert low.depth * low.block_bytes <= IN_FLIGHT_LIMIT_BYTES
            assert 1 <= low.depth <= 128
