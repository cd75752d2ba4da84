"""The picture: every component and edge, left to right along dependencies, drawn by the real `dot`."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from stacks.preview.graph import Card, Graph, fold, reduce_edges
from stacks.preview.picture import PictureError, as_svg
from tests.stacks.dryruns import render

SVG = "{http://www.w3.org/2000/svg}"


def test_edge_implied_by_a_longer_way_is_dropped() -> None:
    needs = {"a": frozenset[str](), "b": frozenset({"a"}), "c": frozenset({"a", "b"})}
    assert reduce_edges(needs)["c"] == {"b"}


def test_picture_shows_every_component_and_is_the_same_every_time() -> None:
    graph = fold(render("drcio"))
    picture = as_svg(graph, "stack drcio")
    shown = {text.text for text in ElementTree.fromstring(picture).iter(f"{SVG}text")}  # noqa: S314 - our own
    assert {card.title for card in graph.cards} | {"stack drcio"} <= shown
    assert picture == as_svg(fold(render("drcio")), "stack drcio")


def test_edges_lead_from_left_to_right() -> None:
    graph = fold(render("drcio"))
    edges = sum(len(needed) for needed in graph.needs.values())
    drawn = ElementTree.fromstring(as_svg(graph, "stack drcio"))  # noqa: S314 - our own
    groups = [group for group in drawn.iter(f"{SVG}g") if group.get("class") == "edge"]
    paths = [path.attrib["d"] for group in groups for path in group.iter(f"{SVG}path")]
    assert len(paths) == edges > 10
    for points in (re.findall(r"(-?[\d.]+),", path) for path in paths):
        assert float(points[0]) < float(points[-1])


def test_what_a_title_holds_is_text_and_no_markup() -> None:
    title = '<b>&"'
    card = Card(key="a", title=title, area="nowhere", contents=((title, 2),))
    picture = as_svg(Graph(cards=(card,), needs={}), title)
    texts = [text.text for text in ElementTree.fromstring(picture).iter(f"{SVG}text")]  # noqa: S314 - our own
    assert texts == [title, title, f"{title} × 2"]  # noqa: RUF001


def test_dark_ground_changes_every_colour_that_would_vanish() -> None:
    picture = as_svg(fold(render("drcio")), "stack drcio")
    style = picture[picture.index("<style>") : picture.index("</style>")]
    used = set(re.findall(r'(?:fill|stroke)="(#[0-9a-f]{6})"', picture.replace(style, "")))
    vivid = {
        "#2f6fb5",
        "#6b4fa8",
        "#1f8a8a",
        "#b07a17",
        "#c65a1e",
        "#2e8b4f",
        "#b23a5b",
        "#5a6b7b",
        "#6f7a86",
    }
    assert all(f'[fill="{color}"]' in style for color in used - vivid)


def test_without_dot_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(PictureError, match="hint: install graphviz"):
        as_svg(fold(render("baseline")), "stack baseline")


def test_a_graph_that_dot_refuses_is_an_error_with_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stacks.preview.picture.as_dot", lambda *_: "digraph {")
    with pytest.raises(PictureError, match="syntax error"):
        as_svg(fold(render("baseline")), "stack baseline")
