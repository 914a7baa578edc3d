"""A line of lyrics -> its words with their phones. The same text always gives the same phones.

    words("Mr. Jones, it's 3 a.m.")  ->  Mr. / Jones / it's / three / a.m.

Numbers and signs become the words that are spoken; everything else keeps its spelling. A word is
looked up; if it is unknown it is taken apart (`morphology`) or spelled by the learned letter-to-
sound model (`spelling`). Abbreviations without vowels and unknown capitals are read letter by
letter. Two spellings with two sounds (live, tear) have one fixed reading. Other scripts than
Latin: see `scripts`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache

from yue.phonemes.lexicon import Lexicon
from yue.phonemes.morphology import Phones, derived, shortened
from yue.phonemes.numerals import NUMBER, cardinal, read_number
from yue.phonemes.scripts import romanized, simplified
from yue.phonemes.spelling import Speller
from yue.phonemes.symbols import is_vowel

_LETTER = r"[^\W\d_]"
_TOKEN = re.compile(
    rf"(?P<dotted>(?:(?<!\w){_LETTER}\.){{2,}})"
    rf"|(?P<word>(?<!['-])['-]*{_LETTER}(?:{_LETTER}|['-])*)(?P<dot>\.)?"
    rf"|(?P<money>[$£€¥])?(?:{NUMBER.pattern})(?P<percent>\s?%)?"
    r"|(?P<sign>[&@%]|[+°#](?=\s?\w))",
    re.IGNORECASE,
)
_SIGNS = {"&": "and", "@": "at", "%": "percent", "+": "plus", "°": "degrees", "#": "number"}
_MONEY = {"$": "dollar", "£": "pound", "€": "euro", "¥": "yen"}
_ABBREVIATIONS = {"vs": "versus", "dr": "doctor", "jr": "junior", "sr": "senior"}
_DOTTED = {
    "st": "saint", "ft": "featuring", "feat": "featuring", "mt": "mount", "prof": "professor",
    "sgt": "sergeant", "capt": "captain", "lt": "lieutenant",
}
_CAPITALS = re.compile("[A-Z]{2,5}s?")
_LETTER_NAMES = {"a": ("EY1",)}
"""Where the lexicon's entry for a letter is another word."""
_LONGEST = 200
"""Letters of an unknown word that are read; what is longer is no word."""
_REMEMBERED = 1 << 16
"""Words whose phones are kept."""


@dataclass(frozen=True)
class Word:
    """A spoken word: its text as it stands in the line (a number: in words), and its phones."""

    text: str
    phones: Phones


class Reader:
    """Reads lines with a lexicon, and a learned model for what the lexicon does not list.

    The model is asked for only when it is needed: most lyrics do without.
    """

    def __init__(self, lexicon: Lexicon, speller: Callable[[], Speller]) -> None:
        self._lexicon, self._speller = lexicon, speller
        self._phones = lru_cache(maxsize=_REMEMBERED)(self._unremembered)

    def words(self, line: str) -> list[Word]:
        """The spoken words of a line, in order; marks without a sound are left out."""
        line = simplified(line)
        shouted = line.isupper() and any(map(str.isspace, line.strip()))
        found: list[Word] = []
        for match in _TOKEN.finditer(line):
            found += self._read(match, shouted)
        return found

    def _read(self, match: re.Match[str], shouted: bool) -> list[Word]:
        if match["dotted"]:
            return [Word(match["dotted"], self._letters(romanized(match["dotted"])))]
        if match["word"]:
            return self._hyphenated(match["word"], bool(match["dot"]), shouted)
        spoken = [_SIGNS[match["sign"]]] if match["sign"] else _number(match)
        return [Word(word, self._phones(word)) for word in spoken]

    def _hyphenated(self, word: str, dot: bool, shouted: bool) -> list[Word]:
        if "-" not in word or romanized(word) in self._lexicon:
            return [self._word(word, dot, shouted)]
        parts = [part for part in word.split("-") if part.strip("'")]
        return [self._word(part, dot and part is parts[-1], shouted) for part in parts]

    def _word(self, text: str, dot: bool, shouted: bool) -> Word:
        plain = romanized(text)
        if dot and plain in _DOTTED:
            return Word(text + ".", self._phones(_DOTTED[plain]))
        if plain in _ABBREVIATIONS:
            return Word(text, self._phones(_ABBREVIATIONS[plain]))
        if _CAPITALS.fullmatch(text) and not shouted and plain not in self._lexicon:
            many = ("Z",) if text.endswith("s") else ()
            return Word(text, self._letters(romanized(text.removesuffix("s"))) + many)
        return Word(text, self._phones(plain))

    def _unremembered(self, word: str) -> Phones:
        """The phones of one word in a-z, apostrophes and hyphens."""
        found = self._lexicon.lookup(word) or derived(word, self._lexicon.lookup)
        if found:
            return found
        letters = re.sub("[^a-z]", "", shortened(word))[:_LONGEST]
        rolled = "rr" in word  # skrrt, grrr
        if not (rolled or re.search("[aeiouy]", letters)):
            return self._letters(letters)
        phones = self._speller().spell(letters)
        if rolled and not any(map(is_vowel, phones)):
            phones = tuple("ER1" if phone == "R" else phone for phone in phones)
        return phones if any(map(is_vowel, phones)) else self._letters(letters)

    def _letters(self, word: str) -> Phones:
        """Read letter by letter, each with its own stress, as in `U S A`."""
        names = [
            _LETTER_NAMES.get(letter) or self._lexicon.lookup(letter) or ()
            for letter in word if letter.isalpha()
        ]
        return tuple(phone for name in names for phone in name)


@cache
def english() -> Reader:
    """The reader with the shipped data, read when first asked."""
    return Reader(Lexicon.shipped(), cache(Speller.shipped))


def words(line: str) -> list[Word]:
    """The spoken words of a line, in order; marks without a sound are left out."""
    return english().words(line)


def pronounce(word: str) -> Phones:
    """The phones of a word; of several, if its spelling holds several.

    Never empty for a word that has a letter or a digit. Some have no vowel (`'d`).
    """
    return tuple(phone for part in words(word) for phone in part.phones)


def _number(match: re.Match[str]) -> list[str]:
    spoken = read_number(match)
    if match["money"]:
        unit = _MONEY[match["money"]]
        point = spoken.index("point") if "point" in spoken else len(spoken)
        unit += "" if spoken[:point] == ["one"] or unit == "yen" else "s"
        cents = (match["decimals"] or "").strip("0") and cardinal(match["decimals"].lstrip("0"))
        spoken = [*spoken[:point], unit, *cents]
    return [*spoken, *(["percent"] if match["percent"] else [])]
