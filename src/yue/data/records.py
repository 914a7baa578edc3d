"""Songs as rows: codes, sections with words and times, tags, where they come from.

One `Record` per song, many in a Parquet file. Sequences are not stored: `tasks.py` makes them anew
from records, in every epoch. `check` names the row and the field of what does not fit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from yue.errors import FileError, YueError
from yue.files import PathLike, write_bytes
from yue.lyrics import LABELS, Section
from yue.vocab import TRACKS, YUE_V1, Vocabulary

MIX = "mix"
RECORDED = (MIX, *TRACKS)
"""What a song may be recorded as."""
PERTURBED = "perturbed"
"""The vocals in another voice."""
CODED = (*RECORDED, PERTURBED)
"""What a record may hold codes of."""

SPLITS = {"train": 0.98, "valid": 0.01, "test": 0.01}
MIN_PART_SECONDS = 1.0
MAX_TRACK_DIFFERENCE = 10
"""Frames by which the tracks of one song may differ (upstream's check); they are then trimmed."""


class RecordError(YueError, ValueError):
    """A row that does not fit: names the song and the field."""


@dataclass(frozen=True)
class Part:
    """A section of a recorded song: its label, words, and frames `start` to `end`."""

    label: str
    text: str
    start: int
    end: int

    @property
    def section(self) -> Section:
        """What is sung in it."""
        return Section(self.label, self.text)


@dataclass(frozen=True)
class Phone:
    """A phone that is sung in the vocals, frames `start` to `end`; `part` counts sections."""

    symbol: str
    start: int
    end: int
    part: int


QUALITIES = ("maj", "min", "dim")
ROOTS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")


@dataclass(frozen=True)
class Chord:
    """A chord that the accompaniment plays for a bar, frames `start` to `end`.

    In an excerpt it may begin before the first frame and end after the last.
    """

    label: str
    """Root and quality in Harte's syntax, such as `C:min`: of `ROOTS` and `QUALITIES`."""
    start: int
    end: int


CHORD_LABELS = tuple(f"{root}:{quality}" for root in ROOTS for quality in QUALITIES)


@dataclass(frozen=True, eq=False, kw_only=True)
class Record:
    """One song. Codes are int16 `(K, T)` per name in `CODED`, K from 1 up."""

    id: str
    codes: Mapping[str, np.ndarray]
    parts: tuple[Part, ...] = ()
    tags: tuple[str, ...] = ()
    language: str = ""
    licence: str = ""
    artist: str = ""
    transcript: str = ""
    """What is spoken, for speech."""
    phones: tuple[Phone, ...] = ()
    """Exact alignment, where it is known."""
    chords: tuple[Chord, ...] = ()
    """The bars' chords, in the order of time, where they are known."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """Quality scores, versions of the preparation steps, and the like."""

    @property
    def frames(self) -> int:
        """Length, the same for all tracks."""
        return int(next(iter(self.codes.values())).shape[-1])

    @property
    def split(self) -> str:
        """train, valid or test: by the artist where known, else the id, so that nothing leaks."""
        return split_of(self.artist or self.id)

    def first(self, track: str) -> np.ndarray:
        """Codebook 0 of a track (T,). Raises `RecordError` if the record has none."""
        if track not in self.codes:
            raise RecordError(f"record {self.id}: codes.{track} is missing.")
        return self.codes[track][0]

    @property
    def dual(self) -> np.ndarray:
        """Codebook 0 of both tracks (2, T), vocal first."""
        return np.stack([self.first(track) for track in TRACKS])


def split_of(name: str) -> str:
    """The split of a song or artist: a hash of its name, so it never changes."""
    share = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
    for split, width in SPLITS.items():
        if share < width:
            return split
        share -= width
    return "train"


def trimmed(record: Record) -> Record:
    """The record with all tracks cut to the shortest. Raises `RecordError` if they differ much."""
    lengths = {name: array.shape[-1] for name, array in record.codes.items()}
    shortest, longest = min(lengths.values()), max(lengths.values())
    if longest - shortest > MAX_TRACK_DIFFERENCE:
        raise RecordError(
            f"record {record.id}: codes differ in length ({lengths}); allowed are "
            f"{MAX_TRACK_DIFFERENCE} frames."
        )
    codes = {name: array[..., :shortest] for name, array in record.codes.items()}
    parts = tuple(
        Part(p.label, p.text, p.start, min(p.end, shortest)) for p in record.parts
    )
    return Record(**{**vars(record), "codes": codes, "parts": parts})


def problems(record: Record, vocabulary: Vocabulary = YUE_V1) -> Iterator[str]:
    """What is wrong with a record: one line each, beginning with the field."""
    if not record.id:
        yield "id: empty"
    if not record.codes:
        yield "codes: no track at all"
        return
    for name, array in record.codes.items():
        if name not in CODED:
            yield f"codes.{name}: unknown; known are {', '.join(CODED)}"
        elif array.ndim != 2 or not 1 <= array.shape[0] <= 12:
            yield f"codes.{name}: shape {array.shape}, expected (1..12, frames)"
        elif array.size and not 0 <= array.min() <= array.max() < vocabulary.codebook_size:
            low, high = array.min(), array.max()
            yield f"codes.{name}: {low}..{high}, allowed is 0..{vocabulary.codebook_size - 1}"
    if len({array.shape[-1] for array in record.codes.values()}) > 1:
        yield "codes: tracks differ in length"
    least = int(MIN_PART_SECONDS * vocabulary.frame_rate)
    before = 0
    for index, part in enumerate(record.parts):
        where = f"parts[{index}]"
        if part.label not in LABELS:
            yield f"{where}.label: {part.label!r}; known are {', '.join(LABELS)}"
        if not 0 <= part.start < part.end <= record.frames:
            yield f"{where}: frames {part.start}..{part.end} of {record.frames}"
        elif part.end - part.start < least:
            yield f"{where}: {part.end - part.start} frames, at least {least}"
        if part.start < before:
            yield f"{where}: begins at {part.start}, before the last one's end {before}"
        before = part.end
    for index, phone in enumerate(record.phones):
        if not (0 <= phone.start <= phone.end <= record.frames):
            yield f"phones[{index}]: frames {phone.start}..{phone.end} of {record.frames}"
        if not 0 <= phone.part < max(1, len(record.parts)):
            yield f"phones[{index}].part: {phone.part} of {len(record.parts)}"
    for index, chord in enumerate(record.chords):
        if chord.label not in CHORD_LABELS:
            yield (f"chords[{index}].label: {chord.label!r}; written are root and quality, such as "
                   f"{CHORD_LABELS[0]} ({', '.join(ROOTS)}; {', '.join(QUALITIES)})")
        if not 0 <= chord.start < chord.end <= record.frames:
            yield f"chords[{index}]: frames {chord.start}..{chord.end} of {record.frames}"


def check(record: Record, vocabulary: Vocabulary = YUE_V1) -> Record:
    """The record, if nothing is wrong with it. Raises `RecordError` that names row and field."""
    found = list(problems(record, vocabulary))
    if found:
        raise RecordError(f"record {record.id!r}: {'; '.join(found[:5])}.")
    return record


# Parquet ------------------------------------------------------------------------------------------

_TEXTS = ("id", "language", "licence", "artist", "transcript", "split")


def write(path: PathLike, records: Iterable[Record]) -> Path:
    """Write records as Parquet, aside first. Needs pyarrow (`pip install yue-music[train]`)."""
    import io

    import pyarrow as pa
    from pyarrow import parquet

    rows = [_to_row(record) for record in records]
    buffer = io.BytesIO()
    table = pa.Table.from_pylist(rows, schema=_schema())
    parquet.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    return write_bytes(path, buffer.getvalue())


def read(path: PathLike) -> list[Record]:
    """Read what `write` wrote. Raises `FileError` for a file that is damaged or is none of ours."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(
            Path(path), schema=_schema(), page_checksum_verification=True
        )
        return [_from_row(row) for row in table.to_pylist()]
    except FileNotFoundError as error:
        raise FileError(f"{path}: no such file.") from error
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
        raise FileError(f"{path} is not a whole file of records ({error}).") from error


