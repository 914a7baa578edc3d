"""A line of text -> its sung syllables, each phone of the front end in exactly one of them."""

from __future__ import annotations

from yue.phonemes import syllables as split
from yue.phonemes import words
from yue.songbook.score import Line, Syllable


def syllabify(text: str, section: int = 0) -> Line:
    """The line's words and syllables, without notes yet.

    Words without a vowel ('s, hm) join the syllable before them, or the one after; a line that
    has no vowel at all is one syllable whose last phone is held.
    """
    spoken = words(text)
    found: list[Syllable] = []
    waiting: tuple[str, ...] = ()
    for number, word in enumerate(spoken):
        parts = split(word.phones)
        if not parts and found:
            found[-1] = _longer(found[-1], word.phones)
        elif not parts:
            waiting += tuple(word.phones)
        for part in parts:
            found.append(Syllable(waiting + part.phones, len(waiting + part.onset), number))
            waiting = ()
    if waiting:
        found.append(Syllable(waiting, len(waiting) - 1, 0))
    return Line(text, section, tuple(word.text for word in spoken), tuple(found))


def _longer(syllable: Syllable, phones: tuple[str, ...]) -> Syllable:
    return Syllable(syllable.phones + tuple(phones), syllable.nucleus, syllable.word)
