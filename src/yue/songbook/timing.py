"""When each phone of a sung line is heard: vowels begin on their notes, consonants come before.

Pure arithmetic on a grid of 5-ms steps, the same steps in which the voice is synthesised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from yue.songbook.score import Line

STEP_SECONDS = 0.005

SHORTEST, LONGEST = 4, 26
"""Steps of a consonant before it is squeezed."""

VOWEL_SHARE, VOWEL_LEAST = 0.3, 9
"""The held phone keeps this share of its note, and these steps."""

REST_SECONDS = 0.12
"""Where notes are further apart, the voice rests."""


@dataclass(frozen=True)
class Placed:
    """A phone of a line: its place in the line, steps `start` to `end` from the song's start."""

    phone: int
    syllable: int
    start: int
    end: int


def steps(seconds: float) -> int:
    """The nearest step."""
    return round(seconds / STEP_SECONDS)


def place_phones(
    line: Line, natural: Sequence[int], *, stretch: float = 1.0, earliest: int = 0
) -> list[Placed]:
    """The phones of a line in time, in order.

    `natural` are their lengths in steps as spoken, of all phones in a row; consonants keep them
    times `stretch`, unless there is too little time for them. Nothing begins before step
    `earliest`. Neighbours touch, except over rests.
    """
    lengths = _consonants(line, natural, stretch)
    owners = [number for number, s in enumerate(line.syllables) for _ in s.phones]
    vowels = held_phones(line)
    begins = [steps(syllable.notes[0].start) for syllable in line.syllables]
    borders: dict[int, tuple[int, int]] = {}
    _before(borders, range(vowels[0]), lengths, earliest, begins[0])
    for number, vowel in enumerate(vowels):
        following = owners.index(number + 1) if number + 1 < len(vowels) else len(owners)
        if following == len(owners) or _rests_before(line, number + 1):
            end = steps(line.syllables[number].notes[-1].end)
            _from_vowel(borders, range(vowel, following), lengths, begins[number], end)
            if following < len(owners):
                onset = range(following, vowels[number + 1])
                _before(borders, onset, lengths, end, begins[number + 1])
        else:
            until = range(vowel, vowels[number + 1])
            _from_vowel(borders, until, lengths, begins[number], begins[number + 1])
    return [Placed(phone, owners[phone], *borders[phone]) for phone in sorted(borders)]


def held_phones(line: Line) -> list[int]:
    """The place among the line's phones of each syllable's held one."""
    places, first = [], 0
    for syllable in line.syllables:
        places.append(first + syllable.nucleus)
        first += len(syllable.phones)
    return places


def _consonants(line: Line, natural: Sequence[int], stretch: float) -> list[int]:
    lengths = [int(np.clip(round(length * stretch), SHORTEST, LONGEST)) for length in natural]
    if len(lengths) != len(line.phones):
        raise ValueError(f"{len(lengths)} lengths for {len(line.phones)} phones.")
    return lengths


def _rests_before(line: Line, number: int) -> bool:
    before, after = line.syllables[number - 1].notes[-1], line.syllables[number].notes[0]
    return after.start - before.end > REST_SECONDS


def _before(
    borders: dict[int, tuple[int, int]], phones: range, lengths: Sequence[int], earliest: int,
    end: int,
) -> None:
    """Consonants after a rest: their own lengths, up to the vowel's beginning."""
    own = [lengths[phone] for phone in phones]
    _lay(borders, phones, _back(end, own, end - earliest))


def _from_vowel(
    borders: dict[int, tuple[int, int]], phones: range, lengths: Sequence[int], begin: int, end: int
) -> None:
    """A vowel and the consonants after it, the last of them up to `end`."""
    after = [lengths[phone] for phone in phones[1:]]
    room = end - begin - max(VOWEL_LEAST, VOWEL_SHARE * (end - begin))
    _lay(borders, phones, [begin, *_back(end, after, room)])


def _lay(
    borders: dict[int, tuple[int, int]], phones: range, marks: Sequence[int]
) -> None:
    borders.update(zip(phones, pairwise(marks), strict=True))


def _back(end: int, lengths: Sequence[int], room: float) -> list[int]:
    """Where phones begin that end at `end`, and `end` itself; squeezed if they lack room."""
    total = sum(lengths)
    share = min(1.0, max(room, 0.0) / total) if total else 1.0
    left = end - np.cumsum([0, *(share * length for length in reversed(lengths))])
    return [round(border) for border in reversed(left.tolist())]
