"""Bars with chords -> what the band plays, as events. Knows patterns, no sound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from yue.songbook.genres import CRASH, DRUMS, SNARE, TOMS, Genre, Hit, Kit, Layer, hits
from yue.songbook.harmony import close
from yue.songbook.score import SIXTEENTHS, Bar, Event

INTENSITY = {"intro": 0.35, "verse": 0.5, "chorus": 0.8, "bridge": 0.55, "outro": 0.35}

BASS_LOW, CHORD_LOW, SOLO_LOW = 33, 55, 67
"""The lowest pitch of each register: each holds one octave, chords sometimes two."""

JITTER_SECONDS, JITTER_VELOCITY = 0.004, 3.0
LOUD = 0.5
CRASH_LEVEL = -48
FILL = {12: SNARE, 13: SNARE, 14: TOMS[0], 15: TOMS[1]}
QUIET_SECTIONS = ("intro", "outro")


@dataclass(frozen=True)
class _Bench:
    """What all players of a song share."""

    genre: Genre
    sixteenth: float
    human: float
    rng: np.random.Generator

    def time(self, bar: Bar, at: float) -> float:
        """Seconds of a sixteenth of a bar, with the genre's swing."""
        swing = self.genre.swing
        late = swing * 2 if at % 4 == 2 else swing * 0.7 if at % 2 == 1 else 0.0
        return bar.start + (at + late) * self.sixteenth

    def event(
        self, bar: Bar, at: float, length: float, program: int, key: int, level: float, *,
        drum: bool = False,
    ) -> Event:
        """One note, varied as far as the players are human; the first beat is exact for drums."""
        late, loud = self.rng.normal(size=2) * self.human
        start = self.time(bar, at) + (0.0 if drum and at == 0 else JITTER_SECONDS * late)
        velocity = int(np.clip(level + JITTER_VELOCITY * loud, 20, 120))
        seconds = length * self.sixteenth
        return Event(max(0.0, float(start)), seconds, program, key, velocity, drum)


def arrange(
    genre: Genre, bars: Sequence[Bar], labels: Sequence[str], sixteenth: float, human: float,
    rng: np.random.Generator,
) -> tuple[Event, ...]:
    """All events of a song; `labels` are its sections', `sixteenth` is in seconds."""
    bench = _Bench(genre, sixteenth, human, rng)
    events: list[Event] = []
    for number, bar in enumerate(bars):
        following = bars[min(number + 1, len(bars) - 1)]
        for layer in genre.layers:
            if bar.intensity >= layer.from_intensity and (number % 2 or not layer.odd_bars):
                events += _play(bench, layer, bar, following)
        if genre.kit and (genre.kit.always or labels[bar.section] not in QUIET_SECTIONS):
            events += _drum(bench, genre.kit, bar)
    return tuple(sorted(events, key=lambda e: (e.start, e.program, e.key)))


def _play(bench: _Bench, layer: Layer, bar: Bar, following: Bar) -> Iterator[Event]:
    base = (62 + 22 * bar.intensity if layer.low else 50 + 16 * bar.intensity) + layer.level
    base = min(base, 84) if layer.low else base
    for hit in hits(layer.loud if layer.loud and bar.intensity > LOUD else layer.soft):
        for key in _pitches(bench, layer, bar, hit):
            yield bench.event(bar, hit.at, hit.length, layer.program, key, base + hit.level)


def _pitches(bench: _Bench, layer: Layer, bar: Bar, hit: Hit) -> list[int]:
    if layer.low:
        root = close(bar.chord[:1], BASS_LOW)[0] + 12 * layer.octave
        return [root + _above_root(bar.chord, tone) for tone in hit.tones.split("+")]
    if hit.tones == "?":
        return [int(bench.rng.choice(close(bar.chord, SOLO_LOW)))]
    voiced = close(bar.chord, CHORD_LOW)
    if hit.tones == "c":
        return voiced
    return [voiced[0] + 12 if tone == "8" else voiced[int(tone)] for tone in hit.tones.split("+")]


def _above_root(chord: Sequence[int], tone: str) -> int:
    """Semitones of a bass tone above the root; a seventh that the chord lacks is its fifth."""
    if tone in "ro":
        return 0 if tone == "r" else 12
    place = {"t": 1, "f": 2, "s": 3}[tone]
    return chord[min(place, len(chord) - 1)] - chord[0]


def _drum(bench: _Bench, kit: Kit, bar: Bar) -> Iterator[Event]:
    base = 70 + 22 * bar.intensity
    for key in DRUMS:
        for at in kit.hits.get(key, ()):
            soft = 8 if at % 4 and kit.levels[key] < -20 else 0
            level = base + kit.levels[key] - soft
            yield bench.event(bar, at, 1, 0, key, level, drum=True)
    if bar.first and bar.intensity > LOUD:
        yield bench.event(bar, 0, 1, 0, CRASH, base + CRASH_LEVEL, drum=True)
    if bar.fill and kit.fills:
        for at, key in FILL.items():
            yield bench.event(bar, at % SIXTEENTHS, 1, 0, key, base - 10, drum=True)
