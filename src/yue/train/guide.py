"""Attention supervision: guided heads learn to look at the phone that is being sung.

For each position i that predicts a vocal code, with the model's own rotated queries and keys,
`p_i = softmax_j(q_i . k_j / sqrt(d))` over the positions j <= i of its document; the loss is
`-log p_i[phone(i)]`, one head in each of some layers. Only those rows are worked out, in chunks.
A plain Llama is what remains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from yue.train.batch import Batch
from yue.train.loss import cross_entropy


def default_layers(count: int) -> tuple[int, ...]:
    """All layers but the first and the last, where there are others."""
    return tuple(range(1, count - 1)) or (count - 1,)


@dataclass(frozen=True)
class Guide:
    """`yue.lm.llama.Watch` that sums the guide's loss over a batch."""

    batch: Batch
    layers: frozenset[int]
    head: int

    def __call__(self, layer: int, q: Tensor, k: Tensor) -> Tensor | None:
        """q (1, H, T, d), k (1, KV heads, T, d) -> the sum over all guided positions, or None."""
        if layer not in self.layers or not len(self.batch.queries):
            return None
        group = q.shape[1] // k.shape[1]
        return pointer_loss(q[0, self.head], k[0, self.head // group], self.batch)


def pointer_loss(q: Tensor, k: Tensor, batch: Batch) -> Tensor:
    """Sum of `-log p_i[phone(i)]` for one head; q and k (T, d)."""
    scale = q.shape[-1] ** -0.5
    total = torch.zeros((), device=q.device)
    for start, queries, phones in _by_document(batch.queries, batch.phones, batch.lengths):
        end = int(queries[-1]) + 1
        rows = q[queries] * scale
        part, _ = cross_entropy(rows, k[start:end], phones - start, queries - start + 1)
        total = total + part
    return total


def _by_document(
    queries: Tensor, phones: Tensor, lengths: Sequence[int]
) -> list[tuple[int, Tensor, Tensor]]:
    """(start, queries, phones) of each document that has any; queries are in order."""
    starts = torch.tensor([0, *lengths]).cumsum(0)
    counts = torch.searchsorted(queries.cpu(), starts).diff().tolist()
    parts = zip(starts.tolist(), queries.split(counts), phones.split(counts), strict=False)
    return [(start, q, p) for start, q, p in parts if len(q)]
