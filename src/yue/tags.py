"""The words that describe a song, as one id each: which there are, and how people also say them.

A small model hears a word only if songs were made for it, so the list holds what the songbook makes
audible, in its own words, each with everyday synonyms. Words in no entry have no id; `TagList.read`
names them, so that a caller can say so.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

Entry = tuple[str, ...]
"""A tag and its synonyms."""

_SOUNDS = """
pop
rock: indie rock, punk, punk rock, classic rock, alternative rock, hard rock, grunge
ballad: power ballad
electronic: edm, electro, dance, house, techno, trance, eurodance, synthpop, electronica
jazz: swing, big band
folk: singer-songwriter, americana, indie folk
hip-hop: hiphop, rap, trap
country: bluegrass
reggae: dancehall, ska, dub
r&b: rnb, r and b, soul
metal: heavy metal, death metal, thrash metal, power metal
funk: funky
disco

piano: grand piano
keyboard: keyboards, keys
electric piano: rhodes
organ: hammond
synthesizer: synth, synthesizers, synths
synth bass
808 bass: 808
bass: bass guitar, upright bass, double bass
guitar: guitars
electric guitar: electricguitar, distorted guitar
acoustic guitar: acousticguitar, acoustic
banjo
strings: string, orchestra, orchestral
fiddle: violin
saxophone: sax
brass: horns, horn, trumpet
drums: drum, drum kit
drum machine
beats: beat
percussion: shaker

happy: joyful, cheerful, fun
uplifting: inspiring, positive, motivational
energetic: upbeat, fast, lively, exciting, fast-paced
romantic: love, tender, romance
calm: relaxed, relaxing, peaceful, slow, soothing, gentle, chill
hopeful: optimistic
dark: gloomy, ominous
intense: powerful, aggressive, angry, dramatic, epic
rebellious: defiant
sad: heartbroken, sorrowful
melancholic: melancholy, nostalgic, longing, wistful
introspective: reflective, thoughtful, pensive

male: man, men, boy, masculine
female: woman, women, girl, feminine
child: kid, children, childlike
vocal: vocals, voice, singing, singer, sung
rapping: rapper, rapped

deep vocal: low vocal, low-pitched vocal
baritone vocal: baritone
bass vocal
dark vocal
tenor vocal: tenor
clear vocal: crisp vocal, pure vocal
full vocal: full-bodied vocal, strong vocal, powerful vocal
bright vocal
soft vocal: gentle vocal
airy vocal: breathy vocal, whispery vocal
high-pitched vocal: high vocal
mellow vocal
warm vocal
rich vocal
smooth vocal: velvety vocal, velvet vocal
thin vocal: light vocal
youthful vocal: young vocal
"""

TAGS: tuple[Entry, ...] = tuple(
    (tag.strip(), *(synonym.strip() for synonym in synonyms.split(",") if synonym.strip()))
    for tag, _, synonyms in (line.partition(":") for line in _SOUNDS.splitlines() if line.strip())
)
"""Genres, instruments, moods, voices, timbres: the tag as the songbook writes it, then synonyms."""

_VOICE = " vocal"
_BORDER = re.compile(r"[,;|/\n]")


class TagList:
    """Reads tags by a list of entries; the number of a tag is the place of its entry.

    Case, hyphens and commas make no difference. A timbre may stand without the word vocal (`warm`)
    where that is no tag of its own.
    """

    def __init__(self, entries: Sequence[Sequence[str]] = TAGS) -> None:
        self.entries: tuple[Entry, ...] = tuple(map(tuple, entries))
        self._numbers: dict[tuple[str, ...], int] = {}
        for end in ("", _VOICE):
            for number, entry in enumerate(self.entries):
                for tag in entry:
                    self._numbers.setdefault(_words(tag.removesuffix(end)), number)
        self._longest = max(map(len, self._numbers), default=0)

    def read(self, text: str) -> tuple[list[int], list[str]]:
        """Numbers of the tags in a text, the longest where several begin; and unknown words."""
        numbers: list[int] = []
        unknown: list[str] = []
        for piece in _BORDER.split(text):
            words = _words(piece)
            while words:
                size = self._size(words)
                if size:
                    numbers.append(self._numbers[words[:size]])
                else:
                    unknown.append(words[0])
                words = words[max(size, 1) :]
        return numbers, unknown

    def _size(self, words: tuple[str, ...]) -> int:
        """How many words the first tag has; 0 if none begins here."""
        sizes = range(self._longest, 0, -1)
        return next((size for size in sizes if words[:size] in self._numbers), 0)


def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[^\s\-_]+", unicodedata.normalize("NFKC", text).casefold()))
