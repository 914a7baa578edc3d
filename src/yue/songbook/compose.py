"""(seed, index, profile) -> Score: words, form, chords, rhythm, tune, band. No native code.

A song depends on nothing but its arguments. Every concern has its own random stream, so the same
song in another voice or genre keeps its words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from yue.errors import LyricsError, OptionError
from yue.lyrics import Lyrics, Section
from yue.phonemes import words
from yue.songbook.arrange import INTENSITY, arrange
from yue.songbook.genres import GENRES, Genre
from yue.songbook.harmony import chord
from yue.songbook.melody import Tune, contour, melody, spoken_pitch, third_below
from yue.songbook.profile import Profile
from yue.songbook.rhythm import Rhythm, free_rhythm, grid_rhythm
from yue.songbook.score import SIXTEENTHS, Bar, Event, Line, Note, Passage, Score, Syllable
from yue.songbook.syllabify import syllabify
from yue.songbook.tags import tags_of
from yue.songbook.verses import Writer
from yue.songbook.voices import VOICES
from yue.songbook.words import Vocabulary, load_vocabulary

TAIL_SECONDS = 0.4
"""The last notes ring this long."""

LEAD_SECONDS = 0.3
"""Silence before the first bar where the voice may begin at once: consonants precede the beat."""

INSTRUMENTAL_SECONDS = 3.5
"""A section without words lasts about this long."""

CHORUS_LIFT = 2.5
SHORTEST_MELISMA = 0.45
WIDEN = (0.8, 1.35)
"""How far fixed tempi may lie outside the genre's range."""

_STREAMS = ("choice", "words", "tune", "band", "tags")


@dataclass(frozen=True)
class _Plan:
    """What is drawn once for a song."""

    genre_name: str
    voice_name: str
    tempo: float
    tune: Tune
    progressions: tuple[tuple[int, ...], ...]
    rap: bool
    lead: float

    @property
    def genre(self) -> Genre:
        return GENRES[self.genre_name]

    @property
    def sixteenth(self) -> float:
        return 60.0 / self.tempo / 4

    @property
    def bar_seconds(self) -> float:
        return SIXTEENTHS * self.sixteenth


def compose(
    seed: int, index: int, profile: Profile, *, lyrics: Lyrics | None = None,
    genre: str | None = None, voice: str | None = None, vocabulary: Vocabulary | None = None,
) -> Score:
    """The song of a seed and an index; `lyrics` are sung as given, else they are made up.

    Raises `OptionError` for a genre or voice that is unknown, `LyricsError` for lyrics without
    a sound. Pass a loaded `vocabulary` when composing many songs.
    """
    streams = {
        name: np.random.default_rng([seed, index, place]) for place, name in enumerate(_STREAMS)
    }
    plan = _plan(streams["choice"], profile, genre, voice)
    sections = _sections(streams["words"], profile, lyrics, vocabulary)
    return _Composer(seed, index, profile, plan, streams).score(sections)


def _plan(
    rng: np.random.Generator, profile: Profile, genre: str | None, voice: str | None
) -> _Plan:
    drawn_genre, drawn_voice = str(rng.choice(profile.genres)), str(rng.choice(profile.voices))
    genre_name = _known("genre", genre or drawn_genre, tuple(GENRES))
    voice_name = _known("voice", voice or drawn_voice, tuple(VOICES))
    kind, singer = GENRES[genre_name], VOICES[voice_name]
    mode = "minor" if rng.random() < kind.minor else "major"
    tune = Tune(key=int(rng.choice(profile.keys)), mode=mode, centre=singer.centre,
                span=profile.span)
    order = rng.permutation(len(kind.progressions))
    return _Plan(
        genre_name, voice_name, _tempo(rng, profile, kind), tune,
        tuple(kind.progressions[place] for place in order), kind.rap and profile.rap,
        0.0 if profile.grid else LEAD_SECONDS,
    )


def _known(what: str, name: str, known: Sequence[str]) -> str:
    if name not in known:
        raise OptionError(f"{what} {name!r} is unknown: allowed are {', '.join(known)}.")
    return name


def _tempo(rng: np.random.Generator, profile: Profile, genre: Genre) -> float:
    low, high = genre.tempo
    if not profile.tempi:
        return float(rng.integers(low, high + 1))
    fitting = [t for t in profile.tempi if WIDEN[0] * low <= t <= WIDEN[1] * high]
    nearest = min(profile.tempi, key=lambda tempo: abs(tempo - (low + high) / 2))
    return float(rng.choice(fitting or [nearest]))


