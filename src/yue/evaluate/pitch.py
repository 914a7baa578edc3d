"""Vocal range: which notes a voice holds, and how many semitones lie between them. Numpy only.

In goes an f0 track `(frames,)`: Hz, one value per `step` seconds, unvoiced frames dropped, 0 or
NaN. Out come notes (MIDI numbers, A4 = 69 = 440 Hz) and semitones. Where the f0 comes from is not
known here, but it decides the result: extractors that make octave errors double the range.

The rule is the published one (it gives the per-song ranges of the YuE paper, arXiv 2503.08638):
unvoiced frames are dropped and the rest joined; each frame is rounded to the nearest note, ties to
even; a note counts if it is held for at least 40 ms; the range is the highest minus the lowest note
that counts. A track in which no note counts has no range (`None`), which is not the same as 0.

A range grows with the length of what was sung. The range at equal length is therefore the mean over
five windows of the same number of voiced seconds, spread evenly from the first frame to the last.
"""

from __future__ import annotations

import io
import math
import statistics
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from yue.errors import FileError, OptionError
from yue.files import PathLike

VERSION = 1
STEP = 0.01
"""Seconds per frame of the grid on which notes are counted."""
HOLD = 0.04
"""Seconds that a note must be held to count."""
WINDOWS = 5
A4, A4_HZ, OCTAVE = 69, 440.0, 12
PERCENTILES = (5, 95)


def validate(f0: ArrayLike, step: float = STEP) -> np.ndarray:
    """The track as float64 `(frames,)`, Hz, with 0 for every unvoiced frame.

    Raises `OptionError` if it is no list of numbers, or holds a negative or infinite frequency, or
    if `step` (seconds) is not positive.
    """
    _positive("step", step)
    try:
        track = np.asarray(f0)
        if track.ndim != 1 or track.dtype.kind not in "iuf":
            raise ValueError(f"{track.dtype} of shape {track.shape}")
    except ValueError as error:
        raise OptionError(
            f"f0 does not fit ({error}): expected one number in Hz per frame."
        ) from error
    track = np.where(np.isnan(track), 0.0, track.astype(np.float64))
    wrong = track[(track < 0) | np.isinf(track)]
    if wrong.size:
        raise OptionError(
            f"f0 holds {wrong.size} frames such as {wrong[0]} Hz: expected frequencies in Hz, "
            "and 0 or NaN for unvoiced frames."
        )
    return track


def pitches(f0: ArrayLike) -> np.ndarray:
    """MIDI numbers (with fractions) of frequencies above 0 Hz, of the same shape."""
    return A4 + OCTAVE * np.log2(np.asarray(f0, dtype=np.float64) / A4_HZ)


def to_grid(f0: ArrayLike, step: float) -> np.ndarray:
    """A track of another frame step on the 10-ms grid, Hz, 0 for unvoiced; both begin at 0 s.

    The pitch is linear between two voiced frames; beside an unvoiced one the nearest frame counts.
    """
    track = validate(f0, step)
    if math.isclose(step, STEP) or not track.size:
        return track
    last = len(track) - 1
    place = np.minimum(np.arange(round(len(track) * step / STEP)) * (STEP / step), last)
    before = np.floor(place).astype(int)
    after = np.minimum(before + 1, last)
    part = place - before
    nearest = track[np.where(part < 0.5, before, after)]
    glides = (track[before] > 0) & (track[after] > 0)
    log = np.log(track, where=track > 0, out=np.zeros_like(track))
    return np.where(glides, np.exp((1 - part) * log[before] + part * log[after]), nearest)


