"""A composed song as a value: everything that is decided before a sound is made.

Times are seconds from the start of the song, pitches MIDI numbers (69 = A at 440 Hz), chords
pitches in their scale's spelling. All frozen, all plain: `asdict` gives JSON.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

SIXTEENTHS = 16
"""Sixteenths in a bar: all songs are in four-four time."""


@dataclass(frozen=True)
class Note:
    """A sung note."""

    start: float
    end: float
    pitch: float


@dataclass(frozen=True)
class Syllable:
    """A sung syllable: its phones, which of them is held, and the note or notes it is sung on."""

    phones: tuple[str, ...]
    nucleus: int
    """The place of the held phone in `phones`."""
    word: int
    """The place of its word in the line."""
    notes: tuple[Note, ...] = ()

    @property
    def stress(self) -> int:
        """0: none, 1: primary, 2: secondary."""
        digit = self.phones[self.nucleus][-1]
        return int(digit) if digit.isdigit() else 0

    @property
    def onset(self) -> tuple[str, ...]:
        """What is sung before the beat."""
        return self.phones[: self.nucleus]

    @property
    def coda(self) -> tuple[str, ...]:
        """What is sung after the held phone."""
        return self.phones[self.nucleus + 1 :]


@dataclass(frozen=True)
class Line:
    """A line of lyrics; `section` counts the song's sections."""

    text: str
    section: int
    words: tuple[str, ...]
    syllables: tuple[Syllable, ...]

    @property
    def phones(self) -> tuple[str, ...]:
        """All phones in the order in which they are sung."""
        return tuple(phone for syllable in self.syllables for phone in syllable.phones)

    @property
    def notes(self) -> tuple[Note, ...]:
        """All notes in the order in which they are sung."""
        return tuple(note for syllable in self.syllables for note in syllable.notes)


@dataclass(frozen=True)
class Bar:
    """A bar and its chord."""

    start: float
    section: int
    degree: int
    """Of the scale, 0 the tonic."""
    chord: tuple[int, ...]
    """MIDI pitches of the chord above the tonic of octave 0."""
    intensity: float
    """0 soft to 1 loud."""
    first: bool = False
    """The first bar of its section."""
    fill: bool = False
    """The drums lead over to the next section."""


@dataclass(frozen=True)
class Passage:
    """A section: label, words, bars `first` to `last` (not included)."""

    label: str
    text: str
    first: int
    last: int


@dataclass(frozen=True)
class Event:
    """A note of the accompaniment: General MIDI program (of the drum kit: 0), key, velocity."""

    start: float
    seconds: float
    program: int
    key: int
    velocity: int
    drum: bool = False


@dataclass(frozen=True, kw_only=True)
class Score:
    """A whole song, composed."""

    seed: int
    index: int
    profile: str
    genre: str
    voice: str
    tempo: float
    """Beats per minute."""
    key: int
    """Pitch class of the tonic, 0 = C."""
    mode: str
    """major or minor."""
    tags: tuple[str, ...]
    instruments: tuple[str, ...]
    sections: tuple[Passage, ...]
    bars: tuple[Bar, ...]
    lines: tuple[Line, ...]
    backing: tuple[Line, ...]
    """Lines that a second, softer voice sings with the first, a third below."""
    events: tuple[Event, ...]
    seconds: float

    @property
    def id(self) -> str:
        """A name that no other song has: profile, seed, index."""
        return f"{self.profile}-{self.seed}-{self.index:06d}"

    @property
    def bar_seconds(self) -> float:
        """Length of a bar."""
        return 4 * 60.0 / self.tempo

    @property
    def lyrics(self) -> str:
        """The words with their labels, as `yue sing` reads them."""
        return "\n\n".join(f"[{part.label}]\n{part.text}".strip() for part in self.sections)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self) | {"id": self.id, "lyrics": self.lyrics}
