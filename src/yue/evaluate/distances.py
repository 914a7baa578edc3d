"""Distances between sets of embeddings: FAD, KAD, and KL of class distributions. Numpy only.

In go embeddings `(n, D)`, one row per window of a song, or class probabilities `(..., C)`; all
arithmetic is float64. Which model made them is not known here, but it decides the value: numbers
of two embeddings, or against two references, cannot be compared.

FAD: Fréchet distance of the two Gaussians, `|m1 - m2|² + tr(S1 + S2 - 2 (S1 S2)^½)` (Kilgour et
al., 2019). It is biased upward, by about 1/n; `fad_infinity` draws a line through its values at
several n and reads it at 1/n = 0 (Chong and Forsyth, 2020; Gui et al., 2024).

KAD: unbiased squared maximum mean discrepancy with a Gaussian kernel whose bandwidth is the median
distance within the reference (Chung et al., 2025). Its expectation is 0 for equal laws at any n, so
single values may be negative. The published tool prints 100 times this value.

KL: `sum p log(p / q)` in nats, p the reference. A probability of 0 counts as `FLOOR`.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from yue.errors import OptionError

VERSION = 1
FLOOR = 1e-12
"""The least probability in a logarithm."""
BLOCK = 1024
"""Rows whose distances to all others are held at once."""
MEDIAN_ROWS = 2048
"""Rows of a reference, evenly spaced, among which the median distance is taken."""
SIZES = 15
"""Numbers of rows at which FAD is measured for its line, as published."""
SMALLEST = 0.2
"""The least of them, as a share of all rows."""


@dataclass(frozen=True)
class Gaussian:
    """Mean `(D,)` and covariance `(D, D)` of embeddings, float64: all that FAD looks at."""

    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def of(cls, x: ArrayLike) -> Gaussian:
        """The moments of rows `(n, D)`, n >= 2; the covariance divided by n - 1."""
        rows = validate(x)
        covariance = np.atleast_2d(np.cov(rows, rowvar=False))
        return cls(rows.mean(axis=0), covariance)

    @functools.cached_property
    def root(self) -> np.ndarray:
        """The symmetric square root of the covariance; a reference's is taken once."""
        values, vectors = np.linalg.eigh(self.covariance)
        return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T


