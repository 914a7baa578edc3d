"""Agreement of metrics with human scores: correlation, and how far it can be believed. Numpy only.

In go pairs of numbers `(n,)`, n >= 3: per system (or per song) a metric's value and a human score.
Out come coefficients from -1 to 1: Pearson's r (a straight line), Spearman's rho (Pearson of the
ranks, ties share their mean rank), Kendall's tau-b (pairs in the same order, corrected for ties).
All three are one formula, Daniels' (1944): `sum(a * b) / sqrt(sum(a * a) * sum(b * b))`, with a and
b the distances from the mean, the same of the ranks, or the signs of all pairs' differences.

Every coefficient comes with n, a two-sided permutation p (exact up to n = 8: the share of all n!
orders whose coefficient is as far from 0; else by seeded drawing, the order seen counted among
them), the values with one point left out, and intervals: Fisher's z for Pearson (it assumes
bivariate normal data), the percentile bootstrap for all (too narrow for n below some tens).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from yue.errors import OptionError

VERSION = 1
FEWEST = 3
"""Points without which there is nothing to correlate: two always lie on a line."""
EXACT_UP_TO = 8
"""Points up to which all n! orders are counted (40,320)."""
TRIALS = 9_999
RESAMPLES = 2_000
CONFIDENCE = 0.95
BLOCK = 1 << 18
"""Pairs of points looked at in one go: more is slower, it leaves the processor's cache."""


