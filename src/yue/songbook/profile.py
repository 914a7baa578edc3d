"""What kind of songs a songbook holds: two presets, `full` and `simple`, and every knob of them.

`simple` is what a small model can learn first: a rhythm that follows from the words, tempi whose
sixteenth is a whole number of codec frames, few keys, the voices that are understood best, a dry
sound, no words sung twice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from yue.errors import OptionError
from yue.songbook.genres import GENRES
from yue.songbook.voices import VOICES
from yue.vocab import YUE_V1

Form = tuple[str, ...]

FRAME_RATE = YUE_V1.frame_rate
"""Codec frames per second, for which the tempi of `simple` are chosen."""


def framed_tempo(frames: int) -> float:
    """The tempo (beats per minute) whose sixteenth lasts a whole number of codec frames."""
    return 60.0 * FRAME_RATE / (4 * frames)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The space that songs are drawn from. Checked when made; raises `OptionError`."""

    name: str
    genres: tuple[str, ...] = tuple(GENRES)
    voices: tuple[str, ...] = tuple(VOICES)
    keys: tuple[int, ...] = tuple(range(12))
    tempi: tuple[float, ...] = ()
    """Allowed tempi; none given: any whole number in the genre's range."""
    forms: tuple[Form, ...] = (
        ("intro", "verse", "chorus", "verse", "chorus", "outro"),
        ("intro", "verse", "chorus", "verse", "chorus", "bridge", "chorus"),
        ("verse", "chorus", "verse", "chorus", "outro"),
        ("intro", "verse", "chorus", "outro"),
        ("verse", "chorus"),
    )
    lines: tuple[int, int] = (4, 4)
    """Fewest and most lines in a section."""
    syllables: tuple[int, int] = (7, 10)
    """Fewest and most syllables in a line that is made up here."""
    grid: bool = False
    """One syllable per step of a regular grid, instead of a rhythm found by search."""
    repeat_chorus: bool = True
    coverage: float = 0.4
    """Share of lines that are random words, so that all sounds occur."""
    rhyme: float = 0.8
    """Share of line pairs for which a rhyme is looked for."""
    melisma: float = 0.08
    """Chance that a stressed long syllable is sung on two notes."""
    span: int = 9
    """Semitones that the tune may go from the voice's centre."""
    rap: bool = True
    effects: bool = True
    """Reverb, vibrato, drift and scoop."""
    harmony: bool = True
    """A second, softer voice in the choruses."""
    human: float = 1.0
    """How much the players vary time and strength, 0 to 1."""

    def __post_init__(self) -> None:
        for name, known in (("genres", GENRES), ("voices", VOICES)):
            for value in getattr(self, name):
                if value not in known:
                    raise OptionError(f"{name}: {value!r} is unknown; known: {', '.join(known)}.")
        for name in ("genres", "voices", "keys", "forms"):
            if not getattr(self, name):
                raise OptionError(f"{name} is empty: give at least one.")
        for name in ("lines", "syllables"):
            low, high = getattr(self, name)
            if not 1 <= low <= high:
                raise OptionError(f"{name} = {low}, {high}: expected 1 <= fewest <= most.")

    def replace(self, **changes: Any) -> Profile:
        """The same profile with some knobs changed, checked anew."""
        return replace(self, **changes)


FULL = Profile(name="full")
"""Everything: thirteen genres, all voices, keys and rhythms, rap, melisma, effects."""

SIMPLE = Profile(
    name="simple",
    voices=("m1", "f1"),
    keys=(0, 2, 4, 5, 7, 9),
    tempi=tuple(framed_tempo(frames) for frames in (10, 8, 6, 5)),
    forms=(
        ("verse",),
        ("chorus",),
        ("verse", "chorus"),
        ("verse", "chorus"),
        ("intro", "verse", "chorus"),
        ("verse", "bridge", "chorus"),
        ("verse", "chorus", "outro"),
        ("verse", "chorus", "verse", "chorus"),
        ("intro", "verse", "chorus", "verse", "chorus", "outro"),
    ),
    lines=(2, 5),
    syllables=(4, 11),
    grid=True,
    repeat_chorus=False,
    melisma=0.0,
    span=6,
    rap=False,
    effects=False,
    harmony=False,
    human=0.0,
)
"""What a small model can learn first."""

PROFILES = {profile.name: profile for profile in (FULL, SIMPLE)}


def find_profile(name: str) -> Profile:
    """A preset by its name. Raises `OptionError`."""
    if name not in PROFILES:
        raise OptionError(f"profile {name!r} is unknown: allowed are {', '.join(PROFILES)}.")
    return PROFILES[name]
