"""Describe a prepared directory: what it was made from, what is in it, how good its model is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from hp_service.errors import DatasetError
from hp_service.quality import Quality

SCHEMA = "drcio.hp-dataset/1"
METADATA_FILE = "metadata.json"
FEATURES_FILE = "features.bin"
GRAPH_FILE = "graph.npz"
WEIGHTS_FILE = "weights.npz"
ALL_FILES = frozenset({METADATA_FILE, FEATURES_FILE, GRAPH_FILE, WEIGHTS_FILE})

PREPARE_AGAIN = "run `hp-service prepare --data DIR` again"


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Everything that the content of a prepared directory follows from."""

    source: str
    source_sha256: str
    scale: int
    seed: int
    epochs: int
    architecture: str
    features: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class GraphSize:
    """How many there are of each kind of node, copies included."""

    reviews: int
    users: int
    products: int

    @property
    def nodes(self) -> int:
        return self.reviews + self.users + self.products


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class SplitSizes:
    """Reviews in each part. Users are split, so none has reviews in two parts."""

    train: int
    validation: int
    test: int


@dataclass(frozen=True, kw_only=True)
class QualityReport:
    """Quality on the test part, beside what it should be compared with."""

    model: Quality
    logistic_regression: Quality
    """On the review's own row of the same inputs."""
    auc_gain_95: tuple[float, float]
    """95% bootstrap interval, over users, of the model's AUC minus logistic regression's."""
    published: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """The content of metadata.json."""

    inputs: Inputs
    graph: GraphSize
    split: SplitSizes
    quality: QualityReport
    files: dict[str, StoredFile]

    def to_json(self) -> str:
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=2) + "\n"


def load_metadata(data_dir: Path) -> Metadata:
    """Read metadata.json. Raises DatasetError if it is absent or of another shape."""
    path = data_dir / METADATA_FILE
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DatasetError(
            f"{path} is missing: {data_dir} is not prepared",
            hint=f"run `hp-service prepare --data {data_dir}` first",
        ) from error
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read: {error}", hint=PREPARE_AGAIN) from error
    found = document.get("schema") if isinstance(document, dict) else None
    if found != SCHEMA:
        raise DatasetError(f"{path}: schema is {found!r}, expected {SCHEMA!r}", hint=PREPARE_AGAIN)
    try:
        inputs = document["inputs"]
        quality = document["quality"]
        return Metadata(
            inputs=Inputs(**{**inputs, "features": tuple(inputs["features"])}),
            graph=GraphSize(**document["graph"]),
            split=SplitSizes(**document["split"]),
            quality=QualityReport(
                model=Quality(**quality["model"]),
                logistic_regression=Quality(**quality["logistic_regression"]),
                auc_gain_95=tuple(quality["auc_gain_95"]),
                published=quality["published"],
            ),
            files={name: StoredFile(**entry) for name, entry in document["files"].items()},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{path} is incomplete: {error}", hint=PREPARE_AGAIN) from error


def describe_file(path: Path, progress: Callable[[float], None] = lambda _done: None) -> StoredFile:
    """Return size and checksum of a file."""
    size = path.stat().st_size
    digest = hashlib.sha256()
    done = 0
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(1 << 22):
            digest.update(chunk)
            done += len(chunk)
            progress(done / size)
    return StoredFile(bytes=size, sha256=digest.hexdigest())


def check_files(data_dir: Path, metadata: Metadata, *, every_byte: bool) -> None:
    """Raise DatasetError unless the files are those that metadata.json lists.

    The feature file is large: its checksum is compared only with `every_byte`, else its size. Each
    read of a row checks the node number that the row carries.
    """
    for name, expected in metadata.files.items():
        path = data_dir / name
        if not path.is_file():
            raise DatasetError(f"{path} is missing", hint=PREPARE_AGAIN)
        size = path.stat().st_size
        if size != expected.bytes:
            raise DatasetError(f"{path} has {size} bytes, expected {expected.bytes}", hint=PREPARE_AGAIN)
        if not every_byte and name == FEATURES_FILE:
            continue
        found = describe_file(path)
        if found != expected:
            message = f"{path} has sha256 {found.sha256}, expected {expected.sha256}"
            raise DatasetError(message, hint=PREPARE_AGAIN)
