from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hp_service.errors import RequestError
from hp_service.request import MAX_IDS, parse_ids

REVIEWS = 100
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["id", "ids", "x"]), inner, max_size=3)
    ),
)


@pytest.mark.parametrize(("body", "ids"), [(b'{"id":3}', [3]), (b'{"ids":[99,0,0]}', [99, 0, 0])])
def test_one_or_many_ids(body: bytes, ids: list[int]) -> None:
    assert parse_ids(body, REVIEWS) == ids


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "not JSON"),
        (b"\xff", 400, "not JSON"),
        (b"[" * 100_000, 400, "not JSON"),
        (b"[1]", 422, "a JSON array, expected an object"),
        (b"{}", 422, "exactly one of"),
        (b'{"id":1,"ids":[2]}', 422, "exactly one of"),
        (b'{"id":1,"limit":2}', 422, "unknown field 'limit'"),
        (b'{"ids":7}', 422, "'ids' is a JSON number"),
        (b'{"ids":[]}', 422, "has 0 entries"),
        (b'{"id":true}', 422, "a JSON boolean"),
        (b'{"id":1.0}', 422, "a JSON number"),
        (b'{"id":null}', 422, "a JSON null"),
        (b'{"id":-1}', 404, "does not exist, expected 0 to 99"),
        (b'{"id":100}', 404, "id 100 does not exist"),
        (json.dumps({"ids": [1] * (MAX_IDS + 1)}).encode(), 422, "65 entries, expected 1 to 64"),
    ],
)
def test_bad_body_is_refused_with_what_was_found(body: bytes, status: int, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        parse_ids(body, REVIEWS)
    assert caught.value.status == status


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_body_gives_known_ids_or_is_refused(body: bytes) -> None:
    try:
        ids = parse_ids(body, REVIEWS)
    except RequestError:
        return
    assert ids
    assert all(0 <= entry < REVIEWS for entry in ids)
