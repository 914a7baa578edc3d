"""Tempo and beats of audio, and how well the beats lie on one steady grid.

In goes `Audio`, best the accompaniment; out come beats per minute with a confidence, beat times in
seconds `(beats,)`, and the grid of constant period that fits them best. No downbeats here.

Onsets are the rise of log band energies, 86 frames per second. The tempo is the best peak of their
autocorrelation under a log-normal prior at 120 bpm, so it may be half or double of what a musician
says; its confidence is that autocorrelation, 0 (no pulse) to 1. Beats are found by dynamic
programming (Ellis 2007). A grid and beats are compared by the F-measure of the field: a beat hits
within 70 ms. Beats that a tracker finds are partly regular by themselves: noise of 10, 30 and 120 s
reaches .85, .65 and .47, so `chance` measures the same on the song's onsets in shuffled order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from yue.audio import Audio
from yue.evaluate.needs import need
from yue.evaluate.spectrum import finite, stft

RATE = 22_050
SIZE, HOP = 1_024, 256
FPS = RATE / HOP
EARLY = SIZE / 4 / RATE
"""Seconds by which a frame sees an onset before it is in its middle."""
BANDS = 40
LOWEST, HIGHEST = 30.0, 240.0
"""Beats per minute."""
PRIOR, PRIOR_OCTAVES = 120.0, 0.9
TIGHTNESS = 10.0
"""Price of an uneven beat. A tenth of Ellis' own: at 100 the beats of noise are a steady grid."""
TOLERANCE = 0.07
"""Seconds within which a beat hits."""
LEAST = 4.0
"""Seconds of sound without which there is no tempo."""
_GRID_REACH = 0.04
"""The grid's period is sought within this share of the beats' own."""


@dataclass(frozen=True)
class Grid:
    """Beats of constant period: at `phase + n * period` seconds; `f` against the beats found."""

    period: float
    phase: float
    f: float

    @property
    def tempo(self) -> float:
        """Beats per minute."""
        return 60 / self.period

    def times(self, start: float, end: float) -> np.ndarray:
        """The grid's beats from `start` to `end` seconds."""
        first = math.ceil((start - self.phase) / self.period)
        last = math.floor((end - self.phase) / self.period)
        return self.phase + self.period * np.arange(first, last + 1)


def onsets(audio: Audio) -> np.ndarray:
    """Onset strength `(frames,)`, `FPS` per second; not negative, 1 is the standard deviation."""
    finite(audio.samples)
    magnitude = np.abs(stft(audio.mono().resample(RATE).samples[0], SIZE, HOP))
    levels = np.log1p(_banded(magnitude) / max(float(magnitude.mean()), 1e-9))
    rise = np.maximum(0, np.diff(levels, axis=0, prepend=levels[:1])).mean(axis=1)
    local = need("scipy.ndimage").uniform_filter1d(rise, round(FPS))
    strength = np.maximum(0, rise - local)
    spread = float(strength.std())
    return strength / spread if spread > 1e-6 else np.zeros_like(strength)


def tempo(strength: np.ndarray) -> tuple[float, float] | None:
    """Beats per minute and confidence (0 to 1) of onset strengths; `None` without any pulse."""
    if len(strength) < LEAST * FPS or not strength.any():
        return None
    similarity = _autocorrelation(strength - strength.mean())
    lags = np.arange(math.floor(60 * FPS / HIGHEST), math.ceil(60 * FPS / LOWEST) + 1)
    lags = lags[lags < len(similarity) - 1]
    octaves = np.log2(60 * FPS / lags / PRIOR) / PRIOR_OCTAVES
    best = int(lags[(similarity[lags] * np.exp(-0.5 * octaves**2)).argmax()])
    if similarity[best] <= 0:
        return None
    low, mid, high = similarity[best - 1 : best + 2]
    bend = low - 2 * mid + high
    lag = best + (float(low - high) / float(2 * bend) if bend < 0 else 0.0)
    return 60 * FPS / lag, float(min(1.0, mid))


def beats(strength: np.ndarray, bpm: float) -> np.ndarray:
    """Beat times in seconds `(beats,)` at about that tempo; weak ones at either end left out."""
    period = 60 * FPS / bpm
    smooth = need("scipy.ndimage").gaussian_filter1d(strength, period / 32)
    lags = np.arange(round(period / 2), round(2 * period) + 1)
    price = TIGHTNESS * np.log(lags / period) ** 2
    reach = int(lags[-1])
    total = np.concatenate([np.full(reach, -np.inf), np.zeros(len(smooth))])
    before = np.full(len(smooth), -1)
    for now, here in enumerate(smooth):
        scores = total[now + reach - lags] - price
        best = int(scores.argmax())
        total[now + reach] = here + max(0.0, scores[best])
        before[now] = now - lags[best] if scores[best] > 0 else -1
    frames = _trimmed(_path(before, total[reach:], round(period)), smooth)
    return frames / FPS + EARLY


