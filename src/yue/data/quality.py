"""How a recording sounds, in numbers: loudness, silence, clipping, how much is sung. No models."""

from __future__ import annotations

import math

import numpy as np

from yue.audio import Audio

BLOCK = 0.05
"""Seconds over which a level is taken."""
SILENCE_DB = -60.0
"""Below this level of full scale a block is silent."""
SUNG_DB = -30.0
"""A block of the vocals is sung if it is less than this far below their loud blocks."""
CLIPPED = 0.999
LOUD_SHARE = 95
"""Percentile of the block levels that stands for the loud ones."""


def levels(samples: np.ndarray, rate: int) -> np.ndarray:
    """RMS in dB of full scale (blocks,) of samples (n,), per block of `BLOCK` seconds."""
    size = max(1, round(BLOCK * rate))
    whole = samples[: len(samples) // size * size].reshape(-1, size).astype(np.float64)
    return 10 * np.log10(np.square(whole).mean(axis=1) + 1e-12)


def sung(vocals: np.ndarray, rate: int) -> np.ndarray:
    """Which blocks of a vocal track (n,) hold singing (blocks,) bool."""
    level = levels(vocals, rate)
    if not level.size:
        return np.zeros(0, bool)
    loud = float(np.percentile(level, LOUD_SHARE))
    return level > max(SILENCE_DB, loud + SUNG_DB)


def of_source(audio: Audio) -> dict[str, float | int]:
    """Figures of the file as it came: rate, channels, seconds, loudness (LUFS), peak, clipping."""
    import pyloudnorm

    samples = audio.samples[:2].T.astype(np.float64)
    with np.errstate(divide="ignore"):
        loudness = float(pyloudnorm.Meter(audio.rate).integrated_loudness(samples))
    return {
        "rate": audio.rate, "channels": audio.samples.shape[0], "seconds": audio.seconds,
        "lufs": loudness if math.isfinite(loudness) else -70.0, "peak": audio.peak,
        "clipped": float((np.abs(audio.samples) >= CLIPPED).mean()),
    }


def of_tracks(tracks: dict[str, np.ndarray], rate: int) -> dict[str, float]:
    """Shares of silence and singing (0 to 1), and vocals to accompaniment in dB where sung.

    `tracks`: samples (n,) by name; the last two need both stems.
    """
    found = {"silence": float((levels(tracks["mix"], rate) < SILENCE_DB).mean())}
    if "vocals" in tracks:
        active = sung(tracks["vocals"], rate)
        found["sung"] = float(active.mean())
        if active.any():
            pair = [_power(levels(tracks[name], rate)[active]) for name in _STEMS]
            found["vocals_to_accompaniment"] = pair[0] - pair[1]
    return found


_STEMS = ("vocals", "accompaniment")


def _power(level: np.ndarray) -> float:
    """Mean of levels in dB, taken over their powers."""
    return 10 * math.log10(float(np.power(10, level / 10).mean()) + 1e-12)
