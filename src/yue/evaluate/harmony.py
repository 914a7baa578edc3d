"""Key and chords of audio, from how much of each pitch class sounds. Triads only, no bass line.

In goes `Audio`, best the accompaniment; chroma are `(frames, 12)`, C first, from spectral peaks of
60 to 2,000 Hz after the song's own tuning is taken out. The key is the best of 24 (major, minor) by
correlation of the mean chroma with the profiles of Albrecht and Shanahan (2013); its confidence is
that correlation less the best of any other key. A chord is the best of 24 triads by cosine in one
bar; a bar in which hardly anything sounds has none. Bars are four beats; which beat is the first is
guessed: the choice that makes the bars' chords clearest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from yue.audio import Audio
from yue.evaluate.spectrum import finite, stft

RATE = 11_025
SIZE, HOP = 4_096, 1_024
LOWEST, HIGHEST = 60.0, 2_000.0
NAMES = "C C# D Eb E F F# G Ab A Bb B".split()
MAJOR = np.array([238, 6, 111, 6, 137, 94, 16, 214, 9, 80, 8, 81]) / 1_000
MINOR = np.array([220, 6, 104, 123, 19, 103, 12, 214, 62, 22, 61, 52]) / 1_000
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
"""The minor scale is the natural one."""
TRIADS = {"major": (0, 4, 7), "minor": (0, 3, 7)}
QUIET = 0.1
"""A bar with less than this share of the loudest bar's peaks (40 dB below it) has no chord."""
BEATS = 4


@dataclass(frozen=True)
class Key:
    """Tonic (0 is C), mode, and by how much its correlation exceeds that of the next best key."""

    tonic: int
    mode: str
    confidence: float

    def __str__(self) -> str:
        return f"{NAMES[self.tonic]} {self.mode}"

    @property
    def scale(self) -> frozenset[int]:
        """Pitch classes of its scale."""
        return frozenset((self.tonic + step) % 12 for step in SCALES[self.mode])


@dataclass(frozen=True)
class Chord:
    """A triad from `start` to `end` seconds: root (0 is C) and mode, `None` where nothing sounds.

    `clarity` is the cosine between the bar's chroma and the triad.
    """

    start: float
    end: float
    root: int | None
    mode: str | None
    clarity: float

    def __str__(self) -> str:
        return "N" if self.root is None else NAMES[self.root] + "m" * (self.mode == "minor")

    @property
    def tones(self) -> frozenset[int]:
        """Its pitch classes; empty for no chord."""
        if self.root is None or self.mode is None:
            return frozenset()
        return frozenset((self.root + step) % 12 for step in TRIADS[self.mode])


@dataclass(frozen=True, eq=False)
class Chroma:
    """Energy per pitch class `(frames, 12)`, frame times `(frames,)`, tuning in semitones."""

    energy: np.ndarray
    times: np.ndarray
    tuning: float

    def between(self, start: float, end: float) -> np.ndarray:
        """Mean energy `(12,)` of the frames from `start` to `end` seconds."""
        first, last = np.searchsorted(self.times, [start, end])
        part = self.energy[first : max(last, first + 1)]
        return part.mean(axis=0) if len(part) else np.zeros(12)


def chroma(audio: Audio) -> Chroma:
    """Pitch classes over time. A song's tuning is its mean distance from A = 440 Hz, +-.5."""
    finite(audio.samples)
    magnitude = np.abs(stft(audio.mono().resample(RATE).samples[0], SIZE, HOP))
    frame, pitch, weight = _peaks(magnitude)
    turn = np.exp(2j * np.pi * pitch) @ weight if weight.size else 0.0
    tuning = float(np.angle(turn) / (2 * np.pi))
    nearest = np.rint(pitch - tuning)
    weight = weight * np.cos(np.pi * (pitch - tuning - nearest)) ** 2
    cells = frame * 12 + nearest.astype(int) % 12
    energy = np.bincount(cells, weight, minlength=12 * len(magnitude)).reshape(-1, 12)
    return Chroma(energy, np.arange(len(energy)) * HOP / RATE, tuning)


def key(energy: np.ndarray) -> Key | None:
    """The key of a mean chroma `(12,)`; `None` if nothing sounds or all classes sound alike."""
    if energy.std() < 1e-9 * max(1.0, energy.max()) or not energy.any():
        return None
    rotated = np.stack([np.roll(energy, -tonic) for tonic in range(12)])
    fits = [np.corrcoef(np.vstack([profile, rotated]))[0, 1:] for profile in (MAJOR, MINOR)]
    order = np.concatenate(fits).argsort()[::-1]
    best, second = (float(np.concatenate(fits)[place]) for place in order[:2])
    return Key(int(order[0]) % 12, ("major", "minor")[int(order[0]) // 12], best - second)


def chords(found: Chroma, bars: Sequence[float]) -> list[Chord]:
    """A triad for each bar between neighbouring times of `bars` (seconds)."""
    spans = list(pairwise(bars))
    energies = np.array([found.between(*span) for span in spans]).reshape(-1, 12)
    loudest = float(energies.sum(axis=1).max(initial=0.0))
    return [
        _chord(start, end, energy, loudest)
        for (start, end), energy in zip(spans, energies, strict=True)
    ]


def bars_of(found: Chroma, beats: np.ndarray, per_bar: int = BEATS) -> np.ndarray:
    """Bar lines in seconds `(bars + 1,)` among beats; the first beat is that of clearest chords."""
    choices = [beats[first::per_bar] for first in range(min(per_bar, len(beats)))]
    choices = [lines for lines in choices if len(lines) > 1]
    if not choices:
        return beats[:0]

    def clearness(lines: np.ndarray) -> float:
        return float(np.mean([chord.clarity for chord in chords(found, lines.tolist())]))

    return max(choices, key=clearness)


def _peaks(magnitude: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frame, pitch (MIDI, with fraction) and weight of each spectral peak: three `(peaks,)`."""
    low, high = (round(hertz * SIZE / RATE) for hertz in (LOWEST, HIGHEST))
    band = magnitude[:, low - 1 : high + 1]
    floor = 0.02 * band.max(axis=1, keepdims=True)
    inner = band[:, 1:-1]
    is_peak = (inner > band[:, :-2]) & (inner >= band[:, 2:]) & (inner > floor) & (inner > 1e-6)
    frame, place = np.nonzero(is_peak)
    left, mid, right = (np.log(band[frame, place + step] + 1e-12) for step in range(3))
    shift = (left - right) / (2 * (left - 2 * mid + right) - 1e-12)
    hertz = (low + place + shift) * RATE / SIZE
    return frame, 69 + 12 * np.log2(hertz / 440), np.sqrt(inner[frame, place])


def _chord(start: float, end: float, energy: np.ndarray, loudest: float) -> Chord:
    """The best triad of one bar's energy `(12,)`."""
    length = float(np.linalg.norm(energy))
    if length == 0 or energy.sum() < QUIET * loudest:
        return Chord(start, end, None, None, 0.0)
    fits = {
        (root, mode): float(sum(energy[(root + step) % 12] for step in steps))
        for mode, steps in TRIADS.items() for root in range(12)
    }
    root, mode = max(fits, key=lambda each: fits[each])
    return Chord(start, end, root, mode, fits[root, mode] / (length * 3**0.5))
