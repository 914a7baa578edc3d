"""How positions of a row may see each other: causally, and document by document.

`causal` is torch's fused attention. On a CPU that learns in bf16, `blocked` is quicker (1.4 to 1.7
times at 200 to 3000 positions): it keeps the probabilities of each block of queries and so needs
four products on the way back instead of five, all of them large. On a GPU in half precision one
call serves all documents of a row. No model, no songs.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Rotated q (B, H, T, d), rotated k and v (B, KV heads, T, d) -> (B, H, T, d)."""

BLOCK = 128
"""Queries of one block."""
KEPT = 2**27
"""Probabilities of one layer that may be kept for the way back: 256 MB in bf16."""


def causal(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """`Attend` to all earlier positions, or to those that `mask` (B, 1, T, T) allows."""
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=True
    )


class ByDocument:
    """`Attend` within each of the documents that a row packs, `lengths` long one after the other.

    No mask is made: the work is that of the documents, not of the row.
    """

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths = list(lengths)
        self._edges: Tensor | None = None

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q (B, H, T, d), k and v (B, KV heads, T, d) -> (B, H, T, d)."""
        half, alone = q.dtype in (torch.bfloat16, torch.float16), len(q) == 1
        if q.device.type == "cuda" and half and alone and RAGGED is not None:
            return self._at_once(q, k, v.to(q.dtype))
        quick = (
            q.device.type == "cpu" and q.dtype == torch.bfloat16 and alone
            and torch.is_grad_enabled()
        )
        parts = zip(*(x.split(self.lengths, dim=2) for x in (q, k, v)), strict=True)
        return torch.cat([(_quickest if quick else causal)(*part) for part in parts], dim=2)

    def _at_once(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """All documents in one call of torch's ragged attention."""
        if self._edges is None:
            self._edges = torch.tensor([0, *self.lengths]).cumsum(0).to(q.device, torch.int32)
        group, longest = q.shape[1] // k.shape[1], max(self.lengths)
        rows = (q[0], k[0].repeat_interleave(group, 0), v[0].repeat_interleave(group, 0))
        q, k, v = (x.transpose(0, 1) for x in rows)
        out: Tensor = RAGGED(q, k, v, self._edges, self._edges, longest, longest)  # type: ignore[misc]
        return out.transpose(0, 1)[None]


def _ragged() -> Callable[..., Any] | None:
    """torch's causal attention over ragged rows, where this torch has it (2.10 and newer)."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    windowed = "window_size" in inspect.signature(varlen_attn).parameters
    return functools.partial(
        varlen_attn, **({"window_size": (-1, 0)} if windowed else {"is_causal": True})
    )


RAGGED = _ragged()


def _quickest(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """`blocked` where its memory is bearable."""
    H, T = q.shape[1:3]
    return blocked(q[0], k[0], v[0])[None] if H * T * T // 2 <= KEPT else causal(q, k, v)


def blocked(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of one document: q (H, T, d), k and v (KV heads, T, d) -> (H, T, d)."""
    out: Tensor = _Blocked.apply(q, k, v.to(q.dtype))
    return out


class _Blocked(torch.autograd.Function):
    """Per block of queries: scores, softmax, product; heads of a group share their keys."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        H, T, d = q.shape
        groups = len(k)
        q = q * d**-0.5
        out, kept = torch.empty_like(q), []
        future = torch.ones(BLOCK, BLOCK, dtype=torch.bool, device=q.device).triu_(1)
        for start, end in _blocks(T):
            n = end - start
            scores = q[:, start:end].reshape(groups, -1, d) @ k[:, :end].mT
            now = scores.view(groups, -1, n, end)[..., start:]
            now.masked_fill_(future[:n, :n], -torch.inf)
            p = scores.softmax(-1)
            out[:, start:end] = (p @ v[:, :end]).view(H, n, d)
            kept.append(p)
        ctx.save_for_backward(q, k, v, *kept)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v, *kept = ctx.saved_tensors
        H, T, d = q.shape
        groups = len(k)
        slope_q = torch.empty_like(q)
        slope_k, slope_v = (torch.zeros(k.shape, device=k.device) for _ in range(2))
        for (start, end), p in zip(_blocks(T), kept, strict=True):
            rows, above = (x[:, start:end].reshape(groups, -1, d) for x in (q, upper))
            slope_v[:, :end] += p.mT @ above
            slope = torch._softmax_backward_data(above @ v[:, :end].mT, p, -1, p.dtype)
            slope_q[:, start:end] = (slope @ k[:, :end]).view(H, -1, d)
            slope_k[:, :end] += slope.mT @ rows
        return slope_q.mul_(d**-0.5), slope_k.to(k.dtype), slope_v.to(v.dtype)


def _blocks(length: int) -> list[tuple[int, int]]:
    return [(start, min(start + BLOCK, length)) for start in range(0, length, BLOCK)]
