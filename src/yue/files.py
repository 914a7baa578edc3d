"""Writing files so that nothing half-written is ever seen: aside first, then renamed."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from yue.errors import FileError

PathLike = str | os.PathLike[str]


def write_bytes(path: PathLike, data: bytes) -> Path:
    """Write `data` to `path` by way of a `.part` file beside it.

    Raises `FileError` with the system's reason (disk full, no such folder, no permission); an
    older file of that name is then still whole.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise FileError(
            f"could not write {path} ({len(data):,} bytes): {error.strerror or error}. "
            "Nothing was changed there; free some space or choose another place."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    return path


def write_json(path: PathLike, value: Any) -> Path:
    """Write `value` as indented UTF-8 JSON."""
    return write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def read_json(path: PathLike) -> Any:
    """Read a JSON file. Raises `FileError` that names the file and the place of the mistake."""
    try:
        return json.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise FileError(f"could not read {path}: {error.strerror or error}.") from error
    except ValueError as error:
        raise FileError(f"{path} is not valid JSON ({error}). Is it complete?") from error
