"""English text -> phones: what the bundled model reads instead of letters.

In goes a line of lyrics as people write it; out come its words with ARPAbet phones (vowels carry a
stress digit), and syllables of those. A shipped dictionary and a small learned model for what it
does not list; no system package, no network. No token ids, no songs here.
"""

from yue.phonemes.reading import Word, pronounce, words
from yue.phonemes.syllables import Syllable, syllables
from yue.phonemes.symbols import CONSONANTS, PHONES, STRESSES, SYMBOLS, VOWELS, is_vowel

__all__ = [
    "CONSONANTS", "PHONES", "STRESSES", "SYMBOLS", "VOWELS", "Syllable", "Word", "is_vowel",
    "pronounce", "syllables", "words",
]
