"""Make a prepared directory: data, graph, features, model, and a description of them all.

Everything is written beside the target and renamed onto it at the end, so that a directory is either
whole or absent.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hp_service import dataset, source
from hp_service.architecture import ARCHITECTURE
from hp_service.errors import DatasetError
from hp_service.features import FEATURE_NAMES, standardised, structural_features
from hp_service.graph import build_graph, original_node, replicated
from hp_service.quality import auc_gain_interval, measure
from hp_service.rows import write_rows

DEFAULT_EPOCHS = 12
GIGABYTES_PER_COPY = 0.44

PUBLISHED = {
    "SpEagle (Rayana and Akoglu, KDD 2015), unsupervised, YelpChi reviews": "AUC about 0.79",
    "supervised graph networks with text and behaviour features, YelpChi": "AUC 0.76 to 0.90",
}
"""On other splits and, for the second, on far richer inputs: orders of magnitude, not a contest."""

Report = Callable[[str, float, str], None]
"""Called with the step's name, the done share of it, and a remark."""


@dataclass(frozen=True, kw_only=True)
class PrepareOptions:
    data_dir: Path
    cache_dir: Path
    scale: int
    """Copies of the graph in the feature file: scale 1 is 0.43 GB, and so on in proportion."""
    seed: int
    epochs: int = DEFAULT_EPOCHS
    verify: bool = False
    """Compare the feature file's checksum too before calling a directory up to date."""


def wanted_inputs(options: PrepareOptions) -> dataset.Inputs:
    """Return what a directory prepared with these options is made from."""
    return dataset.Inputs(
        source=source.REQUIREMENT,
        source_sha256=source.WHEEL_SHA256,
        scale=options.scale,
        seed=options.seed,
        epochs=options.epochs,
        architecture=ARCHITECTURE,
        features=FEATURE_NAMES,
    )


def stale_because(options: PrepareOptions) -> str:
    """Return why the directory has to be made (again); empty if it is up to date."""
    try:
        metadata = dataset.load_metadata(options.data_dir)
        dataset.check_files(options.data_dir, metadata, every_byte=options.verify)
    except DatasetError as error:
        return str(error)
    return "" if metadata.inputs == wanted_inputs(options) else "it was prepared from other inputs"


def prepare(options: PrepareOptions, report: Report) -> dataset.Metadata:
    """Bring the directory up to date; return its description.

    Raises SourceError without the data, DatasetError where the directory cannot be written or holds
    files that are not ours.
    """
    _refuse_foreign(options.data_dir)
    try:
        with _exclusive(options.data_dir, lambda: report("wait", 0.0, "another prepare is under way")):
            if not stale_because(options):  # the other one made it
                return dataset.load_metadata(options.data_dir)
            with _replacing(options.data_dir) as scratch:
                metadata = _build(options, scratch, report)
                (scratch / dataset.METADATA_FILE).write_text(metadata.to_json())
    except OSError as error:
        hint = f"scale {options.scale} needs about {options.scale * GIGABYTES_PER_COPY:.1f} GB"
        raise DatasetError(f"{options.data_dir} cannot be written: {error.strerror}", hint=hint) from error
    return metadata


def _refuse_foreign(data_dir: Path) -> None:
    """Raise DatasetError if replacing the directory would delete something that prepare did not make."""
    if not data_dir.exists():
        return
    if not data_dir.is_dir():
        raise DatasetError(f"{data_dir} is a file, expected a directory or nothing")
    foreign = sorted({path.name for path in data_dir.iterdir()} - dataset.ALL_FILES)
    if foreign:
        raise DatasetError(
            f"{data_dir} holds {foreign[0]!r}, expected nothing but prepared files",
            hint="name a directory of its own, for example DIR/hp",
        )


def _build(options: PrepareOptions, scratch: Path, report: Report) -> dataset.Metadata:
    # torch takes seconds to import: only a directory that has to be made pays for it.
    from hp_service.training import logistic_scores, predict, split_by_user, train
    from hp_service.weights import save_weights

    order_rng, split_rng, copy_rng, resample_rng = np.random.default_rng(options.seed).spawn(4)
    report("fetch", 0.0, source.REQUIREMENT)
    reviews = source.shuffled(source.read_reviews(source.fetch_wheel(options.cache_dir)), order_rng)
    report("fetch", 1.0, f"{reviews.count} reviews, {int(reviews.fraud.sum())} fraudulent")

    split = split_by_user(reviews.user, split_rng)
    graph = build_graph(reviews.user, reviews.product)
    report("features", 0.0, "")
    features = standardised(structural_features(graph), split.train)
    report("features", 1.0, f"{features.shape[1]} structural inputs")

    model = train(
        graph,
        features,
        reviews.fraud,
        split,
        epochs=options.epochs,
        seed=options.seed,
        progress=lambda done, text: report("train", done, text),
    )
    report("measure", 0.0, "")
    held_out = reviews.fraud[split.test]
    scores = predict(model, graph, features, split.test)
    baseline = logistic_scores(features, reviews.fraud, split.train, split.test)
    quality = dataset.QualityReport(
        model=measure(held_out, scores),
        logistic_regression=measure(held_out, baseline),
        auc_gain_95=auc_gain_interval(held_out, scores, baseline, reviews.user[split.test], resample_rng),
        published=PUBLISHED,
    )

    served = replicated(graph, options.scale, copy_rng)
    served.save(scratch / dataset.GRAPH_FILE)
    save_weights(scratch / dataset.WEIGHTS_FILE, model)
    rows = original_node(graph, options.scale)
    write_rows(
        scratch / dataset.FEATURES_FILE, features, rows, lambda done: report("write features", done, "")
    )
    files = {
        name: dataset.describe_file(scratch / name, lambda done: report("checksum", done, ""))
        for name in (dataset.GRAPH_FILE, dataset.WEIGHTS_FILE, dataset.FEATURES_FILE)
    }
    return dataset.Metadata(
        inputs=wanted_inputs(options),
        graph=dataset.GraphSize(reviews=served.reviews, users=served.users, products=served.products),
        split=dataset.SplitSizes(
            train=len(split.train), validation=len(split.validation), test=len(split.test)
        ),
        quality=quality,
        files=files,
    )


@contextmanager
def _exclusive(data_dir: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Let one process at a time prepare a directory; call `waiting` before waiting for another."""
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    with (data_dir.parent / f".{data_dir.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _replacing(data_dir: Path) -> Iterator[Path]:
    """Give a scratch directory that takes the place of `data_dir` if the body succeeds."""
    prefix = f".{data_dir.name}.preparing-"
    for abandoned in data_dir.parent.glob(f"{prefix}*"):
        shutil.rmtree(abandoned)  # left by a killed process: the lock is ours
    scratch = Path(tempfile.mkdtemp(dir=data_dir.parent, prefix=prefix))
    try:
        yield scratch
        scratch.chmod(0o755)
        if data_dir.exists():
            shutil.rmtree(data_dir)
        scratch.rename(data_dir)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
