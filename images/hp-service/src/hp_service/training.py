"""Train the model and the baseline that it must beat, and measure both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from hp_service.graph import Int64Array, ReviewGraph
from hp_service.model import FraudSage
from hp_service.quality import measure

BATCH = 512
PEAK_LEARNING_RATE = 1e-2
WEIGHT_DECAY = 1e-2
DROPOUT = 0.3
LOGISTIC_L2 = 1e-4


@dataclass(frozen=True, kw_only=True)
class Split:
    """Review ids of the three parts. No user has reviews in two of them."""

    train: Int64Array
    validation: Int64Array
    test: Int64Array


def split_by_user(user: Int64Array, rng: np.random.Generator) -> Split:
    """Split reviews 70:10:20 by their users.

    99% of the reviews belong to users whose reviews all carry one label: with users on both sides a
    model that recognises a user would look good without having learnt anything.
    """
    part = rng.random(int(user.max()) + 1)[user]
    return Split(
        train=np.flatnonzero(part < 0.7),
        validation=np.flatnonzero((part >= 0.7) & (part < 0.8)),
        test=np.flatnonzero(part >= 0.8),
    )


def train(
    graph: ReviewGraph,
    features: npt.NDArray[np.float32],
    fraud: npt.NDArray[np.int64],
    split: Split,
    *,
    epochs: int,
    seed: int,
    progress: Callable[[float, str], None] = lambda _done, _text: None,
) -> FraudSage:
    """Train on the training part; keep the epoch that ranks the validation part best.

    Labels of other parts are never read but for that choice.
    """
    # Steps are so small that a second thread mostly waits at barriers, spinning: on a busy two-core
    # machine two threads took 20 s and 4.4 s of CPU for what one did in 4 s and 0.6 s. One is also
    # what makes the weights reproducible.
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    inputs = torch.from_numpy(features)
    target = torch.from_numpy(fraud).float()
    model = FraudSage(features.shape[1], dropout=DROPOUT)
    batches = -(-len(split.train) // BATCH)
    optimiser = torch.optim.AdamW(model.parameters(), lr=PEAK_LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, PEAK_LEARNING_RATE, total_steps=epochs * batches
    )
    best: dict[str, Tensor] = {}
    best_auc = -1.0
    for epoch in range(epochs):
        model.train()
        for ids in np.array_split(rng.permutation(split.train), batches):
            optimiser.zero_grad()
            # A salt per epoch draws other neighbours each time; serving draws with salt 0.
            logits = model(inputs[torch.from_numpy(graph.neighbourhood(ids, salt=epoch + 1))])
            binary_cross_entropy_with_logits(logits, target[torch.from_numpy(ids)]).backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
            optimiser.step()
            schedule.step()
        auc = measure(fraud[split.validation], predict(model, graph, features, split.validation)).auc
        if auc > best_auc:
            best_auc = auc
            best = {name: value.clone() for name, value in model.state_dict().items()}
        progress((epoch + 1) / epochs, f"validation AUC {auc:.3f}")
    model.load_state_dict(best)
    return model.eval()


def predict(
    model: FraudSage, graph: ReviewGraph, features: npt.NDArray[np.float32], ids: Int64Array
) -> npt.NDArray[np.float64]:
    """Score reviews as the service does: same draw of neighbours, same model."""
    model.eval()
    inputs = torch.from_numpy(features)
    scores = [np.empty(0)]
    with torch.inference_mode():
        for start in range(0, len(ids), BATCH):
            nodes = graph.neighbourhood(ids[start : start + BATCH])
            scores.append(torch.sigmoid(model(inputs[torch.from_numpy(nodes)])).double().numpy())
    return np.concatenate(scores)


def logistic_scores(
    features: npt.NDArray[np.float32], fraud: npt.NDArray[np.int64], train_ids: Int64Array, ids: Int64Array
) -> npt.NDArray[np.float64]:
    """Fit logistic regression on the training reviews' own rows and score `ids` with it."""
    inputs = torch.from_numpy(features[train_ids])
    target = torch.from_numpy(fraud[train_ids]).float()
    linear = nn.Linear(features.shape[1], 1)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    optimiser = torch.optim.LBFGS(linear.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimiser.zero_grad()
        penalty = LOGISTIC_L2 * linear.weight.square().sum()
        value = binary_cross_entropy_with_logits(linear(inputs).squeeze(1), target) + penalty
        value.backward()  # type: ignore[no-untyped-call]
        return float(value.detach())

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    with torch.inference_mode():
        result: npt.NDArray[np.float64] = linear(torch.from_numpy(features[ids])).squeeze(1).double().numpy()
    return result
