"""The words that songs are made of: a broad list by frequency, drawn so that all sounds occur.

`words.txt.xz` holds SCOWL's three most frequent bands as far as the lexicon knows them
(`scripts/make-words`; licence in WORDS-LICENSE). Knows phones and rhymes, no grammar.
"""

from __future__ import annotations

import lzma
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from yue.phonemes import pronounce
from yue.phonemes.symbols import is_vowel

WORDS_FILE = Path(__file__).with_name("words.txt.xz")

BANDS = {10: 1.0, 20: 0.5, 35: 0.2}
"""SCOWL's bands, and how often a word of each is drawn: about the root of its frequency."""

RARE = {"OY": 5.0, "ZH": 8.0, "UH": 1.5, "TH": 1.5}
"""Phones that English rarely uses, and how much oftener words with them are drawn."""

ABUSE = re.compile(
    r"^(?:(?:bull|chicken|horse)?shit|\w*fuck|cunt|nigg|fag|whor|slut|bitch|bastard|wank|twat|piss|"
    r"cocks?$|cocksuck|dicks?$|dickhead|puss(?:y|ies)$|penis|vagin|clitor|dildo|orgas|porn|rape[sd]?$|"
    r"raping|rapist|incest|pa?edo|molest|genocid|nazi|holocaust|lynch|negro|kike|spics?$|gook|chink|"
    r"coons?$|dykes?$|queer|trann(?:y|ies)|retard|crippl|moron|imbecil|cretin|suicid|masturb|"
    r"ejaculat|erect|semen|sperm|testic|scrot|anus|anal$|rect(?:um|al)|turd|crap(?:s|py)?$|fart(?!h)|"
    r"urin|fa?ec(?:es|al)|excre|vomit|puke|hooker|prostit|brothel|pimps?$|sodom|bugger|bollock|"
    r"arses?$|ass(?:es|hole)?$|tits?$|titt(?:y|ies)|boob|nipple|horny|\w*sex(?!t)|\w*damn|terroris|"
    r"(?:man)?slaughter|murder|massacr|tortur|behead|abort(?!iv)|heroin$|cocaine|racis|savag|heathen)"
)
"""Words that no song should be made of by chance: abuse, bodies, cruelty."""


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Words with their phones, how likely each is drawn, and which of them rhyme."""

    words: tuple[str, ...]
    phones: tuple[tuple[str, ...], ...]
    ladder: np.ndarray
    """Cumulative probabilities (n,)."""
    rhymes: dict[tuple[str, ...], tuple[int, ...]]

    def draw(self, rng: np.random.Generator, count: int) -> list[str]:
        """`count` words, common ones and those with rare phones oftener."""
        return [self.words[place] for place in np.searchsorted(self.ladder, rng.random(count))]

    def rhyming(self, word: str) -> list[str]:
        """Words that rhyme with a word, not counting itself."""
        places = self.rhymes.get(rhyme_part(pronounce(word)), ())
        return [self.words[place] for place in places if self.words[place] != word]


def load_vocabulary() -> Vocabulary:
    """Read the list and look up all phones: about .2 s, so once per process."""
    weights = {}
    for line in lzma.decompress(WORDS_FILE.read_bytes()).decode("ascii").splitlines():
        band, *members = line.split()
        weights.update(dict.fromkeys(members, BANDS[int(band)]))
    words = tuple(weights)
    phones = tuple(tuple(pronounce(word)) for word in words)
    chances = np.array([weights[w] * _boost(p) for w, p in zip(words, phones, strict=True)])
    ladder = np.cumsum(chances / chances.sum())
    ladder[-1] = 1.0
    return Vocabulary(words, phones, ladder, _by_rhyme(phones))


def rhyme_part(phones: Iterable[str]) -> tuple[str, ...]:
    """Everything from the last stressed vowel on (any vowel if none is), without stress."""
    phones = tuple(phones)
    vowels = [place for place, phone in enumerate(phones) if is_vowel(phone)]
    stressed = [place for place in vowels if phones[place][-1] in "12"]
    start = (stressed or vowels or [0])[-1]
    return tuple(phone.rstrip("012") for phone in phones[start:])


def _boost(phones: Iterable[str]) -> float:
    return max((RARE.get(phone.rstrip("012"), 1.0) for phone in phones), default=1.0)


def _by_rhyme(phones: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], tuple[int, ...]]:
    places: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, word in enumerate(phones):
        places[rhyme_part(word)].append(place)
    return {part: tuple(found) for part, found in places.items()}