def hits(found: ArrayLike, reference: ArrayLike, tolerance: float = TOLERANCE) -> int:
    """How many of both, in seconds and sorted, can be paired within the tolerance."""
    one, two = np.asarray(found, dtype=float).tolist(), np.asarray(reference, dtype=float).tolist()
    i = j = count = 0
    while i < len(one) and j < len(two):
        if abs(one[i] - two[j]) <= tolerance:
            i, j, count = i + 1, j + 1, count + 1
        elif one[i] < two[j]:
            i += 1
        else:
            j += 1
    return count


def f_measure(found: ArrayLike, reference: ArrayLike, tolerance: float = TOLERANCE) -> float:
    """2 hits over the number of both, 0 to 1; 0 if there is none of either."""
    total = len(np.atleast_1d(found)) + len(np.atleast_1d(reference))
    return 2 * hits(found, reference, tolerance) / total if total else 0.0


def best_grid(found: np.ndarray, tolerance: float = TOLERANCE) -> Grid | None:
    """The grid of constant period that fits beats `(beats,)` best; `None` for fewer than 4."""
    if len(found) < 4:
        return None
    rough = float(np.median(np.diff(found)))
    step = tolerance / 4 / len(found)
    count = math.ceil(_GRID_REACH * rough / step)
    periods = rough + step * np.arange(-count, count + 1)
    phases = [_best_phase(found, period, tolerance) for period in periods]
    order = sorted(range(len(periods)), key=lambda place: -phases[place][1])[:25]
    grids = [_scored(found, float(periods[place]), phases[place][0], tolerance) for place in order]
    # Of equally good grids the one in the middle: it has the most room on either side.
    top = [grid for grid in grids if grid.f == max(grid.f for grid in grids)]
    return sorted(top, key=lambda grid: grid.period)[len(top) // 2]


def chance(strength: np.ndarray, *, shuffles: int = 3, seed: int = 0) -> float | None:
    """Mean `f` of the best grid when the frames of the onset strength are shuffled."""
    generator = np.random.default_rng(seed)
    grids = [grid_of(generator.permutation(strength)) for _ in range(shuffles)]
    found = [grid.f for grid in grids if grid]
    return float(np.mean(found)) if found else None


def grid_of(strength: np.ndarray) -> Grid | None:
    """The best grid of the beats of an onset strength; `None` without any."""
    pulse = tempo(strength)
    return best_grid(beats(strength, pulse[0])) if pulse else None


def _banded(magnitude: np.ndarray) -> np.ndarray:
    """Bins `(frames, SIZE // 2 + 1)` as means of bands, spaced evenly in log frequency."""
    edges = np.geomspace(3, magnitude.shape[1] - 1, BANDS + 1).round().astype(int)
    edges = np.unique(edges)
    sums = np.add.reduceat(magnitude[:, : edges[-1]], edges[:-1], axis=1)
    return np.asarray(sums / np.diff(edges))


def _autocorrelation(values: np.ndarray) -> np.ndarray:
    """Of `(n,)`, unbiased, 1 at lag 0: `(n // 2,)`."""
    fft = need("scipy.fft")
    total = len(values)
    power = np.abs(fft.rfft(values, 2 * total)) ** 2
    raw = fft.irfft(power)[: total // 2] / np.arange(total, total - total // 2, -1)
    return np.asarray(raw / raw[0])


def _path(before: np.ndarray, total: np.ndarray, period: int) -> np.ndarray:
    """Frames on the best path that ends within the last period of the best scores."""
    place = len(total) - period + int(total[-period:].argmax())
    frames = []
    while place >= 0:
        frames.append(place)
        place = int(before[place])
    return np.array(frames[::-1])


def _trimmed(frames: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """Frames without those at either end whose strength is under half of the root mean square."""
    if not len(frames):
        return frames
    strong = np.flatnonzero(strength[frames] > 0.5 * math.sqrt(np.mean(strength[frames] ** 2)))
    return frames[strong[0] : strong[-1] + 1] if strong.size else frames[:0]


def _best_phase(found: np.ndarray, period: float, tolerance: float) -> tuple[float, int]:
    """The phase of a grid at which most beats lie within the tolerance, and how many do."""
    phases = np.sort(found % period)
    twice = np.concatenate([phases, phases + period])
    width = min(2 * tolerance, period)
    counts = np.searchsorted(twice, phases + width, side="right") - np.arange(len(phases))
    best = int(counts.argmax())
    inside = twice[best : best + counts[best]]
    return float((inside[0] + inside[-1]) / 2), int(counts[best])


def _scored(found: np.ndarray, period: float, phase: float, tolerance: float) -> Grid:
    """That grid with its F-measure over the time of the beats."""
    grid = Grid(period, phase % period, 0.0)
    times = grid.times(found[0] - tolerance, found[-1] + tolerance)
    return Grid(grid.period, grid.phase, f_measure(found, times, tolerance))
