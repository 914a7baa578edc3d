"""What every part is handed: who sings, what, by which seed, and where results go."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from bundled.lyrics import Lyric
from bundled.singers import ModelSinger, Singer, SongbookSinger, Take

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The setting of a measurement; nothing in it depends on the lyrics' results."""

    generated: Singer
    songbook: SongbookSinger
    lyrics: Sequence[Lyric]
    out: Path
    model: str
    """The model's name or directory."""
    seed: int = 0
    few: int = 10
    """Lyrics of the parts that sing each of them several times."""
    lines: int = 60
    genres: Sequence[str] = ("ballad", "electronic", "folk", "jazz", "metal", "reggae")
    training_songs: int = 40
    """Of each genre, for the classifier."""
    progressive: Sequence[ModelSinger] = field(default_factory=tuple)
    all_first: Sequence[ModelSinger] = field(default_factory=tuple)

    @property
    def some(self) -> list[Lyric]:
        """`few` lyrics, spread evenly over all of them."""
        step = max(1, len(self.lyrics) // max(1, self.few))
        return list(self.lyrics[::step][: self.few])

    def both(self, lyric: Lyric, **knobs: Any) -> tuple[Take, Take]:
        """A lyric by the model and by the songbook."""
        return (self.generated.sing(lyric, seed=self.seed, **knobs),
                self.songbook.sing(lyric, seed=self.seed))


def told(items: Iterable[Item], what: str) -> Iterator[Item]:
    """The items, counted on stderr."""
    listed = list(items)
    for number, item in enumerate(listed, 1):
        print(f"\r{what} {number}/{len(listed)}", end="", file=sys.stderr, flush=True)
        yield item
    print(file=sys.stderr)
