"""How a recording sounds, in numbers: loudness, silence, clipping, how much of it is sung.

The measures are `evaluate.sound`'s; what counts as sung is decided here.
"""

from __future__ import annotations

import numpy as np

from yue.audio import Audio
from yue.data.records import MIX
from yue.evaluate import sound
from yue.vocab import TRACKS

VERSION = sound.VERSION
BLOCK = 0.05
"""Seconds over which a level is taken."""
SILENCE_DB = sound.SILENCE_DB
"""Below this level of full scale a block is silent."""
SUNG_DB = -30.0
"""A block of the vocals is sung if it is less than this far below their loud blocks."""
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


def of_source(audio: Audio) -> dict[str, float | int | None]:
    """Figures of the file as it came: rate, channels, loudness (LUFS), peak, clipping, bandwidth.
    """
    heard = audio if len(audio.samples) <= 2 else audio.mono()
    return {
        "rate": audio.rate, "channels": len(audio.samples), "loudness": sound.loudness(heard),
        "peak": audio.peak, "clipped": sound.clipped(audio), "bandwidth": sound.bandwidth(heard),
    }


def of_tracks(tracks: dict[str, np.ndarray], rate: int) -> dict[str, float | None]:
    """Shares of silence and, with stems, of singing (0 to 1); vocals to accompaniment in LU.

    `tracks`: samples (n,) by name.
    """
    audio = {name: Audio(wave, rate) for name, wave in tracks.items()}
    found: dict[str, float | None] = {"silent": sound.silence(audio[MIX])["silent"]}
    if all(track in tracks for track in TRACKS):
        found["sung"] = float(sung(tracks["vocals"], rate).mean())
        found["vocal_ratio"] = sound.vocal_ratio(*(audio[track] for track in TRACKS))
    return found
