"""Upsamplers that say what a sound is made of and leave making it to closed forms.

A network reads codec features (B, C, T) and describes every subframe: levels, envelopes, pitch.
What is common to all of them is here: the network, envelopes at knots, noise, and how windows of
sound are cut and added up. `source_filter.py` is a voice, `tones.py` a band.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from yue.codec.mel import even_in_mel, hann
from yue.codec.vocos import NORM_EPS, ConvNeXt, add_up, check_subframes
from yue.errors import ModelError

REFERENCE = 16_000
"""Envelopes are powers as at this rate, so that they do not change with the output's."""
SILENT = -30.0
"""Log power beyond `top`."""


@dataclass(frozen=True, kw_only=True)
class ParametricConfig:
    """Sizes that all such upsamplers have."""

    knots: int
    """Points of each envelope, evenly spaced in mel from 0 to `top`."""
    sample_rate: int = 44_100
    input_channels: int = 128
    codebooks: int = 1
    """How many codebooks the features should hold: what later ones add is not listened to."""
    dim: int = 192
    intermediate: int = 576
    early: int = 8
    """Layers on codec frames."""
    layers: int = 2
    """Layers on subframes."""
    hop: int = 882
    """Samples per codec frame."""
    subframes: int = 3
    """Descriptions per codec frame."""
    n_fft: int = 2048
    """Room for a window of two subframes and what rings on after it."""
    top: float = 8_000.0
    """Hz; envelopes hold nothing above."""

    def __post_init__(self) -> None:
        check_subframes(self.subframes, self.hop)
        if self.knots < 2 or self.n_fft < 2 * self.step or not 0 < self.top <= self.sample_rate / 2:
            raise ModelError(
                f"upsampler config.json: knots = {self.knots}, n_fft = {self.n_fft}, top = "
                f"{self.top:g}; at least 2, two subframes, and at most half the sample rate."
            )

    @property
    def step(self) -> int:
        """Samples per subframe."""
        return self.hop // self.subframes


class Parametric(nn.Module):
    """The network: ConvNeXt layers on frames, then on subframes, then `outputs` numbers of each."""

    config: ParametricConfig

    def __init__(self, config: ParametricConfig, outputs: int) -> None:
        super().__init__()
        c = self.config = config
        self.embed = nn.Conv1d(c.input_channels, c.dim, 7, padding=3)
        self.norm = nn.LayerNorm(c.dim, eps=NORM_EPS)
        self.early = nn.Sequential(*(ConvNeXt(c.dim, c.intermediate) for _ in range(c.early)))
        self.spread = nn.ConvTranspose1d(c.dim, c.dim, c.subframes, c.subframes)
        self.late = nn.Sequential(*(ConvNeXt(c.dim, c.intermediate) for _ in range(c.layers)))
        self.final = nn.LayerNorm(c.dim, eps=NORM_EPS)
        self.out = nn.Linear(c.dim, outputs)

    @property
    def context(self) -> int:
        """Frames on either side that one output frame depends on."""
        c = self.config
        return 3 + 3 * c.early + math.ceil((3 * c.layers + c.n_fft / c.step + 1) / c.subframes)

    def described(self, features: Tensor) -> Tensor:
        """Features (B, C, T) -> (B, subframes * T, outputs)."""
        x = self.norm(self.embed(features).transpose(1, 2)).transpose(1, 2)
        x = self.late(self.spread(self.early(x)))
        described: Tensor = self.out(self.final(x.transpose(1, 2)))
        return described


def noise_of(first: int, count: int, hop: int, *stem: int) -> Tensor:
    """White noise (hop * count,) of unit power; a frame's is a function of its number and `stem`.

    Noises of different stems have nothing in common.
    """
    frames = [
        np.random.default_rng((max(0, number), *stem)).standard_normal(hop, dtype=np.float32)
        for number in range(first, first + count)
    ]
    return torch.from_numpy(np.concatenate(frames))


def knots_of(config: ParametricConfig) -> Tensor:
    """Hz of each knot (K,) float64."""
    return even_in_mel(config.top, config.knots, torch.float64)


@functools.lru_cache(maxsize=4)
def spread_of(config: ParametricConfig) -> Tensor:
    """Weights (K, n_fft / 2 + 1) from knots to bins: straight lines between neighbours."""
    knots = knots_of(config)
    bins = torch.linspace(0, config.sample_rate / 2, config.n_fft // 2 + 1, dtype=torch.float64)
    right = torch.searchsorted(knots, bins, right=True).clamp(1, config.knots - 1)
    low, high = knots[right - 1], knots[right]
    share = ((bins - low) / (high - low)).clamp(0, 1)
    weights = torch.zeros(config.knots, len(bins), dtype=torch.float64)
    every = torch.arange(len(bins))
    weights[right - 1, every] = 1 - share
    weights[right, every] += share
    return weights.float()


def response(envelope: Tensor, config: ParametricConfig) -> Tensor:
    """Log powers at the knots (B, T, K) -> those of the bins (B, T, bins), silent above `top`."""
    c = config
    power = envelope.float() @ spread_of(c).to(envelope.device)
    power = power + math.log(c.sample_rate / REFERENCE)
    last = int(c.top / (c.sample_rate / 2) * (c.n_fft // 2)) + 1
    return F.pad(power[..., :last], (0, power.shape[-1] - last), value=SILENT)


def hissed(noise: Tensor, envelope: Tensor, config: ParametricConfig) -> Tensor:
    """Noise (B, S) through its envelope (B, T, K) -> spectra of its windows (B, T, bins)."""
    spectra = torch.fft.rfft(windows(noise, config.step), config.n_fft)
    return spectra * (response(envelope, config) / 2).exp()


def windows(wave: Tensor, step: int) -> Tensor:
    """(B, step * T) -> Hann windows (B, T, 2 * step) around each step, which add up to the wave."""
    padded = F.pad(wave, (step // 2, step - step // 2))
    return padded.unfold(1, 2 * step, step) * hann(2 * step, wave.device)


def running_mean(values: Tensor, count: int) -> Tensor:
    """The mean over `count` neighbours, an odd number, along the last axis; values (B, C, N)."""
    half = count // 2
    return F.avg_pool1d(F.pad(values, (half, half), mode="replicate"), count, 1)


def overlap_add(blocks: Tensor, step: int) -> Tensor:
    """Blocks (B, T, n), each `step` after the last -> (B, step * T), as `windows` cut them."""
    first = step // 2
    return add_up(blocks.transpose(1, 2), step)[:, first : first + step * blocks.shape[1]]
