"""Letters of any script -> a-z, so that whatever is written can be pronounced somehow. Pure text.

Latin letters lose their accents. Greek and Cyrillic have a small table. Other letters are read by
their Unicode name, which for syllabic scripts is their sound (kana, hangul, Devanagari) and for
others the name of the letter (`ARABIC LETTER BEH` -> beh). What has no such name, above all
ideographs, becomes `la`. This keeps syllables to sing on; it is no reading of those languages.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

UNREADABLE = "la"
"""What is sung for a letter of which nothing is known."""

_LETTERS = dict(
    pair.split(":")
    for pair in (
        "ß:ss æ:ae œ:oe ø:o đ:d ð:th þ:th ł:l ı:i ŋ:ng ħ:h ə:a "
        "α:a β:v γ:g δ:d ε:e ζ:z η:i θ:th ι:i κ:k λ:l μ:m ν:n ξ:x ο:o π:p ρ:r σ:s ς:s τ:t υ:i "
        "φ:f χ:h ψ:ps ω:o "
        "а:a б:b в:v г:g д:d е:ye ж:zh з:z и:i к:k л:l м:m н:n о:o п:p р:r с:s т:t у:u ф:f х:h "
        "ц:ts ч:ch ш:sh щ:sh ы:i э:e ю:yu я:ya і:i ї:yi є:ye ґ:g ъ: ь:"
    ).split()
)
_NAMED = re.compile(r".*(?:LETTER|SYLLABLE|CHARACTER)(?: [A-Z]+)*? ([A-Z]+)")
_IDEOGRAPH = re.compile(
    "[\u2e80-\u2fdf\u3005-\u3007\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


def simplified(line: str) -> str:
    """A line with plain quotes, hyphens and digits, compatible characters, no stray marks."""
    line = line.translate(_PLAIN)
    if line.isascii():
        return line
    line = unicodedata.normalize("NFKC", line)
    line = "".join(char for char in line if not unicodedata.category(char).startswith("M"))
    line = "".join(
        str(unicodedata.decimal(char)) if char.isdecimal() else char for char in line
    )
    return _IDEOGRAPH.sub(lambda match: f" {match[0]} ", line)


_PLAIN = str.maketrans("‘’‚‛ʼ´`＇′‐‑–—―−", "'''''''''--    ")


def romanized(word: str) -> str:
    """A word in a-z, apostrophes and hyphens; not empty if it has a letter."""
    word = word.lower()
    if word.isascii():
        return word
    roman = "".join(map(_romanized, word))
    return roman if re.search("[a-z]", roman) else roman + UNREADABLE


@lru_cache(maxsize=4096)
def _romanized(char: str) -> str:
    if char.isascii():
        return char
    if char in _LETTERS:
        return _LETTERS[char]
    base = unicodedata.normalize("NFKD", char)[0].lower()
    if base.isascii():
        return base if base.isalpha() else ""
    if base in _LETTERS:
        return _LETTERS[base]
    named = _NAMED.fullmatch(unicodedata.name(char, ""))
    return named[1].lower() if named else UNREADABLE
