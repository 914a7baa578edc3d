"""The journal of a listening test: one JSON object per line, only ever appended to.

Records have a `kind`: `join` (a place was taken), `open` (a pair was handed out), `vote`. Each is
written in one piece and on the disk before the rater hears of it. A line cut by a crash stays where
it is: the next record begins a new line, and the reader counts what it cannot read.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yue.errors import FileError

FIELDS: dict[str, dict[str, type]] = {
    "join": {"rater": int},
    "open": {"rater": int, "trial": str},
    "vote": {"rater": int, "trial": str, "answers": dict},
}
"""Kinds of records, and what each must hold."""
NUMBERS = ("time", "seconds")
"""What a record may hold, as numbers."""


@dataclass(frozen=True)
class Journal:
    """The records of a file, oldest first, and the numbers of the lines that are damaged."""

    records: tuple[dict[str, Any], ...]
    damaged: tuple[int, ...]


def read(path: Path) -> Journal:
    """The records of a journal; a missing file is an empty one."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Journal((), ())
    except OSError as error:
        raise FileError(f"could not read {path}: {error.strerror or error}.") from error
    records, damaged = [], []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        record = _record(line)
        if record is None:
            damaged.append(number)
        else:
            records.append(record)
    return Journal(tuple(records), tuple(damaged))


def append(path: Path, record: dict[str, Any]) -> None:
    """Write one record behind the others and wait for the disk.

    Raises `FileError` with the system's reason; what was there before is untouched.
    """
    line = json.dumps(record, ensure_ascii=False).encode() + b"\n"
    try:
        with path.open("ab+") as file:
            if file.tell() and _last_byte(file) != b"\n":
                line = b"\n" + line
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise FileError(f"could not write to {path}: {error.strerror or error}.") from error


def _last_byte(file: Any) -> bytes:
    """The last byte of a file that is open for appending and not empty."""
    file.seek(-1, os.SEEK_END)
    last: bytes = file.read(1)
    return last


def _record(line: bytes) -> dict[str, Any] | None:
    """The record of a line, or `None` if it is none."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    fields = FIELDS.get(str(record.get("kind"))) if isinstance(record, dict) else None
    if fields is None or not all(isinstance(record.get(key), fields[key]) for key in fields):
        return None
    if not all(type(record.get(key, 0)) in (int, float) for key in NUMBERS):
        return None
    known: dict[str, Any] = record
    return known
