"""A folder of songs -> what belongs to each song, and its contents as one `Work`.

    NAME.flac                                  the mix (wav, flac, mp3, ogg, ...)
    NAME.vocals.flac, NAME.accompaniment.flac  stems, as `yue sing --stems` writes them
    NAME.txt                                   the lyrics asked for
    NAME.tags                                  the tags asked for, if no manifest has them
    NAME.json                                  the manifest: sections (or parts, as the songbook
                                               writes them) with label, start, end, text
    NAME.sections.json                         sections as they should be: label, start, end
    NAME.f0.npy, NAME.f0.csv                   f0 of the vocals by another extractor

All but one sound is optional; without a mix it is the sum of the stems. Folders inside are looked
into. A song is known by its path in the folder, without suffix.
"""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from yue.audio import Audio
from yue.errors import AudioError, FileError
from yue.evaluate import f0, structure
from yue.evaluate.measure import Work
from yue.files import PathLike, read_json
from yue.lyrics import decode, parse
from yue.vocab import TRACKS

VERSION = 3
SUFFIXES = frozenset(".wav .flac .mp3 .ogg .opus .aif .aiff .au .caf .w64".split())
"""Of files that are taken for audio, whether they can be read or not."""
MIX = "mix"
LATEST = 5.0
"""Seconds that sections may run on behind the sound."""


@dataclass(frozen=True)
class SongFiles:
    """A song's name and its files: `mix`, `vocals`, `accompaniment`, and what else there is."""

    name: str
    sounds: dict[str, Path]
    lyrics: Path | None = None
    manifest: Path | None = None
    asked: Path | None = None
    f0: Path | None = None
    tags: Path | None = None

    @property
    def paths(self) -> list[Path]:
        """All files, in a fixed order."""
        return list(self._roles().values())

    def _roles(self) -> dict[str, Path]:
        """What each file is."""
        others = {
            "lyrics": self.lyrics, "manifest": self.manifest, "asked": self.asked, "f0": self.f0,
            "tags": self.tags,
        }
        return {**dict(sorted(self.sounds.items())), **{k: v for k, v in others.items() if v}}

    def digest(self) -> str:
        """A hash of what the files hold and which is which, whatever they are called."""
        total = hashlib.sha256()
        for role, path in self._roles().items():
            try:
                with path.open("rb") as file:
                    held = hashlib.file_digest(file, "sha256").hexdigest()
                total.update(f"{role}{path.suffix} {held}\n".encode())
            except OSError as error:
                raise FileError(f"{path} could not be read: {error.strerror or error}.") from error
        return total.hexdigest()


def find_songs(folder: PathLike) -> list[SongFiles]:
    """The songs of a folder (or of one audio file), by name.

    Raises `FileError` if there is no such folder, or no audio in it.
    """
    folder = Path(folder)
    if folder.is_file():
        files = sorted(folder.parent.glob(f"{glob.escape(folder.stem)}.*"))
        root = folder.parent
    elif folder.is_dir():
        files, root = sorted(path for path in folder.rglob("*") if path.is_file()), folder
    else:
        raise FileError(f"{folder}: no such folder.")
    found: dict[Path, dict[str, Path]] = {}
    for path in files:
        if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            base, role = _role(path)
            known = found.setdefault(base, {}).setdefault(role, path)
            if known != path:
                raise FileError(f"{known} and {path.name}: which is the song? Keep one of them.")
    if not found:
        raise FileError(
            f"{folder} holds no songs. Expected audio files ({', '.join(sorted(SUFFIXES))}), stems "
            "named NAME.vocals.flac and NAME.accompaniment.flac."
        )
    return [_song(base.relative_to(root).as_posix(), base, found[base]) for base in sorted(found)]


