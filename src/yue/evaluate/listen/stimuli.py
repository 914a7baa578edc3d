"""Folders of songs -> stimuli: what is there, how loud it is, and its copies under opaque names.

One folder per system, in each one song per prompt under the same name; formats may differ. A copy
is the song, or its first seconds, turned down and encoded anew, so without tags; its name is drawn
by the system's own random source, so it cannot be worked out from a seed.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yue.audio import Audio
from yue.errors import AudioError, FileError, OptionError
from yue.evaluate.listen import sound
from yue.evaluate.listen.folder import IDENTICAL, PAIR

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".aiff", ".aif")

Progress = Callable[[str, float, float], None] | None
Levels = Mapping[tuple[str, str], tuple[float, float]]
"""Per (system, prompt) a song's loudness in LUFS, and the most at which it fits full scale."""


@dataclass(frozen=True)
class Songs:
    """Songs that can be compared: `paths[system][prompt]`, and why other prompts are left out."""

    systems: tuple[str, ...]
    prompts: tuple[str, ...]
    paths: Mapping[str, Mapping[str, Path]]
    left_out: Mapping[str, str]


def find(folders: Sequence[Path]) -> Songs:
    """The songs of the folders; a system is called as its folder.

    Raises `FileError` if a folder is missing or empty or no prompt is in all of them, `OptionError`
    for fewer than two folders, for two of one name, and for two songs of one name in a folder.
    """
    names = tuple(folder.resolve().name for folder in folders)
    if len(set(names)) < max(2, len(names)):
        raise OptionError(
            f"systems {', '.join(names) or 'none'}: give two or more folders of different names."
        )
    paths = {
        name: _songs_of(folder) for name, folder in zip(names, folders, strict=True)
    }
    everything = sorted({prompt for songs in paths.values() for prompt in songs})
    left_out = {
        prompt: f"missing in {', '.join(lacking)}"
        for prompt in everything
        if (lacking := [name for name in names if prompt not in paths[name]])
    }
    prompts = tuple(prompt for prompt in everything if prompt not in left_out)
    if not prompts:
        raise FileError(
            f"no song has the same name in {', '.join(names)}: name the files after their prompts, "
            "01.flac in each folder."
        )
    return Songs(names, prompts, paths, left_out)


def measure(
    songs: Songs, seconds: float | None, progress: Progress, *, anchors: bool = True
) -> tuple[Levels, Songs]:
    """The levels of all songs; prompts with a song that cannot be read or is silent are left out,
    and, for a test with `anchors`, those whose sample rate is too low for one.

    Raises `FileError` that names every such song if no prompt remains.
    """
    levels: dict[tuple[str, str], tuple[float, float]] = {}
    left_out = dict(songs.left_out)
    for done, prompt in enumerate(songs.prompts, 1):
        for system in songs.systems:
            try:
                audio = Audio.read(songs.paths[system][prompt], end=seconds)
                if anchors:
                    sound.check_rate(audio)
                levels[system, prompt] = sound.loudness(audio), sound.loudest(audio)
            except AudioError as error:
                left_out[prompt] = f"{songs.paths[system][prompt]}: {error}"
                break
        if progress:
            progress("loudness", done, len(songs.prompts))
    prompts = tuple(prompt for prompt in songs.prompts if prompt not in left_out)
    if not prompts:
        reasons = "; ".join(f"{prompt} ({reason})" for prompt, reason in left_out.items())
        raise FileError(f"no prompt has a song of every system: {reasons}")
    return levels, Songs(songs.systems, prompts, songs.paths, left_out)


class Stimuli:
    """Writes stimuli under opaque names, each song once, and keeps whose they are."""

    def __init__(
        self, songs: Songs, levels: Levels, folder: Path, seconds: float | None
    ) -> None:
        self.songs, self.levels, self.folder, self.seconds = songs, levels, folder, seconds
        self.files: dict[str, dict[str, Any]] = {}
        self.lengths: dict[str, float] = {}
        self._whole: dict[tuple[str, str], str] = {}
        self._anchors: dict[tuple[str, str, str], tuple[str, str]] = {}

    def song(self, system: str, prompt: str) -> str:
        """The file of a song, as loud as the quietest song of its prompt."""
        if (system, prompt) not in self._whole:
            target = min(self.levels[other, prompt][1] for other in self.songs.systems)
            audio, level = self._read(system, prompt), self.levels[system, prompt][0]
            name = self._write(audio, level, target, system, prompt, PAIR)
            self._whole[system, prompt] = name
        return self._whole[system, prompt]

    def anchor(self, kind: str, system: str, prompt: str) -> tuple[str, str]:
        """A song and its anchor: the same again, or low-passed, both equally loud."""
        if (kind, system, prompt) not in self._anchors:
            audio, (level, most) = self._read(system, prompt), self.levels[system, prompt]
            other = audio if kind == IDENTICAL else sound.low_passed(audio)
            other_level = level if kind == IDENTICAL else sound.loudness(other)
            target = min(most, other_level, sound.loudest(other))
            self._anchors[kind, system, prompt] = (
                self._write(audio, level, target, system, prompt, kind),
                self._write(other, other_level, target, system, prompt, kind),
            )
        return self._anchors[kind, system, prompt]

    def _read(self, system: str, prompt: str) -> Audio:
        return Audio.read(self.songs.paths[system][prompt], end=self.seconds)

    def _write(
        self, audio: Audio, level: float, target: float, system: str, prompt: str, kind: str
    ) -> str:
        """Encode and write a stimulus; its opaque name."""
        name, gain = f"{secrets.token_hex(12)}.flac", min(0.0, target - level)
        sound.turned_down(audio, gain).save(self.folder / name)
        self.lengths[name] = audio.seconds
        self.files[name] = {
            "system": system, "prompt": prompt, "kind": kind, "loudness": level, "gain": gain,
        }
        return name


def _songs_of(folder: Path) -> dict[str, Path]:
    """The songs of a folder by name; `NAME.vocals.flac` beside `NAME.flac` is a stem, no song."""
    if not folder.is_dir():
        raise FileError(f"{folder}: there is no such folder.")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in found:
            raise OptionError(f"{found[path.stem]} and {path.name}: one song per name, please.")
        found[path.stem] = path
    songs = {
        name: path for name, path in found.items()
        if Path(name).suffix not in (".vocals", ".accompaniment") or Path(name).stem not in found
    }
    if not songs:
        raise FileError(f"{folder} holds no songs ({', '.join(SUFFIXES)}).")
    return songs
