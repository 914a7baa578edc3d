"""Attention supervision: guided heads learn to look at the phone that is being sung.

For each position i that predicts a vocal code, with the model's own rotated queries and keys,
`p_i = softmax_j(q_i . k_j / sqrt(d))` over the positions j <= i of its document; the loss is
`-log p_i[phone(i)]`, one head in each of some layers. Only those rows are worked out, in chunks.
A plain Llama is what remains.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from yue.train.batch import Batch
from yue.train.loss import cross_entropy

SCORES = 2**26
"""Scores that a GPU works out at a time, in fp32."""


def default_layers(count: int) -> tuple[int, ...]:
    """All layers but the first and the last, where there are others."""
    return tuple(range(1, count - 1)) or (count - 1,)


@dataclass(frozen=True)
class Guide:
    """Sums the guide's loss over a batch, layer by layer."""

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
    documents = documents_of(batch)
    if q.device.type == "cpu":
        return one_by_one(q, k, batch, documents)
    return together(q, k, batch, documents)


class Guided(NamedTuple):
    """A document with guided positions."""

    start: int
    length: int
    first: int
    """The first of its queries, among those of the row."""
    guided: int


def documents_of(batch: Batch) -> list[Guided]:
    """The documents of a row that have guided positions."""
    starts = itertools.accumulate(batch.lengths, initial=0)
    firsts = itertools.accumulate(batch.guided, initial=0)
    every = map(Guided, starts, batch.lengths, firsts, batch.guided)
    return [document for document in every if document.guided]


def one_by_one(q: Tensor, k: Tensor, batch: Batch, documents: Sequence[Guided]) -> Tensor:
    """`pointer_loss`, document by document: no work is wasted, right for a CPU."""
    scale = q.shape[-1] ** -0.5
    total = torch.zeros((), device=q.device)
    for start, length, first, guided in documents:
        queries, phones = (x[first : first + guided] for x in (batch.queries, batch.phones))
        keys = k[start : start + length]
        part, _ = cross_entropy(q[queries] * scale, keys, phones - start, queries - start + 1)
        total = total + part
    return total


def together(q: Tensor, k: Tensor, batch: Batch, documents: Sequence[Guided]) -> Tensor:
    """The same by a few large products over padded documents: right for a GPU."""
    scale = q.shape[-1] ** -0.5
    total = torch.zeros((), device=q.device)
    for group in _groups(documents):
        start, length, first, guided = torch.tensor(group, device=q.device).T[..., None]
        place = torch.arange(max(d.guided for d in group), device=q.device)
        at = first + torch.minimum(place, guided - 1)
        queries, phones = batch.queries[at], batch.phones[at] - start
        offsets = torch.arange(max(d.length for d in group), device=q.device)
        keys = k[start + torch.minimum(offsets, length - 1)]
        scores = ((q[queries] * scale) @ keys.mT).float()
        scores = scores.masked_fill(offsets > (queries - start)[..., None], -torch.inf)
        each = F.cross_entropy(scores.flatten(0, 1), phones.flatten(), reduction="none")
        total = total + (each * (place < guided).flatten()).sum()
    return total


def _groups(documents: Sequence[Guided]) -> Iterator[list[Guided]]:
    """Documents of like length, as many as make no more than `SCORES` scores together."""
    group: list[Guided] = []
    for document in sorted(documents, key=lambda d: d.length):
        most = max([document.guided, *(d.guided for d in group)])
        if group and (len(group) + 1) * most * document.length > SCORES:
            yield group
            group = []
        group.append(document)
    if group:
        yield group
