"""Namespaces are read for one label; anything else in them is let pass."""

import pytest
from hypothesis import given

from drcio_controller.kube.errors import ObjectMalformed
from drcio_controller.kube.jsontypes import Json, JsonObject
from drcio_controller.kube.namespace import parse_namespace
from drcio_controller.kube.pod import KEPT_ENTRIES
from tests.images.drcio_controller.kube.test_pod import json_values


def document(**changes: Json) -> JsonObject:
    metadata: JsonObject = {"name": "bank", "uid": "1", "labels": {"drcio.io/priority": "high", "a": "b"}}
    return {"metadata": metadata | changes}


def test_labels_of_ours_are_kept_and_no_others() -> None:
    namespace = parse_namespace(document())

    assert (namespace.name, namespace.uid, namespace.labels) == ("bank", "1", {"drcio.io/priority": "high"})


def test_many_labels_take_bounded_memory() -> None:
    many: JsonObject = {f"drcio.io/{index}": "x" * 9 for index in range(5000)}

    assert len(parse_namespace(document(labels=many)).labels) == KEPT_ENTRIES


@given(json_values)
def test_any_metadata_is_a_namespace_or_malformed(metadata: Json) -> None:
    with pytest.raises(ObjectMalformed):
        parse_namespace({"metadata": metadata})


@given(json_values)
def test_any_labels_are_survived(labels: Json) -> None:
    assert parse_namespace(document(labels=labels)).name == "bank"
