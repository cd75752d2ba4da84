"""A cluster that is there has things of its own: they are used, and they stay."""

from __future__ import annotations

from tests.engine.bench import EXISTING, Bench

LEAN = {**EXISTING, "drcio:experiment.enabled": False}


def namespace(name: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def test_a_namespace_for_monitoring_that_is_there_is_used_and_stays(bench: Bench) -> None:
    kube = bench.existing.kube
    kube.create("/api/v1/namespaces", namespace("monitoring"))
    stack = bench.stack("theirs", "baseline", LEAN)

    stack.up()

    assert stack.up().changed == []
    stack.destroy()
    assert kube.get("/api/v1/namespaces/monitoring") is not None
    kube.delete("/api/v1/namespaces/monitoring")
    assert bench.leftovers() == []


def test_an_operator_that_is_there_is_used_and_no_second_one_installed(bench: Bench) -> None:
    theirs = bench.stack("theirs", "baseline", {**LEAN, "drcio:namespace": "theirs"})
    theirs.up()
    ours = bench.stack("ours", "baseline", {**LEAN, "drcio:namespace": "ours"})

    first = ours.up()

    made = {step.type.rpartition(":")[2] for step in first.changes}
    assert "Release" not in made
    assert "PodMonitor" in made
    assert "grafanaCommand" not in ours.outputs()
    assert ours.up().changed == []
    assert theirs.up().changed == []
    ours.destroy()
    theirs.destroy()
    assert bench.leftovers() == []


def test_a_workload_namespace_of_somebody_else_is_refused(bench: Bench) -> None:
    kube = bench.existing.kube
    kube.create("/api/v1/namespaces", namespace("drcio"))
    stack = bench.stack("taken", "baseline", LEAN)

    refused = stack.up(fails=True)

    assert refused.changed == []
    assert "hint: pulumi config set drcio:namespace" in refused.error
    stack.destroy()
    kube.delete("/api/v1/namespaces/drcio")
    assert bench.leftovers() == []
