"""Score -> a sung vocal track with the exact time of every phone. Needs flite and pyworld.

Each line is spoken, its envelopes are stretched so that vowels begin on their notes, coloured for
the singer, and synthesised with the pitch of the tune.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from yue.songbook.flite import RATE
from yue.songbook.genres import GENRES
from yue.songbook.pitch import Manner, hertz, sung_pitch
from yue.songbook.score import Line, Score
from yue.songbook.timing import STEP_SECONDS, Placed, held_phones, place_phones, steps
from yue.songbook.voices import VOICES, Voice
from yue.songbook.world import (
    BINS,
    Speakers,
    Spoken,
    aperiodicity_curves,
    frequencies,
    kind_of,
)

SILENT = -25.0
"""Log power in rests."""

VOWEL_LEVEL = -6.5
"""Log power to which held sounds are brought."""

LEVELLING, LEVELLING_RANGE = 0.85, (-2.5, 3.5)
ACCENT = 0.12
RELEASE_SECONDS, RELEASE_DEPTH = 0.08, 4.0
BREATH_FROM, BREATH_WIDTH = 1200.0, 3500.0
"""Hz: breath below F0 would sound as rumble."""

EDGE_SHARE, EDGE_FRAMES = 0.3, 8
DIPHTHONG_SHARE, DIPHTHONG_FRAMES = 0.55, 14
"""How much of a vowel's end is not stretched: a diphthong glides late."""

DIPHTHONGS = ("AW", "AY", "EY", "OW", "OY")
BACKING_LEVEL = 0.3
CONSONANT_STRETCH = 1.15
"""Consonants a little longer than spoken: phone error .43 to .41 over 60 lines."""

_STREAM = 16


@dataclass(frozen=True)
class SungPhone:
    """A phone as it is heard: seconds, symbol with stress, and its line, word and syllable."""

    symbol: str
    start: float
    end: float
    line: int
    word: int
    syllable: int


@dataclass(frozen=True, eq=False)
class Singing:
    """A vocal track (n,) float32 at `rate` Hz, its phones, and F0 in Hz per 5 ms, 0 unvoiced."""

    wave: np.ndarray
    rate: int
    phones: tuple[SungPhone, ...]
    pitch: np.ndarray
    """As written, without vibrato and the like (steps,)."""


def sing(score: Score, speakers: Speakers, *, effects: bool = True) -> Singing:
    """Sing all lines of a score. The level is raw: `perform` sets it."""
    rng = np.random.default_rng([score.seed, score.index, _STREAM])
    manner = manner_of(score, rng) if effects else Manner()
    voice = VOICES[score.voice]
    wave, pitch = np.zeros(round(score.seconds * RATE)), np.zeros(steps(score.seconds))
    phones: list[SungPhone] = []
    for number, sung in enumerate(_sing_lines(score.lines, voice, manner, speakers, rng)):
        _add(wave, sung.wave, sung.sample)
        _add(pitch, sung.pitch, sung.start)
        phones += _heard(score.lines[number], number, sung.placed)
    for sung in _sing_lines(score.backing, voice, manner, speakers, rng):
        _add(wave, BACKING_LEVEL * sung.wave, sung.sample)
    return Singing(wave.astype(np.float32), RATE, tuple(phones), pitch)


def manner_of(score: Score, rng: np.random.Generator) -> Manner:
    """How a genre is sung, with a little chance."""
    genre, singer = GENRES[score.genre], VOICES[score.voice]
    rate = float(rng.uniform(5.0, 6.2))
    if "rapping" in score.tags:
        return Manner(glide=0.1, drift=0.2, rate=rate)
    return Manner(
        vibrato=genre.vibrato * singer.vibrato, scoop=genre.scoop, drift=0.05, rate=rate
    )


@dataclass(frozen=True, eq=False)
class Parameters:
    """A vocal track (n,) float32 at 16 kHz and what it was synthesised from, per 5 ms (steps, ...).

    F0 in Hz, 0 where unvoiced; the tune under it, which goes on in voiceless phones, 0 in rests;
    log power (steps, 257) and aperiodicity (steps, 257).
    """

    wave: np.ndarray
    pitch: np.ndarray
    melody: np.ndarray
    envelope: np.ndarray
    aperiodicity: np.ndarray