def _sections(
    rng: np.random.Generator, profile: Profile, lyrics: Lyrics | None,
    vocabulary: Vocabulary | None,
) -> tuple[Section, ...]:
    """What is sung: the lyrics given, or a form filled with lines."""
    if lyrics is not None:
        if not any(words(section.text) for section in lyrics.sections):
            raise LyricsError("the lyrics hold no word that can be sung.")
        return lyrics.sections
    form = profile.forms[rng.integers(len(profile.forms))]
    writer = Writer(vocabulary or load_vocabulary(), profile)
    texts: dict[str, str] = {}
    sections = []
    for label in form:
        count = int(rng.integers(profile.lines[0], profile.lines[1] + 1))
        text = "" if label in ("intro", "outro") else "\n".join(writer.stanza(rng, count))
        if label == "chorus" and profile.repeat_chorus:
            text = texts.setdefault(label, text)
        sections.append(Section(label, text))
    return tuple(sections)


@dataclass(frozen=True)
class _Composer:
    """Composes one song, section by section, from its plan."""

    seed: int
    index: int
    profile: Profile
    plan: _Plan
    streams: dict[str, np.random.Generator]

    def score(self, sections: Sequence[Section]) -> Score:
        shapes = {label: (contour(self.streams["tune"]), contour(self.streams["tune"]))
                  for label in INTENSITY}
        bars: list[Bar] = []
        lines: list[Line] = []
        passages = []
        for number, section in enumerate(sections):
            first = len(bars)
            drafts, sixteenths = self._drafts(section, number)
            bars += self._bars(section.label, number, first, sixteenths, len(sections))
            lines += self._sing(drafts, shapes[section.label], section.label, first, bars)
            passages.append(Passage(section.label, section.text, first, len(bars)))
        return self._finish(tuple(passages), tuple(bars), tuple(lines))

    def _drafts(
        self, section: Section, number: int
    ) -> tuple[list[tuple[Line, Rhythm, int]], int]:
        """The section's lines with rhythms and where they begin; its length in sixteenths."""
        drafts, cursor = [], 0
        for place, text in enumerate(section.text.split("\n")):
            line = syllabify(text, number)
            if not line.syllables:
                continue
            rhythm = self._rhythm(line, section.label, place)
            drafts.append((line, rhythm, cursor))
            cursor += rhythm.length
        bars = math.ceil(cursor / SIXTEENTHS) or round(
            max(1.0, INSTRUMENTAL_SECONDS / self.plan.bar_seconds)
        )
        return drafts, bars * SIXTEENTHS

    def _rhythm(self, line: Line, label: str, place: int) -> Rhythm:
        stresses = [syllable.stress for syllable in line.syllables]
        if self.profile.grid:
            return grid_rhythm(stresses, self.plan.sixteenth)
        rng = self._motif(label, place)
        weights = [_weight(syllable) for syllable in line.syllables]
        return free_rhythm(weights, self.plan.bar_seconds, rng, dense=self.plan.rap)

    def _motif(self, label: str, place: int) -> np.random.Generator:
        """The stream of a line's tune: lines A B A B, the same in every section of a label."""
        kind = list(INTENSITY).index(label)
        return np.random.default_rng([self.seed, self.index, len(_STREAMS), kind, place % 2])

    def _bars(
        self, label: str, number: int, first: int, sixteenths: int, sections: int
    ) -> list[Bar]:
        plan, count = self.plan, sixteenths // SIXTEENTHS
        kinds = {"verse": 0, "intro": 0, "outro": 0, "chorus": 1, "bridge": 2}
        progression = plan.progressions[kinds[label] % len(plan.progressions)]
        bars = []
        for place in range(count):
            last = place == count - 1
            degree = 0 if last and number == sections - 1 else progression[place % 4]
            tones = chord(degree, plan.tune.key, plan.tune.mode, seventh=plan.genre.seventh)
            bars.append(Bar(
                plan.lead + (first + place) * plan.bar_seconds, number, degree, tones,
                INTENSITY[label], place == 0, last and label in ("verse", "bridge"),
            ))
        return bars

    def _sing(
        self, drafts: Sequence[tuple[Line, Rhythm, int]], shapes: Sequence[np.ndarray],
        label: str, first: int, bars: Sequence[Bar],
    ) -> list[Line]:
        sung = []
        for place, (line, rhythm, offset) in enumerate(drafts):
            places = [first * SIXTEENTHS + offset + start for start in rhythm.starts]
            chords = [bars[at // SIXTEENTHS].chord for at in places]
            rng = self._motif(label, place)
            pitches = self._pitches(line, places, rhythm, chords, shapes[place % 2], rng, label,
                                    place == len(drafts) - 1)
            ends = [first * SIXTEENTHS + offset + end for end in rhythm.ends]
            sung.append(self._with_notes(line, places, ends, pitches))
        return sung

    def _pitches(
        self, line: Line, places: Sequence[int], rhythm: Rhythm, chords: Sequence[Sequence[int]],
        shape: np.ndarray, rng: np.random.Generator, label: str, final: bool,
    ) -> Sequence[float]:
        if self.plan.rap:
            stresses = [syllable.stress for syllable in line.syllables]
            return spoken_pitch(stresses, self.plan.tune.centre, rng)
        return melody(
            self.plan.tune, places, rhythm.length, chords, shape, rng,
            lift=CHORUS_LIFT if label == "chorus" else 0.0, final=final,
        )

    def _with_notes(
        self, line: Line, starts: Sequence[int], ends: Sequence[int], pitches: Sequence[float]
    ) -> Line:
        syllables = []
        for syllable, start, end, pitch in zip(line.syllables, starts, ends, pitches, strict=True):
            note = Note(self._time(start), self._time(end), float(pitch))
            syllables.append(replace(syllable, notes=self._ornament(syllable, note)))
        return replace(line, syllables=tuple(syllables))

    def _time(self, sixteenths: int) -> float:
        return self.plan.lead + sixteenths * self.plan.sixteenth

    def _ornament(self, syllable: Syllable, note: Note) -> tuple[Note, ...]:
        """The note, or two of them: some long stressed syllables glide to a neighbour."""
        rng = self.streams["tune"]
        chance = 0.0 if self.plan.rap else self.profile.melisma
        long_enough = syllable.stress == 1 and note.end - note.start >= SHORTEST_MELISMA
        if rng.random() >= chance or not long_enough:
            return (note,)
        ladder = self.plan.tune.candidates()
        near = ladder[np.argsort(np.abs(ladder - note.pitch), kind="stable")[1:3]]
        middle = (note.start + note.end) / 2
        return (
            Note(note.start, middle, note.pitch),
            Note(middle, note.end, float(rng.choice(near))),
        )

    def _finish(
        self, passages: tuple[Passage, ...], bars: tuple[Bar, ...], lines: tuple[Line, ...]
    ) -> Score:
        plan = self.plan
        labels = [passage.label for passage in passages]
        events = arrange(
            plan.genre, bars, labels, plan.sixteenth, self.profile.human, self.streams["band"]
        )
        instruments = _instruments(plan.genre, events)
        tags = tags_of(
            plan.genre_name, plan.voice_name, plan.tempo, plan.tune.mode, instruments,
            rap=plan.rap, rng=self.streams["tags"],
        )
        chorus = [line for line in lines if labels[line.section] == "chorus"]
        backed = chorus if self.profile.harmony and not plan.rap else []
        return Score(
            seed=self.seed, index=self.index, profile=self.profile.name, genre=plan.genre_name,
            voice=plan.voice_name, tempo=plan.tempo, key=plan.tune.key, mode=plan.tune.mode,
            tags=tags, instruments=instruments, sections=passages, bars=bars, lines=lines,
            backing=tuple(_backing(line, plan.tune) for line in backed), events=events,
            seconds=plan.lead + len(bars) * plan.bar_seconds + TAIL_SECONDS,
        )


def _weight(syllable: Syllable) -> float:
    """How much a syllable wants a strong place: short words less than the stress of long ones."""
    if not syllable.stress:
        return 0.0
    return 1.0 if len(syllable.phones) > 2 else 0.55


def _backing(line: Line, tune: Tune) -> Line:
    """The same line a third lower."""
    syllables = tuple(
        replace(syllable, notes=tuple(
            replace(note, pitch=third_below(note.pitch, tune)) for note in syllable.notes
        ))
        for syllable in line.syllables
    )
    return replace(line, syllables=syllables)


def _instruments(genre: Genre, events: Sequence[Event]) -> tuple[str, ...]:
    """What one calls the instruments that really play."""
    played = {event.program for event in events if not event.drum}
    found = [layer.tag for layer in genre.layers if layer.program in played]
    if genre.kit and any(event.drum for event in events):
        found.append(genre.kit.tag)
    return tuple(dict.fromkeys(found))