def held_notes(
    f0: ArrayLike, *, step: float = STEP, hold: float = HOLD, bridge_gaps: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """The notes that count, in the order sung, and for how many 10-ms frames each is held.

    Two int arrays `(notes,)`. With `bridge_gaps` (the published rule) notes go on across silence.
    """
    return _held(*_sung(f0, step, bridge_gaps), hold)


def vocal_range(
    f0: ArrayLike, *, step: float = STEP, hold: float = HOLD, bridge_gaps: bool = True
) -> int | None:
    """Highest minus lowest note that counts, in semitones; `None` if no note counts."""
    return _span(held_notes(f0, step=step, hold=hold, bridge_gaps=bridge_gaps)[0])


def equal_range(
    f0: ArrayLike,
    seconds: float,
    *,
    step: float = STEP,
    hold: float = HOLD,
    bridge_gaps: bool = True,
    windows: int = WINDOWS,
) -> float | None:
    """Mean range in semitones over `windows` windows of `seconds` voiced seconds.

    The windows are spread evenly over the voiced frames, the first at their start and the last at
    their end; they overlap in a short song, and there is no chance in it. Windows in which no note
    counts are left out. `None` for a song with fewer voiced seconds, or in which no note counts.
    """
    _positive("seconds", seconds)
    if windows < 1:
        raise OptionError(f"windows = {windows}: expected at least 1.")
    notes, runs = _sung(f0, step, bridge_gaps)
    length = max(1, round(seconds / STEP))
    if len(notes) < length:
        return None
    starts = np.linspace(0, len(notes) - length, windows).round().astype(int).tolist()
    cuts = [slice(start, start + length) for start in starts]
    spans = [_span(_held(notes[cut], runs[cut], hold)[0]) for cut in cuts]
    counted = [span for span in spans if span is not None]
    return statistics.fmean(counted) if counted else None


def percentile_range(f0: ArrayLike) -> float | None:
    """Semitones between the 5th and 95th percentile of all voiced frames; `None` if there is none.

    Hardly moved by octave errors: a check beside the range, not a published number.
    """
    track = validate(f0)
    track = track[track > 0]
    if not track.size:
        return None
    low, high = np.percentile(pitches(track), PERCENTILES)
    return float(high - low)


def evaluate(
    f0: ArrayLike,
    *,
    step: float = STEP,
    hold: float = HOLD,
    bridge_gaps: bool = True,
    equal_seconds: float | None = None,
) -> dict[str, Any]:
    """What there is to say of one song.

    `range`, `percentile_range` and, if `equal_seconds` is given, `equal_range` in semitones;
    `lowest` and `highest` note (MIDI); `voiced_seconds`. Values that do not exist are `None`.
    """
    track = to_grid(f0, step)
    notes, _ = held_notes(track, hold=hold, bridge_gaps=bridge_gaps)
    found: dict[str, Any] = {
        "range": _span(notes),
        "lowest": int(notes.min()) if notes.size else None,
        "highest": int(notes.max()) if notes.size else None,
        "percentile_range": percentile_range(track),
        "voiced_seconds": round(int(np.count_nonzero(track)) * STEP, 2),
    }
    if equal_seconds is not None:
        found["equal_range"] = equal_range(track, equal_seconds, hold=hold, bridge_gaps=bridge_gaps)
    return found


def evaluate_songs(
    songs: Mapping[str, ArrayLike],
    *,
    step: float = STEP,
    hold: float = HOLD,
    bridge_gaps: bool = True,
    equal_seconds: float | None = None,
) -> dict[str, Any]:
    """Many songs, keyed `system/language/id`: what `evaluate` says of each, and of each system.

    `systems` holds a `summary` per system and measure. Raises `OptionError` for other keys.
    """
    options = {"hold": hold, "bridge_gaps": bridge_gaps, "equal_seconds": equal_seconds}
    by_song: dict[str, dict[str, Any]] = {}
    by_system: dict[str, list[dict[str, Any]]] = {}
    for key, f0 in songs.items():
        system, _, _ = split_key(key)
        by_song[key] = evaluate(f0, step=step, **options)  # type: ignore[arg-type]
        by_system.setdefault(system, []).append(by_song[key])
    return {
        "metric": "vocal range",
        "version": VERSION,
        "options": {"step": step, **options, "windows": WINDOWS},
        "songs": by_song,
        "systems": {
            system: {name: summary(song[name] for song in found) for name in found[0]}
            for system, found in by_system.items()
        },
    }


def summary(values: Iterable[float | None]) -> dict[str, Any]:
    """`n`, `mean`, `median`, `min`, `max` of the values that exist, and how many are `missing`."""
    values = list(values)
    there = [value for value in values if value is not None]
    counts = {"n": len(there), "missing": len(values) - len(there)}
    if not there:
        return {**counts, "mean": None, "median": None, "min": None, "max": None}
    middle = {"mean": statistics.fmean(there), "median": statistics.median(there)}
    return {**counts, **middle, "min": min(there), "max": max(there)}


def split_key(key: str) -> tuple[str, str, str]:
    """System, language and id of a song's key. Raises `OptionError` if one is missing."""
    parts = key.split("/", 2)
    if len(parts) != 3 or not all(parts):
        raise OptionError(f"song {key!r}: expected a name of the form system/language/id.")
    return parts[0], parts[1], parts[2]


def load_f0(path: PathLike) -> dict[str, np.ndarray]:
    """The tracks of an `.npz` file, float64 `(frames,)` in Hz, keyed `system/language/id`.

    Raises `FileError` for a file that is missing, damaged, holds anything but tracks, or no track.
    """
    path = Path(path)
    try:
        # From memory: numpy leaves the file open if it is damaged.
        file = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError("a single array without a name")
        with file:
            tracks = {key: _track(key, file[key]) for key in file.files}
        if not tracks:
            raise ValueError("it is empty")
    except FileNotFoundError as error:
        raise FileError(f"{path}: no such file.") from error
    except (
        OSError,
        ValueError,
        TypeError,
        EOFError,
        RuntimeError,
        MemoryError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise FileError(
            f"{path} is not an f0 file, or not a whole one ({error}). Expected an .npz file of "
            "one array of frequencies in Hz per song, named system/language/id."
        ) from error
    return tracks


def _track(key: str, value: Any) -> np.ndarray:
    """A member of an f0 file, checked. Raises `ValueError` that names it."""
    split_key(key)
    if not isinstance(value, np.ndarray):  # numpy hands over the bytes of a member that is no array
        raise ValueError(f"{key} is no array")
    try:
        return validate(value)
    except OptionError as error:
        raise ValueError(f"{key}: {error}") from error


def _sung(f0: ArrayLike, step: float, bridge_gaps: bool) -> tuple[np.ndarray, np.ndarray]:
    """Notes of the voiced 10-ms frames, and the number of the run each belongs to: int `(voiced,)`.

    A run ends where the note changes and, without `bridge_gaps`, at an unvoiced frame.
    """
    track = to_grid(f0, step)
    voiced = np.flatnonzero(track)
    notes = np.rint(pitches(track[voiced])).astype(int)
    breaks = np.diff(notes) != 0
    if not bridge_gaps:
        breaks |= np.diff(voiced) > 1
    return notes, np.concatenate([np.zeros(min(1, len(notes)), dtype=int), np.cumsum(breaks)])


def _held(notes: np.ndarray, runs: np.ndarray, hold: float) -> tuple[np.ndarray, np.ndarray]:
    """Note and length in frames of each run of at least `hold` seconds."""
    _positive("hold", hold)
    _, first, frames = np.unique(runs, return_index=True, return_counts=True)
    # What is left of .04 / .01 after rounding must not ask for a fifth frame.
    long = frames >= math.ceil(hold / STEP - 1e-6)
    return notes[first[long]], frames[long]


def _span(notes: np.ndarray) -> int | None:
    """Highest minus lowest note; `None` for no notes."""
    return int(notes.max() - notes.min()) if notes.size else None


def _positive(name: str, value: float) -> None:
    """Raise `OptionError` unless `value` is a finite number above 0."""
    if not (math.isfinite(value) and value > 0):
        raise OptionError(f"{name} = {value}: expected seconds above 0.")
