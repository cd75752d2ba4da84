"""Changes of a running stack that the engine, Kubernetes or AWS would not take as they come."""

from __future__ import annotations

from tests.engine.bench import EXISTING, Bench

LEAN = {**EXISTING, "drcio:monitoring.enabled": False, "drcio:experiment.enabled": False}


def test_another_batch_job_takes_the_old_ones_place_at_once(bench: Bench) -> None:
    stack = bench.stack("pattern", "contention", LEAN)
    stack.up()
    stack.configure({"drcio:batch.pattern": "random-read"})

    stack.up()

    assert stack.up().changed == []
    stack.destroy()
    assert bench.leftovers() == []


def test_another_storage_class_neither_hangs_nor_loses_the_volume(bench: Bench) -> None:
    stack = bench.stack("class", "baseline", LEAN)
    stack.up()
    volumes = dict(bench.account.volumes)
    stack.configure({"drcio:storage.className": "another"})

    outcome = stack.up(fails=None)

    assert not outcome.hung
    assert outcome.changed == []
    assert "hint:" in outcome.error
    assert bench.account.volumes == volumes
    stack.configure({"drcio:storage.className": None})
    assert stack.up().changed == []
    stack.destroy()
    assert bench.leftovers() == []


def test_the_nat_layout_changes_in_place(bench: Bench) -> None:
    stack = bench.stack("nat", "dev", {"drcio:network.nat": "single"})
    stack.up()
    for layout in ("per-az", "single", "none", "per-az"):
        stack.configure({"drcio:network.nat": layout})
        stack.up()
        assert stack.up().changed == []
    stack.destroy()
    assert bench.leftovers() == []
