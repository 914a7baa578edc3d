"""Notes -> the curve of F0 that is sung: glides, vibrato, drift, a scoop from below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from yue.songbook.score import Note
from yue.songbook.timing import STEP_SECONDS

VIBRATO_AFTER, VIBRATO_SWELL, VIBRATO_LEAST = 0.18, 0.25, 0.38
"""Seconds: when it begins, how long it takes to its full depth, shortest note that has it."""

DRIFT_STEPS, SCOOP_SECONDS = 81, 0.05


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How notes are sung; depths in semitones."""

    glide: float = 0.07
    """Seconds from one note to the next."""
    vibrato: float = 0.0
    rate: float = 5.6
    """Of the vibrato, Hz."""
    drift: float = 0.0
    scoop: float = 0.0


def hertz(pitch: np.ndarray | float) -> np.ndarray:
    """Frequency of MIDI pitches."""
    return 440.0 * 2.0 ** ((np.asarray(pitch, dtype=float) - 69.0) / 12.0)


def sung_pitch(
    notes: Sequence[Note], start: int, count: int, manner: Manner, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """MIDI pitch of `count` steps from step `start` on: as sung, and as written (both (count,))."""
    times = (start + np.arange(count)) * STEP_SECONDS
    begins = np.array([note.start for note in notes])
    pitches = np.array([note.pitch for note in notes])
    place = np.searchsorted(begins, times + manner.glide / 2, side="right") - 1
    place = np.clip(place, 0, len(notes) - 1)
    written = pitches[place]
    age = times - begins[place]
    lasting = np.array([note.end - note.start for note in notes])[place]
    sung = _glided(written, manner.glide)
    sung = sung + _vibrato(times, age, lasting, manner, rng) + _drift(count, manner.drift, rng)
    return sung - manner.scoop * np.exp(-np.maximum(age, 0) / SCOOP_SECONDS), written


def _glided(written: np.ndarray, seconds: float) -> np.ndarray:
    width = max(3, int(seconds / STEP_SECONDS) | 1)
    window = np.hanning(width + 2)[1:-1]
    padded = np.pad(written.astype(float), width // 2, mode="edge")
    return np.convolve(padded, window / window.sum(), "valid")


def _vibrato(
    times: np.ndarray, age: np.ndarray, lasting: np.ndarray, manner: Manner,
    rng: np.random.Generator,
) -> np.ndarray:
    phase = 2 * np.pi * manner.rate * times + rng.uniform(0, 2 * np.pi)
    swell = np.clip((age - VIBRATO_AFTER) / VIBRATO_SWELL, 0, 1) * (lasting > VIBRATO_LEAST)
    return manner.vibrato * swell * np.sin(phase)


def _drift(count: int, depth: float, rng: np.random.Generator) -> np.ndarray:
    noise = rng.standard_normal(count + DRIFT_STEPS - 1)
    return depth * np.convolve(noise, np.hanning(DRIFT_STEPS) / 20.0, "valid")
