"""Letters -> phones for words that no dictionary lists: a joint n-gram model with back-off.

A word is a row of graphones: a letter with the 0 to 2 phones that it stands for (`x:K+S`, a silent
`e:`). The model knows how likely a graphone is after up to six others; the best row for a word's
letters is found by beam search, with one primary stress per word. Costs are whole numbers, so that
every machine finds the same phones. Learned from CMUdict by `yue.phonemes.learn`.
(Bisani and Ney 2008, Joint-sequence models for grapheme-to-phoneme conversion.)
"""

from __future__ import annotations

import heapq
import lzma
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from yue.phonemes.symbols import is_vowel

MODEL_FILE = Path(__file__).with_name("spelling.txt.xz")

Graphone = tuple[str, ...]
"""A letter, then its phones."""

START, END = "^", "$"
FIRST_SYMBOL = 0x100
"""Graphone i is written as the character with this number plus i, a row of them as a string."""
ORDER = 7
"""Graphones per n-gram."""
PARTS_PER_NAT = 4
"""Costs are -log p in these parts."""
_BEAM = 24
_UNKNOWN = 12 * PARTS_PER_NAT
"""The cost of a graphone that was never seen."""
_UNSTRESSED = 10 * PARTS_PER_NAT
"""The cost of a word without primary stress."""

_Choice = tuple[str, int]
"""A graphone's symbol and how many primary stresses it holds."""


@dataclass(frozen=True)
class Speller:
    """A learned model: graphones, and by n-gram (a string of symbols) its cost and back-off."""

    graphones: tuple[Graphone, ...]
    costs: Mapping[str, int]
    backoffs: Mapping[str, int]

    @cached_property
    def _choices(self) -> dict[str, list[_Choice]]:
        """By letter: the graphones that it may begin."""
        choices: dict[str, list[_Choice]] = {}
        for number, (letter, *phones) in enumerate(self.graphones):
            stressed = sum(phone.endswith("1") for phone in phones)
            choices.setdefault(letter, []).append((chr(FIRST_SYMBOL + number), stressed))
        return choices

    @classmethod
    def shipped(cls) -> Speller:
        """The model learned from all of CMUdict, from the package."""
        return cls.loads(lzma.decompress(MODEL_FILE.read_bytes()).decode())

    @classmethod
    def loads(cls, text: str) -> Speller:
        """The model that `dumps` wrote."""
        header, *lines = text.splitlines()
        costs, backoffs = {}, {}
        for line in lines:
            ngram, cost, *backoff = line.split(" ")
            costs[ngram] = int(cost)
            if backoff:
                backoffs[ngram] = int(backoff[0])
        return cls(tuple(map(_read_graphone, header.split(" "))), costs, backoffs)

    def dumps(self) -> str:
        """One line of graphones, then `n-gram cost [back-off]` per line."""
        header = " ".join(f"{letter}:{'+'.join(phones)}" for letter, *phones in self.graphones)
        return "\n".join([header, *self._lines()]) + "\n"

    def _lines(self) -> Iterator[str]:
        for ngram, cost in sorted(self.costs.items()):
            backoff = self.backoffs.get(ngram, 0)
            yield f"{ngram} {cost} {backoff}" if backoff else f"{ngram} {cost}"

    def spell(self, word: str) -> tuple[str, ...]:
        """The likeliest phones of a word in a-z; letters that were never learned are silent."""
        beam = {(START, 0): (0, "")}  # (last graphones, primary stresses) -> (cost, all graphones)
        for letter in word:
            if choices := self._choices.get(letter):
                beam = dict(heapq.nsmallest(_BEAM, self._step(beam, choices).items(), key=_rank))
        ends = (
            (cost + self._cost(history, END) + (0 if stressed else _UNSTRESSED), row)
            for (history, stressed), (cost, row) in beam.items()
        )
        row = min(ends)[1]
        phones = [p for symbol in row for p in self.graphones[ord(symbol) - FIRST_SYMBOL][1:]]
        return _stressed(phones)

    def _step(
        self, beam: Mapping[tuple[str, int], tuple[int, str]], choices: list[_Choice]
    ) -> dict[tuple[str, int], tuple[int, str]]:
        """All rows of the beam with each graphone behind them, the best one of every state."""
        longer: dict[tuple[str, int], tuple[int, str]] = {}
        for (history, stressed), (cost, row) in beam.items():
            for symbol, stresses in choices:
                if stressed + stresses > 1:
                    continue
                state = ((history + symbol)[1 - ORDER :], stressed + stresses)
                new = (cost + self._cost(history, symbol), row + symbol)
                if state not in longer or new < longer[state]:
                    longer[state] = new
        return longer

    def _cost(self, history: str, symbol: str) -> int:
        """-log p of a graphone after others, by the longest history that was kept."""
        total = 0
        while True:
            cost = self.costs.get(history + symbol)
            if cost is not None:
                return total + cost
            if not history:
                return total + _UNKNOWN
            total += self.backoffs.get(history, 0)
            history = history[1:]


def _rank(item: tuple[tuple[str, int], tuple[int, str]]) -> tuple[int, str]:
    return item[1]


def _read_graphone(text: str) -> Graphone:
    letter, phones = text.split(":")
    return (letter, *filter(None, phones.split("+")))


def _stressed(phones: list[str]) -> tuple[str, ...]:
    """With a primary stress on the first vowel if there is none."""
    vowels = [place for place, phone in enumerate(phones) if is_vowel(phone)]
    if vowels and not any(phone.endswith("1") for phone in phones):
        phones[vowels[0]] = phones[vowels[0]][:-1] + "1"
    return tuple(phones)