def parameters(score: Score, speakers: Speakers) -> Parameters:
    """Sing the lines of a score without effects and tell what the voice was made of."""
    rng = np.random.default_rng([score.seed, score.index, _STREAM])
    count = steps(score.seconds)
    found = Parameters(
        np.zeros(round(score.seconds * RATE), np.float32), np.zeros(count), np.zeros(count),
        np.full((count, BINS), SILENT, np.float32),
        np.full((count, BINS), aperiodicity_curves()["voiceless"][0], np.float32),
    )
    for sung in _sing_lines(score.lines, VOICES[score.voice], Manner(), speakers, rng):
        _add(found.wave, sung.wave.astype(np.float32), sung.sample)
        for track, values in (
            (found.pitch, np.where(sung.voiced, sung.sung, 0.0)), (found.melody, sung.sung),
            (found.envelope, sung.envelope), (found.aperiodicity, sung.aperiodicity),
        ):
            span = track[sung.start : sung.start + len(values)]
            span[:] = values[: len(span)]
    return found


@dataclass(frozen=True, eq=False)
class _SungLine:
    """One line: its wave, the step it begins at, F0 as written, and what it was made of."""

    wave: np.ndarray
    start: int
    pitch: np.ndarray
    placed: Sequence[Placed]
    sung: np.ndarray
    voiced: np.ndarray
    envelope: np.ndarray
    aperiodicity: np.ndarray

    @property
    def sample(self) -> int:
        """Where it begins in the track."""
        return round(self.start * STEP_SECONDS * RATE)


def _sing_lines(
    lines: Sequence[Line], voice: Voice, manner: Manner, speakers: Speakers,
    rng: np.random.Generator,
) -> Iterator[_SungLine]:
    """Lines one after the other; none begins before the last one's end."""
    earliest = 0
    for line in lines:
        sung = _sing_line(line, voice, manner, speakers, rng, earliest)
        earliest = sung.placed[-1].end
        yield sung


def _sing_line(
    line: Line, voice: Voice, manner: Manner, speakers: Speakers, rng: np.random.Generator,
    earliest: int,
) -> _SungLine:
    spoken = speakers.analyse(line.phones, voice.speaker)
    placed = place_phones(line, spoken.lengths, stretch=CONSONANT_STRETCH, earliest=earliest)
    start, count = placed[0].start, placed[-1].end - placed[0].start
    positions = _positions(line, spoken, placed)
    envelope = _envelope(spoken.envelope, positions)
    envelope = _coloured(envelope, voice) + _levels(envelope, line, placed)[:, None]
    _release(envelope, positions < 0)
    sung, written = sung_pitch(line.notes, start, count, manner, rng)
    kinds = _kinds(line, placed)
    voiced = np.array([kind != "voiceless" for kind in kinds])
    noise = _aperiodicity(kinds, voice.breath)
    wave = speakers.synthesise(np.where(voiced, hertz(sung), 0.0), envelope, noise)
    return _SungLine(
        wave, start, np.where(voiced, hertz(written), 0.0), placed, hertz(sung), voiced, envelope,
        noise,
    )


def _positions(line: Line, spoken: Spoken, placed: Sequence[Placed]) -> np.ndarray:
    """For every step of the line the place in the spoken frames; -1 in rests (steps,)."""
    first = placed[0].start
    positions = np.full(placed[-1].end - first, -1.0)
    symbols = line.phones
    held = held_phones(line)
    for item in placed:
        start, end = spoken.spans[item.phone]
        count = item.end - item.start
        if item.phone in held:
            inner = stretched(end - start, count, symbols[item.phone][:2] in DIPHTHONGS)
        else:
            inner = np.linspace(0, end - start - 1, count)
        positions[item.start - first : item.end - first] = start + inner
    return positions


def stretched(frames: int, count: int, diphthong: bool) -> np.ndarray:
    """Places in a vowel of `frames` frames for `count` steps: its middle is stretched."""
    if count <= frames:
        return np.linspace(0, frames - 1, count)
    head = min(EDGE_SHARE * frames, EDGE_FRAMES)
    tail = min(DIPHTHONG_SHARE * frames, DIPHTHONG_FRAMES) if diphthong else head
    return np.interp(
        np.arange(count), [0, head, count - 1 - tail, count - 1],
        [0, head, frames - 1 - tail, frames - 1],
    )