def validate(x: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 `(n,)`.

    Raises `OptionError` if they are no lists of numbers, differ in length, have fewer than 3
    points, hold a value that is not finite, or if all values of one are the same.
    """
    first, second = _numbers("x", x), _numbers("y", y)
    if len(first) != len(second):
        raise OptionError(f"{len(first)} values and {len(second)} scores: expected pairs.")
    if len(first) < FEWEST:
        raise OptionError(f"{len(first)} points: a correlation needs at least {FEWEST}.")
    for name, values in (("x", first), ("y", second)):
        if not np.isfinite(values).all():
            raise OptionError(f"{name} holds NaN or infinity: leave those points out of both.")
        if (values == values[0]).all():
            raise OptionError(f"{name} is {values[0]} everywhere: a constant has no correlation.")
    return first, second


def ranks(values: ArrayLike) -> np.ndarray:
    """Ranks from 1, float64 `(n,)`; equal values share the mean of their ranks."""
    values = np.asarray(values)
    return (len(values) + 1) / 2 + _centred_ranks(values)


def pearson(x: ArrayLike, y: ArrayLike) -> float:
    """Pearson's r, -1 to 1."""
    return _coefficient("pearson", *validate(x, y))


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's rho, -1 to 1."""
    return _coefficient("spearman", *validate(x, y))


def kendall(x: ArrayLike, y: ArrayLike) -> float:
    """Kendall's tau-b, -1 to 1."""
    return _coefficient("kendall", *validate(x, y))


def permutation_p(
    kind: str, x: ArrayLike, y: ArrayLike, *, trials: int = TRIALS, seed: int = 0
) -> float:
    """Two-sided p of a coefficient: the share of orders of y that are as far from 0 or farther.

    Exact up to 8 points; beyond, (1 + hits) / (1 + trials) with `trials` seeded random orders.
    """
    first, second = validate(x, y)
    a, b = _parts(kind, first), _parts(kind, second)
    # Orders that tie with the one seen must count; rounding differs by the order of the sum.
    bound = abs(float((a * b).sum())) - 1e-12 * _norm(a, b)
    n = len(first)
    exact = n <= EXACT_UP_TO
    blocks = _all_orders(n) if exact else _random_orders(n, trials, seed)
    hits = total = 0 if exact else 1
    for orders in blocks:
        hits += int(np.count_nonzero(np.abs(_sums(a, b, orders)) >= bound))
        total += len(orders)
    return hits / total


def leave_one_out(kind: str, x: ArrayLike, y: ArrayLike) -> list[float | None]:
    """The coefficient without each point in turn, `n` values.

    `None` where fewer than 3 points or only equal values are left.
    """
    first, second = validate(x, y)
    n = len(first)
    if n == FEWEST:
        return [None] * n
    rests = np.array([np.delete(np.arange(n), point) for point in range(n)])
    found = _of_draws(kind, first, second, rests).tolist()
    return [None if math.isnan(value) else value for value in found]


def fisher_interval(r: float, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The interval of a Pearson r of `n` points by Fisher's z; -1 to 1 for n = 3."""
    _share("confidence", confidence)
    if not -1 <= r <= 1:
        raise OptionError(f"r = {r}: expected -1 to 1.")
    _at_least("n", n, FEWEST)
    if n == FEWEST:
        return -1.0, 1.0
    if abs(r) == 1:
        return r, r
    half = NormalDist().inv_cdf((1 + confidence) / 2) / math.sqrt(n - 3)
    return math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)


def bootstrap_interval(
    kind: str,
    x: ArrayLike,
    y: ArrayLike,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of a coefficient over points drawn with replacement.

    Draws in which all values of x or of y are the same have no coefficient and are left out.
    """
    first, second = validate(x, y)
    _share("confidence", confidence)
    _at_least("resamples", resamples, 100)
    n = len(first)
    values = _of_draws(kind, first, second, _generator(seed).integers(0, n, (resamples, n)))
    values = values[~np.isnan(values)]
    if not values.size:
        raise OptionError(f"none of {resamples} resamples had two different values of x and of y.")
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


def holm(ps: Sequence[float]) -> list[float]:
    """P-values adjusted for their number by Holm's step-down method, in the order given."""
    if not all(0 <= p <= 1 for p in ps):
        raise OptionError(f"p-values {list(ps)}: expected 0 to 1.")
    adjusted = [0.0] * len(ps)
    largest = 0.0
    for step, index in enumerate(sorted(range(len(ps)), key=lambda index: ps[index])):
        largest = max(largest, min(1.0, (len(ps) - step) * ps[index]))
        adjusted[index] = largest
    return adjusted


def agree(
    x: ArrayLike,
    y: ArrayLike,
    *,
    confidence: float = CONFIDENCE,
    trials: int = TRIALS,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """One metric against the scores: `n`, whether p is `exact`, and per kind of coefficient a dict.

    That holds `value`, `p`, `leave_one_out` (`n` values), `bootstrap` and, for Pearson, `fisher`.
    """
    first, second = validate(x, y)
    found: dict[str, Any] = {"n": len(first), "exact": len(first) <= EXACT_UP_TO}
    for kind in KINDS:
        found[kind] = {
            "value": _coefficient(kind, first, second),
            "p": permutation_p(kind, first, second, trials=trials, seed=seed),
            "leave_one_out": leave_one_out(kind, first, second),
            "bootstrap": bootstrap_interval(
                kind, first, second, confidence=confidence, resamples=resamples, seed=seed
            ),
        }
    found["pearson"]["fisher"] = fisher_interval(found["pearson"]["value"], len(first), confidence)
    return found


def evaluate(
    metrics: Mapping[str, Mapping[str, float]],
    scores: Mapping[str, float],
    *,
    confidence: float = CONFIDENCE,
    trials: int = TRIALS,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Each metric `{name: {system: value}}` against human scores `{system: score}`.

    Per metric what `agree` says over the systems that have both, their names in the order of
    `leave_one_out` (`systems`), those that lack one (`left_out`), and per kind `p_holm`, p adjusted
    over the metrics. `failed`: metrics of which nothing can be said, such as constant ones, and
    why. Raises `OptionError` that names the reasons if that is all of them.
    """
    options = {"confidence": confidence, "trials": trials, "resamples": resamples, "seed": seed}
    rows: dict[str, dict[str, Any]] = {}
    failed: dict[str, str] = {}
    for name, values in metrics.items():
        systems = [system for system in scores if system in values]
        x, y = [values[system] for system in systems], [scores[system] for system in systems]
        try:
            found = agree(x, y, **options)  # type: ignore[arg-type]
        except OptionError as error:
            known = ", ".join(systems) or "none"
            failed[name] = f"{name}, systems with a score: {known}: {error}"
            continue
        left_out = sorted(values.keys() ^ scores.keys())
        rows[name] = {"systems": systems, "left_out": left_out, **found}
    if failed and not rows:
        raise OptionError(" ".join(failed.values()))
    for kind in KINDS:
        adjusted = holm([row[kind]["p"] for row in rows.values()])
        for row, p in zip(rows.values(), adjusted, strict=True):
            row[kind]["p_holm"] = p
    return {"metric": "agreement", "version": VERSION, "options": options, "metrics": rows,
            "failed": failed}


def _numbers(name: str, values: ArrayLike) -> np.ndarray:
    """`values` as float64 `(n,)`."""
    try:
        array = np.asarray(values)
        if array.ndim != 1 or (array.size and array.dtype.kind not in "iuf"):
            raise ValueError(f"{array.dtype} of shape {array.shape}")
    except ValueError as error:
        raise OptionError(f"{name} does not fit ({error}): expected a list of numbers.") from error
    return array.astype(np.float64)


def _centred(values: np.ndarray) -> np.ndarray:
    """Distances from the mean `(..., n)`, scaled by a power of two: no square over- or underflows.

    The mean is taken twice: of values that differ in the last digits only, the first is rounded.
    """
    _, exponent = np.frexp(np.abs(values).max(axis=-1, keepdims=True))
    scaled = np.ldexp(values, -exponent)
    scaled = scaled - scaled.mean(axis=-1, keepdims=True)
    return scaled - scaled.mean(axis=-1, keepdims=True)


def _signs(values: np.ndarray) -> np.ndarray:
    """Signs of the differences of all pairs: `(..., n)` to int8 `(..., n, n)`."""
    greater = (values[..., :, None] > values[..., None, :]).astype(np.int8)
    return greater - np.swapaxes(greater, -1, -2)


def _centred_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks less their mean `(..., n)`: half of how many more values are smaller than larger."""
    return _signs(values).sum(axis=-1) / 2


_PARTS = {"pearson": _centred, "spearman": _centred_ranks, "kendall": _signs}
KINDS = tuple(_PARTS)


def _parts(kind: str, values: np.ndarray) -> np.ndarray:
    """a (or b) of Daniels' formula: `(..., n)`, for Kendall `(..., n, n)`."""
    if kind not in _PARTS:
        raise OptionError(f"coefficient {kind!r}: allowed are {', '.join(KINDS)}.")
    return _PARTS[kind](values)


def _norm(a: np.ndarray, b: np.ndarray, axes: tuple[int, ...] | None = None) -> np.ndarray:
    """The formula's denominator, summed over `axes` (all)."""
    return np.sqrt((a * a).sum(axis=axes, dtype=float) * (b * b).sum(axis=axes, dtype=float))


def _coefficients(kind: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Coefficients of checked values `(..., n)`: `(...)`, NaN where x or y is constant."""
    a, b = _parts(kind, x), _parts(kind, y)
    axes = tuple(range(x.ndim - 1, a.ndim))
    constant = (x == x[..., :1]).all(axis=-1) | (y == y[..., :1]).all(axis=-1)
    norm = np.where(constant, 1.0, _norm(a, b, axes))
    return np.where(constant, np.nan, ((a * b).sum(axis=axes) / norm).clip(-1, 1))


def _coefficient(kind: str, x: np.ndarray, y: np.ndarray) -> float:
    """The coefficient of checked values `(n,)`."""
    return float(_coefficients(kind, x, y))


def _of_draws(kind: str, x: np.ndarray, y: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """The coefficient of the points of each row of `draws` `(D, m)`: `(D,)`, NaN for constants."""
    size = max(1, BLOCK // draws.shape[1] ** 2)
    blocks = (draws[first : first + size] for first in range(0, len(draws), size))
    return np.concatenate([_coefficients(kind, x[block], y[block]) for block in blocks])


def _sums(a: np.ndarray, b: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """The formula's numerator with b in each of the `orders` `(B, n)`: `(B,)`."""
    if b.ndim == 1:
        return b[orders] @ a
    return (b[orders[:, :, None], orders[:, None, :]] * a).sum(axis=(1, 2))


def _all_orders(n: int) -> Iterator[np.ndarray]:
    """All orders of n points, int `(n!, n)`, as one block."""
    yield np.array(list(itertools.permutations(range(n))))


def _random_orders(n: int, trials: int, seed: int) -> Iterator[np.ndarray]:
    """`trials` random orders of n points in blocks `(B, n)` whose B * n * n fits `BLOCK`."""
    _at_least("trials", trials, 1)
    generator = _generator(seed)
    size = max(1, BLOCK // (n * n))
    for first in range(0, trials, size):
        rows = min(size, trials - first)
        yield generator.permuted(np.tile(np.arange(n), (rows, 1)), axis=1)


def _generator(seed: int) -> np.random.Generator:
    """The random numbers of a seed."""
    _at_least("seed", seed, 0)
    return np.random.default_rng(seed)


def _at_least(name: str, value: int, least: int) -> None:
    """Raise `OptionError` if `value` is below `least`."""
    if value < least:
        raise OptionError(f"{name} = {value}: expected at least {least}.")


def _share(name: str, value: float) -> None:
    """Raise `OptionError` unless `value` lies between 0 and 1."""
    if not 0 < value < 1:
        raise OptionError(f"{name} = {value}: expected more than 0 and less than 1.")
