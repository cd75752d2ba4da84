from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hp_service import source
from hp_service.errors import SourceError
from hp_service.prepare import PrepareOptions
from hp_service.source import Reviews, fetch_wheel, parse_reviews, read_reviews, shuffled


def test_users_and_products_are_renumbered_from_zero() -> None:
    reviews = parse_reviews("205 7 None 1 None\n201 9 None -1 None\n205 9 None 1 None\n")
    assert reviews.user.tolist() == [1, 0, 1]
    assert reviews.product.tolist() == [0, 1, 1]
    assert reviews.fraud.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 2 None 1", "line 1: found 4 columns, expected 5"),
        ("1 2 None 0 None", "line 1: label is '0', expected -1 or 1"),
        ("-1 2 None 1 None", "ids are not whole numbers"),
        ("² 2 None 1 None", "ids are not whole numbers"),
        (f"{2**64} 2 None 1 None", "does not fit in 64 bits"),
        ("", "metadata is empty"),
    ],
)
def test_malformed_metadata_is_refused_with_its_place(line: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        parse_reviews(line)


@given(st.text())
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        reviews = parse_reviews(text)
    except SourceError:
        return
    assert reviews.count == len(text.splitlines())


ROW = st.tuples(st.integers(0, 2**62), st.integers(0, 2**62), st.booleans())


@given(st.lists(ROW, min_size=1, max_size=30))
def test_parsing_keeps_who_reviewed_what(rows: list[tuple[int, int, bool]]) -> None:
    reviews = parse_reviews("\n".join(f"{u} {p} None {-1 if f else 1} None" for u, p, f in rows))
    users, products = sorted({u for u, _, _ in rows}), sorted({p for _, p, _ in rows})
    expected = [(users.index(u), products.index(p), int(f)) for u, p, f in rows]
    assert list(zip(reviews.user, reviews.product, reviews.fraud, strict=True)) == expected


def test_shuffling_keeps_every_users_and_products_label_counts(reviews: Reviews) -> None:
    mixed = shuffled(reviews, np.random.default_rng(1))
    for before, after in ((reviews.user, mixed.user), (reviews.product, mixed.product)):
        for weights in (None, reviews.fraud):
            counted = np.bincount(after, None if weights is None else mixed.fraud)
            assert sorted(np.bincount(before, weights)) == sorted(counted)


def test_shuffling_takes_the_label_out_of_order_and_numbers() -> None:
    # Sorted as the real file is: the line number alone would rank perfectly.
    count = 4000
    fraud = (np.arange(count) >= count // 2).astype(np.int64)
    mixed = shuffled(
        Reviews(user=np.arange(count), product=np.zeros(count, np.int64), fraud=fraud),
        np.random.default_rng(1),
    )
    assert abs(np.corrcoef(np.arange(count), mixed.fraud)[0, 1]) < 0.06
    assert abs(np.corrcoef(mixed.user, mixed.fraud)[0, 1]) < 0.06


def test_cached_wheel_is_read_without_a_download(
    options: PrepareOptions, reviews: Reviews, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hp_service.source.subprocess.run", lambda *_, **__: pytest.fail("pip was called"))
    assert read_reviews(fetch_wheel(options.cache_dir)).count == reviews.count


def test_wheel_with_another_checksum_is_refused(tmp_path: Path) -> None:
    (tmp_path / source.WHEEL_NAME).write_bytes(b"something else")
    with pytest.raises(SourceError, match=r"has sha256 .*, expected") as caught:
        fetch_wheel(tmp_path)
    assert caught.value.hint.startswith("delete ")


def test_wheel_without_the_metadata_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "x.whl"
    wheel.write_bytes(b"PK\x05\x06" + bytes(18))
    with pytest.raises(SourceError, match=r"metadata\.gz cannot be read"):
        read_reviews(wheel)


def test_failed_download_says_where_to_put_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "REQUIREMENT", "not a requirement")
    with pytest.raises(SourceError, match="pip could not download") as caught:
        fetch_wheel(tmp_path)
    assert str(tmp_path) in caught.value.hint
    assert list(tmp_path.iterdir()) == []
