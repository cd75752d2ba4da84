"""Fetch the YelpChi review graph from the package that ships it."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hp_service.errors import SourceError

REQUIREMENT = "UGFraud==0.1.1.3"
WHEEL_NAME = "UGFraud-0.1.1.3-py3-none-any.whl"
WHEEL_SHA256 = "09c227a45ec7265e3b712bbcb772b647ce93d1b8dd5ef4fe5d2204c212c52048"
METADATA_MEMBER = "UGFraud/Yelp_Data/YelpChi/metadata.gz"
"""The only member that is read. The wheel's `priors.pkl` is a pickle and stays closed."""

COLUMNS = 5
FRAUD_LABEL, HONEST_LABEL = "-1", "1"


@dataclass(frozen=True, kw_only=True)
class Reviews:
    """Who reviewed what. Users and products are numbered from zero, densely."""

    user: npt.NDArray[np.int64]
    product: npt.NDArray[np.int64]
    fraud: npt.NDArray[np.int64]
    """1 where the review was labelled fraudulent (filtered by Yelp), else 0."""

    @property
    def count(self) -> int:
        return len(self.user)

    @property
    def users(self) -> int:
        return int(self.user.max()) + 1

    @property
    def products(self) -> int:
        return int(self.product.max()) + 1


def fetch_wheel(cache_dir: Path) -> Path:
    """Return the pinned wheel, downloading it with pip unless the cache already holds it."""
    wheel = cache_dir / WHEEL_NAME
    if wheel.is_file():
        _check_sha256(wheel)
        return wheel
    cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir, prefix=".download-") as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch]
        done = subprocess.run([*command, REQUIREMENT], capture_output=True, text=True, check=False)
        downloaded = Path(scratch) / WHEEL_NAME
        if done.returncode != 0 or not downloaded.is_file():
            reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
            raise SourceError(
                f"pip could not download {REQUIREMENT}: {reason}",
                hint=f"put {WHEEL_NAME} into {cache_dir}, or point --cache-dir at a folder that holds it",
            )
        _check_sha256(downloaded)
        downloaded.replace(wheel)
    return wheel


def _check_sha256(wheel: Path) -> None:
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != WHEEL_SHA256:
        raise SourceError(
            f"{wheel} has sha256 {found}, expected {WHEEL_SHA256}",
            hint=f"delete {wheel} and run prepare again",
        )


def read_reviews(wheel: Path) -> Reviews:
    """Read the reviews out of the wheel, in the order of the file."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            packed = archive.read(METADATA_MEMBER)
        text = gzip.decompress(packed).decode("ascii")
    except (zipfile.BadZipFile, KeyError, OSError, EOFError, UnicodeDecodeError) as error:
        raise SourceError(f"{wheel}: {METADATA_MEMBER} cannot be read: {error}") from error
    return parse_reviews(text)


def parse_reviews(text: str) -> Reviews:
    """Parse lines of `user product rating label date`; rating and date are `None` in this package.

    Identifiers are renumbered densely in the order of their values. Raises SourceError on the first
    line that has another shape.
    """
    users: list[int] = []
    products: list[int] = []
    labels: list[int] = []
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if len(fields) != COLUMNS:
            raise SourceError(f"metadata line {number}: found {len(fields)} columns, expected {COLUMNS}")
        user, product, _rating, label, _date = fields
        if label not in (FRAUD_LABEL, HONEST_LABEL):
            raise SourceError(f"metadata line {number}: label is {label!r}, expected -1 or 1")
        # str.isdigit alone admits digits such as "²" that int() refuses.
        if not (user.isascii() and user.isdigit() and product.isascii() and product.isdigit()):
            raise SourceError(f"metadata line {number}: {user!r} {product!r}: ids are not whole numbers")
        users.append(int(user))
        products.append(int(product))
        labels.append(int(label == FRAUD_LABEL))
    if not users:
        raise SourceError("metadata is empty, expected one review a line")
    return Reviews(user=_dense(users), product=_dense(products), fraud=np.array(labels, dtype=np.int64))


def shuffled(reviews: Reviews, rng: np.random.Generator) -> Reviews:
    """Return the reviews in random order, users and products renumbered at random.

    The file is sorted such that a review's place within its product gives its label away (AUC 0.98 from
    the line number alone), and user numbers were given in that order (AUC 0.92). Neither order nor
    number may therefore reach a model, an id or a row of the feature file.
    """
    order = rng.permutation(reviews.count)
    user_number = rng.permutation(reviews.users)
    product_number = rng.permutation(reviews.products)
    return Reviews(
        user=user_number[reviews.user[order]],
        product=product_number[reviews.product[order]],
        fraud=reviews.fraud[order],
    )


def _dense(identifiers: list[int]) -> npt.NDArray[np.int64]:
    try:
        values = np.array(identifiers, dtype=np.int64)
    except OverflowError as error:
        raise SourceError(f"metadata: id {max(identifiers)} does not fit in 64 bits") from error
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def default_cache_dir(environ: dict[str, str] | os._Environ[str]) -> Path:
    """Return the folder for downloads by the XDG convention."""
    root = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME", "/tmp")) / ".cache")  # noqa: S108
    return Path(root) / "drcio"
