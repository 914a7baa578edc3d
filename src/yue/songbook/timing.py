"""When each phone of a sung line is heard: vowels begin on their notes, consonants come before.

Pure arithmetic on a grid of 5-ms steps, the same steps in which the voice is synthesised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from yue.songbook.score import Line

STEP_SECONDS = 0.005

SHORTEST, LONGEST = 4, 26
"""Steps of a consonant before it is squeezed."""

VOWEL_SHARE, VOWEL_LEAST = 0.4, 9
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


def place_phones(line: Line, natural: Sequence[int], stretch: float = 1.0) -> list[Placed]:
    """The phones of a line in time.

    `natural` are their lengths in steps as spoken, of all phones in a row; consonants keep them
    times `stretch`, unless a note is too short for them. Neighbours touch, except over rests.
    """
    lengths = _consonants(line, natural, stretch)
    placed: list[Placed] = []
    first = 0
    for number, syllable in enumerate(line.syllables):
        count = len(syllable.phones)
        own = lengths[first : first + count]
        begin = steps(syllable.notes[0].start)
        if number == 0 or _rests_before(line, number):
            placed += _tile(first, number, begin - int(sum(own[: syllable.nucleus])),
                            own[: syllable.nucleus])
        joined = number + 1 < len(line.syllables) and not _rests_before(line, number + 1)
        after = list(own[syllable.nucleus + 1 :])
        owners = [(first + syllable.nucleus + 1 + k, number) for k in range(len(after))]
        if joined:
            following = line.syllables[number + 1]
            onset = lengths[first + count : first + count + following.nucleus]
            after += list(onset)
            owners += [(first + count + k, number + 1) for k in range(len(onset))]
            end = steps(following.notes[0].start)
        else:
            end = steps(syllable.notes[-1].end)
        borders = _fit(begin, end, after)
        placed.append(Placed(first + syllable.nucleus, number, begin, borders[0]))
        placed += [
            Placed(phone, owner, left, right)
            for (phone, owner), left, right in zip(owners, borders, borders[1:], strict=False)
        ]
        first += count
    return placed


def _consonants(line: Line, natural: Sequence[int], stretch: float) -> list[int]:
    lengths = [int(np.clip(round(length * stretch), SHORTEST, LONGEST)) for length in natural]
    if len(lengths) != len(line.phones):
        raise ValueError(f"{len(lengths)} lengths for {len(line.phones)} phones.")
    return lengths


def _rests_before(line: Line, number: int) -> bool:
    before, after = line.syllables[number - 1].notes[-1], line.syllables[number].notes[0]
    return after.start - before.end > REST_SECONDS


def _tile(phone: int, syllable: int, start: int, lengths: Sequence[int]) -> list[Placed]:
    """Phones one after the other, each its full length."""
    placed = []
    for offset, length in enumerate(lengths):
        placed.append(Placed(phone + offset, syllable, start, start + length))
        start += length
    return placed


def _fit(begin: int, end: int, after: Sequence[int]) -> list[int]:
    """Borders of the phones that follow a vowel, its own end first, `end` last."""
    total = sum(after)
    room = end - begin - max(VOWEL_LEAST, VOWEL_SHARE * (end - begin))
    share = min(1.0, max(room, 0.0) / total) if total else 1.0
    left = end - np.cumsum([0, *(share * length for length in reversed(after))])
    return [round(border) for border in reversed(left)]
