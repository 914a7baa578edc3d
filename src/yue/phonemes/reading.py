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
from dataclasses import dataclass
from functools import lru_cache

from yue.phonemes.lexicon import known, lookup
from yue.phonemes.morphology import derived, shortened
from yue.phonemes.numerals import NUMBER, cardinal, read_number
from yue.phonemes.scripts import romanized, simplified
from yue.phonemes.spelling import spell
from yue.phonemes.symbols import is_vowel

_LETTER = r"[^\W\d_]"
_TOKEN = re.compile(
    rf"(?P<dotted>(?:(?<!\w){_LETTER}\.){{2,}})"
    rf"|(?P<word>['-]*{_LETTER}(?:{_LETTER}|['-])*)(?P<dot>\.)?"
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
_LONGEST_CAPITALS = 5
_LETTER_NAMES = {"a": ("EY1",)}
"""Where the lexicon's entry for a letter is another word."""


@dataclass(frozen=True)
class Word:
    """A spoken word: its text as it stands in the line (a number: in words), and its phones."""

    text: str
    phones: tuple[str, ...]


def words(line: str) -> list[Word]:
    """The spoken words of a line, in order; marks without a sound are left out."""
    line = simplified(line)
    shouted = line.isupper() and any(map(str.isspace, line.strip()))
    found: list[Word] = []
    for match in _TOKEN.finditer(line):
        found += _read(match, shouted)
    return found


def pronounce(word: str) -> tuple[str, ...]:
    """The phones of a word; of several, if its spelling holds several.

    Never empty for a word that has a letter or a digit. Some have no vowel (`pst`, `'d`).
    """
    return tuple(phone for part in words(word) for phone in part.phones)


def _read(match: re.Match[str], shouted: bool) -> list[Word]:
    if match["dotted"]:
        return [Word(match["dotted"], _letters(romanized(match["dotted"])))]
    if match["word"]:
        return _hyphenated(match["word"], bool(match["dot"]), shouted)
    spoken = [_SIGNS[match["sign"]]] if match["sign"] else _number(match)
    return [Word(word, _phones(word)) for word in spoken]


def _number(match: re.Match[str]) -> list[str]:
    spoken = read_number(match)
    if match["money"]:
        unit = _MONEY[match["money"]]
        point = spoken.index("point") if "point" in spoken else len(spoken)
        unit += "" if spoken[:point] == ["one"] or unit == "yen" else "s"
        cents = (match["decimals"] or "").strip("0") and cardinal(match["decimals"].lstrip("0"))
        spoken = [*spoken[:point], unit, *cents]
    return [*spoken, *(["percent"] if match["percent"] else [])]


def _hyphenated(word: str, dot: bool, shouted: bool) -> list[Word]:
    whole = romanized(word)
    if "-" not in word or known(whole):
        return [_word(word, dot, shouted)]
    parts = [part for part in word.split("-") if part.strip("'")]
    return [_word(part, dot and part is parts[-1], shouted) for part in parts]


def _word(text: str, dot: bool, shouted: bool) -> Word:
    plain = romanized(text)
    if dot and plain in _DOTTED:
        return Word(text + ".", _phones(_DOTTED[plain]))
    if plain in _ABBREVIATIONS:
        return Word(text, _phones(_ABBREVIATIONS[plain]))
    capitals = plain.isalpha() and text.isupper() and 1 < len(text) <= _LONGEST_CAPITALS
    if capitals and not shouted and not known(plain):
        return Word(text, _letters(plain))
    if re.fullmatch("[A-Z]{2,5}s", text) and not known(plain):
        return Word(text, (*_letters(plain[:-1]), "Z"))
    return Word(text, _phones(plain))


@lru_cache(maxsize=1 << 16)
def _phones(word: str) -> tuple[str, ...]:
    """The phones of one word in a-z, apostrophes and hyphens."""
    found = lookup(word) or derived(word)
    if found:
        return found
    letters = re.sub("[^a-z]", "", shortened(word))
    if not re.search("[aeiouy]", letters):
        return _letters(letters)
    phones = spell(letters)
    return phones if any(map(is_vowel, phones)) else _letters(letters)


def _letters(word: str) -> tuple[str, ...]:
    """Read letter by letter; the last keeps its stress, as in `U S A`."""
    names = [
        _LETTER_NAMES.get(letter) or lookup(letter) or ()
        for letter in word if letter.isalpha()
    ]
    return tuple(phone for name in names for phone in name)
