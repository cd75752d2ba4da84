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