def _schema() -> Any:
    import pyarrow as pa

    coded = pa.struct([("codebooks", pa.int16()), ("data", pa.binary())])
    part = pa.struct([
        ("label", pa.string()), ("text", pa.string()), ("start", pa.int32()), ("end", pa.int32())
    ])
    phone = pa.struct([
        ("symbol", pa.string()), ("start", pa.int32()), ("end", pa.int32()), ("part", pa.int32())
    ])
    chord = pa.struct([("label", pa.string()), ("start", pa.int32()), ("end", pa.int32())])
    return pa.schema([
        *((name, pa.string()) for name in _TEXTS),
        *((f"codes_{name}", coded) for name in CODED),
        ("parts", pa.list_(part)),
        ("tags", pa.list_(pa.string())),
        ("phones", pa.list_(phone)),
        ("chords", pa.list_(chord)),
        ("notes", pa.string()),
    ])


def _to_row(record: Record) -> dict[str, Any]:
    def coded(name: str) -> dict[str, Any] | None:
        if name not in record.codes:
            return None
        array = np.ascontiguousarray(record.codes[name], dtype="<i2")
        return {"codebooks": array.shape[0], "data": array.tobytes()}

    return {
        **{name: getattr(record, name) for name in _TEXTS},
        **{f"codes_{name}": coded(name) for name in CODED},
        "parts": [vars(part) for part in record.parts],
        "tags": list(record.tags),
        "phones": [vars(phone) for phone in record.phones],
        "chords": [vars(chord) for chord in record.chords],
        "notes": json.dumps(dict(record.notes)),
    }


def _from_row(row: Mapping[str, Any]) -> Record:
    codes = {}
    for name in CODED:
        stored = row[f"codes_{name}"]
        if stored is not None:
            flat = np.frombuffer(stored["data"], dtype="<i2").astype(np.int16)
            codes[name] = flat.reshape(stored["codebooks"], -1)
    texts = {name: row[name] for name in _TEXTS if name != "split"}
    return Record(
        **texts,
        codes=codes,
        parts=tuple(Part(**part) for part in row["parts"]),
        tags=tuple(row["tags"]),
        phones=tuple(Phone(**phone) for phone in row["phones"]),
        chords=tuple(Chord(**chord) for chord in row["chords"] or ()),
        notes=json.loads(row["notes"]),
    )
