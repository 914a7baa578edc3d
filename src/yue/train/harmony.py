"""Harmony supervision: some layers learn to say which chord is played and how far through it.

For each position that predicts a code of a frame whose chord is known, a linear map of what a
layer reads is to tell the frame's class (`yue.data.harmony`). What a small model does not find out
by itself, when a bar ends and what comes next, is then at hand where the next code is decided. The
maps are dropped with the run: a plain Llama is what remains.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from yue.data.harmony import CLASSES
from yue.train.batch import Batch
from yue.train.loss import cross_entropy


def default_layers(count: int) -> tuple[int, ...]:
    """The middle one and the last: what is played, and what comes next."""
    return tuple(sorted({count // 2, count - 1}))


class Readers(nn.Module):
    """A linear map (width -> `CLASSES`) for each of some layers, the same for the same seed."""

    def __init__(self, width: int, layers: Sequence[int], seed: int) -> None:
        super().__init__()
        self.maps = nn.ModuleDict(
            {str(layer): nn.Linear(width, CLASSES, bias=False) for layer in layers}
        )
        source = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=width**-0.5, generator=source)

    def __len__(self) -> int:
        return len(self.maps)

    def loss(self, layer: int, x: Tensor, batch: Batch) -> Tensor | None:
        """x (1, T, width), the layer's input -> the sum over all known positions, or None."""
        if str(layer) not in self.maps or not len(batch.played):
            return None
        table = self.maps[str(layer)].get_parameter("weight")
        return cross_entropy(x[0, batch.played], table, batch.chords)[0]
