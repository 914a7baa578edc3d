"""Numbers with intervals, verdicts, and the table of both. Knows nothing of songs.

Intervals are 95 % percentile bootstraps over songs: whole songs are drawn again, so what varies
inside a song does not make them narrower.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

DRAWS = 2_000
LEVEL = 0.95
SEED = 0


@dataclass(frozen=True)
class Estimate:
    """A value with its interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "-"
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table. `met` is None where there is no bar, or nothing to judge."""

    part: str
    name: str
    generated: Estimate | float | None
    songbook: Estimate | float | None = None
    chance: Estimate | float | None = None
    bar: str = ""
    met: bool | None = None


@dataclass(frozen=True)
class Outcome:
    """What a part found: rows for the table, and details for whoever wants to look."""

    rows: list[Row]
    detail: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return _plain(asdict(self))


def bootstrap(
    statistic: Callable[[np.ndarray], float], songs: int, *, draws: int = DRAWS
) -> Estimate:
    """A statistic of song numbers `(n,)`: of all songs, and of songs drawn with replacement."""
    generator = np.random.default_rng(SEED)
    value = float(statistic(np.arange(songs)))
    drawn = [float(statistic(generator.integers(songs, size=songs))) for _ in range(draws)]
    finite = [each for each in drawn if math.isfinite(each)]
    if not finite:
        return Estimate(value, math.nan, math.nan)
    low, high = np.percentile(finite, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Estimate(value, float(low), float(high))


def mean(values: Sequence[float | None]) -> Estimate:
    """The mean over songs; those without a value are left out."""
    there = np.array([value for value in values if value is not None and math.isfinite(value)])
    if not there.size:
        return Estimate(math.nan, math.nan, math.nan)
    return bootstrap(lambda drawn: float(there[drawn].mean()), len(there))


def pooled(errors: Sequence[float], asked: Sequence[float]) -> Estimate:
    """All errors over all that was asked for."""
    above, below = np.asarray(errors, float), np.asarray(asked, float)
    return bootstrap(lambda drawn: _ratio(above[drawn].sum(), below[drawn].sum()), len(above))


def excess(
    generated: np.ndarray, songbook: np.ndarray, shuffled: np.ndarray
) -> Estimate:
    """E = (generated - songbook) / (shuffled - songbook), of pooled rates.

    Each is `(songs, 2)`: errors and asked. 0 is as good as the songbook, 1 is other words.
    """
    def of(drawn: np.ndarray) -> float:
        rates = [_ratio(*each[drawn].sum(axis=0)) for each in (generated, songbook, shuffled)]
        return _ratio(rates[0] - rates[1], rates[2] - rates[1])

    return bootstrap(of, len(generated))


def within(value: Estimate, reference: Estimate, share: float) -> bool:
    """Whether a value lies within a share of a reference's."""
    return abs(value.value - reference.value) <= share * abs(reference.value)


def halfway(value: Estimate, good: Estimate, bad: Estimate) -> bool:
    """Whether a value is nearer to what is right than to what is wrong."""
    return abs(value.value - good.value) < abs(value.value - bad.value)


def markdown(rows: Sequence[Row]) -> str:
    """The table."""
    head = ("part", "measure", "generated", "songbook", "shuffled/chance", "bar", "met")
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in rows:
        cells = (row.part, row.name, *map(_cell, (row.generated, row.songbook, row.chance)),
                 row.bar or "-", {True: "yes", False: "NO", None: "-"}[row.met])
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def row_of(stored: dict[str, Any]) -> Row:
    """A row as JSON keeps it."""
    values = {
        name: Estimate(**{key: math.nan if number is None else number
                          for key, number in value.items()}) if isinstance(value, dict) else value
        for name, value in stored.items()
    }
    return Row(**values)


def _cell(value: Estimate | float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, Estimate) else f"{value:.3g}"


def _ratio(above: float, below: float) -> float:
    return float(above / below) if below else math.nan


def _plain(value: Any) -> Any:
    """The same with numbers that JSON has: NaN becomes null."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
