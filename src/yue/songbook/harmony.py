"""Scales, chords and metre: pure arithmetic on MIDI pitches and sixteenths."""

from __future__ import annotations

from collections.abc import Iterable

from yue.songbook.score import SIXTEENTHS

SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
"""Semitones above the tonic; minor is natural minor."""

PENTATONIC = {"major": (0, 2, 4, 7, 9), "minor": (0, 3, 5, 7, 10)}
STRONG = 0.7
"""From this metrical strength on, a sixteenth is a beat."""


def chord(degree: int, key: int, mode: str, *, seventh: bool = False) -> tuple[int, ...]:
    """Pitches of the triad or seventh chord on a degree, in octave 0 and above."""
    scale = SCALES[mode]
    steps = (0, 2, 4, 6) if seventh else (0, 2, 4)
    return tuple(key + scale[(degree + s) % 7] + 12 * ((degree + s) // 7) for s in steps)


def close(pitches: Iterable[int], low: int) -> list[int]:
    """The pitches moved by octaves into the octave that begins at `low`, sorted."""
    return sorted(low + (pitch - low) % 12 for pitch in pitches)


def strength(sixteenth: int) -> float:
    """How strong a sixteenth of the bar is, 0 to 1."""
    place = sixteenth % SIXTEENTHS
    if place in (0, 8):
        return 1.0 if place == 0 else 0.85
    return 0.7 if place % 4 == 0 else 0.4 if place % 2 == 0 else 0.1
