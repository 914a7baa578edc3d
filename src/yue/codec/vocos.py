"""Vocos: quantised codec features -> 44.1 kHz waveform, one decoder per track.

Features (B, 1024, T) go in, waveforms (B, 882 T) come out: a ConvNeXt backbone predicts a
spectrum per frame, an inverse STFT adds the frames up. Names are the published checkpoints'.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from yue.errors import ModelError
from yue.weights import sizes

NORM_EPS = 1e-6
MAX_MAGNITUDE = 100.0


@dataclass(frozen=True, kw_only=True)
class VocosConfig:
    """Sizes of the upsampler; the defaults are the published ones."""

    sample_rate: int = 44_100
    input_channels: int = 1024
    dim: int = 512
    intermediate: int = 1536
    layers: int = 8
    n_fft: int = 3528
    hop: int = 882
    """Samples per codec frame."""
    subframes: int = 1
    """Spectra per codec frame, `hop / subframes` samples apart; more of them, with a shorter
    `n_fft`, keep consonants from smearing (the published 80-ms window is longer than most)."""

    codebooks: int | None = None
    """How many codebooks the features should hold; None for all."""

    def __post_init__(self) -> None:
        check_subframes(self.subframes, self.hop)

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> VocosConfig:
        """Read an upsampler's `config.json`. Raises `ModelError` on an unknown field."""
        return sizes(cls, config, "upsampler config.json")


def check_subframes(subframes: int, hop: int) -> None:
    """Raise `ModelError` unless a frame of `hop` samples falls into whole subframes."""
    if subframes < 1 or hop % subframes:
        raise ModelError(
            f"upsampler config.json: subframes = {subframes} must divide hop = {hop}."
        )


class ConvNeXt(nn.Module):
    """Depthwise convolution, norm, two linears with GELU, scaled and added to the input."""

    def __init__(self, dim: int, intermediate: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.pwconv1 = nn.Linear(dim, intermediate)
        self.pwconv2 = nn.Linear(intermediate, dim)
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, T) -> (B, D, T)."""
        y = self.norm(self.dwconv(x).transpose(1, 2))
        y = self.gamma * self.pwconv2(F.gelu(self.pwconv1(y)))
        return x + y.transpose(1, 2)


class Backbone(nn.Module):
    """Features (B, C, T) -> hidden states (B, subframes * T, D)."""

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        self.embed = nn.Conv1d(config.input_channels, config.dim, 7, padding=3)
        self.norm = nn.LayerNorm(config.dim, eps=NORM_EPS)
        s = config.subframes
        self.spread = nn.ConvTranspose1d(config.dim, config.dim, s, s) if s > 1 else nn.Identity()
        self.convnext = nn.Sequential(
            *(ConvNeXt(config.dim, config.intermediate) for _ in range(config.layers))
        )
        self.final_layer_norm = nn.LayerNorm(config.dim, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, subframes * T, D)."""
        x = self.spread(self.norm(self.embed(x).transpose(1, 2)).transpose(1, 2))
        return self.final_layer_norm(self.convnext(x).transpose(1, 2))


class ISTFT(nn.Module):
    """Spectra -> waveform by overlap-add, trimmed so that T frames give exactly hop * T samples."""

    window: Tensor

    def __init__(self, n_fft: int, hop: int) -> None:
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        self.register_buffer("window", torch.hann_window(n_fft))

    def forward(self, spectrum: Tensor) -> Tensor:
        """Complex (B, n_fft / 2 + 1, T) -> (B, hop * T)."""
        frames = torch.fft.irfft(spectrum, self.n_fft, dim=1) * self.window[:, None]
        weights = self.window.square()[None, :, None].expand(1, -1, spectrum.shape[-1])
        trim = (self.n_fft - self.hop) // 2
        wave, weight = add_up(frames, self.hop), add_up(weights, self.hop)
        # Cut before dividing: at the very ends the weight is 0, and so would be the gradient's.
        kept = slice(trim, wave.shape[1] - trim)
        return wave[:, kept] / weight[:, kept]


def add_up(frames: Tensor, hop: int) -> Tensor:
    """Overlapping frames (B, n, T), each `hop` after the last -> (B, hop * (T - 1) + n)."""
    size, count = frames.shape[1:]
    length = (count - 1) * hop + size
    return F.fold(frames, (1, length), (1, size), stride=(1, hop))[:, 0, 0]


class Head(nn.Module):
    """Hidden states -> log-magnitude and phase -> waveform."""

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        self.out = nn.Linear(config.dim, config.n_fft + 2)
        self.istft = ISTFT(config.n_fft, config.hop // config.subframes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, subframes * T, D) -> (B, hop * T)."""
        magnitude, phase = self.out(x).transpose(1, 2).chunk(2, dim=1)
        return self.istft(torch.polar(magnitude.exp().clamp(max=MAX_MAGNITUDE), phase))


class Vocos(nn.Module):
    """The upsampler of one track."""

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config)
        self.head = Head(config)

    @property
    def context(self) -> int:
        """Frames on either side that one output frame depends on."""
        c = self.config
        step = c.hop // c.subframes
        overlap = math.ceil((c.n_fft - step) / (2 * step))
        return 3 + math.ceil((3 * c.layers + overlap) / c.subframes)

    def forward(self, features: Tensor) -> Tensor:
        """Quantised features (B, C, T) -> waveform (B, hop * T)."""
        return self.head(self.backbone(features))

    def stream(self) -> Callable[[Tensor, int, int], Tensor]:
        """Decode a song piece by piece: a function of features (1, C, T), `left` frames of context
        and the `count` frames after them, whose waveform (1, hop * count) it gives.
        """
        hop = self.config.hop
        return lambda features, left, count: self(features)[:, left * hop : (left + count) * hop]
