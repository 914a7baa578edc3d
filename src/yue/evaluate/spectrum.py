"""Short-time spectra, which several metrics share. Arrays in, arrays out; no songs here."""

from __future__ import annotations

import numpy as np

from yue.errors import AudioError
from yue.evaluate.needs import need

BLOCK = 1_024
"""Frames transformed at once, so that a long song needs little memory."""


def finite(samples: np.ndarray) -> np.ndarray:
    """The samples as they are. Raises `AudioError` if one of them is no number."""
    if not np.isfinite(samples).all():
        raise AudioError("the audio holds samples that are not numbers. Is it damaged?")
    return samples


def frames_of(samples: np.ndarray, size: int, hop: int) -> np.ndarray:
    """Overlapping frames `(frames, size)` of `(n,)`, centred on every `hop` samples."""
    padded = np.pad(samples, (size // 2, size // 2))
    return np.lib.stride_tricks.sliding_window_view(padded, size)[: len(samples) + 1 : hop]


def stft(samples: np.ndarray, size: int, hop: int) -> np.ndarray:
    """Complex spectra `(frames, size // 2 + 1)` under a Hann window, centred on every `hop`."""
    fft = need("scipy.fft")
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    frames = frames_of(samples.astype(np.float32), size, hop)
    blocks = [
        fft.rfft(frames[first : first + BLOCK] * window, axis=1)
        for first in range(0, len(frames), BLOCK)
    ]
    return np.concatenate(blocks)


def decibels(power: np.ndarray | float, floor: float = 1e-12) -> np.ndarray:
    """10 log10 of powers, which are raised to `floor` first."""
    return np.asarray(10 * np.log10(np.maximum(power, floor)))