def read_song(song: SongFiles) -> Work:
    """All that the files say. Raises `AudioError` or `FileError` that names the file."""
    sounds = {role: Audio.read(path) for role, path in song.sounds.items()}
    manifest = _manifest(song.manifest)
    sections = manifest.get("sections", manifest.get("parts", []))
    lyrics = parse(_text(song.lyrics)).sections if song.lyrics else ()
    if not isinstance(sections, list):
        raise FileError(f"{song.manifest}: sections must be a list.")
    timed = all(isinstance(each, dict) and {"start", "end"} <= each.keys() for each in sections)
    mix = sounds.get(MIX) or _sum(sounds)
    parts = tuple(structure.parts_of(sections)) if timed else ()
    if parts and parts[-1].end > mix.seconds + LATEST:
        raise FileError(
            f"{song.manifest}: its sections end at {parts[-1].end:g}, the song at "
            f"{mix.seconds:.1f} s: seconds are expected."
        )
    return Work(
        mix=mix,
        vocals=sounds.get("vocals"), accompaniment=sounds.get("accompaniment"),
        texts=tuple(section.text for section in lyrics) or tuple(
            str(each.get("text", "")) for each in sections if isinstance(each, dict)
        ),
        labels=tuple(section.label for section in lyrics),
        parts=parts,
        asked=tuple(structure.load(song.asked)) if song.asked else (),
        f0=f0.load(song.f0) if song.f0 else None,
    )


def tags_of(song: SongFiles) -> str:
    """The tags that a song was asked for; empty if nothing says them.

    A manifest has them as `genres` (text) or `tags` (text or a list). Raises `FileError`.
    """
    if song.tags:
        return _text(song.tags).strip()
    manifest = _manifest(song.manifest)
    told = manifest.get("genres") or manifest.get("tags") or ""
    return " ".join(map(str, told)) if isinstance(told, list) else str(told)


def _role(path: Path) -> tuple[Path, str]:
    """The song's path without suffixes, and which of its sounds a file is."""
    stem = path.with_suffix("")
    for track in TRACKS:
        if stem.suffix.lower() == f".{track}":
            return stem.with_suffix(""), track
        if stem.name.lower() == track:  # a folder per song: mix.wav, vocals.wav, accompaniment.wav
            return stem.with_name(MIX), track
    return stem, MIX


def _song(name: str, base: Path, sounds: dict[str, Path]) -> SongFiles:
    """A song with the files that lie beside its sounds."""
    return SongFiles(
        name, sounds, lyrics=_beside(base, [".txt"]), manifest=_beside(base, [".json"]),
        asked=_beside(base, [".sections.json"]), f0=_beside(base, [".f0.npy", ".f0.csv"]),
        tags=_beside(base, [".tags"]),
    )


def _beside(base: Path, endings: Iterable[str]) -> Path | None:
    """The first file that is there."""
    paths = (base.with_name(base.name + ending) for ending in endings)
    return next((path for path in paths if path.is_file()), None)


def _manifest(path: Path | None) -> dict[str, Any]:
    """What a manifest says; nothing for none, and for a JSON file that is no object."""
    told = read_json(path) if path else {}
    return told if isinstance(told, dict) else {}


def _text(path: Path) -> str:
    """What a text file says. Raises `FileError` if it cannot be read."""
    try:
        return decode(path.read_bytes(), str(path))
    except OSError as error:
        raise FileError(f"{path} could not be read: {error.strerror or error}.") from error


def _sum(sounds: dict[str, Audio]) -> Audio:
    """The mix of stems: at the higher rate, as long as the longest."""
    stems = list(sounds.values())
    rate = max(stem.rate for stem in stems)
    waves = [stem.mono().resample(rate).samples[0] for stem in stems]
    if len({stem.samples.shape for stem in stems}) == 1 and len({s.rate for s in stems}) == 1:
        return Audio(np.sum([stem.samples for stem in stems], axis=0), rate)
    total = np.zeros(max(map(len, waves)), np.float32)
    for wave in waves:
        total[: len(wave)] += wave
    if not total.size:
        raise AudioError("the stems hold no samples.")
    return Audio(total, rate)
