"""Features that are dear to make, kept in a folder by what they were made of.

A file's name there is a fingerprint of the sound itself and of all that the numbers depend on, so
a file that was moved is found again, and another model or another sound never is.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from yue.audio import Audio
from yue.errors import AudioError
from yue.files import PathLike, write_bytes


def kept(
    sound: Path, made_by: Mapping[str, Any], make: Callable[[Audio], np.ndarray],
    folder: PathLike | None,
) -> np.ndarray:
    """`make` of a sound file, or what it gave before; made anew each time if there is no `folder`.

    Raises `AudioError` for a file that cannot be read.
    """
    if folder is None:
        return make(Audio.read(sound))
    try:
        data = sound.read_bytes()
    except OSError as error:
        raise AudioError(f"{sound} could not be read: {error.strerror or error}.") from error
    told = json.dumps(made_by, sort_keys=True).encode()
    place = Path(folder) / f"{hashlib.sha256(told + b'|' + data).hexdigest()[:32]}.npy"
    if (held := _read(place)) is not None:
        return held
    made = make(Audio.read(sound))
    place.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.save(buffer, made, allow_pickle=False)
    write_bytes(place, buffer.getvalue())
    return made


def _read(place: Path) -> np.ndarray | None:
    """The array of a file; `None` if there is none, or a damaged one."""
    try:
        return np.asarray(np.load(io.BytesIO(place.read_bytes()), allow_pickle=False))
    except (OSError, ValueError, EOFError):
        return None
