from __future__ import annotations

import gzip
import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from hp_service import source
from hp_service.dataset import Metadata
from hp_service.prepare import PrepareOptions, prepare
from hp_service.source import Reviews

# A busy machine makes single examples slow; pytest-timeout guards against hangs.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")

USERS, PRODUCTS = 150, 12


def quiet(_step: str, _done: float, _text: str) -> None:
    """Report nothing."""


def synthetic_reviews(seed: int = 3) -> Reviews:
    """Return a few hundred reviews in which users with a single review tend to be fraudulent."""
    rng = np.random.default_rng(seed)
    pairs: list[tuple[int, int, bool]] = []
    for user in range(USERS):
        degree = 1 if rng.random() < 0.4 else int(rng.integers(2, 8))
        fraud = rng.random() < (0.6 if degree == 1 else 0.05)
        pairs += [(user, product, fraud) for product in rng.choice(PRODUCTS, degree, replace=False)]
    columns = np.array(pairs, dtype=np.int64).T
    return Reviews(user=columns[0], product=columns[1], fraud=columns[2])


def write_wheel(path: Path, reviews: Reviews) -> None:
    """Write reviews as the data package holds them."""
    rows = zip(reviews.user, reviews.product, reviews.fraud, strict=True)
    lines = [f"{user + 1000} {product} None {-1 if fraud else 1} None\n" for user, product, fraud in rows]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(source.METADATA_MEMBER, gzip.compress("".join(lines).encode()))


@pytest.fixture(scope="session")
def reviews() -> Reviews:
    return synthetic_reviews()


@pytest.fixture(scope="session")
def options(tmp_path_factory: pytest.TempPathFactory, reviews: Reviews) -> Iterator[PrepareOptions]:
    """Options whose cache holds a small synthetic package in place of the real one."""
    root = tmp_path_factory.mktemp("hp")
    wheel = root / "cache" / source.WHEEL_NAME
    wheel.parent.mkdir()
    write_wheel(wheel, reviews)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "WHEEL_SHA256", hashlib.sha256(wheel.read_bytes()).hexdigest())
        yield PrepareOptions(data_dir=root / "data", cache_dir=wheel.parent, scale=1, seed=7, epochs=2)


@pytest.fixture(scope="session")
def prepared(options: PrepareOptions) -> tuple[Path, Metadata]:
    return options.data_dir, prepare(options, quiet)
