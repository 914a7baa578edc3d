"""How far two waveforms are apart, as the ear would weigh it: mel and STFT distances.

Waveforms (B, S) of one rate go in, scalars come out. Used as losses and as figures of quality.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from yue.codec.mel import hann, mel_filters
from yue.codec.tones import note_of

FLOOR = 1e-4
"""Magnitudes below this are silence, which white noise of -76 dB of full scale reaches.

A floor ten times higher lets a codec hiss at -56 dB, and a phone recogniser suffers from -50 dB on;
much lower ones weigh the digital zeros in the rests of synthetic songs more than the singing.
"""
MIN_ENERGY = 1e-3
"""Of all pitch classes of a frame together; below it, shares fade to nothing."""
MEL_SCALES: tuple[tuple[int, int], ...] = ((512, 40), (1024, 80), (2048, 100))
"""(window, bands) of the mel distance; the hop is a quarter of the window."""


def magnitudes(wave: Tensor, n_fft: int) -> Tensor:
    """|STFT| / sqrt(n_fft) (B, n_fft / 2 + 1, frames), Hann window, hop of a quarter of it."""
    spectrum = torch.stft(
        wave, n_fft, n_fft // 4, window=hann(n_fft, wave.device), normalized=True,
        return_complex=True,
    )
    # abs() of an exact zero has no finite gradient.
    power = torch.view_as_real(spectrum).square().sum(-1)
    return power.clamp_min(FLOOR**2).sqrt()


def mel(wave: Tensor, sample_rate: int, n_fft: int, bands: int) -> Tensor:
    """Mel magnitudes (B, bands, frames)."""
    return mel_filters(sample_rate, n_fft, bands).to(wave.device) @ magnitudes(wave, n_fft)


def mel_distance(
    a: Tensor, b: Tensor, sample_rate: int, scales: Sequence[tuple[int, int]] = MEL_SCALES
) -> Tensor:
    """Mean absolute difference of log mel magnitudes in nepers, over several windows."""
    def heard(wave: Tensor, n_fft: int, bands: int) -> Tensor:
        return mel(wave, sample_rate, n_fft, bands).clamp_min(FLOOR).log()

    return torch.stack([F.l1_loss(heard(a, n, k), heard(b, n, k)) for n, k in scales]).mean()


def stft_distance(a: Tensor, b: Tensor, windows: Sequence[int] = (512, 1024, 2048)) -> Tensor:
    """Spectral convergence plus mean absolute log difference (multi-resolution STFT loss)."""
    parts = []
    for n in windows:
        x, y = magnitudes(a, n), magnitudes(b, n)
        convergence = (x - y).norm() / y.norm().clamp_min(FLOOR)
        parts.append(convergence + F.l1_loss(x.log(), y.log()))
    return torch.stack(parts).mean()


def chroma(wave: Tensor, sample_rate: int, hop: int) -> Tensor:
    """Share of energy per pitch class (B, 12, S // hop), C first; 110 Hz to 1.76 kHz."""
    n_fft = 8192 if sample_rate > 24_000 else 4096
    window = hann(n_fft, wave.device)
    padded = F.pad(wave, (n_fft // 2, n_fft // 2))
    power = torch.stft(
        padded, n_fft, hop, window=window, center=False, return_complex=True
    ).abs().square()
    energy = _pitch_classes(sample_rate, n_fft).to(wave.device) @ power
    shares = energy / energy.sum(1, keepdim=True).clamp_min(MIN_ENERGY)
    return shares[..., : wave.shape[-1] // hop]


@functools.lru_cache(maxsize=4)
def _pitch_classes(sample_rate: int, n_fft: int) -> Tensor:
    bins = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1)
    classes = torch.zeros(12, len(bins))
    inside = (bins >= 110) & (bins <= 1760)
    notes = note_of(bins.clamp_min(1)).round().long() % 12
    classes[notes[inside], inside.nonzero()[:, 0]] = 1.0
    return classes
