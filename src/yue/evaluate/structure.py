"""Form of a song: lengths of its sections, choruses that return, boundaries, order.

In go sections `(label, start, end)` in seconds (a song's manifest, or a JSON list of objects with
these keys, as structure analysers write it) and `Audio`. Out come lengths, similarities and hit
rates. Two sections are compared by their chroma, one frame per `STEP` seconds, as the mean cosine
along the best diagonal within `LAG` seconds: 1 is the same harmony at the same times. Repetition of
a whole song needs no sections: the share of it that returns elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from yue.errors import FileError
from yue.evaluate.harmony import Chroma
from yue.evaluate.record import record
from yue.evaluate.tempo import f_measure, hits
from yue.evaluate.words import distance
from yue.files import PathLike, read_json

VERSION = 2
STEP = 0.5
LAG = 2.0
STRIPE = 8.0
"""Seconds that must be alike in a row to count as a repetition."""
APART = 8.0
"""Seconds between a passage and its return, at least."""
LIKE = 0.9
"""Cosine of two centred chroma frames from which they are alike."""


class Part(NamedTuple):
    """A section: its label, start and end in seconds, and whether its singer was cut off there."""

    label: str
    start: float
    end: float
    truncated: bool | None = None

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.start


def parts_of(sections: Sequence[Mapping[str, Any]]) -> list[Part]:
    """Sections of a manifest or another JSON list. Raises `FileError` if a value does not fit."""
    try:
        found = [
            Part(str(s["label"]), float(s["start"]), float(s["end"]), s.get("truncated"))
            for s in sections
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise FileError(
            f"sections do not fit ({error!r}): expected objects with label, start and end."
        ) from error
    for part in found:
        if not 0 <= part.start <= part.end < math.inf:
            raise FileError(f"section {part.label!r} from {part.start} s to {part.end} s: no time.")
    return found


def load(path: PathLike) -> list[Part]:
    """Sections from a JSON file: a list, or an object with `sections` or `segments`."""
    told = read_json(path)
    if isinstance(told, dict):
        told = told.get("sections", told.get("segments"))
    if not isinstance(told, list):
        raise FileError(f"{path} holds no list of sections.")
    return parts_of(told)


def lengths(parts: Sequence[Part], asked: Mapping[str, float] | None = None) -> dict[str, Any]:
    """`seconds` per section, and with the lengths `asked` per label their mean relative error."""
    told: dict[str, Any] = {"seconds": [part.seconds for part in parts]}
    if asked:
        errors = [abs(p.seconds / asked[p.label] - 1) for p in parts if asked.get(p.label)]
        told["error"] = float(np.mean(errors)) if errors else None
    return told


def order_error(found: Sequence[str], asked: Sequence[str]) -> float | None:
    """Edits between two orders of labels per label asked for; `None` if none was."""
    return distance(asked, found) / len(asked) if asked else None


def boundary_hits(
    found: Sequence[Part], reference: Sequence[Part], tolerance: float = 0.5
) -> dict[str, float]:
    """`precision`, `recall`, `f` of inner boundaries within `tolerance` seconds (.5 or 3)."""
    one, two = ([part.start for part in parts[1:]] for parts in (found, reference))
    right = hits(one, two, tolerance)
    return {
        "precision": right / len(one) if one else 0.0,
        "recall": right / len(two) if two else 0.0,
        "f": f_measure(one, two, tolerance),
    }


def returns(chroma: Chroma, parts: Sequence[Part]) -> dict[str, float | None]:
    """Mean similarity of sections of one label (`same`), of different ones (`other`), `chorus`.

    `gain` is `same - other`: above 0, what has one name also sounds alike. `None` without pairs.
    """
    cuts = [_normal(_slow(chroma, part.start, part.end)) for part in parts]
    pairs: dict[str, list[float]] = {"same": [], "other": [], "chorus": []}
    for one, two in combinations(range(len(parts)), 2):
        likeness = _diagonal(cuts[one], cuts[two])
        alike = parts[one].label == parts[two].label
        if likeness is not None:
            pairs["same" if alike else "other"].append(likeness)
            if alike and parts[one].label == "chorus":
                pairs["chorus"].append(likeness)
    means = {name: float(np.mean(each)) if each else None for name, each in pairs.items()}
    same, other = means["same"], means["other"]
    return {**means, "gain": same - other if same is not None and other is not None else None}


def repetition(chroma: Chroma, seconds: float) -> float | None:
    """Share of a song's half seconds that are part of a passage of 8 s which returns elsewhere.

    `None` for songs too short to have one.
    """
    frames = _normal(_slow(chroma, 0.0, seconds))
    size, stripe, apart = len(frames), round(STRIPE / STEP), round(APART / STEP)
    if size < stripe + apart:
        return None
    returned = np.zeros(size, dtype=bool)
    for lag in range(apart, size - stripe + 1):
        alike = (frames[:-lag] * frames[lag:]).sum(axis=1) >= LIKE
        total = np.concatenate([[0], np.cumsum(alike)])
        for first in np.flatnonzero(total[stripe:] - total[:-stripe] == stripe):
            returned[first : first + stripe] = True
            returned[first + lag : first + lag + stripe] = True
    return float(returned.mean())


def evaluate(
    chroma: Chroma, seconds: float, parts: Sequence[Part] = (), asked: Sequence[Part] = (),
    labels: Sequence[str] = (),
) -> dict[str, Any]:
    """One song: repetition; with its `parts` their lengths and returns, and how many were cut off.

    With what was `asked` (a request's sections, or a reference analysis) how far it is from that.
    A request that gives `labels` but no times (lyrics do) decides the order only.
    """
    values: dict[str, Any] = {"repetition": repetition(chroma, seconds)}
    if parts:
        found = returns(chroma, parts)
        values |= {
            "sections": len(parts), "labels": [part.label for part in parts],
            "section_seconds": [part.seconds for part in parts],
            "chorus_likeness": found["chorus"], "return_gain": found["gain"],
        }
        if all(part.truncated is not None for part in parts):
            values["truncated"] = sum(bool(part.truncated) for part in parts)
    wanted_order = [part.label for part in asked] or labels
    if parts and wanted_order:
        values["order_error"] = order_error([part.label for part in parts], wanted_order)
    if parts and asked:
        wanted = {label: _mean_length(asked, label) for label in {part.label for part in asked}}
        values |= {
            "length_error": lengths(parts, wanted)["error"],
            "boundaries_half": boundary_hits(parts, asked)["f"],
            "boundaries_three": boundary_hits(parts, asked, 3.0)["f"],
        }
    return record(
        "structure", VERSION, values, extractor="chroma of spectral peaks",
        windowing=f"{STEP} s; repetition of {STRIPE} s",
    )


def _mean_length(parts: Sequence[Part], label: str) -> float:
    """Mean seconds of the sections of one label."""
    return float(np.mean([part.seconds for part in parts if part.label == label]))


def _slow(chroma: Chroma, start: float, end: float) -> np.ndarray:
    """Mean chroma per `STEP` seconds: `(n, 12)`."""
    edges = np.arange(start, end - STEP / 2, STEP)
    return np.array([chroma.between(at, at + STEP) for at in edges]).reshape(-1, 12)


def _normal(frames: np.ndarray) -> np.ndarray:
    """Each frame less its own mean, at length 1; silent ones stay 0."""
    centred = frames - frames.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.divide(centred, length, out=np.zeros_like(centred), where=length > 1e-9)


def _diagonal(one: np.ndarray, two: np.ndarray) -> float | None:
    """Mean cosine along the best diagonal of two passages `(n, 12)`, `(m, 12)`."""
    means = []
    for lag in range(-round(LAG / STEP), round(LAG / STEP) + 1):
        first, second = one[max(0, lag) :], two[max(0, -lag) :]
        length = min(len(first), len(second))
        if length >= max(2, min(len(one), len(two)) // 2):
            means.append(float((first[:length] * second[:length]).sum(axis=1).mean()))
    return max(means) if means else None
