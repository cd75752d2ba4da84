"""Disks: none is left behind by a driver that goes before them."""

from __future__ import annotations

import pytest

from tests.engine import volumes
from tests.engine.bench import GIVEN_IMAGES, Bench


def test_the_driver_stays_until_the_disks_are_gone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    # Detaching and deleting take longer than all that pulumi destroy does meanwhile.
    monkeypatch.setattr(volumes, "DELETE_S", 15.0)
    stack = bench.stack("disks", "dev", {**GIVEN_IMAGES, "drcio:monitoring.enabled": True})
    stack.up()
    assert len(bench.account.volumes) == 2, "the workloads' and Prometheus'"

    stack.destroy()

    assert bench.account.volumes == {}
    assert bench.leftovers() == []


def test_another_volume_is_had_by_what_the_refusal_says(bench: Bench) -> None:
    lean = {**GIVEN_IMAGES, "drcio:monitoring.enabled": False, "drcio:experiment.enabled": False}
    stack = bench.stack("faster", "dev", lean)
    stack.up()
    stack.configure({"drcio:storage.iops": 6000})
    refused = stack.up(fails=True)
    assert refused.changed == []
    assert "pulumi destroy --target '**storage-claim' --target-dependents" in refused.error

    stack.destroy(only="**storage-claim")
    stack.up()

    assert stack.up().changed == []
    assert [volume["parameters"]["iops"] for volume in bench.account.volumes.values()] == ["6000"]
    stack.destroy()
    assert bench.leftovers() == []
