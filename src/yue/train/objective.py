"""Model and loss in one module: what a step computes, and the root of sharding.

The head is used inside this module's forward, where its weights are whole on every rank.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from yue.lm.llama import Llama, Watch
from yue.train import guide, harmony
from yue.train.batch import Batch
from yue.train.config import GuideOptions, HarmonyOptions
from yue.train.loss import cross_entropy


class Losses(NamedTuple):
    """Sums over a batch; means are taken over the whole step, of all ranks."""

    codes: Tensor
    """Cross entropy, with gradient."""
    guide: Tensor
    """Guide, summed over its layers, with gradient."""
    harmony: Tensor
    """Harmony, summed over its layers, with gradient."""
    sums: Tensor
    """Cross entropy per group (groups,)."""
    counts: Tensor
    """Targets per group (groups,)."""


class Objective(nn.Module):
    """A Llama with its loss over packed rows; `drawn` are the ids among which it is to choose."""

    def __init__(
        self, llama: Llama, guided: GuideOptions, *, groups: int, recompute: bool = False,
        drawn: range | None = None, harmonised: HarmonyOptions | None = None, seed: int = 0,
    ) -> None:
        super().__init__()
        self.llama = llama
        self.groups, self.recompute = groups, recompute
        self.drawn = drawn or range(llama.config.vocab_size)
        depth = llama.config.num_hidden_layers
        layers = guided.layers or guide.default_layers(depth)
        self.guided = frozenset(layers) if guided.weight else frozenset()
        self.head = guided.head
        self.readers: harmony.Readers | None = None
        if harmonised is not None and harmonised.weight:
            layers = harmonised.layers or harmony.default_layers(depth)
            self.readers = harmony.Readers(llama.config.hidden_size, layers, seed)

    def forward(self, batch: Batch) -> Losses:
        """One row of documents -> its summed losses."""
        hidden, watched = self.llama.packed(
            batch.ids, batch.lengths, watch=self._watch(batch), recompute=self.recompute
        )
        head = self.llama.lm_head.weight[self.drawn.start : self.drawn.stop]
        codes, each = cross_entropy(hidden[batch.at], head, batch.labels - self.drawn.start)
        beside = torch.stack(watched).sum(0) if watched else codes.new_zeros(2)
        sums = torch.zeros(self.groups, device=each.device).index_add_(0, batch.groups, each)
        counts = torch.zeros_like(sums).index_add_(0, batch.groups, torch.ones_like(each))
        return Losses(codes, beside[0], beside[1], sums, counts)

    def _watch(self, batch: Batch) -> Watch | None:
        """What is to be found beside the codes: (guide, harmony) of a layer, where it has any."""
        if not self.guided and self.readers is None:
            return None
        pointing = guide.Guide(batch, self.guided, self.head)

        def watch(layer: int, x: Tensor, q: Tensor, k: Tensor) -> Tensor | None:
            found = [
                pointing(layer, q, k),
                None if self.readers is None else self.readers.loss(layer, x, batch),
            ]
            if all(loss is None for loss in found):
                return None
            return torch.stack([q.new_zeros((), dtype=torch.float32) if loss is None else loss
                                for loss in found])

        return watch
