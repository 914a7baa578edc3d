"""MARBLE's tasks and their official splits, read from a local folder. Nothing is downloaded.

    GTZAN      {train,valid,test}_filtered.txt    a line `blues/blues.00029.wav`; sound in genres/
    GS         giantsteps_clips/meta.json         {clip: {split, y: "Eb minor", clip: {audio_uid}}};
                                                  sound in giantsteps_clips/wav/CLIP.wav
    MTGTop50   autotagging_top50tags-{train,validation,test}.tsv   tab-separated with a header:
                                                  track, artist, album, path, duration, tags ...;
                                                  here or in data/splits/split-0/; sound in audio/,
                                                  PATH as it is or ending in .low.mp3
    EMO        emomusic/meta.json                 {clip: {split, y: [arousal, valence]}};
                                                  sound in emomusic/wav/CLIP.wav

How many tracks each split has is held against the official numbers (EMO's were not verified).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yue.errors import FileError, OptionError
from yue.evaluate import marble_scores
from yue.evaluate.marble_scores import KEYS
from yue.evaluate.probe import Score
from yue.files import PathLike, read_json

SPLITS = ("train", "valid", "test")
GENRES = tuple("blues classical country disco hiphop jazz metal pop reggae rock".split())
TOP50 = 50


@dataclass(frozen=True)
class Track:
    """A track: its sound in one or more files, and what is to be found out about it."""

    name: str
    files: tuple[Path, ...]
    target: Any
    """The class's number; the labels; or the numbers."""


Splits = Mapping[str, list[Track]]


@dataclass(frozen=True)
class Task:
    """A task: how its splits are read, what they must hold, and how predictions are scored."""

    name: str
    kind: str
    read: Callable[[Path], tuple[dict[str, list[Track]], tuple[str, ...]]]
    """Folder to tracks by split, and the names of classes, labels or numbers."""
    counts: Mapping[str, int] | None
    scores: Mapping[str, Score]
    """The first one chooses layer and rate on the validation tracks."""
    paper: Mapping[str, float]
    """What the paper prints for YuE, in the units of its table."""


