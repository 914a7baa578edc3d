"""Phones of a word -> its syllables, by maximal onset: each begins with all that English allows.

The onsets allowed are those that begin English words (Kreidler, The Pronunciation of English).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from yue.phonemes.symbols import is_vowel

_CLUSTERS = frozenset(
    tuple(cluster.split("+"))
    for cluster in (
        "P+L P+R P+Y B+L B+R B+Y T+R T+W T+Y D+R D+W D+Y K+L K+R K+W K+Y G+L G+R G+W G+Y "
        "F+L F+R F+Y V+Y TH+R TH+W TH+Y SH+R HH+Y HH+W M+Y N+Y L+Y "
        "S+P S+T S+K S+F S+M S+N S+L S+W "
        "S+P+L S+P+R S+P+Y S+T+R S+T+Y S+K+L S+K+R S+K+W S+K+Y"
    ).split()
)
_NEVER_FIRST = "NG"


@dataclass(frozen=True)
class Syllable:
    """One sung syllable: consonants, a vowel with its stress digit, consonants."""

    onset: tuple[str, ...]
    nucleus: str
    coda: tuple[str, ...]

    @property
    def stress(self) -> int:
        """0: none, 1: primary, 2: secondary."""
        return int(self.nucleus[-1])

    @property
    def phones(self) -> tuple[str, ...]:
        """All phones in a row."""
        return (*self.onset, self.nucleus, *self.coda)


def syllables(phones: Sequence[str]) -> list[Syllable]:
    """The syllables of one word; together they hold all its phones in order.

    A word without a vowel (`'s`, `hm`) has none: the caller joins its phones to a neighbour.
    """
    nuclei = [place for place, phone in enumerate(phones) if is_vowel(phone)]
    if not nuclei:
        return []
    inner = [
        left + 1 + _cut(tuple(phones[left + 1 : right]))
        for left, right in itertools.pairwise(nuclei)
    ]
    borders = [0, *inner, len(phones)]
    return [
        Syllable(tuple(phones[start:nucleus]), phones[nucleus], tuple(phones[nucleus + 1 : end]))
        for (start, end), nucleus in zip(itertools.pairwise(borders), nuclei, strict=True)
    ]


def _cut(between: tuple[str, ...]) -> int:
    """How many of the consonants between two vowels stay with the first."""
    return next(cut for cut in range(len(between) + 1) if _begins(between[cut:]))


def _begins(onset: tuple[str, ...]) -> bool:
    if len(onset) == 1:
        return onset[0] != _NEVER_FIRST
    return not onset or onset in _CLUSTERS
