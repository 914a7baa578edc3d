"""Model and loss in one module: what a step computes, and the root of sharding.

The head is used inside this module's forward, where its weights are whole on every rank.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from yue.lm.llama import Llama
from yue.train.batch import Batch
from yue.train.config import GuideOptions
from yue.train.guide import Guide, default_layers
from yue.train.loss import cross_entropy


class Losses(NamedTuple):
    """Sums over a batch; means are taken over the whole step, of all ranks."""

    codes: Tensor
    """Cross entropy, with gradient."""
    guide: Tensor
    """Guide, summed over its layers, with gradient."""
    sums: Tensor
    """Cross entropy per group (groups,)."""
    counts: Tensor
    """Targets per group (groups,)."""


class Objective(nn.Module):
    """A Llama with its loss over packed rows; `drawn` are the ids among which it is to choose."""

    def __init__(
        self, llama: Llama, guide: GuideOptions, *, groups: int, recompute: bool = False,
        drawn: range | None = None,
    ) -> None:
        super().__init__()
        self.llama = llama
        self.groups, self.recompute = groups, recompute
        self.drawn = drawn or range(llama.config.vocab_size)
        layers = guide.layers or default_layers(llama.config.num_hidden_layers)
        self.guided = frozenset(layers) if guide.weight else frozenset()
        self.head = guide.head

    def forward(self, batch: Batch) -> Losses:
        """One row of documents -> its summed losses."""
        watch = Guide(batch, self.guided, self.head) if self.guided else None
        hidden, watched = self.llama.packed(
            batch.ids, batch.lengths, watch=watch, recompute=self.recompute
        )
        head = self.llama.lm_head.weight[self.drawn.start : self.drawn.stop]
        codes, each = cross_entropy(hidden[batch.at], head, batch.labels - self.drawn.start)
        guide = torch.stack(watched).sum() if watched else codes.new_zeros(())
        sums = torch.zeros(self.groups, device=each.device).index_add_(0, batch.groups, each)
        counts = torch.zeros_like(sums).index_add_(0, batch.groups, torch.ones_like(each))
        return Losses(codes, guide, sums, counts)
