"""How a sung melody fits its accompaniment: scale, chord tones, pitch classes, stray voices.

In go an f0 track (Hz per 10 ms, 0 for unvoiced, `f0.track`) and what the accompaniment plays: key,
chords, beats (`harmony.py`, `tempo.py`). Only notes held for 40 ms count, weighted by how long they
are held. Shares have a chance level that needs no measuring: over all twelve transpositions of a
melody the mean share on a scale of seven is exactly 7/12, and on triads exactly 1/4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from yue.evaluate.harmony import BEATS, Chord, Key
from yue.evaluate.pitch import STEP, held_notes, pitches

SCALE_CHANCE, CHORD_CHANCE = 7 / 12, 1 / 4
NEAR = 0.5
"""Semitones within which two voices sing the same."""
BEAT_REACH = 0.1
"""Seconds after a beat in which a note counts as sung on it; consonants come before it."""


def tuned(f0: np.ndarray, tuning: float) -> np.ndarray:
    """The track as it would be with the accompaniment at A = 440 Hz; `tuning` in semitones."""
    return np.asarray(f0 * 2 ** (-tuning / 12))


def class_weights(f0: np.ndarray) -> np.ndarray:
    """Seconds for which each pitch class is held, C first: `(12,)`."""
    notes, frames = held_notes(f0)
    return np.bincount(notes % 12, frames, minlength=12) * STEP


def entropy(f0: np.ndarray) -> float | None:
    """Of the pitch classes held, in bits: 0 for one note, 3.58 for all alike; `None` for none."""
    weights = class_weights(f0)
    if not weights.any():
        return None
    shares = weights[weights > 0] / weights.sum()
    return max(0.0, -float((shares * np.log2(shares)).sum()))


def on_scale(f0: np.ndarray, key: Key) -> float | None:
    """Share of the held time on the key's scale; `None` for no notes."""
    weights = class_weights(f0)
    total = float(weights.sum())
    return float(weights[sorted(key.scale)].sum()) / total if total else None


def chord_tones(f0: np.ndarray, chords: Sequence[Chord]) -> float | None:
    """Share of strong beats (first and third of a bar) that are sung on a tone of its chord.

    Beats on which nothing is held, and bars without a chord, are left out; `None` if none is left.
    """
    right: list[bool] = []
    for chord in chords:
        for part in range(0, BEATS, 2):
            at = chord.start + part * (chord.end - chord.start) / BEATS
            note = _note_at(f0, at)
            if note is not None and chord.tones:
                right.append(note % 12 in chord.tones)
    return float(np.mean(right)) if right else None


def median_note(f0: np.ndarray) -> float | None:
    """The middle pitch of all voiced frames, MIDI; `None` for none."""
    voiced = f0[f0 > 0]
    return float(np.median(pitches(voiced))) if voiced.size else None


def off_centre(f0: np.ndarray) -> float | None:
    """Mean distance in cents of voiced frames from the nearest semitone, 0 to 50 (chance: 25)."""
    voiced = f0[f0 > 0]
    if not voiced.size:
        return None
    notes = pitches(voiced)
    return 100 * float(np.abs(notes - np.rint(notes)).mean())


def same_voice(vocals: np.ndarray, other: np.ndarray) -> tuple[float, float] | None:
    """How far another stem sings the vocals' line: share of their voiced frames, and chance.

    Chance is the mean share when one is shifted by a quarter, a half and three quarters of the
    song. Well above it, the voice has leaked or is doubled. `None` without voiced frames.
    """
    length = min(len(vocals), len(other))
    vocals, other = vocals[:length], other[:length]
    if not vocals.any():
        return None
    shifts = [_share_near(vocals, np.roll(other, length * part // 4)) for part in range(4)]
    return shifts[0], float(np.mean(shifts[1:]))


def _note_at(f0: np.ndarray, seconds: float) -> int | None:
    """The note sung on a beat: the median of what is voiced just after it; `None` for nothing."""
    first = round(seconds / STEP)
    part = f0[max(0, first) : first + round(BEAT_REACH / STEP)]
    voiced = part[part > 0]
    if voiced.size < math.ceil(len(part) / 2) or not voiced.size:
        return None
    return int(np.rint(np.median(pitches(voiced))))


def _share_near(vocals: np.ndarray, other: np.ndarray) -> float:
    """Share of the voiced frames of `vocals` in which `other` has the same pitch."""
    both = (vocals > 0) & (other > 0)
    near = np.abs(pitches(vocals[both]) - pitches(other[both])) <= NEAR
    return float(near.sum() / np.count_nonzero(vocals))
