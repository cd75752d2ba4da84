"""Score reviews: pick the neighbourhood, fetch its features from the disk, run the model."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hp_service import dataset
from hp_service.architecture import ARCHITECTURE, SLOTS
from hp_service.errors import DatasetError
from hp_service.graph import ReviewGraph, load_graph
from hp_service.model import FraudSage
from hp_service.reader import FeatureReader
from hp_service.weights import load_weights


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Scores in the order of the ids, and where the time went."""

    scores: list[float]
    """Probability of fraud, 0 to 1."""
    rows: int
    """Distinct feature rows that were read from the disk."""
    sample_s: float
    fetch_s: float
    model_s: float


class Scorer:
    """A loaded model over an open feature file. Safe to call from many threads."""

    def __init__(self, graph: ReviewGraph, model: FraudSage, reader: FeatureReader) -> None:
        self._graph = graph
        self._model = model
        self.reader = reader

    @property
    def reviews(self) -> int:
        """Ids 0 .. reviews-1 can be scored."""
        return self._graph.reviews

    def score(self, ids: list[int]) -> Scored:
        """Score reviews by id, which must exist."""
        started = time.perf_counter()
        nodes = self._graph.neighbourhood(np.array(ids, dtype=np.int64))
        rows, place = np.unique(nodes, return_inverse=True)
        sampled = time.perf_counter()
        fetched = self.reader.fetch(rows)
        resumed = time.perf_counter()
        features = fetched.features[place].reshape(len(ids), SLOTS, -1)
        with torch.inference_mode():
            scores: list[float] = torch.sigmoid(self._model(torch.from_numpy(features))).tolist()
        return Scored(
            scores=scores,
            rows=len(rows),
            sample_s=sampled - started,
            fetch_s=fetched.duration_s,
            model_s=time.perf_counter() - resumed,
        )

    def close(self) -> None:
        """Release the feature file."""
        self.reader.close()


def load_scorer(data_dir: Path, *, allow_aio: bool = True) -> Scorer:
    """Load what `prepare` wrote. Raises DatasetError if it is absent, damaged or of another version."""
    # More threads than one buy nothing at this size and fight with the other requests' threads.
    torch.set_num_threads(1)
    metadata = dataset.load_metadata(data_dir)
    dataset.check_files(data_dir, metadata, every_byte=False)
    if metadata.inputs.architecture != ARCHITECTURE:
        raise DatasetError(
            f"{data_dir} was prepared for {metadata.inputs.architecture}, expected {ARCHITECTURE}",
            hint=dataset.PREPARE_AGAIN,
        )
    features = len(metadata.inputs.features)
    return Scorer(
        load_graph(data_dir / dataset.GRAPH_FILE),
        load_weights(data_dir / dataset.WEIGHTS_FILE, features),
        FeatureReader(
            data_dir / dataset.FEATURES_FILE,
            nodes=metadata.graph.nodes,
            features=features,
            allow_aio=allow_aio,
        ),
    )
