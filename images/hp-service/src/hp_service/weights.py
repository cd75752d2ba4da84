"""Store a model's weights as plain arrays: nothing in the file can run code."""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch

from hp_service.dataset import PREPARE_AGAIN
from hp_service.errors import DatasetError
from hp_service.model import FraudSage


def save_weights(path: Path, model: FraudSage) -> None:
    """Write the weights by name."""
    np.savez(path, **{name: value.numpy() for name, value in model.state_dict().items()})


def load_weights(path: Path, features: int) -> FraudSage:
    """Return the model with the stored weights, ready to score. Raises DatasetError if they do not fit."""
    model = FraudSage(features)
    try:
        with np.load(path, allow_pickle=False) as stored:
            model.load_state_dict({name: torch.from_numpy(stored[name]) for name in stored.files})
    except (OSError, EOFError, BadZipFile, ValueError, TypeError, RuntimeError) as error:
        first_line = str(error).splitlines()[0]
        raise DatasetError(f"{path} does not fit the model: {first_line}", hint=PREPARE_AGAIN) from error
    return model.eval()
