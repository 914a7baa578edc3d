"""The lyrics that are sung and their tags: reading them, and the variants that the parts ask for.

In goes a folder of NN.txt and NN.tags; out come `Lyric` values. Tags are plain text, as a user
writes them; what they say about genre and gender is read by the package's own tag list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from yue.errors import FileError
from yue.evaluate.completeness import asked_words
from yue.lyrics import Section, parse
from yue.songbook.genres import GENRES
from yue.tags import TAGS, TagList

GENDERS = ("male", "female", "child")
DEFAULT_GENRE = "pop"
FOUR = 4
"""Sections of a song with verse, chorus, verse, chorus."""


@dataclass(frozen=True)
class Lyric:
    """Words to sing, in sections, and the tags to sing them by."""

    name: str
    sections: tuple[Section, ...]
    tags: str

    @property
    def text(self) -> str:
        """As a user would write it."""
        return "\n\n".join(f"[{part.label}]\n{part.text}" for part in self.sections)

    @property
    def phones(self) -> list[list[str]]:
        """The phones asked for, without stress, per section."""
        found: list[list[str]] = [[] for _ in self.sections]
        for word in asked_words([part.text for part in self.sections]):
            found[word.section] += word.phones
        return found

    @property
    def asked(self) -> list[str]:
        """All phones asked for, in order."""
        return [phone for section in self.phones for phone in section]

    @property
    def gender(self) -> str:
        """What the tags say, female if nothing."""
        return next((tag for tag in read_tags(self.tags) if tag in GENDERS), "female")

    @property
    def genre(self) -> str:
        """The first genre among the tags that the songbook knows, pop if none."""
        return next((tag for tag in read_tags(self.tags) if tag in GENRES), DEFAULT_GENRE)

    def tagged(self, tags: str) -> Lyric:
        """The same words by other tags."""
        return replace(self, tags=tags)


def read_lyrics(folder: Path) -> list[Lyric]:
    """The lyrics of a folder by name. Raises `FileError` if there are none."""
    paths = sorted(folder.glob("*.txt"))
    found = [path for path in paths if path.with_suffix(".tags").is_file()]
    if not found:
        raise FileError(f"{folder} holds no NAME.txt with a NAME.tags beside it.")
    return [
        Lyric(path.stem, parse(path.read_text("utf-8")).sections,
              path.with_suffix(".tags").read_text("utf-8").strip())
        for path in found
    ]


def read_tags(tags: str) -> list[str]:
    """The tags that the package knows, as the songbook writes them."""
    return [TAGS[number][0] for number in TagList().read(tags)[0]]


def regendered(tags: str, gender: str) -> str:
    """The tags with another gender."""
    kept = [word for word in tags.split() if not set(read_tags(word)) & set(GENDERS)]
    return " ".join([*kept, gender])


def single_lines(lyrics: Sequence[Lyric], count: int, seed: int) -> list[Lyric]:
    """Different lines drawn from the lyrics, each as a verse of its own."""
    lines = {
        line.strip(): lyric for lyric in lyrics for part in lyric.sections
        for line in part.text.splitlines() if line.strip()
    }
    texts = list(lines)
    drawn = np.random.default_rng(seed).permutation(len(texts))[:count]
    return [
        Lyric(f"line-{place:03d}", (Section("verse", texts[place]),), lines[texts[place]].tags)
        for place in sorted(drawn.tolist())
    ]
