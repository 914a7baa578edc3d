"""Residual vector quantisation: features (B, D, T) <-> codes (B, K, T).

Each codebook codes what the ones before it left over. Codebooks learn by moving averages of what
falls to them (no gradient), as in the published codec; codes that nothing falls to are reborn.
Buffer names are the published checkpoint's.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DECAY = 0.99
DEAD_SHARE = 0.1
"""A code used less than this share of what an average code is used is replaced by a random input.

The published threshold, 2 uses per step, suits its batches; a share suits any."""


class Codebook(nn.Module):
    """One codebook: `size` vectors of `dim` numbers, and their running statistics."""

    inited: Tensor
    cluster_size: Tensor
    embed: Tensor
    embed_avg: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("inited", torch.zeros(1))
        self.register_buffer("cluster_size", torch.zeros(size))
        self.register_buffer("embed", torch.randn(size, dim) / dim**0.5)
        self.register_buffer("embed_avg", torch.zeros(size, dim))

    def encode(self, x: Tensor) -> Tensor:
        """Vectors (N, D) -> nearest codes (N,); the first one on ties. Distances in fp32."""
        x, table = x.float(), self.embed.float()
        distance = x.square().sum(1, keepdim=True) - 2 * x @ table.T + table.square().sum(1)
        return distance.argmin(1)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (...) -> vectors (..., D)."""
        return F.embedding(codes, self.embed)

    @torch.no_grad()
    def learn(self, x: Tensor, codes: Tensor) -> None:
        """One moving-average step from vectors (N, D) that were given `codes` (N,)."""
        size = self.embed.shape[0]
        if not bool(self.inited):
            self._start_from(x)
            codes = self.encode(x)
        count = torch.bincount(codes, minlength=size).to(x)
        total = torch.zeros_like(self.embed).index_add_(0, codes, x.to(self.embed.dtype))
        self.cluster_size.lerp_(count, 1 - DECAY)
        self.embed_avg.lerp_(total, 1 - DECAY)
        alive = self.cluster_size > 0
        mean = self.embed_avg / self.cluster_size.clamp_min(1e-12)[:, None]
        self.embed.copy_(torch.where(alive[:, None], mean, self.embed))
        self._revive(x)

    def _start_from(self, x: Tensor) -> None:
        """Begin with random inputs as codes, each as if it had been used often enough to live."""
        size = self.embed.shape[0]
        self.embed.copy_(_sample(x, size))
        self.cluster_size.fill_(len(x) / size)
        self.embed_avg.copy_(self.embed * self.cluster_size[:, None])
        self.inited.fill_(1)

    def _revive(self, x: Tensor) -> None:
        usual = len(x) / self.embed.shape[0]
        dead = self.cluster_size < DEAD_SHARE * usual
        if not bool(dead.any()):
            return
        self.embed[dead] = _sample(x, int(dead.sum())).to(self.embed.dtype)
        # As if used as often as the average: long enough to prove itself.
        self.cluster_size[dead] = usual
        self.embed_avg[dead] = self.embed[dead] * usual


def _sample(x: Tensor, count: int) -> Tensor:
    """`count` rows of x, each at most once as long as there are enough."""
    if len(x) >= count:
        return x[torch.randperm(len(x), device=x.device)[:count]]
    return x[torch.randint(len(x), (count,), device=x.device)]


class _Layer(nn.Module):
    """A codebook one name deeper, as the checkpoint spells it."""

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self._codebook = Codebook(size, dim)

    @property
    def codebook(self) -> Codebook:
        return self._codebook


class _Stack(nn.Module):
    def __init__(self, count: int, size: int, dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(size, dim) for _ in range(count))


class ResidualQuantizer(nn.Module):
    """`count` codebooks, each coding what the ones before left over."""

    def __init__(self, count: int, size: int, dim: int) -> None:
        super().__init__()
        self.vq = _Stack(count, size, dim)

    @property
    def codebooks(self) -> list[Codebook]:
        """The codebooks, first to last."""
        return [layer.codebook for layer in self.vq.layers]  # type: ignore[misc]

    def encode(self, x: Tensor, count: int) -> Tensor:
        """Features (B, D, T) -> codes (B, count, T)."""
        B, _, T = x.shape
        rest = x.transpose(1, 2).reshape(B * T, -1)
        codes = []
        for book in self.codebooks[:count]:
            code = book.encode(rest)
            rest = rest - book.decode(code)
            codes.append(code.view(B, T))
        return torch.stack(codes, dim=1)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, K, T) -> the sum of their vectors (B, D, T)."""
        books = self.codebooks[: codes.shape[1]]
        parts = [book.decode(codes[:, k]) for k, book in enumerate(books)]
        return torch.stack(parts).sum(0).transpose(1, 2)

    def forward(self, x: Tensor, count: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Training: features (B, D, T) -> quantised features, codes (B, K, T), commitment loss.

        The gradient passes the quantiser unchanged; in training mode the codebooks learn.
        """
        B, _, T = x.shape
        rest = x.transpose(1, 2).reshape(B * T, -1)
        total = torch.zeros_like(rest)
        loss = rest.new_zeros(())
        codes = []
        for book in self.codebooks[:count]:
            code = book.encode(rest.detach())
            if self.training:
                book.learn(rest.detach(), code)
            vector = book.decode(code).to(rest.dtype)
            loss = loss + F.mse_loss(rest, vector.detach())
            rest = rest - vector.detach()
            total = total + vector
            codes.append(code.view(B, T))
        quantised = total.view(B, T, -1).transpose(1, 2)
        return x + (quantised - x).detach(), torch.stack(codes, dim=1), loss
