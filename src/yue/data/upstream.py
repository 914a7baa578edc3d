"""Upstream's layout of training data: a JSON line per song, codes in `.npy` files beside it.

Import only. Upstream skips in silence what does not fit; here every dropped song and section is
counted with its reason.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from yue.data.records import MIN_PART_SECONDS, MIX, Part, Record, RecordError, trimmed
from yue.errors import FileError
from yue.files import PathLike
from yue.lyrics import parse
from yue.vocab import YUE_V1, Vocabulary

CODES = {"codec": MIX, "vocals_codec": "vocals", "instrumental_codec": "accompaniment"}
FRAMES_PER_SECOND = (49, 51)
"""Allowed ratio of frames to the stated length (upstream's check, for 50 frames/s)."""


@dataclass
class Report:
    """How many songs and sections came through, and why the others did not."""

    songs: int = 0
    parts: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    """Reason -> count; songs and sections alike."""
    first: dict[str, str] = field(default_factory=dict)
    """Reason -> the first place where it was met."""

    def drop(self, reason: str, where: str) -> None:
        """Count one."""
        self.dropped[reason] += 1
        self.first.setdefault(reason, where)


def read(
    path: PathLike, *, root: PathLike | None = None, vocabulary: Vocabulary = YUE_V1
) -> tuple[list[Record], Report]:
    """The songs of a JSONL file, and what was dropped.

    Paths inside are taken relative to `root`, by default the file's folder. Raises `FileError` if
    the file itself cannot be read.
    """
    path = Path(path)
    folder = path.parent if root is None else Path(root)
    report = Report()
    kept = []
    for number, line in _lines(path):
        where = f"{path.name} line {number}"
        try:
            record = _record(json.loads(line), folder, vocabulary, report, where)
        except (ValueError, TypeError, KeyError) as error:
            report.drop(_reason(error), where)
            continue
        kept.append(record)
        report.songs += 1
        report.parts += len(record.parts)
    return kept, report


def _reason(error: Exception) -> str:
    if isinstance(error, RecordError):
        return str(error).split(": ", 1)[-1]
    return "missing field" if isinstance(error, KeyError) else "not a song's JSON object"


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{path} could not be read: {error}.") from error
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, line


def _record(
    song: Any, folder: Path, vocabulary: Vocabulary, report: Report, where: str
) -> Record:
    if not isinstance(song, dict):
        raise TypeError(f"a {type(song).__name__}")
    codes = {
        ours: _codes(folder / song[theirs]) for theirs, ours in CODES.items() if song.get(theirs)
    }
    if not codes:
        raise RecordError(f"record {song['id']}: no codes")
    seconds = song.get("audio_length_in_sec")
    slowest, fastest = FRAMES_PER_SECOND
    for array in codes.values():
        if seconds and not slowest <= array.shape[1] / seconds <= fastest:
            raise RecordError(f"record {song['id']}: frames do not fit the stated length")
    segments = (song.get("splitted_lyrics") or {}).get("segmented_lyrics") or []
    record = trimmed(Record(
        id=str(song["id"]), codes=codes, tags=tuple(_tags(song.get("genres") or "")),
        parts=(),
    ))
    least = int(MIN_PART_SECONDS * vocabulary.frame_rate)
    parts = []
    for segment in segments:
        start, end = int(segment["codec_frame_start"]), int(segment["codec_frame_end"])
        end = min(end, record.frames)
        if not 0 <= start < end:
            report.drop("section outside the song", where)
        elif end - start < least:
            report.drop("section shorter than a second", where)
        else:
            parts.append(_part(segment["line_content"], start, end))
    if segments and not parts:
        raise RecordError(f"record {song['id']}: no section is left")
    return Record(**{**vars(record), "parts": tuple(parts)})


def _part(line_content: str, start: int, end: int) -> Part:
    """`[label]\\nwords\\n\\n` as a part; labels map as they do for singing."""
    sections = parse(line_content).sections
    words = "\n".join(section.text for section in sections).strip()
    return Part(sections[0].label, words, start, end)


def _tags(genres: str) -> Iterator[str]:
    """Upstream's tags are separated by commas, or by spaces."""
    separator = "," if "," in genres else None
    return (tag.strip() for tag in genres.split(separator) if tag.strip())


def _codes(path: Path) -> np.ndarray:
    """Codes `(K, T)` int16 of an `.npy` file with 1 to 12 codebooks."""
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise RecordError(f"record: {path.name} is missing or damaged") from error
    if array.ndim != 2 or not 1 <= array.shape[0] <= 12 or array.dtype.kind not in "iu":
        raise RecordError(f"record: {path.name} holds no codes of shape (1..12, frames)")
    return array.astype(np.int16)
