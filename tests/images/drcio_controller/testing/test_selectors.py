"""Selectors select what Kubernetes' own select."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drcio_controller.kube.jsontypes import JsonObject
from drcio_controller.testing.selectors import (
    SelectorError,
    matches,
    parse_field_selector,
    parse_label_selector,
)

POD: JsonObject = {
    "metadata": {"name": "a", "namespace": "shop", "labels": {"app": "x", "drcio.io/priority": "high"}},
    "spec": {"nodeName": "n1"},
    "status": {"phase": "Running"},
}


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ("", True),
        ("app=x", True),
        ("app==x", True),
        ("app=y", False),
        ("app!=y", True),
        ("missing!=y", True),
        ("drcio.io/priority in (high, low)", True),
        ("app notin (x,y)", False),
        ("app", True),
        ("!app", False),
        ("!missing", True),
        ("app=x,drcio.io/priority in (low,medium)", False),
        ("app=", False),
    ],
)
def test_label_selector(selector: str, selected: bool) -> None:
    assert matches(POD, parse_label_selector(selector), ()) is selected


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ("", True),
        ("spec.nodeName=n1", True),
        ("spec.nodeName=n1,status.phase!=Running", False),
        ("metadata.name=a,metadata.namespace=shop", True),
        ("spec.nodeName=", False),
    ],
)
def test_field_selector(selector: str, selected: bool) -> None:
    assert matches(POD, (), parse_field_selector(selector)) is selected


@pytest.mark.parametrize("selector", ["spec.priority=1", "nodeName", "=x"])
def test_field_that_cannot_be_selected_by_is_refused(selector: str) -> None:
    with pytest.raises(SelectorError, match=r"spec\.nodeName"):
        parse_field_selector(selector)


@given(st.text(max_size=30))
def test_any_label_selector_is_read_or_refused(text: str) -> None:
    try:
        selector = parse_label_selector(text)
    except SelectorError:
        return
    assert matches(POD, selector, ()) in (True, False)
