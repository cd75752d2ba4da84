"""What an existing cluster has already: used where it can be, refused where it cannot."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stacks.configuration.config import parse
from stacks.configuration.settings import Settings
from stacks.errors import ConfigError
from stacks.guards.deployed import Deployed, Volume
from stacks.guards.existing import Found, Node, found_in, refuse_hopeless
from stacks.guards.place import Place

NOTHING = Deployed()
LAB = Place(name="the cluster of context lab", kubectl="kubectl --context lab", context="lab")
OPERATOR = "quay.io/prometheus-operator/prometheus-operator:v0.86.0@sha256:0"


def settings(**given: str) -> Settings:
    common = {"platform": "existing", "kubeContext": "lab", "images": '{"build": "none"}'}
    return parse({**common, **given}, stack="s", region="r")


def deployment(name: str, image: str) -> dict[str, Any]:
    pod = {"spec": {"containers": [{"name": "c", "image": image}]}}
    return {"metadata": {"name": name, "namespace": "ops"}, "spec": {"template": pod}}


def node(name: str, **more: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": more.get("labels", {})},
        "spec": {"providerID": more.get("provider", "aws:///us-east-1a/i-0")},
        "status": {"images": [{"names": more.get("images", [])}]},
    }


KINDS = {
    "deployments": "Deployment",
    "namespaces": "Namespace",
    "nodes": "Node",
    "classes": "StorageClass",
    "volumes": "PersistentVolume",
    "definitions": "CustomResourceDefinition",
}


def found(**objects: list[dict[str, Any]]) -> Found:
    """Return what a cluster has that has these objects, and a default StorageClass."""
    usual = {"classes": [storage_class("standard", default=True)]}
    items = [{"kind": KINDS[kind], **it} for kind, them in (usual | objects).items() for it in them]
    return replace(found_in(items), place=LAB)


def named(name: str, **metadata: object) -> dict[str, Any]:
    return {"metadata": {"name": name, **metadata}}


def storage_class(name: str, *, default: bool = False) -> dict[str, Any]:
    return named(name, annotations={"storageclass.kubernetes.io/is-default-class": str(default).lower()})


def own(*names: str) -> Deployed:
    return Deployed(names=frozenset(names))


@pytest.mark.parametrize(
    "image", [OPERATOR, "mirror.example/x/prometheus-operator:v1", "prometheus-operator", OPERATOR[:-9]]
)
def test_an_operator_is_known_by_its_image_wherever_it_was_copied_to(image: str) -> None:
    assert found(deployments=[deployment("op", image)]).operator == "ops/op"


@pytest.mark.parametrize(
    "image", ["prometheus-operator/prometheus-config-reloader:v1", "nginx", "prometheus-operator-ui:1"]
)
def test_what_only_sounds_like_one_is_none(image: str) -> None:
    assert found(deployments=[deployment("op", image)]).operator is None


@pytest.mark.parametrize("space", ["drcio", "drcio-system"])
def test_namespace_of_somebody_else_is_refused_and_our_own_is_not(space: str) -> None:
    there = found(namespaces=[named(space)])
    with pytest.raises(ConfigError, match=f"has a namespace {space} that is not this stack's") as raised:
        refuse_hopeless(settings(), there, NOTHING)
    assert "hint: pulumi config set drcio:namespace NAME" in str(raised.value)
    refuse_hopeless(settings(), there, own(f"namespace-{space}"))
    refuse_hopeless(settings(namespace="mine"), there, NOTHING)


def test_namespace_that_the_stack_does_not_need_may_be_anybodys() -> None:
    there = found(namespaces=[named("drcio-system")])
    refuse_hopeless(settings(scenario="contention"), there, NOTHING)
    alone = settings(workloads='{"enabled": false}', monitoring='{"enabled": false}')
    refuse_hopeless(alone, found(namespaces=[named("drcio")]), NOTHING)
    with pytest.raises(ConfigError, match="has a namespace drcio-system"):
        refuse_hopeless(alone, there, NOTHING)


def test_namespace_that_goes_or_is_gone_is_refused_with_what_brings_it_back() -> None:
    ours = own("namespace-drcio", "namespace-drcio-system")
    both = [named("drcio-system"), named("drcio", deletionTimestamp="2026-01-01T00:00:00Z")]
    with pytest.raises(ConfigError, match="namespace drcio of the cluster of context lab is being deleted"):
        refuse_hopeless(settings(), found(namespaces=both), ours)
    with pytest.raises(ConfigError, match="has no namespace drcio, which this stack has made") as raised:
        refuse_hopeless(settings(), found(namespaces=both[:1]), ours)
    assert "hint: pulumi refresh" in str(raised.value)


def test_class_that_nobody_has_is_refused_before_the_claim_waits_for_it() -> None:
    there = found(classes=[storage_class("fast"), storage_class("slow")])
    with pytest.raises(
        ConfigError, match="has no default StorageClass; expected one of fast, slow"
    ) as raised:
        refuse_hopeless(settings(), there, NOTHING)
    assert "hint: pulumi config set --path 'drcio:storage.className' NAME" in str(raised.value)
    with pytest.raises(
        ConfigError, match=r"className is fats, .* has no such StorageClass; expected one of fast"
    ):
        refuse_hopeless(settings(storage='{"className": "fats"}'), there, NOTHING)
    with pytest.raises(ConfigError, match="of which it has none"):
        refuse_hopeless(settings(), found(classes=[]), NOTHING)
    refuse_hopeless(settings(storage='{"className": "fast"}'), there, NOTHING)


@pytest.mark.parametrize("name", ["", "by-hand"])
def test_claim_may_take_a_volume_that_was_made_by_hand(name: str) -> None:
    volume = {**named("pv"), "spec": {"storageClassName": name} if name else {}}
    wants = settings(storage=f'{{"className": "{name}"}}') if name else settings()
    refuse_hopeless(wants, found(classes=[], volumes=[volume]), NOTHING)
    volume["spec"]["claimRef"] = {"name": "another"}
    with pytest.raises(ConfigError, match="StorageClass"):
        refuse_hopeless(wants, found(classes=[], volumes=[volume]), NOTHING)


def test_claim_that_is_there_needs_no_class_any_more() -> None:
    refuse_hopeless(settings(), found(classes=[]), claimed("gone"))


def claimed(live_class: str) -> Deployed:
    return Deployed(
        volume=Volume(
            namespace="drcio",
            class_name=None,
            live_class=live_class,
            size_gib=50,
            iops=None,
            throughput_mib_s=None,
        )
    )


def test_growth_is_refused_where_the_class_does_not_let_volumes_grow() -> None:
    there = found(classes=[storage_class("fixed"), {**storage_class("grows"), "allowVolumeExpansion": True}])
    wants = settings(storage='{"sizeGib": 80}')
    with pytest.raises(ConfigError, match="StorageClass fixed does not let volumes grow") as raised:
        refuse_hopeless(wants, there, claimed("fixed"))
    assert "hint: set it back to 50" in str(raised.value)
    refuse_hopeless(settings(), there, claimed("fixed"))
    refuse_hopeless(wants, there, claimed("grows"))
    refuse_hopeless(wants, there, claimed("gone"))


def test_monitors_that_nobody_would_take_are_refused_for_the_controller_alone() -> None:
    alone = settings(workloads='{"enabled": false}')
    with pytest.raises(ConfigError, match="has no Prometheus operator") as raised:
        refuse_hopeless(alone, found(), NOTHING)
    assert "hint: pulumi config set --path 'drcio:monitoring.enabled' false" in str(raised.value)
    refuse_hopeless(alone, found(definitions=[named("podmonitors.monitoring.coreos.com")]), NOTHING)


NOT_PUSHED = {"images": '{"push": false, "build": "hp-service"}'}


def test_images_that_no_node_can_have_are_refused_at_once() -> None:
    far = found(nodes=[node("ip-10-0-0-1")])
    with pytest.raises(
        ConfigError, match="node ip-10-0-0-1 of the cluster of context lab has no image drcio/hp-service"
    ):
        refuse_hopeless(settings(**NOT_PUSHED), far, NOTHING)
    refuse_hopeless(settings(images='{"build": "none"}'), far, NOTHING)


def test_images_that_are_not_pushed_are_refused_on_eks_and_not_where_they_are_anothers() -> None:
    with pytest.raises(ConfigError, match="its nodes see no local engine"):
        refuse_hopeless(settings(platform="eks", kubeContext="", **NOT_PUSHED), None, NOTHING)
    shared = settings(platform="eks", kubeContext="", platformStack="a/b/c", **NOT_PUSHED)
    refuse_hopeless(shared, None, NOTHING)


@pytest.mark.parametrize(
    "near",
    [
        node("kind-control-plane", provider="kind://docker/kind/kind-control-plane"),
        node("m", labels={"minikube.k8s.io/name": "minikube"}),
        node("docker-desktop"),
        node("far", images=["docker.io/drcio/hp-service:0123456789ab"]),
    ],
)
def test_a_local_cluster_or_one_that_has_them_is_let_through(near: dict[str, Any]) -> None:
    refuse_hopeless(settings(**NOT_PUSHED), found(nodes=[near]), NOTHING)


def test_an_empty_answer_is_an_empty_cluster() -> None:
    assert found_in([]) == Found()
    assert found_in([{"kind": "Node"}]) == Found(nodes=(Node(name="None", local=False, images=()),))


def test_guest_is_refused_another_ones_namespace_and_brings_its_own_class_and_the_platforms_images() -> None:
    platform = Place(name="the cluster of stack o/p/dev", way_in=" (that leads there)", kubeconfig="{}")
    guest = parse(
        {"platformStack": "o/p/dev", "namespace": "team", "images": '{"push": "false"}'},
        stack="s",
        region="r",
    )
    there = {"nodes": [node("ip-10-0-0-1")], "classes": []}

    refuse_hopeless(guest, replace(found(**there), place=platform), NOTHING)

    taken = replace(found(namespaces=[named("team-system")], **there), place=platform)
    with pytest.raises(
        ConfigError, match="the cluster of stack o/p/dev has a namespace team-system that is not"
    ):
        refuse_hopeless(guest, taken, NOTHING)
