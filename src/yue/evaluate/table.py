"""Results of many songs -> one row per value, with intervals; and the text of that table.

In go records per song, `{song: {metric: record}}`; out come rows: `metric.value`, how many songs
have it, mean and median, and a 95 % interval of the mean by the percentile bootstrap over songs
(seeded; too narrow for fewer than some ten songs, and missing for one). Against a reference: the
difference of means with its interval. Where at least half of the smaller side's songs have a song
of the same name on the other, it is the mean difference of these pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

RESAMPLES = 2_000
CONFIDENCE = 0.95
CONSTANT = frozenset(
    "sound.rate sound.channels music.on_scale_chance music.chord_tones_chance".split()
)
"""Values that are there to be read beside others, not to be averaged."""

Results = Mapping[str, Mapping[str, Mapping[str, Any]]]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Row:
    """One value over all songs; with a reference also that one's mean and the difference."""

    name: str
    n: int
    mean: float
    median: float
    interval: Interval | None
    reference: float | None = None
    reference_n: int = 0
    difference: float | None = None
    difference_interval: Interval | None = None
    pairs: int = 0
    """Songs of both sides that the difference is taken over; 0: of the means of all."""

    @property
    def differs(self) -> bool:
        """Whether the interval of the difference leaves out 0."""
        low, high = self.difference_interval or (0.0, 0.0)
        return low > 0 or high < 0


def numbers(records: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, float]]:
    """The plain numbers of one song's records, named `metric.value`."""
    for metric, told in records.items():
        for name, value in told["values"].items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                yield f"{metric}.{name}", float(value)


def columns(results: Results) -> dict[str, dict[str, float]]:
    """Per value the songs that have it: `{metric.value: {song: number}}`."""
    found: dict[str, dict[str, float]] = {}
    for song, records in results.items():
        for name, value in numbers(records):
            if name not in CONSTANT:
                found.setdefault(name, {})[song] = value
    return found


def metric_rows(system: str, results: Results) -> list[dict[str, Any]]:
    """Every value of every song, tidy: system, song, metric, value."""
    return [
        {"system": system, "song": song, "metric": name, "value": value}
        for name, values in columns(results).items() for song, value in values.items()
    ]


def table(results: Results, against: Results | None = None, *, seed: int = 0) -> list[Row]:
    """One row per value that any song has, in order of appearance."""
    reference = columns(against) if against else {}
    return [
        _row(name, values, reference.get(name), seed) for name, values in columns(results).items()
    ]


def interval(values: Sequence[float], seed: int = 0) -> Interval | None:
    """Bootstrap interval of the mean; `None` for fewer than two values."""
    return _percentiles(_means(np.asarray(values, dtype=float), seed)) if len(values) > 1 else None


def text_of(rows: Sequence[Row]) -> str:
    """The table as lines of aligned columns."""
    compared = any(row.reference is not None for row in rows)
    lines = [head(compared), *(cells(row, compared) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join(
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip() + "\n"
        for line in lines
    )


def short(value: float | None) -> str:
    """Four significant digits; a dash for nothing."""
    return "-" if value is None else f"{value:.4g}"


def span(found: Interval | None) -> str:
    """An interval in brackets; a dash for none."""
    return "-" if found is None else f"[{short(found[0])}, {short(found[1])}]"


def head(compared: bool) -> list[str]:
    """The names of the columns."""
    names = ["value", "n", "mean", "95 %", "median"]
    return [*names, "reference", "difference", "95 %", "pairs"] if compared else names


def cells(row: Row, compared: bool) -> list[str]:
    """One line of the table; a star marks a difference whose interval leaves out 0."""
    told = [row.name, str(row.n), short(row.mean), span(row.interval), short(row.median)]
    if compared:
        star = " *" if row.differs else ""
        told += [short(row.reference), short(row.difference)]
        told += [span(row.difference_interval) + star, str(row.pairs or "-")]
    return told


def _row(
    name: str, values: Mapping[str, float], reference: Mapping[str, float] | None, seed: int
) -> Row:
    """The row of one value."""
    mine = np.array(list(values.values()))
    plain: dict[str, Any] = {
        "name": name, "n": len(mine), "mean": float(mine.mean()),
        "median": float(np.median(mine)), "interval": interval(list(mine), seed),
    }
    if not reference:
        return Row(**plain)
    other = np.array(list(reference.values()))
    both = [song for song in values if song in reference]
    drawn, fewer = None, min(len(mine), len(other))
    paired = len(both) > 1 and 2 * len(both) >= fewer
    difference = float(mine.mean() - other.mean())
    if paired:
        each = np.array([values[song] - reference[song] for song in both])
        difference, drawn = float(each.mean()), _means(each, seed)
    elif fewer > 1:
        drawn = _means(mine, seed) - _means(other, seed + 1)
    return Row(
        **plain, reference=float(other.mean()), reference_n=len(other),
        pairs=len(both) if paired else 0, difference=difference,
        difference_interval=None if drawn is None else _percentiles(drawn),
    )


def _means(values: np.ndarray, seed: int) -> np.ndarray:
    """Means of `RESAMPLES` draws with replacement."""
    draws = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    return np.asarray(values[draws].mean(axis=1))


def _percentiles(means: np.ndarray) -> Interval:
    """The middle `CONFIDENCE` of the draws."""
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(means, [tail, 100 - tail])
    return float(low), float(high)
