"""A row of documents as tensors: ids, what each position is to predict, and whose loss it is.

The one shift between a token and what predicts it happens here: a document of n ids is n - 1
inputs, each with the next id as its label.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from yue.data.tasks import KINDS, Mask
from yue.train.sampler import Row


@dataclass(frozen=True, eq=False)
class Batch:
    """One micro-step of one rank. Positions count from the row's beginning."""

    ids: Tensor
    """Inputs (T,)."""
    lengths: tuple[int, ...]
    """Of the documents; they sum up to T."""
    at: Tensor
    """Positions (N,) that count in the loss."""
    labels: Tensor
    """What each of them predicts (N,)."""
    groups: Tensor
    """Its group (N,): the label's number times the kinds, plus the kind of what is predicted."""
    queries: Tensor
    """Positions (P,) that predict a vocal code whose phone is known."""
    phones: Tensor
    """Where that phone stands (P,), in the same document."""
    guided: tuple[int, ...]
    """How many of these positions lie in each document."""
    played: Tensor
    """Positions (C,) that predict a code whose chord is known."""
    chords: Tensor
    """Its chord and step (C,), by the classes of `yue.data.harmony`."""
    songs: tuple[str, ...]
    """What is in it, for messages."""

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        tensors = {
            name: value.to(device, non_blocking=True)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return Batch(**{**vars(self), **tensors})


def make_batch(row: Row, mask: Mask, labels: Mapping[str, int]) -> Batch:
    """Tensors of a row; `labels` numbers the entries of the mixtures."""
    sequences = [document.sequence for document in row if len(document) > 1]
    lengths = tuple(len(sequence) - 1 for sequence in sequences)
    starts = np.cumsum([0, *lengths[:-1]])
    counted = np.concatenate([sequence.mask(mask)[1:] for sequence in sequences])
    kinds = np.concatenate([sequence.kinds[1:] for sequence in sequences])
    owner = np.repeat(
        [labels[document.label] for document in row if len(document) > 1], lengths
    )
    following = np.concatenate([sequence.ids[1:] for sequence in sequences])
    queries, phones = [], []
    for sequence, start in zip(sequences, starts, strict=True):
        codes = np.flatnonzero(sequence.back)
        queries.append(start + codes - 1)
        phones.append(start + codes - sequence.back[codes])
    harmony = np.concatenate([sequence.harmony[1:] for sequence in sequences])
    at, played = np.flatnonzero(counted), np.flatnonzero(harmony)

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(array.astype(np.int64))

    return Batch(
        ids=tensor(np.concatenate([sequence.ids[:-1] for sequence in sequences])),
        lengths=lengths,
        at=tensor(at),
        labels=tensor(following[at]),
        groups=tensor((owner * len(KINDS) + kinds)[at]),
        queries=tensor(np.concatenate(queries)),
        phones=tensor(np.concatenate(phones)),
        guided=tuple(map(len, queries)),
        played=tensor(played),
        chords=tensor(harmony[played] - 1),
        songs=tuple(document.song for document in row),
    )