def _envelope(spoken: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Log envelopes at fractional places (steps, 257)."""
    return between(spoken, np.maximum(positions, 0).astype(np.float32))


def between(rows: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Rows (n, ...) at fractional places (m,) from 0 to n - 1, straight lines between them."""
    low = places.astype(int)
    share = (places - low).reshape(-1, *[1] * (rows.ndim - 1))
    high = np.minimum(low + 1, len(rows) - 1)
    return np.asarray(rows[low] * (1 - share) + rows[high] * share)


def _coloured(envelope: np.ndarray, voice: Voice) -> np.ndarray:
    """The envelope of a smaller or larger throat, tilted."""
    if voice.formants != 1.0:
        source = np.minimum(np.arange(BINS) / voice.formants, BINS - 1).astype(np.float32)
        low = source.astype(int)
        share = source - low
        high = np.minimum(low + 1, BINS - 1)
        envelope = envelope[:, low] * (1 - share) + envelope[:, high] * share
    octaves = np.log2(np.maximum(frequencies(), 125) / 1000.0)
    return envelope + (voice.tilt * octaves * np.log(10) / 10).astype(np.float32)


def _levels(envelope: np.ndarray, line: Line, placed: Sequence[Placed]) -> np.ndarray:
    """Log gain per step that brings all held sounds to one level (steps,)."""
    energy = np.log(np.exp(envelope).mean(axis=1) + 1e-12)
    held, first = held_phones(line), placed[0].start
    times, gains = [], []
    for item in placed:
        if item.phone not in held:
            continue
        start, end = item.start - first, item.end - first
        gain = np.clip(LEVELLING * (VOWEL_LEVEL - energy[start:end].mean()), *LEVELLING_RANGE)
        gain += ACCENT * (line.syllables[item.syllable].stress > 0)
        times += [start, end]
        gains += [gain, gain]
    return np.interp(np.arange(len(energy)), times, gains).astype(np.float32)


def _release(envelope: np.ndarray, rests: np.ndarray) -> None:
    """Silence the rests and let what comes before them, and the end, die away; in place."""
    count = steps(RELEASE_SECONDS)
    envelope[rests] = SILENT
    after = np.append(rests[1:], True)
    for end in (np.flatnonzero(after & ~rests) + 1).tolist():
        start = max(0, end - count)
        envelope[start:end] -= np.linspace(0, RELEASE_DEPTH, end - start)[:, None].astype("f4")


def _kinds(line: Line, placed: Sequence[Placed]) -> list[str]:
    """The class of the phone at every step; rests are voiceless."""
    first = placed[0].start
    kinds = ["voiceless"] * (placed[-1].end - first)
    for item in placed:
        span = slice(item.start - first, item.end - first)
        kinds[span] = [kind_of(line.phones[item.phone])] * (item.end - item.start)
    return kinds


def _aperiodicity(kinds: Sequence[str], breath: float) -> np.ndarray:
    curves = aperiodicity_curves()
    if breath:
        room = np.clip((frequencies() - BREATH_FROM) / BREATH_WIDTH, 0, 1)
        curves = {
            kind: np.minimum(curve + breath * (1 - curve) * room, 0.999)
            for kind, curve in curves.items()
        }
    table = np.stack([curves[kind] for kind in curves])
    order = {kind: place for place, kind in enumerate(curves)}
    rows = table[[order[kind] for kind in kinds]]
    rows[1:-1] = 0.25 * rows[:-2] + 0.5 * rows[1:-1] + 0.25 * rows[2:]
    return rows


def _heard(line: Line, number: int, placed: Sequence[Placed]) -> list[SungPhone]:
    symbols = line.phones
    return [
        SungPhone(
            symbols[item.phone], item.start * STEP_SECONDS, item.end * STEP_SECONDS, number,
            line.syllables[item.syllable].word, item.syllable,
        )
        for item in placed
    ]


def _add(track: np.ndarray, values: np.ndarray, start: int) -> None:
    """Add values to a track from a place on; what lies beyond its end is cut."""
    values = values[: max(0, len(track) - start)]
    track[start : start + len(values)] += values
