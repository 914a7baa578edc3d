"""When each syllable of a line is sung: on a regular grid, or by search. Pure arithmetic.

All places are sixteenths from the bar in which the line begins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from yue.songbook.harmony import strength
from yue.songbook.score import SIXTEENTHS

FASTEST_STEP = 0.23
"""Seconds: steps of the grid are eighths, or quarters where eighths would be shorter than this."""

COMFORT = 0.23
"""Seconds that a syllable needs at least, on average."""

LONGEST_NOTE = 8


@dataclass(frozen=True)
class Rhythm:
    """Where each syllable begins and ends, and how long the whole line is."""

    starts: tuple[int, ...]
    ends: tuple[int, ...]
    length: int


def grid_rhythm(stresses: Sequence[int], sixteenth: float) -> Rhythm:
    """One syllable per step, after a rest of one or two steps that puts stress on the beats.

    The last syllable holds two steps. The length follows from the number of syllables: rounded up
    to four steps, so a line never ends while syllables remain.
    """
    step = 2 if 2 * sixteenth >= FASTEST_STEP else 4
    count = len(stresses)
    rest = max((1, 2), key=lambda steps: (_fit(stresses, steps, step), -steps))
    starts = tuple(step * (rest + place) for place in range(count))
    ends = (*starts[1:], starts[-1] + 2 * step)
    length = 4 * step * math.ceil(ends[-1] / (4 * step))
    return Rhythm(starts, ends, length)


def _fit(stresses: Sequence[int], rest: int, step: int) -> float:
    places = ((rest + place) * step for place in range(len(stresses)))
    return sum(strength(at) for at, stress in zip(places, stresses, strict=True) if stress == 1)


def free_rhythm(
    weights: Sequence[float], bar_seconds: float, rng: np.random.Generator, *, dense: bool
) -> Rhythm:
    """A rhythm found by search: heavy syllables on strong places, even spacing, a rest at the end.

    `weights` 0 to 1 say how much each syllable wants a strong place; `dense` is for rap.
    """
    count = len(weights)
    bars = _bars(count, bar_seconds, dense)
    total = bars * SIXTEENTHS
    rest = 3 if dense else 4 if bars > 1 else 2
    fine = dense or count > 6 * bars
    slots = np.arange(0, total - rest, 1 if fine else 2)
    if len(slots) < count:
        slots = np.arange(0, total - 2)
    starts = _search(np.asarray(weights, dtype=float), slots, rng)
    longest = 3 if dense else LONGEST_NOTE
    limits = [*starts[1:], total - (3 if bars > 1 else 2)]
    ends = tuple(max(s + 1, min(s + longest, e)) for s, e in zip(starts, limits, strict=True))
    return Rhythm(tuple(starts), ends, total)


def _bars(count: int, bar_seconds: float, dense: bool) -> int:
    """Bars of a line: one or two by the tempo, more where the words need them."""
    usual = 2 if bar_seconds < (2.3 if dense else 2.6) else 1
    needed = count * (0.8 if dense else 1.0) * COMFORT / bar_seconds
    return max(usual, math.ceil(needed), math.ceil((count + 3) / SIXTEENTHS))


def _search(weights: np.ndarray, slots: np.ndarray, rng: np.random.Generator) -> list[int]:
    """Dynamic programming over syllables (n,) and slots (m,)."""
    heavy = np.array([strength(int(slot)) for slot in slots])
    ideal = (slots[-1] + 1 - slots[0]) / len(weights)
    gaps = slots[None, :] - slots[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        spacing = np.where(gaps > 0, -0.55 * np.abs(np.log2(np.maximum(gaps, 1) / ideal)), -np.inf)
    gain = weights[:, None] * heavy + (1 - weights[:, None]) * 0.3 * (1 - heavy)
    gain = gain + rng.normal(0, 0.05, gain.shape)
    score = gain[0] - 0.06 * slots
    back = []
    for row in gain[1:]:
        paths = score[:, None] + spacing
        back.append(paths.argmax(0))
        score = paths.max(0) + row
    place = int((score - 0.02 * np.abs(slots - (slots[-1] - 1.5 * ideal))).argmax())
    places = [place]
    for step in reversed(back):
        places.append(int(step[places[-1]]))
    return [int(slots[place]) for place in reversed(places)]
