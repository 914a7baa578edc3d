"""A folder of recordings -> the songs in it: which files belong together. Reads no contents.

    NAME.wav                    a song; also .flac, .mp3, .ogg, in any folder below
    NAME.vocals.wav             its stems, if there are any, beside it ...
    NAME.accompaniment.wav
    NAME/vocals.wav             ... or in a folder of its name, with or without NAME/mix.wav
    NAME/accompaniment.wav
    NAME.txt                    lyrics, with or without labels such as [verse]
    NAME.lrc                    lyrics with times
    NAME.json                   facts: tags, sections, language, licence, ... (`given.from_json`)

A song of stems alone is their sum. `instrumental` and `no_vocals` are other words for the
accompaniment, `mixture` for the mix. A song's id is its path without the suffix.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from yue.audio import FORMATS
from yue.data.records import MIX, RECORDED
from yue.errors import FileError
from yue.files import PathLike
from yue.vocab import TRACKS

TEXTS = {".txt": "text", ".lrc": "lrc", ".json": "facts"}
"""Suffixes of the files beside a song, and what they are to it."""

_ROLES = {
    **{track: track for track in RECORDED},
    "mixture": MIX, "instrumental": "accompaniment", "no_vocals": "accompaniment",
}


@dataclass(frozen=True)
class Source:
    """The files of one song by their role: mix, vocals, accompaniment, text, lrc, facts."""

    id: str
    files: dict[str, str]


@dataclass(frozen=True)
class Found:
    """The songs of a folder in order of their ids, and files left out, with the reason."""

    songs: tuple[Source, ...]
    left_out: dict[str, str] = field(default_factory=dict)


def scan(folder: PathLike) -> Found:
    """What lies in a folder and below. Raises `FileError` if it is none or holds no song."""
    root = Path(folder)
    if not root.is_dir():
        raise FileError(f"{root} is no folder.")
    songs: dict[str, dict[str, str]] = defaultdict(dict)
    texts: list[tuple[str, str, Path]] = []
    left_out: dict[str, str] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if any(part.startswith(".") for part in path.relative_to(root).parts):
            continue
        suffix = path.suffix.lower()
        if suffix in TEXTS and path.is_file():
            texts.append((name[: -len(suffix)], TEXTS[suffix], path))
        elif suffix in FORMATS and path.is_file():
            song, role = _place(path.relative_to(root))
            if role in songs[song]:
                left_out[name] = f"{song} has another {role}: {songs[song][role]}"
            songs[song].setdefault(role, str(path))
    for song, role, path in texts:
        if song in songs:
            songs[song][role] = str(path)
        elif role != "facts":
            left_out[path.relative_to(root).as_posix()] = "lyrics without a recording"
    for song, files in list(songs.items()):
        if MIX not in files and not all(track in files for track in TRACKS):
            left_out[next(iter(files.values()))] = "a stem alone: its mix or the other is missing"
            del songs[song]
    if not songs:
        kinds = ", ".join(FORMATS)
        raise FileError(f"{root} holds no recordings: files that end in {kinds} are looked for.")
    return Found(tuple(Source(song, songs[song]) for song in sorted(songs)), left_out)


def _place(path: Path) -> tuple[str, str]:
    """The song that an audio file belongs to, and its role there."""
    stem = path.with_suffix("")
    dotted = stem.suffix.removeprefix(".").casefold()
    if dotted in _ROLES:
        return stem.with_suffix("").as_posix(), _ROLES[dotted]
    role = _ROLES.get(stem.name.casefold())
    if role and path.parent != Path():
        return path.parent.as_posix(), role
    return stem.as_posix(), MIX
