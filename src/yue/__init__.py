"""YuE: lyrics and genre tags to a whole song, with stems.

    import yue

    model = yue.load()
    song = model.sing(lyrics, genres="uplifting pop female airy vocal", seed=7)
    song.save("song.flac")

Names are loaded on first use: `import yue` alone costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOMES = {
    "Audio": "audio",
    "CapacityError": "errors",
    "Codes": "draft",
    "ComposeOptions": "options",
    "Draft": "draft",
    "Interrupted": "errors",
    "Lyrics": "lyrics",
    "ModelSpec": "hub",
    "Reference": "reference",
    "RenderOptions": "options",
    "Section": "lyrics",
    "Song": "song",
    "Vocabulary": "vocab",
    "Yue": "pipeline",
    "YueError": "errors",
    "load": "pipeline",
    "parse": "lyrics",
}

__all__ = [
    "Audio", "CapacityError", "Codes", "ComposeOptions", "Draft", "Interrupted", "Lyrics",
    "ModelSpec", "Reference", "RenderOptions", "Section", "Song", "Vocabulary", "Yue", "YueError",
    "load", "parse",
]

if TYPE_CHECKING:
    from yue.audio import Audio
    from yue.draft import Codes, Draft
    from yue.errors import CapacityError, Interrupted, YueError
    from yue.hub import ModelSpec
    from yue.lyrics import Lyrics, Section, parse
    from yue.options import ComposeOptions, RenderOptions
    from yue.pipeline import Yue, load
    from yue.reference import Reference
    from yue.song import Song
    from yue.vocab import Vocabulary


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"yue.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'yue' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
