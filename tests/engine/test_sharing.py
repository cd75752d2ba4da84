"""Two stacks on one cluster: whoever is destroyed first, nothing is lost and nothing is left."""

from __future__ import annotations

from tests.engine.bench import GIVEN_IMAGES, Bench

LEAN = {**GIVEN_IMAGES, "drcio:monitoring.enabled": False, "drcio:experiment.enabled": False}


def test_the_platform_stays_while_another_stack_uses_it(bench: Bench) -> None:
    platform = bench.stack("platform", "dev", LEAN)
    platform.up()
    shared = {**LEAN, "drcio:platformStack": "organization/drcio-eks/platform"}
    user = bench.stack("My_User", "contention", shared)
    user.up()
    assert user.outputs()["namespace"].startswith("drcio-my-user-")

    refused = platform.destroy(fails=True)

    assert refused.changed == []
    assert "pulumi destroy --stack My_User first" in refused.error
    assert platform.up().changed == []
    assert user.up().changed == []
    user.destroy()
    platform.destroy()
    assert bench.leftovers() == []
