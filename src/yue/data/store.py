"""Results of steps on disk, one file per key: written aside, renamed, never changed.

A result is a mapping of plain values and numpy arrays. Any number of processes, on any machines
that share the folder, may read and write at once; equal keys hold equal results. A file that cannot
be read counts as missing.
"""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from yue.files import write_bytes

_PLAIN = "plain"


@dataclass(frozen=True)
class Store:
    """A folder of results."""

    folder: Path

    def path(self, key: str) -> Path:
        """Where the result of a key lies."""
        return self.folder / key[:2] / f"{key}.npz"

    def has(self, key: str) -> bool:
        """Whether there is a file for the key."""
        return self.path(key).is_file()

    def get(self, key: str) -> dict[str, Any] | None:
        """The result of a key, or None."""
        try:
            with self.path(key).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                values = {name: arrays[name] for name in arrays.files}
            return {**json.loads(values.pop(_PLAIN).tobytes()), **values}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
            return None

    def put(self, key: str, result: Mapping[str, Any]) -> None:
        """Keep a result. Raises `FileError` if the disk refuses."""
        arrays = {name: v for name, v in result.items() if isinstance(v, np.ndarray)}
        plain = {name: v for name, v in result.items() if name not in arrays}
        text = json.dumps(plain, ensure_ascii=False, allow_nan=False).encode()
        buffer = io.BytesIO()
        np.savez(buffer, **arrays, **{_PLAIN: np.frombuffer(text, np.uint8)})  # type: ignore[arg-type]
        self.path(key).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(self.path(key), buffer.getvalue())

    def drop(self, key: str) -> None:
        """Forget a result, if it is there."""
        with contextlib.suppress(OSError):
            self.path(key).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what killed runs left half-written."""
        for path in self.folder.glob("*/.*.part"):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
