"""What an existing cluster has already: used where it can be, refused where it cannot."""

from __future__ import annotations

from typing import Any

import pytest

from stacks.configuration.config import parse
from stacks.configuration.settings import Settings
from stacks.errors import ConfigError
from stacks.guards.existing import Found, Node, found_by, refuse_hopeless

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


def found(**objects: list[dict[str, Any]]) -> Found:
    return found_by(lambda kind: objects.get(kind, []))


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


def test_namespace_of_somebody_else_is_refused_and_our_own_is_not() -> None:
    there = found(namespaces=[{"metadata": {"name": "drcio"}}])
    with pytest.raises(ConfigError, match="has a namespace drcio that is not this stack's") as raised:
        refuse_hopeless(settings(), there, frozenset())
    assert "hint: pulumi config set drcio:namespace NAME" in str(raised.value)
    refuse_hopeless(settings(), there, frozenset({"namespace-drcio"}))
    refuse_hopeless(settings(namespace="mine"), there, frozenset())


NOT_PUSHED = {"images": '{"push": false, "build": "hp-service"}'}


def test_images_that_no_node_can_have_are_refused_at_once() -> None:
    far = found(nodes=[node("ip-10-0-0-1")])
    with pytest.raises(ConfigError, match="node ip-10-0-0-1 of context lab has no image drcio/hp-service"):
        refuse_hopeless(settings(**NOT_PUSHED), far, frozenset())
    refuse_hopeless(settings(images='{"build": "none"}'), far, frozenset())


def test_images_that_are_not_pushed_are_refused_on_eks_and_not_where_they_are_anothers() -> None:
    with pytest.raises(ConfigError, match="its nodes see no local engine"):
        refuse_hopeless(settings(platform="eks", kubeContext="", **NOT_PUSHED), None, frozenset())
    shared = settings(platform="eks", kubeContext="", platformStack="a/b/c", **NOT_PUSHED)
    refuse_hopeless(shared, None, frozenset())


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
    refuse_hopeless(settings(**NOT_PUSHED), found(nodes=[near]), frozenset())


def test_an_empty_answer_is_an_empty_cluster() -> None:
    assert found() == Found()
    assert found(nodes=[{}]) == Found(nodes=(Node(name="None", local=False, images=()),))
