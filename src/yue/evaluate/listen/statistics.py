"""The statistics of votes, each a pure function of numbers; numpy only.

Intervals are two-sided at 95 %. The bootstrap draws whole clusters (all votes of a rater, all votes
on a prompt), for votes of one rater are alike. Drawing raters and prompts at once would triple the
variance of what is left between them (Owen 2007, The Annals of Applied Statistics 1, 386), and with
votes that is most of it: so each is drawn by itself, and who reports takes the wider interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from yue.errors import OptionError

CONFIDENCE = 0.95
POWER = 0.8
RESAMPLES = 1_000


def wilson(wins: float, n: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's interval of a share `wins / n`; wins may hold half ties. (0, 1) for no votes."""
    if not 0 <= wins <= n:
        raise OptionError(f"{wins} wins of {n}: expected 0 to {n}.")
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, scale = wins / n, 1 + z * z / n
    centre = (share + z * z / (2 * n)) / scale
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / scale
    # The share is inside; rounding puts it outside at 0 and 1.
    return min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))


def sign_test(wins: int, losses: int) -> float:
    """Two-sided exact p that wins and losses are equally likely; ties are left out. 1 for none."""
    n = wins + losses
    tail = sum(math.comb(n, k) for k in range(min(wins, losses) + 1))
    return min(1.0, 2 * tail / 2**n)


def pairs_needed(preference: float, *, power: float = POWER, alpha: float = 1 - CONFIDENCE) -> int:
    """Votes without ties that show a preference (0.6: six of ten) with the given power.

    Two-sided test of one share; normal approximation with Cohen's arcsine: 194 for 0.6, 783 for
    0.55. Raises `OptionError` for a preference of one half, which no number of votes can show.
    """
    if not 0 < preference < 1 or preference == 0.5:
        raise OptionError(f"preference = {preference}: expected 0 to 1, and not one half.")
    sought = NormalDist().inv_cdf(1 - alpha / 2) + NormalDist().inv_cdf(power)
    return math.ceil((sought / _effect(preference)) ** 2)


def power_of(votes: int, preference: float, *, alpha: float = 1 - CONFIDENCE) -> float:
    """The chance that so many votes show that preference; the inverse of `pairs_needed`."""
    normal = NormalDist()
    return normal.cdf(_effect(preference) * math.sqrt(votes) - normal.inv_cdf(1 - alpha / 2))


def cluster_interval(
    statistic: Callable[[np.ndarray], np.ndarray],
    clusters: np.ndarray,
    *,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> np.ndarray:
    """Percentile interval of a statistic over whole clusters drawn with replacement.

    `clusters` `(n,)` names the cluster of each vote; `statistic` takes weights `(R, n)` and gives
    values `(R, ...)`, NaN where a draw has none. Returns `(2, ...)`: low and high.
    """
    _, member = np.unique(clusters, return_inverse=True)
    total = int(member.max()) + 1
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(total, np.full(total, 1 / total), size=resamples)
    values = statistic(drawn[:, member])
    tail = 100 * (1 - confidence) / 2
    return np.nanpercentile(values, [tail, 100 - tail], axis=0)


def krippendorff(ratings: np.ndarray, level: str = "nominal") -> float | None:
    """Krippendorff's alpha of ratings `(raters, units)`, NaN where a rater gave none.

    `level` is nominal (same or not) or interval (squared distance). 1: all agree; 0: as by chance.
    `None` if no unit has two ratings, or all ratings are the same: there is nothing to agree on.
    """
    if level not in ("nominal", "interval"):
        raise OptionError(f"level {level!r}: allowed are nominal, interval.")
    ratings = np.asarray(ratings, dtype=float)
    values = np.unique(ratings[~np.isnan(ratings)])
    counts = (ratings[..., None] == values).sum(axis=0).astype(float)
    per_unit = counts.sum(axis=1)
    counts, per_unit = counts[per_unit > 1], per_unit[per_unit > 1]
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(len(values))
    coincidence = (pairs / (per_unit - 1)[:, None, None]).sum(axis=0)
    margin = coincidence.sum(axis=1)
    distance = np.subtract.outer(values, values) ** 2
    if level == "nominal":
        distance = (distance > 0).astype(float)
    expected = (np.outer(margin, margin) * distance).sum()
    if expected == 0:
        return None
    return float(1 - (margin.sum() - 1) * (coincidence * distance).sum() / expected)


def fleiss(counts: np.ndarray) -> float | None:
    """Fleiss' kappa of counts `(units, categories)`: how many raters put a unit there.

    Units may have different numbers of ratings; those with fewer than two are left out. `None` as
    for `krippendorff`.
    """
    counts = np.asarray(counts, dtype=float)
    per_unit = counts.sum(axis=1)
    counts, per_unit = counts[per_unit > 1], per_unit[per_unit > 1]
    if not len(counts):
        return None
    seen = ((counts * (counts - 1)).sum(axis=1) / (per_unit * (per_unit - 1))).mean()
    chance = ((counts.sum(axis=0) / counts.sum()) ** 2).sum()
    return None if chance == 1 else float((seen - chance) / (1 - chance))


def _effect(preference: float) -> float:
    """Cohen's h of a share against one half."""
    return abs(2 * math.asin(math.sqrt(preference)) - math.pi / 2)
