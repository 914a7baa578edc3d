"""Small classifiers on frozen features, all trained at once: one per layer and learning rate.

Or, `mixed`, one per rate on a learned mixture of all layers (a softmax that begins even).

The probe is MARBLE's: one hidden layer of 512, ReLU, dropout .2, Adam, the rate halved where the
validation score stands still, early stopping, the best epoch kept. In go features `(chunks, L, D)`
of chunks that belong to tracks; a track's prediction is the mean of its chunks'.

All probes begin alike, see the same batches and drop the same units, and none sees another: each
is the probe that would have been trained alone, whatever stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from yue.errors import OptionError
from yue.evaluate.options import ProbeOptions

RATES = (5e-5, 1e-4, 5e-4, 1e-3, 5e-3, 1e-2)
"""MARBLE's learning rates."""
KINDS = ("classes", "labels", "numbers")
"""One of several; any of several; values."""

Score = Callable[[Tensor, Tensor], Tensor]
"""Predictions `(..., tracks, O)` and targets of the tracks to scores `(...)`, more is better."""


@dataclass(frozen=True, eq=False)
class Split:
    """Features `(chunks, L, D)` of chunks, the `track` `(chunks,)` of each, targets of tracks.

    Targets: int64 `(tracks,)` for classes, float32 `(tracks, O)` for labels and numbers.
    """

    features: np.ndarray
    track: np.ndarray
    targets: np.ndarray

    def __post_init__(self) -> None:
        tracks = len(self.targets)
        if self.features.ndim != 3 or self.track.shape != self.features.shape[:1]:
            raise OptionError(
                f"features {self.features.shape}, tracks {self.track.shape}: expected (chunks, "
                "layers, D) and (chunks,)."
            )
        if not np.array_equal(np.unique(self.track), np.arange(tracks)):
            raise OptionError(f"{tracks} targets: each track needs at least one chunk.")

    def layers(self, chosen: Sequence[int]) -> Split:
        """The same with some layers alone."""
        return Split(self.features[:, list(chosen)], self.track, self.targets)


class Probes:
    """L x R probes: `w1` (L, D, R, H), `b1` (L, R, H), `w2` (L, R, H, O), `b2` (L, R, O).

    Of a mixture of `layers`, L is 1 and `mix` (R, layers) comes behind.
    """

    def __init__(
        self, layers: int, size: int, outputs: int, rates: int, o: ProbeOptions, *,
        mixed: bool = False,
    ) -> None:
        generator = torch.Generator().manual_seed(o.seed)

        def drawn(fan: int, *shape: int) -> Tensor:  # as torch.nn.Linear begins
            return (torch.rand(shape, generator=generator) * 2 - 1) / math.sqrt(fan)

        first, bias = drawn(size, size, o.hidden), drawn(size, o.hidden)
        second, last = drawn(o.hidden, o.hidden, outputs), drawn(o.hidden, outputs)
        self.layers = 1 if mixed else layers
        parts = [
            first[None, :, None].expand(self.layers, -1, rates, -1),
            bias.expand(self.layers, rates, -1),
            second.expand(self.layers, rates, -1, -1),
            last.expand(self.layers, rates, -1),
        ]
        parts += [torch.zeros(rates, layers)] if mixed else []
        self.parameters = [part.to(o.device, copy=True).requires_grad_() for part in parts]
        self.mixed, self.device = mixed, o.device

    def spread(self, values: Tensor) -> list[Tensor]:
        """Values `(L, R)` of probes, shaped to go with each parameter."""
        each = [
            values[:, None, :, None], values[:, :, None], values[:, :, None, None],
            values[..., None], values.T,
        ]
        return each[: len(self.parameters)]

    def mixture(self) -> Tensor | None:
        """The shares of the layers `(R, layers)` that each probe mixes."""
        return self.parameters[4].detach().softmax(dim=-1) if self.mixed else None

    def forward(self, x: Tensor, dropout: Tensor | None = None) -> Tensor:
        """Features `(B, layers, D)` -> `(L, R, B, O)`; `dropout` `(B, H)` scales hidden units."""
        _, b1, w2, b2, *_ = self.parameters
        hidden = F.relu(self._hidden(x) + b1[:, :, None])
        if dropout is not None:
            hidden = hidden * dropout
        return hidden @ w2 + b2[:, :, None]

    def _hidden(self, x: Tensor) -> Tensor:
        """Features `(B, layers, D)` times the first weights: `(L, R, B, H)`."""
        w1 = self.parameters[0]
        L, D, R, H = w1.shape
        if self.mixed:
            mixed = torch.einsum("rl,bld->rbd", self.parameters[4].softmax(dim=-1), x)
            return torch.bmm(mixed, w1[0].transpose(0, 1))[None]
        flat = torch.bmm(x.transpose(0, 1), w1.reshape(L, D, R * H))
        return flat.view(L, -1, R, H).transpose(1, 2)

    @torch.no_grad()
    def predict(self, split: Split, batch: int = 1024) -> Tensor:
        """Predictions of tracks `(L, R, tracks, O)`: the mean over their chunks."""
        sums: Tensor | None = None
        track = torch.from_numpy(split.track).to(self.device)
        for first in range(0, len(track), batch):
            out = self.forward(_floats(split.features[first : first + batch], self.device))
            if sums is None:
                sums = out.new_zeros(*out.shape[:2], len(split.targets), out.shape[3])
            sums.index_add_(2, track[first : first + batch], out)
        assert sums is not None
        return sums / track.bincount(minlength=len(split.targets))[:, None]