def read_splits(
    task: Task, folder: PathLike, *, strict: bool = True
) -> tuple[Splits, tuple[str, ...]]:
    """The task's tracks by split, and its classes. With `strict`, their counts must be official.

    Raises `FileError` for files that are not there or not in the documented form.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileError(f"{folder}: no such folder. Give the one with the splits of {task.name}.")
    splits, classes = task.read(folder)
    found = {split: len(splits[split]) for split in SPLITS}
    if strict and task.counts is not None and found != task.counts:
        raise FileError(
            f"{task.name} in {folder} has {_told(found)} tracks to train, validate and test on; "
            f"the official splits have {_told(task.counts)}. Fetch them anew, or go on without "
            "(not strict): the result is then another one."
        )
    if empty := [split for split in SPLITS if not splits[split]]:
        raise FileError(f"{task.name} in {folder} has no tracks in: {', '.join(empty)}.")
    return splits, classes


def find_task(name: str) -> Task:
    """The task of that name. Raises `OptionError` that lists them."""
    if name not in TASKS:
        raise OptionError(f"task {name!r}: allowed are {', '.join(TASKS)}.")
    return TASKS[name]


def _told(counts: Mapping[str, int]) -> str:
    return "/".join(f"{counts[split]:,}" for split in SPLITS)


def _read_gtzan(folder: Path) -> tuple[dict[str, list[Track]], tuple[str, ...]]:
    def track(line: str, file: Path) -> Track:
        genre = line.split("/")[0]
        if genre not in GENRES:
            raise FileError(f"{file}: {line!r} begins with none of {', '.join(GENRES)}.")
        return Track(line, (folder / "genres" / line,), GENRES.index(genre))

    splits = {}
    for split in SPLITS:
        file = folder / f"{split}_filtered.txt"
        splits[split] = [track(line, file) for line in _lines(file)]
    return splits, GENRES


def _read_keys(folder: Path) -> tuple[dict[str, list[Track]], tuple[str, ...]]:
    """Giantsteps: clips of 30 s, several of which are one track."""
    file = folder / "giantsteps_clips" / "meta.json"
    tracks: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for clip, entry in _entries(file, ("split", "y", "clip")):
        uid = entry["clip"].get("audio_uid") if isinstance(entry["clip"], dict) else None
        if uid is None or entry["y"] not in KEYS:
            raise FileError(f"{file}: clip {clip} has audio_uid {uid!r}, key {entry['y']!r}.")
        tracks.setdefault((entry["split"], uid), []).append((clip, entry["y"]))
    splits: dict[str, list[Track]] = {split: [] for split in SPLITS}
    for (split, uid), clips in tracks.items():
        if len({key for _, key in clips}) > 1:
            raise FileError(f"{file}: the clips of {uid} differ in key.")
        files = tuple(file.parent / "wav" / f"{clip}.wav" for clip, _ in sorted(clips))
        splits[split].append(Track(uid, files, KEYS.index(clips[0][1])))
    return splits, KEYS


def _read_emotion(folder: Path) -> tuple[dict[str, list[Track]], tuple[str, ...]]:
    file = folder / "emomusic" / "meta.json"
    splits: dict[str, list[Track]] = {split: [] for split in SPLITS}
    for clip, entry in _entries(file, ("split", "y")):
        if not isinstance(entry["y"], list) or len(entry["y"]) != 2:
            raise FileError(f"{file}: clip {clip} has y = {entry['y']!r}, not [arousal, valence].")
        sound = (file.parent / "wav" / f"{clip}.wav",)
        splits[entry["split"]].append(Track(clip, sound, [float(value) for value in entry["y"]]))
    return splits, ("arousal", "valence")


def _read_tags(folder: Path) -> tuple[dict[str, list[Track]], tuple[str, ...]]:
    rows: dict[str, list[tuple[str, list[str]]]] = {}
    for split in SPLITS:
        name = f"autotagging_top50tags-{'validation' if split == 'valid' else split}.tsv"
        file = next(
            (place for place in (folder / name, folder / "data/splits/split-0" / name)
             if place.is_file()), folder / name,
        )
        fields = [line.split("\t") for line in _lines(file)[1:]]
        if short := [row for row in fields if len(row) < 6]:
            raise FileError(f"{file}: {short[0]} is no row of track, ..., path, duration, tags.")
        rows[split] = [(row[3], [tag.strip() for tag in row[5:]]) for row in fields]
    tags = sorted({tag for split in rows.values() for _, own in split for tag in own})
    if len(tags) > TOP50:
        raise FileError(f"{folder} names {len(tags)} tags: at most {TOP50} were expected.")
    places, sounds = {tag: place for place, tag in enumerate(tags)}, folder / "audio"

    def track(path: str, own: list[str]) -> Track:
        target = [0.0] * len(tags)
        for tag in own:
            target[places[tag]] = 1.0
        whole = sounds / path
        low = whole.with_suffix(".low.mp3")
        return Track(path, (low if low.is_file() else whole,), target)

    return {split: [track(*row) for row in rows[split]] for split in SPLITS}, tuple(tags)


def _lines(file: Path) -> list[str]:
    """Lines of a text file that are not empty."""
    try:
        return [line for line in file.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{file}, one of the splits, could not be read ({error}).") from error


def _entries(file: Path, fields: tuple[str, ...]) -> list[tuple[str, dict[str, Any]]]:
    """Clips of a `meta.json` and what it says of each, checked to have `fields` and a split."""
    held = read_json(file)
    if not isinstance(held, dict):
        raise FileError(f"{file} is no object of clips.")
    for clip, entry in held.items():
        if not isinstance(entry, dict) or any(name not in entry for name in fields):
            raise FileError(f"{file}: clip {clip} lacks one of {', '.join(fields)}.")
        if entry["split"] not in SPLITS:
            raise FileError(f"{file}: clip {clip} is in split {entry['split']!r}.")
    return list(held.items())


TASKS: Mapping[str, Task] = {
    task.name: task for task in (
        Task("GTZAN", "classes", _read_gtzan, {"train": 443, "valid": 197, "test": 290},
             {"accuracy": marble_scores.accuracy}, {"accuracy": 83.4}),
        Task("GS", "classes", _read_keys, {"train": 923, "valid": 236, "test": 604},
             {"key_score": marble_scores.key_score, "accuracy": marble_scores.accuracy},
             {"key_score": 67.0}),
        Task("MTGTop50", "labels", _read_tags,
             {"train": 32_136, "valid": 10_888, "test": 11_356},
             {"roc_auc": marble_scores.roc_auc,
              "average_precision": marble_scores.average_precision},
             {"roc_auc": 82.7, "average_precision": 29.2}),
        Task("EMO", "numbers", _read_emotion, None,
             {"r2": marble_scores.r2_mean, "r2_of": marble_scores.r2},
             {"r2_of_valence": 58.9, "r2_of_arousal": 75.0}),
    )
}
