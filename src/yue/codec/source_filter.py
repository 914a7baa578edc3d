"""A singing voice as source and filter: codec features -> pitch, voicing, envelopes -> waveform.

Where `vocos.py` has a network write every spectrum, phases and all, this one says what a voice is
made of and lets closed forms make the sound: pulses of the sung pitch through one envelope, white
noise through another (the model of WORLD, Morise 2016). Features (B, C, T) go in, waveforms
(B, hop T) come out; the same features give the same sound, however a song is cut into pieces.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from yue.codec.parametric import (
    Parametric,
    ParametricConfig,
    hissed,
    noise_of,
    overlap_add,
    response,
    running_mean,
    windows,
)
from yue.weights import sizes

CENTRE_HZ = 200.0
"""Pitch is predicted in octaves from here."""
HARMONIC_SCALE, NOISE_SCALE, VOICING_SCALE = (4.0, -10.0), (4.0, -12.0), (4.0, 0.0)
"""Spread and middle of what the last layer's numbers stand for."""
CONTRAST_WIDTH = 25
"""Knots of the mean that contrast is measured against; some 900 mel of 80 knots up to 8 kHz."""
BELOW_NYQUIST = 0.98
"""Pulses hold no harmonic above this share of half the sample rate."""


@dataclass(frozen=True, kw_only=True)
class SourceFilterConfig(ParametricConfig):
    """Sizes of a source-filter upsampler."""

    contrast: float = 1.0
    """How far envelopes stand off their mean over neighbouring knots, times what is predicted:
    a regression smooths formants, and what is above 1 gives some of their height back."""

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> SourceFilterConfig:
        """Read an upsampler's `config.json`. Raises `ModelError` on an unknown field."""
        return sizes(cls, config, "upsampler config.json")


class Voice(NamedTuple):
    """What is sung in every subframe: log powers (B, T, K), Hz (B, T), logits (B, T)."""

    harmonic: Tensor
    noise: Tensor
    pitch: Tensor
    voicing: Tensor


class SourceFilter(Parametric):
    """The upsampler of one voice."""

    config: SourceFilterConfig

    def __init__(self, config: SourceFilterConfig) -> None:
        super().__init__(config, 2 * config.knots + 2)

    def voice(self, features: Tensor) -> Voice:
        """Features (B, C, T) -> the voice in subframes * T steps."""
        k = self.config.knots
        harmonic, noise, rest = self.described(features).split([k, k, 2], -1)
        scaled = (
            spread * values + middle for values, (spread, middle) in zip(
                (harmonic, noise, rest[..., 1]), (HARMONIC_SCALE, NOISE_SCALE, VOICING_SCALE),
                strict=True,
            )
        )
        harmonic, noise, voicing = scaled
        if not self.training and self.config.contrast != 1:
            harmonic, noise = (sharpened(each, self.config.contrast) for each in (harmonic, noise))
        return Voice(harmonic, noise, CENTRE_HZ * rest[..., 0].exp2(), voicing)

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, C, T) -> waveform (B, hop * T)."""
        return self.sound(features)[0]

    def stream(self) -> Callable[[Tensor, int, int], Tensor]:
        """Decode a song piece by piece, from its beginning on, as if it were whole.

        What is returned takes features (1, C, T), `left` frames of context and the `count` frames
        after them, and gives those frames' waveform (1, hop * count).
        """
        hop, phase, frame = self.config.hop, 0.0, 0

        def piece(features: Tensor, left: int, count: int) -> Tensor:
            nonlocal phase, frame
            wave, cycles = self.sound(features, place=left, phase=phase, frame=frame)
            frame += count
            last = (left + count) * hop
            if last < cycles.shape[1]:
                phase = float(cycles[0, last]) % (2 * math.pi)
            return wave[:, left * hop : last]

        return piece

    def sound(
        self, features: Tensor, *, place: int = 0, phase: float = 0.0, frame: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Waveform (B, hop * T) and the pulses' phase at each of its samples (B, hop * T), float64.

        The phase is `phase` at the first sample of frame `place`, and the noise is that of a song
        whose frame `frame` stands there.
        """
        c = self.config
        voice = self.voice(features)
        hertz = per_sample(voice.pitch, c.step)
        cycles = running_phase(hertz, c.sample_rate, place * c.hop, phase)
        pulses = pulse_train(hertz, cycles, c.sample_rate)
        pulses = pulses * (voice.voicing > 0).repeat_interleave(c.step, dim=1)
        noise = noise_of(frame - place, features.shape[-1], c.hop).to(pulses)
        return filtered(pulses, noise.expand_as(pulses), voice, c), cycles


def sharpened(envelope: Tensor, contrast: float) -> Tensor:
    """Log powers (B, T, K), `contrast` times as far from their running mean over the knots."""
    mean = running_mean(envelope, CONTRAST_WIDTH)
    return mean + contrast * (envelope - mean)


def running_phase(hertz: Tensor, rate: int, anchor: int, phase: float) -> Tensor:
    """Pitch at every sample (B, S) float64 -> radians (B, S), `phase` at sample `anchor`."""
    cycles = torch.cumsum(2 * math.pi * hertz / rate, dim=1)
    return cycles - cycles[:, anchor : anchor + 1] + phase


def per_sample(pitch: Tensor, step: int) -> Tensor:
    """Pitch at every sample (B, step * T) float64 in Hz, octaves in a line between subframes."""
    octaves = pitch.double().log2()[:, None]
    return F.interpolate(octaves, scale_factor=step, mode="linear")[:, 0].exp2()


def pulse_train(hertz: Tensor, cycles: Tensor, rate: int) -> Tensor:
    """Band-limited pulses (B, S) float32 of unit power per band: all harmonics, in closed form.

    The sum of cos(k x) for k up to K is sin((K + 1/2) x) / (2 sin(x / 2)) - 1/2 (Dirichlet).
    """
    highest = (BELOW_NYQUIST * rate / 2 / hertz).floor()
    half = torch.sin(cycles / 2)
    at_pulse = half.abs() < 1e-6
    safe = torch.where(at_pulse, torch.ones_like(half), half)
    total = torch.where(at_pulse, highest, torch.sin((highest + 0.5) * cycles) / (2 * safe) - 0.5)
    return (2 * (hertz / rate).sqrt() * total).float()


def filtered(pulses: Tensor, noise: Tensor, voice: Voice, config: SourceFilterConfig) -> Tensor:
    """Both sources (B, S) through their envelopes, window by window, added up (B, S)."""
    c = config
    harmonic = minimum_phase(response(voice.harmonic, c))
    spectrum = torch.fft.rfft(windows(pulses, c.step), c.n_fft) * harmonic
    spectrum = spectrum + hissed(noise, voice.noise, c)
    return overlap_add(torch.fft.irfft(spectrum, c.n_fft), c.step)


def minimum_phase(power: Tensor) -> Tensor:
    """Log powers (..., bins) -> the complex spectrum of the filter that rings soonest.

    Its cepstrum is the even one folded onto positive times (Oppenheim and Schafer).
    """
    size = 2 * (power.shape[-1] - 1)
    fold = torch.full((size,), 2.0, device=power.device)
    fold[[0, size // 2]] = 1.0
    fold[size // 2 + 1 :] = 0.0
    return torch.fft.rfft(torch.fft.irfft(power / 2, size) * fold).exp()