@dataclass(frozen=True, eq=False)
class Trained:
    """Probes at their best epoch, the validation `score` and that `epoch` of each, `(L, R)`."""

    probes: Probes
    score: np.ndarray
    epoch: np.ndarray


def train(
    data: Split, valid: Split, kind: str, score: Score, *, outputs: int,
    rates: Sequence[float] = RATES, options: ProbeOptions | None = None, mixed: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Trained:
    """Train one probe per layer and rate; `score` on the validation tracks decides when to stop.

    `outputs`: classes, labels or numbers. `progress` hears the number of each finished epoch.
    """
    o = options or ProbeOptions()
    if kind not in KINDS or not rates or min(rates) <= 0:
        raise OptionError(f"kind {kind!r}, rates {list(rates)}: {', '.join(KINDS)}; above 0.")
    layers, size = data.features.shape[1:]
    probes = Probes(layers, size, outputs, len(rates), o, mixed=mixed)
    generator = torch.Generator().manual_seed(o.seed)
    stepper = _Adam(probes)
    lr = torch.tensor(rates, device=o.device).expand(probes.layers, -1).clone()
    best = [part.detach().clone() for part in probes.parameters]
    top, at = torch.full_like(lr, -math.inf), torch.zeros_like(lr)
    halved = torch.zeros_like(lr)
    wanted = torch.from_numpy(valid.targets).to(o.device)
    for epoch in range(1, o.epochs + 1):
        going = epoch - 1 - at < o.patience
        if not going.any():
            break
        for x, y in _steps(data, generator, o):
            keep = torch.rand(len(x), o.hidden, generator=generator) >= o.dropout
            out = probes.forward(x, keep.to(o.device) / (1 - o.dropout))
            _loss(out, y, kind).backward()
            stepper.step(lr * going)
        found = score(probes.predict(valid), wanted)
        better = going & (found > top)
        top, at = torch.where(better, found, top), torch.where(better, epoch, at)
        for kept, now, new in zip(best, probes.parameters, probes.spread(better), strict=True):
            kept.copy_(torch.where(new, now.detach(), kept))
        stuck = epoch - torch.maximum(at, halved) > o.plateau
        lr, halved = torch.where(stuck, lr / 2, lr), torch.where(stuck, epoch, halved)
        if progress is not None:
            progress(epoch)
    probes.parameters = best
    return Trained(probes, top.cpu().numpy(), at.int().cpu().numpy())


class _Adam:
    """Adam (Kingma and Ba) whose rate differs by probe: `lr` `(L, R)`."""

    def __init__(self, probes: Probes) -> None:
        self.probes, self.steps = probes, 0
        self.mean = [torch.zeros_like(part) for part in probes.parameters]
        self.square = [torch.zeros_like(part) for part in probes.parameters]

    @torch.no_grad()
    def step(self, lr: Tensor) -> None:
        """One step down the gradients, which are then forgotten."""
        self.steps += 1
        rates = self.probes.spread(lr)
        held = zip(self.probes.parameters, self.mean, self.square, rates, strict=True)
        for part, mean, square, rate in held:
            assert part.grad is not None
            mean.lerp_(part.grad, 0.1)
            square.mul_(0.999).addcmul_(part.grad, part.grad, value=0.001)
            scale = (square / (1 - 0.999**self.steps)).sqrt_().add_(1e-8)
            part -= rate / (1 - 0.9**self.steps) * mean / scale
            part.grad = None


def _steps(
    data: Split, generator: torch.Generator, o: ProbeOptions
) -> Iterator[tuple[Tensor, Tensor]]:
    """Features `(B, L, D)` and targets of all chunks of `batch` tracks, in random order."""
    ends = np.cumsum(np.bincount(data.track))
    chunks = np.split(np.argsort(data.track, kind="stable"), ends[:-1])
    order = torch.randperm(len(chunks), generator=generator).numpy()
    for first in range(0, len(order), o.batch):
        some = np.concatenate([chunks[track] for track in order[first : first + o.batch]])
        y = torch.from_numpy(data.targets[data.track[some]]).to(o.device)
        yield _floats(data.features[some], o.device), y


def _loss(out: Tensor, y: Tensor, kind: str) -> Tensor:
    """Sum over probes of the mean loss of predictions `(L, R, B, O)`."""
    L, R = out.shape[:2]
    y = y.expand(L, R, *y.shape)
    if kind == "classes":
        return F.cross_entropy(out.flatten(0, 2), y.flatten()) * L * R
    loss = F.binary_cross_entropy_with_logits if kind == "labels" else F.mse_loss
    return loss(out, y) * L * R


def _floats(features: np.ndarray, device: str) -> Tensor:
    """Features as fp32 on the device, whatever they are kept in."""
    return torch.from_numpy(np.ascontiguousarray(features)).to(device).float()
