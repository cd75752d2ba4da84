"""A cluster that is there has things of its own: they are used, and they stay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pytest

from tests.engine.bench import EXISTING, Bench

DEFINITIONS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
"""Helm never removes them (Helm's documentation, "Custom Resource Definitions")."""

LEAN = {**EXISTING, "drcio:experiment.enabled": False}
ALONE = {**LEAN, "drcio:workloads.enabled": False, "drcio:monitoring.enabled": False}


def namespace(name: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def test_monitorings_namespace_and_operator_that_are_there_are_used_and_stay(bench: Bench) -> None:
    kube = bench.existing.kube
    kube.create("/api/v1/namespaces", namespace("monitoring"))
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
    assert kube.get("/api/v1/namespaces/monitoring") is not None
    kube.delete("/api/v1/namespaces/monitoring")
    assert bench.leftovers() == []


@pytest.mark.parametrize(("theirs", "config"), [("drcio", LEAN), ("drcio-system", ALONE)])
def test_a_namespace_of_somebody_else_is_refused(
    bench: Bench, theirs: str, config: Mapping[str, object]
) -> None:
    kube = bench.existing.kube
    kube.create("/api/v1/namespaces", namespace(theirs))
    stack = bench.stack(f"taken-{theirs}", None, config)

    refused = stack.up(fails=True)

    assert refused.changed == []
    assert f"has a namespace {theirs} that is not this stack's" in refused.error
    assert "hint: pulumi config set drcio:namespace" in refused.error
    stack.destroy()
    kube.delete(f"/api/v1/namespaces/{theirs}")
    assert bench.leftovers() == []


def test_stacks_in_namespaces_that_differ_by_our_own_prefix_have_nothing_in_common(bench: Bench) -> None:
    one = bench.stack("plain", None, {**ALONE, "drcio:namespace": "team"})
    other = bench.stack("prefixed", None, {**ALONE, "drcio:namespace": "drcio-team"})
    one.up()
    other.up()

    other.destroy()

    assert one.refresh().changed == []
    one.destroy()
    assert bench.leftovers() == []


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {**LEAN, "drcio:kubeContext": "bnech"},
            "drcio:kubeContext is 'bnech', which the kubeconfig does not have; expected one of bench",
        ),
        (
            {**LEAN, "drcio:storage.className": "fats"},
            "drcio:storage.className is fats, and the cluster of context bench has no such StorageClass; "
            "expected one of standard",
        ),
        (
            {**ALONE, "drcio:monitoring.enabled": True},
            "the cluster of context bench has no Prometheus operator",
        ),
    ],
)
def test_what_could_never_run_is_refused_by_preview_and_up(
    bench: Bench, config: Mapping[str, object], message: str
) -> None:
    bench.existing.kube.delete(f"{DEFINITIONS}/podmonitors.monitoring.coreos.com")
    stack = bench.stack(f"hopeless-{len(message)}", None, config)

    for refused in (stack.preview(fails=True), stack.up(fails=True)):
        assert refused.changed == []
        assert message in refused.error
        assert "\nhint: " in refused.error
    stack.destroy()
