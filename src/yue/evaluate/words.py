"""Words and phones against what was asked for: error rates, times, and which sections were sung.

In go two sequences of tokens, the asked and the heard: words, characters or phones; where the heard
ones come from is not known here (`recognise.py` hears phones). An error rate is substitutions plus
deletions plus insertions over the number of asked tokens (Levenshtein); it may exceed 1. Nothing
asked has no rate (`None`).

Text becomes tokens by the mixed rule: a Chinese, Japanese or Korean character is a token, and so is
a word of any other script; case, punctuation and section labels do not count. On spaced scripts
that is WER, on Chinese, Japanese and Korean CER; on phones the rate is PER.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from yue.lyrics import parse

VERSION = 1
BIN = 30.0
"""Seconds over which errors are counted together."""

_CJK = "぀-ヿㇰ-ㇿ㐀-䶿一-鿿가-힯豈-﫿ｦ-ﾟ𠀀-𯨟々"
_TOKEN = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+(?:'[^\W_{_CJK}]+)*")
_APOSTROPHES = str.maketrans("’ʼ‘`", "''''")


@dataclass(frozen=True)
class Edits:
    """What turns the asked tokens into the heard ones, and how many were asked for."""

    substitutions: int
    deletions: int
    insertions: int
    asked: int

    @property
    def errors(self) -> int:
        """All edits."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float | None:
        """Errors per asked token; `None` if nothing was asked for."""
        return self.errors / self.asked if self.asked else None

    def __add__(self, other: Edits) -> Edits:
        return Edits(
            self.substitutions + other.substitutions, self.deletions + other.deletions,
            self.insertions + other.insertions, self.asked + other.asked,
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "rate": self.rate, "substitutions": self.substitutions, "deletions": self.deletions,
            "insertions": self.insertions, "asked": self.asked,
        }


def tokens(text: str) -> list[str]:
    """Words, and single Chinese, Japanese and Korean characters, without case and punctuation."""
    plain = unicodedata.normalize("NFKC", text.translate(_APOSTROPHES)).casefold()
    return _TOKEN.findall(plain)


def is_latin(text: str) -> bool:
    """Whether most letters of a text are Latin; not for a text without letters."""
    letters = [letter for letter in text if letter.isalpha()]
    latin = sum("LATIN" in unicodedata.name(letter, "") for letter in letters)
    return latin > len(letters) / 2


def characters(text: str) -> list[str]:
    """The characters of the tokens."""
    return list("".join(tokens(text)))


def section_tokens(lyrics: str) -> list[list[str]]:
    """The tokens of each section of lyrics that has words. Labels are not sung."""
    found = [tokens(section.text) for section in parse(lyrics).sections]
    return [section for section in found if section]


def distance(asked: Sequence[str], heard: Sequence[str]) -> int:
    """The least number of edits (Levenshtein)."""
    return int(free_costs(asked, heard, free_start=False)[-1])


def align(asked: Sequence[str], heard: Sequence[str]) -> list[tuple[int | None, int | None]]:
    """Pairs of places in `asked` and `heard`, in order; `None` where one has no partner.

    A path of the least number of edits; among equal ones it keeps pairs rather than gaps.
    """
    one, two = _numbered(asked, heard)
    table = np.stack(list(_rows(one, two, free_start=False)))
    i, j = len(one), len(two)
    path: list[tuple[int | None, int | None]] = []
    while i or j:
        here = table[i, j]
        if i and j and here == table[i - 1, j - 1] + (one[i - 1] != two[j - 1]):
            i, j = i - 1, j - 1
            path.append((i, j))
        elif i and here == table[i - 1, j] + 1:
            i -= 1
            path.append((i, None))
        else:
            j -= 1
            path.append((None, j))
    return path[::-1]


def edits(asked: Sequence[str], heard: Sequence[str]) -> Edits:
    """Substitutions, deletions and insertions of a best alignment."""
    path = align(asked, heard)
    return Edits(
        sum(i is not None and j is not None and asked[i] != heard[j] for i, j in path),
        sum(j is None for _, j in path), sum(i is None for i, _ in path), len(asked),
    )


def text_errors(asked: str, heard: str) -> Edits:
    """WER, CER or the mix of both, by the rule of this module; both texts may carry labels."""
    return edits(list(chain.from_iterable(section_tokens(asked))), tokens(heard))


def free_costs(
    asked: Sequence[str], heard: Sequence[str], *, free_start: bool = True
) -> np.ndarray:
    """Edits from all of `asked` to the best part of `heard` that ends at 0, 1, ...: `(heard + 1,)`.

    The part begins anywhere, or with `free_start` false at the first of `heard`.
    """
    for row in _rows(*_numbered(asked, heard), free_start=free_start):
        last = row
    return last


def picked(heard: Sequence[str], candidates: Sequence[Sequence[str]], own: int) -> float:
    """1 if `candidates[own]` is nearest to what was heard; a share of it on a tie; 0 if not.

    Over many lines the mean is the share found, and 1 / len(candidates) is chance.
    """
    far = [distance(candidate, heard) for candidate in candidates]
    return (far[own] == min(far)) / far.count(min(far))


def _numbered(asked: Sequence[str], heard: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Both sequences as int arrays; equal tokens, equal numbers."""
    number: dict[str, int] = {}
    one, two = ([number.setdefault(each, len(number)) for each in side] for side in (asked, heard))
    return np.array(one, dtype=np.int64), np.array(two, dtype=np.int64)


def _rows(asked: np.ndarray, heard: np.ndarray, *, free_start: bool) -> Iterator[np.ndarray]:
    """Rows of the edit table, `(heard + 1,)` after 0, 1, ... asked tokens.

    With `free_start` what was heard before the first asked token costs nothing.
    """
    steps = np.arange(len(heard) + 1)
    row = np.zeros_like(steps) if free_start else steps.copy()
    yield row
    for token in asked:
        best = row + 1
        best[1:] = np.minimum(best[1:], row[:-1] + (heard != token))
        # Insertions run along the row: a running minimum after the slope is taken out.
        row = np.minimum.accumulate(best - steps) + steps
        yield row
