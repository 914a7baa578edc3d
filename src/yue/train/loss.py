"""Cross entropy of a linear map, in chunks: the scores of all rows never exist at once.

The gradients are worked out while a chunk's scores are at hand, so nothing is kept for the way
back but them. One form serves the output head (rows against the vocabulary) and the guide
(queries against keys, each row seeing only what came before it).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

SCORES = {"cpu": 2**25, "cuda": 2**26}
"""Scores of one chunk: a large table is read, and its gradient written, once per chunk."""


def cross_entropy(
    x: Tensor, table: Tensor, labels: Tensor, limits: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Sum and each of `-log softmax(x @ table.T)[label]`, in fp32.

    x (N, D), table (V, D), labels (N,); with `limits` (N,), row i sees only the first limits[i]
    entries of the table. Only the sum carries a gradient. Under autocast the products run in its
    dtype.
    """
    kind = x.device.type
    if torch.is_autocast_enabled(kind):
        dtype = torch.get_autocast_dtype(kind)
        x, table = x.to(dtype), table.to(dtype)
    total, each = _CrossEntropy.apply(x, table, labels, limits)
    return total, each


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, table: Tensor, labels: Tensor, limits: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        losses = torch.empty(len(x), device=x.device)
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        grad_table = None
        if ctx.needs_input_grad[1]:
            grad_table = torch.zeros_like(table, dtype=torch.float32)
        rows = max(16, SCORES.get(x.device.type, SCORES["cuda"]) // max(1, len(table)))
        with torch.autocast(x.device.type, enabled=False):
            for first in range(0, len(x), rows):
                cut = slice(first, first + rows)
                width = len(table) if limits is None else int(limits[cut].max())
                scores = (x[cut] @ table[:width].T).float()
                if limits is not None:
                    hidden = torch.arange(width, device=x.device) >= limits[cut, None]
                    scores.masked_fill_(hidden, -torch.inf)
                at = labels[cut, None]
                scores = scores.log_softmax(-1)
                losses[cut] = -scores.gather(-1, at).squeeze(-1)
                if grad_x is None and grad_table is None:
                    continue
                slope = scores.exp_()
                slope.scatter_add_(-1, at, torch.full_like(at, -1, dtype=slope.dtype))
                slope = slope.to(x.dtype)
                if grad_x is not None:
                    grad_x[cut] = slope @ table[:width]
                if grad_table is not None:
                    grad_table[:width] += slope.T @ x[cut]
        ctx.mark_non_differentiable(losses)
        ctx.grads = grad_x, grad_table, table.dtype
        return losses.sum(), losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upper: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        grad_x, grad_table, dtype = ctx.grads
        ctx.grads = None, None, dtype
        below = None if grad_x is None else grad_x.mul_(upper)
        beside = None if grad_table is None else grad_table.mul_(upper).to(dtype)
        return below, beside, None, None
