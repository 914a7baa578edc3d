"""An upsampler piece by piece, as songs are rendered."""

from __future__ import annotations

import torch
from torch import Tensor

from yue.codec.upsamplers import Upsampler


def in_pieces(model: Upsampler, features: Tensor, size: int = 25) -> Tensor:
    """Features (1, C, T) -> the wave (1, hop * T), `size` frames at a time, with context."""
    stream, context, parts = model.stream(), model.context, []
    count = features.shape[-1]
    for first in range(0, count, size):
        last = min(first + size, count)
        cut = features[..., max(0, first - context) : last + context]
        parts.append(stream(cut, min(first, context), last - first))
    return torch.cat(parts, 1)