def validate(x: ArrayLike, name: str = "embeddings") -> np.ndarray:
    """Embeddings as float64 `(n, D)`.

    Raises `OptionError` unless they are finite numbers of that shape with at least 2 rows.
    """
    try:
        rows = np.asarray(x, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise OptionError(f"{name}: expected numbers (windows, D), not {error}.") from error
    if rows.ndim != 2 or len(rows) < 2 or not rows.shape[1]:
        raise OptionError(f"{name} of shape {rows.shape}: expected (windows, D), at least 2 rows.")
    if not np.isfinite(rows).all():
        raise OptionError(f"{name} hold NaN or infinity: the model or its audio is at fault.")
    return rows


def fad(x: ArrayLike | Gaussian, reference: ArrayLike | Gaussian) -> float:
    """Fréchet distance of two sets `(n, D)`, `(m, D)`, or of their moments; 0 for equal ones."""
    a, b = _moments(x), _moments(reference)
    if a.mean.shape != b.mean.shape:
        raise OptionError(f"{len(a.mean)} and {len(b.mean)} dimensions: two different embeddings?")
    # The trace of (S1 S2)^½ is that of the symmetric (S2^½ S1 S2^½)^½.
    middle = np.linalg.eigvalsh(b.root @ a.covariance @ b.root)
    overlap = np.sqrt(np.clip(middle, 0, None)).sum()
    spread = np.trace(a.covariance) + np.trace(b.covariance)
    return max(0.0, float(np.square(a.mean - b.mean).sum() + spread - 2 * overlap))


def fad_infinity(
    x: ArrayLike, reference: ArrayLike | Gaussian, *, draws: int = 4, seed: int = 0
) -> dict[str, Any]:
    """FAD where the line through its values at 15 numbers of rows meets 1/n = 0.

    `value`, `slope` of FAD over 1/n, `r2` of the fit, and `sizes` with the mean of `draws` draws
    without replacement at each (`values`). It may be negative; an r2 well below 1 says: do not
    believe it. The reference's own bias stays: use a large one.
    """
    rows, other = validate(x), _moments(reference)
    if draws < 1 or seed < 0:
        raise OptionError(f"draws = {draws}, seed = {seed}: at least 1 and 0.")
    sizes = sorted({int(n) for n in np.linspace(max(2, SMALLEST * len(rows)), len(rows), SIZES)})
    if len(sizes) < 3:
        raise OptionError(f"{len(rows)} windows: a line over 1/n needs at least 4.")
    generator = np.random.default_rng(seed)

    def drawn(n: int) -> float:
        times = 1 if n == len(rows) else draws
        picks = [generator.permutation(len(rows))[:n] for _ in range(times)]
        return float(np.mean([fad(rows[pick], other) for pick in picks]))

    values = [drawn(n) for n in sizes]
    places = 1 / np.array(sizes)
    slope, value = np.polyfit(places, values, 1)
    left = float(np.square(np.array(values) - (value + slope * places)).sum())
    whole = float(np.square(np.array(values) - np.mean(values)).sum())
    return {
        "value": float(value), "slope": float(slope), "r2": 1 - left / whole if whole else 1.0,
        "sizes": sizes, "values": values,
    }


def median_distance(reference: ArrayLike) -> float:
    """Median Euclidean distance between different rows: KAD's bandwidth.

    Of a large reference 2,048 rows, evenly spaced, are looked at. Raises `OptionError` if it is 0.
    """
    rows = validate(reference, "reference")
    places = np.linspace(0, len(rows) - 1, min(len(rows), MEDIAN_ROWS)).round().astype(int)
    some = rows[places]
    pairs = [
        block[np.arange(len(some)) > np.arange(first, first + len(block))[:, None]]
        for first, block in _squared_distances(some, some)
    ]
    median = math.sqrt(float(np.median(np.concatenate(pairs))))
    if median == 0:
        raise OptionError("half of the reference's windows are equal: it has no bandwidth.")
    return median


def kad(x: ArrayLike, reference: ArrayLike, *, bandwidth: float | None = None) -> float:
    """Unbiased squared MMD of sets `(n, D)` and `(m, D)`; about 0, or below, for equal laws."""
    a, b = validate(x), validate(reference, "reference")
    if a.shape[1] != b.shape[1]:
        raise OptionError(f"{a.shape[1]} and {b.shape[1]} dimensions: two different embeddings?")
    sigma = median_distance(b) if bandwidth is None else bandwidth
    if not (math.isfinite(sigma) and sigma > 0):
        raise OptionError(f"bandwidth = {sigma}: expected a number above 0.")
    n, m = len(a), len(b)
    # The diagonal, n ones, is what would make it biased.
    within = (_kernel_sum(a, a, sigma) - n) / (n * (n - 1))
    among = (_kernel_sum(b, b, sigma) - m) / (m * (m - 1))
    return within + among - 2 * _kernel_sum(a, b, sigma) / (n * m)


def kl(p: ArrayLike, q: ArrayLike) -> np.ndarray:
    """`sum p log(p / q)` over the last axis of probabilities `(..., C)`, nats, at least 0: `(...)`.

    p is the reference. Raises `OptionError` unless both are probabilities over the same classes.
    """
    a, b = (np.asarray(values, dtype=np.float64) for values in (p, q))
    if not a.ndim or not b.ndim or a.shape[-1] != b.shape[-1]:
        raise OptionError(f"class distributions of shapes {a.shape} and {b.shape}: not the same C.")
    for name, values in (("p", a), ("q", b)):
        if not (values >= 0).all() or not np.allclose(values.sum(axis=-1), 1, atol=1e-4):
            raise OptionError(f"{name} is no distribution: it must be 0 or more and add up to 1.")
    ratio = np.log(np.maximum(a, FLOOR)) - np.log(np.maximum(b, FLOOR))
    return np.asarray((a * ratio).sum(axis=-1))


def pooled(songs: Mapping[str, ArrayLike]) -> np.ndarray:
    """All songs' windows in one array `(n, D)`."""
    return np.concatenate([np.asarray(rows, dtype=np.float64) for rows in songs.values()])


def jackknife(
    metric: Callable[[np.ndarray], float], songs: Mapping[str, ArrayLike]
) -> tuple[float, float]:
    """95 % interval of a metric of pooled windows, by leaving out one song at a time.

    By songs, since windows of one song are no independent draws; and not by the bootstrap, whose
    repeated rows look alike to FAD and KAD. Raises `OptionError` for fewer than 3 songs.
    """
    if len(songs) < 3:
        raise OptionError(f"{len(songs)} songs: an interval needs at least 3.")
    value, names = metric(pooled(songs)), list(songs)
    rests = [{name: songs[name] for name in names if name != out} for out in names]
    left_out = np.array([metric(pooled(rest)) for rest in rests])
    n = len(names)
    half = 1.959964 * math.sqrt((n - 1) / n * float(np.square(left_out - left_out.mean()).sum()))
    return value - half, value + half


def evaluate(
    songs: Mapping[str, ArrayLike], reference: Mapping[str, ArrayLike], *, seed: int = 0
) -> dict[str, Any]:
    """Songs against a reference, both `{name: (windows, D)}` of one embedding.

    `fad`, `fad_infinity`, `kad` with their intervals over songs (`None` for fewer than 3),
    `per_song` (FAD of each song's windows, `None` for a single window), `windows`, `dimensions`;
    `determined`: whether there are windows enough, twice the dimensions, for FAD's covariances.
    """
    if not songs or not reference:
        raise OptionError("no songs, or no reference: nothing to compare.")
    x, other = validate(pooled(songs)), validate(pooled(reference), "reference")
    moments, sigma = Gaussian.of(other), median_distance(other)
    metrics: dict[str, Callable[[np.ndarray], float]] = {
        "fad": lambda rows: fad(rows, moments),
        "kad": lambda rows: kad(rows, other, bandwidth=sigma),
    }
    enough = len(songs) >= 3
    return {
        "metric": "distances", "version": VERSION, "dimensions": x.shape[1],
        "windows": {"songs": len(x), "reference": len(other)}, "bandwidth": sigma, "seed": seed,
        "determined": min(len(x), len(other)) >= 2 * x.shape[1],
        **{
            name: {"value": metric(x), "interval": jackknife(metric, songs) if enough else None}
            for name, metric in metrics.items()
        },
        "fad_infinity": fad_infinity(x, moments, seed=seed) if len(x) > 3 else None,
        "per_song": {
            name: fad(rows, moments) if len(np.asarray(rows)) > 1 else None
            for name, rows in songs.items()
        },
    }


def _moments(x: ArrayLike | Gaussian) -> Gaussian:
    return x if isinstance(x, Gaussian) else Gaussian.of(x)


def _squared_distances(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """First row and squared distances `(rows, m)` of blocks of a to all of b."""
    centre = b.mean(axis=0)  # far from 0, the squares would swallow the differences
    a, b = a - centre, b - centre
    for first in itertools.count(0, BLOCK):
        block = a[first : first + BLOCK]
        if not len(block):
            return
        products = block @ b.T
        squares = np.square(block).sum(axis=1)[:, None] + np.square(b).sum(axis=1)
        yield first, np.maximum(squares - 2 * products, 0)


def _kernel_sum(a: np.ndarray, b: np.ndarray, sigma: float) -> float:
    """Sum of `exp(-|x - y|² / 2 sigma²)` over all pairs."""
    blocks = _squared_distances(a, b)
    return sum(float(np.exp(block / (-2 * sigma**2)).sum()) for _, block in blocks)
