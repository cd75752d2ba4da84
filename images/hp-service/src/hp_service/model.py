"""Define the model, once: training and serving import it from here.

A two-hop GraphSAGE. A review's neighbourhood has a fixed shape (`architecture.SLOTS` places), so the
message-flow block of a batch depends on the batch's size only: it is built once per size and kept,
and a request pays for DGL's message passing but not for building graphs.
"""

from __future__ import annotations

import os
from functools import lru_cache

# DGL asks for its backend interactively, and writes a file into the home folder, unless told.
os.environ.setdefault("DGLBACKEND", "pytorch")

import dgl  # type: ignore[import-untyped]  # dgl ships no types
import torch
from dgl.ops import copy_u_sum  # type: ignore[import-untyped]
from torch import Tensor, nn

from hp_service.architecture import HIDDEN, PRODUCT_FANOUT, SLOTS, USER_FANOUT


@lru_cache(maxsize=64)
def message_flow_block(batch: int) -> dgl.DGLGraph:
    """Return the block in which the reviews drawn for a user or product send to it.

    Sources are all places of the batch, review by review (row `i * SLOTS + place`). Destinations are
    the users (0 .. batch-1) and the products (batch .. 2*batch-1).
    """
    base = torch.arange(batch).repeat_interleave(USER_FANOUT + PRODUCT_FANOUT) * SLOTS
    place = torch.arange(3, SLOTS).repeat(batch)
    to_user = torch.tensor([1] * USER_FANOUT + [0] * PRODUCT_FANOUT).repeat(batch)
    index = torch.arange(batch).repeat_interleave(USER_FANOUT + PRODUCT_FANOUT)
    destination = torch.where(to_user == 1, index, index + batch)
    return dgl.create_block((base + place, destination), num_src_nodes=batch * SLOTS, num_dst_nodes=2 * batch)


class FraudSage(nn.Module):
    """Score reviews from the features of their sampled neighbourhoods."""

    def __init__(self, features: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.encode = nn.Linear(features, HIDDEN)
        self.own = nn.Linear(HIDDEN, HIDDEN)
        self.neighbours = nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.mix = nn.Linear(3 * HIDDEN, HIDDEN)
        self.score = nn.Linear(HIDDEN, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Map (batch, SLOTS, features) to one logit per review."""
        batch = features.shape[0]
        encoded = torch.relu(self.encode(features))
        sums = copy_u_sum(message_flow_block(batch), encoded.reshape(batch * SLOTS, -1))
        users = sums[:batch] / USER_FANOUT
        products = sums[batch:] / PRODUCT_FANOUT
        drawn = self.neighbours(torch.stack((users, products), dim=1))
        around = torch.relu(self.own(encoded[:, 1:3]) + drawn)
        # A review has exactly two neighbours of different kinds: keeping them apart instead of
        # averaging is the second hop's aggregator.
        flat = torch.cat((encoded[:, 0], around.reshape(batch, -1)), dim=1)
        mixed = torch.relu(self.mix(self.dropout(flat)))
        logits: Tensor = self.score(self.dropout(mixed)).squeeze(1)
        return logits
