"""Encoders of a small codec: a mel spectrogram on the codec's own frames, then ConvNeXt blocks.

The published encoders work on the waveform at 16 kHz. One that works at 50 frames per second costs
a hundredth, which is what a laptop and a small training can afford. It sees some frames to either
side and nothing else, so the codes of a cut are a cut of the codes, but for its ends.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from yue.codec.vocos import Backbone, VocosConfig
from yue.weights import sizes

FLOOR = 1e-5
"""Magnitudes below this are silence."""


@dataclass(frozen=True, kw_only=True)
class MelConfig:
    """Sizes of a mel encoder."""

    bands: int = 80
    n_fft: int = 1024
    dim: int = 128
    intermediate: int = 384
    layers: int = 4

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> MelConfig:
        """Read a codec's `mel`. Raises `ModelError` on an unknown field."""
        return sizes(cls, config, "codec config.json: mel")


class MelEncoder(nn.Module):
    """Waveform (B, S) -> features (B, channels, S // hop)."""

    def __init__(self, config: MelConfig, sample_rate: int, hop: int, channels: int) -> None:
        super().__init__()
        self.config, self.sample_rate, self.hop = config, sample_rate, hop
        self.backbone = Backbone(VocosConfig(
            input_channels=config.bands, dim=config.dim, intermediate=config.intermediate,
            layers=config.layers,
        ))
        self.out = nn.Linear(config.dim, channels)

    def log_mel(self, wave: Tensor) -> Tensor:
        """Waveform (B, S) -> log mel magnitudes (B, bands, S // hop), about zero mean and unit
        spread; frame t is centred on the middle of its hop."""
        n_fft, bands = self.config.n_fft, self.config.bands
        half = (n_fft - self.hop) // 2
        spectrum = torch.stft(
            F.pad(wave, (half, half)), n_fft, self.hop, window=hann(n_fft, wave.device),
            center=False, return_complex=True,
        )
        mel = mel_filters(self.sample_rate, n_fft, bands).to(wave.device) @ spectrum.abs()
        # Songs lie around -3 nepers in these units, with a spread of 3.
        return (mel.clamp_min(FLOOR).log() + 3) / 3

    def forward(self, wave: Tensor) -> Tensor:
        """(B, S) -> (B, channels, S // hop)."""
        return self.out(self.backbone(self.log_mel(wave))).transpose(1, 2)


@functools.lru_cache(maxsize=16)
def hann(size: int, device: torch.device) -> Tensor:
    """A periodic Hann window (size,)."""
    return torch.hann_window(size, device=device)


def even_in_mel(top: float, count: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Frequencies in Hz (count,) from 0 to `top`, evenly spaced on the mel scale."""
    highest = 2595 * torch.log10(torch.tensor(1 + top / 700, dtype=dtype))
    return 700 * (10 ** (torch.linspace(0, float(highest), count, dtype=dtype) / 2595) - 1)


@functools.lru_cache(maxsize=32)
def mel_filters(sample_rate: int, n_fft: int, bands: int) -> Tensor:
    """Triangular filters (bands, n_fft / 2 + 1), each of unit sum, even on the mel scale."""
    edges = even_in_mel(sample_rate / 2, bands + 2)
    bins = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    filters = torch.minimum(rising, falling).clamp_min(0)
    # A band narrower than a bin would be empty: it takes the bin nearest to its middle.
    empty = filters.sum(1) == 0
    nearest = (bins[None] - edges[1:-1, None]).abs().argmin(1)
    filters[empty, nearest[empty]] = 1.0
    return filters / filters.sum(1, keepdim=True)
