"""Which pitch each syllable is sung on: a contour, chord tones on strong beats, small leaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from yue.songbook.harmony import PENTATONIC, SCALES, STRONG, strength

CHORD_ON_BEAT, CHORD_OFF_BEAT, PENTATONIC_GAIN, TONIC_AT_END = 1.6, 0.5, 0.5, 3.0
LEAP_FROM, LEAP_COST, REPEAT_COST = 5, 0.9, 0.35
NOISE = 0.25


@dataclass(frozen=True, kw_only=True)
class Tune:
    """What the notes of a song share: key, mode, and the singer's range."""

    key: int
    mode: str
    centre: int
    span: int

    def candidates(self) -> np.ndarray:
        """Pitches on the scale that the singer reaches (n,)."""
        pitches = np.arange(self.centre - self.span, self.centre + self.span + 1)
        return pitches[np.isin((pitches - self.key) % 12, SCALES[self.mode])]


def contour(rng: np.random.Generator) -> np.ndarray:
    """The shape of a line (5,): semitones around the centre, an arch or its mirror image."""
    arch = np.array([0.0, 1.5, 2.0, 1.0, -1.0])
    return rng.normal(0, 2.2, 5) + arch * rng.choice([1, 1, -1])


def melody(
    tune: Tune, places: Sequence[int], length: int, chords: Sequence[Sequence[int]],
    shape: np.ndarray, rng: np.random.Generator, *, lift: float = 0.0, final: bool = False,
) -> list[int]:
    """A MIDI pitch per syllable.

    `places` are sixteenths from a barline, `length` the line's; `chords` has the chord under each
    syllable. `lift` raises the line (choruses), `final` draws its end to the tonic.
    """
    pitches = tune.candidates()
    tones = np.isin((pitches - tune.key) % 12, PENTATONIC[tune.mode]) * PENTATONIC_GAIN
    knots = np.linspace(0, 1, len(shape))
    sung: list[int] = []
    for number, (place, chord) in enumerate(zip(places, chords, strict=True)):
        ideal = tune.centre + lift + float(np.interp((place - places[0]) / length, knots, shape))
        gain = tones + _harmony(pitches, chord, place)
        if sung:
            ideal = 0.55 * ideal + 0.45 * sung[-1]
            gain = gain - _motion(pitches, sung[-1])
        if final and number == len(places) - 1:
            gain = gain + TONIC_AT_END * ((pitches - tune.key) % 12 == 0)
        gain = gain - np.abs(pitches - ideal) / 1.6 + rng.gumbel(0, NOISE, len(pitches))
        sung.append(int(pitches[gain.argmax()]))
    return sung


def _harmony(pitches: np.ndarray, chord: Sequence[int], place: int) -> np.ndarray:
    weight = CHORD_ON_BEAT if strength(place) >= STRONG else CHORD_OFF_BEAT
    return weight * np.isin(pitches % 12, [pitch % 12 for pitch in chord[:3]])


def _motion(pitches: np.ndarray, before: int) -> np.ndarray:
    leap = np.abs(pitches - before)
    return LEAP_COST * np.maximum(0, leap - LEAP_FROM) + REPEAT_COST * (leap == 0)


def spoken_pitch(
    stresses: Sequence[int], centre: int, rng: np.random.Generator
) -> list[float]:
    """Pitches of a rapped line: stressed syllables higher, all of it sinking."""
    count = len(stresses)
    return [
        centre - 3 + 2.5 * bool(stress) - 1.5 * place / count + float(rng.normal(0, 0.5))
        for place, stress in enumerate(stresses)
    ]


def third_below(pitch: float, tune: Tune) -> float:
    """The scale tone two steps below."""
    ladder = [p for p in range(int(pitch) - 6, int(pitch)) if (p - tune.key) % 12
              in SCALES[tune.mode]]
    return float(ladder[-2])
