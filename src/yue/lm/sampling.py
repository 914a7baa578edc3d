"""Logits -> scores -> a drawn id, as small pure functions.

The order is the released sampler's: guidance, repetition penalty, forbidden ids, temperature,
top-k, top-p, draw. Scores are log-probabilities (N, A) over the A allowed ids, in fp32.
"""

from __future__ import annotations

import torch
from torch import Tensor


def guide(conditional: Tensor, unconditional: Tensor, scale: float | Tensor) -> Tensor:
    """Classifier-free guidance of two log-probabilities: `u + scale * (c - u)`."""
    return torch.lerp(unconditional, conditional, scale)


def penalise(scores: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Push down what was `seen` (N, A): negative scores times `penalty`, positive ones divided."""
    lowered = torch.where(scores < 0, scores * penalty, scores / penalty)
    return torch.where(seen, lowered, scores)


def rank(
    scores: Tensor, *, temperature: float, top_k: int, top_p: float
) -> tuple[Tensor, Tensor]:
    """What may be drawn, likeliest first: probabilities and columns, both (N, A).

    Keeps scores at least as high as the k-th largest (ties stay), then the fewest likeliest that
    hold `top_p` of the probability, at least one. What is not kept has probability 0.
    """
    ordered, columns = scores.sort(dim=-1, descending=True)
    ordered = ordered / temperature
    threshold = ordered[..., min(top_k, ordered.shape[-1]) - 1, None]
    ordered = ordered.masked_fill(ordered < threshold, -torch.inf)
    probabilities = ordered.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    kept = before < top_p
    kept[..., 0] = True
    probabilities = probabilities * kept
    return probabilities / probabilities.sum(-1, keepdim=True), columns


def draw(probabilities: Tensor, columns: Tensor, uniform: Tensor) -> Tensor:
    """Columns (N,) drawn by inverting the cumulative probability at `uniform` (N,) in [0, 1)."""
    cumulative = probabilities.cumsum(-1)
    index = (cumulative <= uniform[:, None]).sum(-1, keepdim=True)
    last = (probabilities > 0).sum(-1, keepdim=True) - 1
    return columns.gather(-1, torch.minimum(index, last)).squeeze(-1)


def uniforms(count: int, *stream: int) -> Tensor:
    """`count` numbers in [0, 1), fp32, of a random stream named by whole numbers.

    Made on the CPU whatever the device, so that a seed means the same numbers everywhere.
    """
    # numpy's SeedSequence mixes the names well; torch's own seeding takes a single number.
    import numpy as np

    seed = int(np.random.SeedSequence(stream).generate_state(1, np.uint64)[0] >> 1)
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, generator=generator)
