"""A band as tones and noise: codec features -> levels of semitones, one envelope -> waveform.

All that a band in equal temperament sustains lies on semitones, or, as partials do, close to them
(the fifth partial 14 cents off, the seventh 31); all that it strikes is noise with an envelope. So
the network says how loud every semitone and every band of noise is, and a bank of sines that never
stop makes the sound (the sinusoids and noise of Serra and Smith 1990, at fixed frequencies).
Features (B, C, T) go in, waveforms (B, hop T) come out; the same features give the same sound,
however a song is cut into pieces.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from yue.codec.mel import hann
from yue.codec.parametric import (
    Parametric,
    ParametricConfig,
    hissed,
    noise_of,
    overlap_add,
)
from yue.errors import ModelError
from yue.weights import sizes

FLOOR = -16.0
"""Log power of a tone or a knot that is silent; some 47 dB below a band's usual level."""
TONE_SCALE, NOISE_SCALE = (4.0, -14.0), (4.0, -14.0)
"""Spread and middle of what the last layer's numbers stand for."""
STEM = 1
"""Of the noise, so that it has nothing in common with a voice's."""
A4, A4_HZ = 69, 440.0


@dataclass(frozen=True, kw_only=True)
class TonesConfig(ParametricConfig):
    """Sizes of an upsampler of tones and noise."""

    tones: int = 93
    """Semitones, from `lowest` on; by default up to 8.4 kHz."""
    lowest: int = 28
    """MIDI note of the first: E1, 41 Hz."""

    def __post_init__(self) -> None:
        super().__post_init__()
        highest = hertz_of(self.lowest + self.tones - 1)
        if self.tones < 1 or self.lowest < 0 or highest > self.sample_rate / 2:
            raise ModelError(
                f"upsampler config.json: tones = {self.tones} from lowest = {self.lowest}; at "
                "least one, from note 0 on and below half the sample rate."
            )

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> TonesConfig:
        """Read an upsampler's `config.json`. Raises `ModelError` on an unknown field."""
        return sizes(cls, config, "upsampler config.json")


class Band(NamedTuple):
    """What is played in every subframe: log powers of semitones (B, T, M) and of noise (B, T, K).
    """

    tones: Tensor
    noise: Tensor


class Tones(Parametric):
    """The upsampler of a band."""

    config: TonesConfig

    def __init__(self, config: TonesConfig) -> None:
        super().__init__(config, config.tones + config.knots)

    def band(self, features: Tensor) -> Band:
        """Features (B, C, T) -> the band in subframes * T steps."""
        c = self.config
        tones, noise = self.described(features).split([c.tones, c.knots], -1)
        return Band(
            TONE_SCALE[0] * tones + TONE_SCALE[1], NOISE_SCALE[0] * noise + NOISE_SCALE[1]
        )

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, C, T) -> waveform (B, hop * T)."""
        return self.sound(features)

    def stream(self) -> Callable[[Tensor, int, int], Tensor]:
        """Decode a song piece by piece, from its beginning on, as if it were whole.

        What is returned takes features (1, C, T), `left` frames of context and the `count` frames
        after them, and gives those frames' waveform (1, hop * count).
        """
        hop, frame = self.config.hop, 0

        def piece(features: Tensor, left: int, count: int) -> Tensor:
            nonlocal frame
            wave = self.sound(features, first=frame - left)
            frame += count
            return wave[:, left * hop : (left + count) * hop]

        return piece

    def sound(self, features: Tensor, *, first: int = 0) -> Tensor:
        """Waveform (B, hop * T) of features whose first frame is frame `first` of a song."""
        return played(self.band(features), self.config, first)


def hertz_of(note: float) -> float:
    """A MIDI note -> Hz, in equal temperament with A at 440."""
    return float(A4_HZ * 2 ** ((note - A4) / 12))


def note_of(hertz: Tensor) -> Tensor:
    """Hz -> MIDI notes, the inverse of `hertz_of`."""
    return A4 + 12 * (hertz / A4_HZ).log2()


def played(band: Band, config: TonesConfig, first: int = 0) -> Tensor:
    """The sound (B, hop * T) of a band in subframes * T steps, from frame `first` of a song on."""
    c = config
    rows, steps, _ = band.noise.shape
    noise = noise_of(first, steps // c.subframes, c.hop, STEM).to(band.noise.device)
    spectra = hissed(noise.expand(rows, -1), band.noise, c)
    hiss = overlap_add(torch.fft.irfft(spectra, c.n_fft), c.step)
    return hiss + ringing(band.tones, c, first * c.subframes)


def ringing(power: Tensor, config: TonesConfig, first: int) -> Tensor:
    """Sines (B, step * T) at log powers (B, T, M) that hold at the middles of the subframes.

    Between them a level goes over into the next as half a cosine; `first` numbers the first
    subframe in its song. With the phase at a window's beginning and what is gained within it,
    cos(a + b) = cos a cos b - sin a sin b makes two matrix products of the whole bank.
    """
    step = config.step
    level = math.sqrt(2) * ((power / 2).exp() - math.exp(FLOOR / 2)).clamp_min(0)
    begins = step * torch.arange(first, first + power.shape[1], dtype=torch.float64) - step // 2
    angular, starts = _bank(config)
    phase = torch.remainder(begins[:, None] * angular + starts, 2 * math.pi)
    cosines, sines = (table.to(level) for table in _tables(config))
    blocks = (level * phase.cos().to(level)) @ cosines - (level * phase.sin().to(level)) @ sines
    return overlap_add(blocks, step)


@functools.lru_cache(maxsize=4)
def _bank(config: TonesConfig) -> tuple[Tensor, Tensor]:
    """Radians per sample of each tone (M,) and its phase at the beginning of a song (M,)."""
    notes = range(config.lowest, config.lowest + config.tones)
    hertz = torch.tensor([hertz_of(note) for note in notes], dtype=torch.float64)
    # Steps of the golden ratio: no two tones near each other begin together.
    turns = torch.tensor(notes, dtype=torch.float64) * (math.sqrt(5) - 1) / 2
    return 2 * math.pi * hertz / config.sample_rate, 2 * math.pi * turns.frac()


@functools.lru_cache(maxsize=4)
def _tables(config: TonesConfig) -> tuple[Tensor, Tensor]:
    """Cosines and sines of what each tone gains within a window, windowed (M, 2 * step)."""
    gained = _bank(config)[0][:, None] * torch.arange(2 * config.step)
    window = hann(2 * config.step, gained.device)
    return (gained.cos() * window).float(), (gained.sin() * window).float()
