"""Variables, the downward API, command lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drcio_controller.kube.jsontypes import JsonObject
from node_twin.kubelet.environment import command_line, environment, expand, pod_field
from node_twin.kubelet.errors import ManifestError
from node_twin.kubelet.manifest import parse_manifest
from tests.node_twin.kubelet.manifests import UID, container, pod


@pytest.mark.parametrize(
    ("text", "expanded"),
    [("$(A)/x", "1/x"), ("$$(A)", "$(A)"), ("$(B)", "$(B)"), ("$A", "$A"), ("$$$(A)", "$1"), ("", "")],
)
def test_expand(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1"}) == expanded


@given(st.text())
def test_text_without_a_dollar_stays_as_it_is(text: str) -> None:
    assert expand(text.replace("$", ""), {"A": "1"}) == text.replace("$", "")


def test_variables_see_those_before_them() -> None:
    manifest = parse_manifest(
        pod(
            container(
                env=[
                    {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                    {"name": "URL", "value": "http://$(NODE)$(LATER)"},
                    {"name": "LATER", "value": "x"},
                    {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k"}}},
                ]
            )
        )
    )
    variables = environment(
        manifest,
        manifest.containers[0],
        given={"PATH": "/bin"},
        read_config_map=lambda _: {"k": "v"},
    )
    assert variables == {"PATH": "/bin", "NODE": "n1", "URL": "http://n1$(LATER)", "LATER": "x", "C": "v"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "api"),
        ("metadata.uid", UID),
        ("metadata.labels['app']", "api"),
        ("metadata.labels['none']", ""),
    ],
)
def test_downward_api(path: str, value: str) -> None:
    assert pod_field(parse_manifest(pod()), path) == value


def test_unknown_field_is_refused_with_the_choices() -> None:
    with pytest.raises(ManifestError, match=r"'spec\.color'; expected one of metadata\.name"):
        pod_field(parse_manifest(pod()), "spec.color")


def test_command_and_arguments_are_expanded() -> None:
    main_container: JsonObject = {"name": "main", "command": ["hp-service"], "args": ["--port", "$(P)"]}
    (main,) = parse_manifest(pod(main_container)).containers
    assert command_line(main, {"P": "80"}) == ["hp-service", "--port", "80"]


def test_container_without_a_command_is_refused() -> None:
    (main,) = parse_manifest(pod({"name": "main", "image": "what:1"})).containers
    with pytest.raises(ManifestError, match="image 'what:1' is not known here") as caught:
        command_line(main, {})
    assert caught.value.hint == "give it a command"
