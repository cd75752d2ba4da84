"""The picture's geometry: left to right along dependencies, nothing on top of anything."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stacks.graph import fold, reduce_edges
from stacks.layout import Layout, Size, arrange
from stacks.picture import as_svg
from stacks.testing import render


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[str, Size], dict[str, frozenset[str]]]:
    count = draw(st.integers(1, 12))
    names = [f"n{index}" for index in range(count)]
    sizes = {
        name: Size(width=draw(st.integers(40, 200)), height=draw(st.integers(20, 200))) for name in names
    }
    needs = {
        name: frozenset(draw(st.sets(st.sampled_from(names[:index]), max_size=3)) if index else ())
        for index, name in enumerate(names)
    }
    return sizes, reduce_edges(needs)


def overlaps(layout: Layout) -> list[tuple[str, str]]:
    boxes = list(layout.boxes.items())
    return [
        (one, other)
        for index, (one, a) in enumerate(boxes)
        for other, b in boxes[index + 1 :]
        if a.x < b.x + b.width - 0.01
        and b.x < a.x + a.width - 0.01
        and a.y < b.y + b.height - 0.01
        and b.y < a.y + a.height - 0.01
    ]


@given(graphs())
def test_no_box_covers_another(graph: tuple[dict[str, Size], dict[str, frozenset[str]]]) -> None:
    assert overlaps(arrange(*graph)) == []


@given(graphs())
def test_every_box_stands_right_of_what_it_needs(
    graph: tuple[dict[str, Size], dict[str, frozenset[str]]],
) -> None:
    sizes, needs = graph
    layout = arrange(sizes, needs)
    for user, wanted in needs.items():
        for needed in wanted:
            box = layout.boxes[needed]
            assert box.x + box.width < layout.boxes[user].x


@given(graphs())
def test_everything_lies_inside_the_picture(
    graph: tuple[dict[str, Size], dict[str, frozenset[str]]],
) -> None:
    layout = arrange(*graph)
    for box in layout.boxes.values():
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + box.width <= layout.width
        assert box.y + box.height <= layout.height


def test_edge_implied_by_a_longer_way_is_dropped() -> None:
    needs = {"a": frozenset[str](), "b": frozenset({"a"}), "c": frozenset({"a", "b"})}
    assert reduce_edges(needs)["c"] == {"b"}


def test_picture_shows_every_component_and_is_the_same_every_time() -> None:
    graph = fold(render("drcio"))
    picture = as_svg(graph, "stack drcio")
    assert all(card.title in picture for card in graph.cards)
    assert picture == as_svg(fold(render("drcio")), "stack drcio")
    assert picture.startswith("<svg")
    assert "FraudService hp-service" in picture
