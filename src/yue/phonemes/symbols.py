"""The sounds of English in ARPAbet: 39 phones, vowels with a stress digit. Pure data."""

from __future__ import annotations

VOWELS = tuple("AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW".split())
CONSONANTS = tuple("B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH".split())

PHONES = tuple(sorted(VOWELS + CONSONANTS))
"""The 39 phones without stress, in the order of CMUdict (alphabetical)."""

STRESSES = "012"
"""0: none, 1: primary, 2: secondary; the last character of every vowel in use."""

SYMBOLS = tuple(
    symbol
    for phone in PHONES
    for symbol in ([phone + stress for stress in STRESSES] if phone in VOWELS else [phone])
)
"""All that `pronounce` yields: consonants, and each vowel with each stress (69)."""

_VOWELS = frozenset(VOWELS)


def is_vowel(phone: str) -> bool:
    """Whether a phone, with or without a stress digit, is a vowel."""
    return phone.rstrip(STRESSES) in _VOWELS
