"""Ballots -> figures: preferences, strengths, agreement, anchors, sides. JSON-ready.

Rates count a tie as half a win. Intervals of rates: Wilson's (as if votes were independent; ties
make it a little wide), and the wider one of two bootstraps, over raters and over prompts. P-values
of pairs are exact sign tests without ties, adjusted by Holm over the pairs of an aspect. `None`
stands where there is nothing to compute.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from yue.errors import OptionError
from yue.evaluate.agreement import holm
from yue.evaluate.listen.aspects import ANSWERS, OVERALL
from yue.evaluate.listen.ballots import Vote, Votes
from yue.evaluate.listen.davidson import Strengths, fit, fit_many
from yue.evaluate.listen.folder import IDENTICAL, LOWPASS, PAIR
from yue.evaluate.listen.statistics import (
    RESAMPLES,
    cluster_interval,
    fleiss,
    krippendorff,
    sign_test,
    wilson,
)

FEWEST_ALIKE = 5
"""Answers from which always the same one is worth a word, whatever its p."""
ALPHA = 0.05
"""Adjusted p below which a rater is said to favour a side."""
FEWEST_RESAMPLES = 100
WEAK_PRIOR = 0.01
"""Precision of the prior in the bootstrap, whose draws may lack a win: strengths within +-20."""
RESCUE_PRIOR = 0.25
"""The same where the votes have no finite strengths: within +-4."""


@dataclass(frozen=True, eq=False)
class Table:
    """The votes on pairs of systems for one aspect, as columns `(n,)`."""

    systems: int
    left: np.ndarray
    right: np.ndarray
    outcome: np.ndarray
    rater: np.ndarray
    prompt: np.ndarray

    def score(self, system: int) -> np.ndarray:
        """What each vote gave to a system: 1, a half, 0; NaN where it did not take part."""
        mine = np.where(self.left == system, 1, np.where(self.right == system, -1, 0))
        return np.where(mine == 0, np.nan, (1 + mine * self.outcome) / 2)

    def only(self, chosen: np.ndarray) -> Table:
        """The votes where `chosen` is true."""
        columns = (self.left, self.right, self.outcome, self.rater, self.prompt)
        return Table(self.systems, *(column[chosen] for column in columns))


def analyse(
    held: Votes,
    *,
    most_failures: int | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Everything the report says.

    Raters with more than `most_failures` failed anchors are left out of all figures but their own;
    by default nobody is. Raises `OptionError` if no vote on a pair of systems is left, or for
    fewer than 100 resamples.
    """
    if resamples < FEWEST_RESAMPLES:
        raise OptionError(f"resamples = {resamples}: expected at least {FEWEST_RESAMPLES}.")
    raters = rater_figures(held)
    out = [
        row["rater"] - 1 for row in raters
        if most_failures is not None and row["failed"] > most_failures
    ]
    for row in raters:
        row["left_out"] = row["rater"] - 1 in out
    used = held.without(out)
    if not used.of_kind(PAIR):
        raise OptionError(
            f"there is no vote on two systems: {len(held.of_kind(PAIR))} were given, "
            f"{len(out)} raters are left out. Collect votes with `yue listen serve` first."
        )
    return {
        "systems": list(held.systems),
        "votes": len(used.of_kind(PAIR)),
        "raters": raters,
        "sessions": held.sessions,
        "damaged_lines": list(held.damaged),
        "strange_votes": held.strange,
        "resamples": resamples,
        "seed": seed,
        "aspects": {
            key: {"title": title, **aspect_figures(used, key, resamples=resamples, seed=seed)}
            for key, title in held.aspects.items()
        },
    }


def aspect_figures(
    held: Votes, aspect: str, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """Pairs, systems, side, ties and agreement for one aspect."""
    table = _table(held, aspect)
    pairs = [
        _pair_figures(table, i, j, held.systems, resamples, seed)
        for i, j in itertools.combinations(range(len(held.systems)), 2)
    ]
    for row, p in zip(pairs, holm([row["p"] for row in pairs]), strict=True):
        row["p_holm"] = p
    strengths, note = _strengths(table)
    intervals = _strength_intervals(table, resamples, seed)
    systems = [
        {
            "system": name,
            **_rate(table.score(number), table, resamples, seed),
            "strength": float(strengths.values[number]),
            "strength_error": float(strengths.errors[number]),
            "strength_interval": intervals[:, number].tolist(),
        }
        for number, name in enumerate(held.systems)
    ]
    return {
        "pairs": pairs,
        "systems": systems,
        "side": _term(strengths.side, strengths.side_error),
        "tie": _term(strengths.tie, strengths.tie_error),
        "note": note,
        "agreement": _agreement(table),
    }


def rater_figures(held: Votes) -> list[dict[str, Any]]:
    """Per rater, counted from 1: votes, anchors failed, how often the left song won, with its p.

    On an identical pair anything but equal is a failure; on a low-passed one, anything but
    preferring the whole song. Sides are counted over anchors too. All by musicality, or else the
    first aspect of the test. `always`: the one answer that a rater gave, left, right or equal.
    """
    aspect = OVERALL.key if OVERALL.key in held.aspects else next(iter(held.aspects))
    rows = [
        _rater(rater, [v for v in held.votes if v.rater == rater], aspect)
        for rater in sorted({vote.rater for vote in held.votes})
    ]
    for row, p in zip(rows, holm([row["side_p"] for row in rows]), strict=True):
        row["side_p_holm"] = p
        more = "left" if row["left_answers"] > row["right_answers"] else "right"
        row["favours"] = more if p < ALPHA or row["always"] == more else None
    return rows


def _table(held: Votes, aspect: str) -> Table:
    """The columns of one aspect."""
    rows = held.of_kind(PAIR)
    number = {name: index for index, name in enumerate(held.systems)}
    return Table(
        len(held.systems),
        np.array([number[vote.left] for vote in rows], dtype=int),
        np.array([number[vote.right] for vote in rows], dtype=int),
        np.array([ANSWERS[vote.answers[aspect]] for vote in rows], dtype=int),
        np.array([vote.rater for vote in rows], dtype=int),
        np.array([vote.prompt for vote in rows], dtype=str),
    )


def _pair_figures(
    table: Table, first: int, second: int, names: Sequence[str], resamples: int, seed: int
) -> dict[str, Any]:
    """Wins, ties and losses of one system against another."""
    met = (table.left == first) & (table.right == second)
    met |= (table.left == second) & (table.right == first)
    own = table.only(met)
    score = own.score(first)
    wins, ties, losses = (int((score == value).sum()) for value in (1, 0.5, 0))
    return {
        "first": names[first], "second": names[second],
        "wins": wins, "ties": ties, "losses": losses,
        **_rate(score, own, resamples, seed),
        "p": sign_test(wins, losses),
    }


def _rate(score: np.ndarray, table: Table, resamples: int, seed: int) -> dict[str, Any]:
    """The mean score with both intervals; NaN scores are left out."""
    took_part = ~np.isnan(score)
    score, table = score[took_part], table.only(took_part)
    if not len(score):
        return {"n": 0, "rate": None, "wilson": None, "bootstrap": None}

    def means(weights: np.ndarray) -> np.ndarray:
        total = weights.sum(axis=1)
        return np.where(total > 0, weights @ score / np.maximum(total, 1), np.nan)

    intervals = [
        cluster_interval(means, clusters, resamples=resamples, seed=seed)
        for clusters in (table.rater, table.prompt)
    ]
    return {
        "n": len(score),
        "rate": float(score.mean()),
        "wilson": list(wilson(float(score.sum()), len(score))),
        "bootstrap": _wider(intervals).tolist(),
    }


def _wider(intervals: Sequence[np.ndarray]) -> np.ndarray:
    """Of intervals `(2, ...)` the wider one, each number by itself."""
    stack = np.stack(intervals)
    widest = (stack[:, 1] - stack[:, 0]).argmax(axis=0)
    return np.take_along_axis(stack, widest[None, None], axis=0)[0]


def _strengths(table: Table) -> tuple[Strengths, str]:
    """Strengths, and a note if they exist only with a prior."""
    columns = (table.left, table.right, table.outcome, table.systems)
    try:
        return fit(*columns), ""
    except OptionError:
        note = (
            "Some strengths have no limit (every vote won or lost, or systems that never met): "
            "they are held by a normal prior of standard deviation 2."
        )
        return fit(*columns, prior=RESCUE_PRIOR), note


def _strength_intervals(table: Table, resamples: int, seed: int) -> np.ndarray:
    """Bootstrap intervals of the strengths, `(2, S)`: the wider of raters and prompts."""
    columns = np.stack([table.left, table.right, table.outcome], axis=1)
    cells, member = np.unique(columns, axis=0, return_inverse=True)
    left, right, outcome = cells.T
    to_cells = np.eye(len(cells))[member.ravel()]

    def values(weights: np.ndarray) -> np.ndarray:
        return fit_many(
            left, right, outcome, table.systems, weights=weights @ to_cells, prior=WEAK_PRIOR
        )

    return _wider([
        cluster_interval(values, clusters, resamples=resamples, seed=seed)
        for clusters in (table.rater, table.prompt)
    ])


def _term(value: float, error: float) -> dict[str, float | None]:
    """A term of the model with Wald's interval and p; `None` if the model has no such term."""
    if not math.isfinite(value) or error == 0:
        return {"value": None, "error": None, "p": None}
    return {"value": value, "error": error, "p": math.erfc(abs(value) / error / math.sqrt(2))}


def _agreement(table: Table) -> dict[str, Any]:
    """Agreement of raters on the same two songs; outcomes are turned to the same order first."""
    low, high = np.minimum(table.left, table.right), np.maximum(table.left, table.right)
    outcome = np.where(table.left == low, table.outcome, -table.outcome)
    units, unit = np.unique(
        np.array([f"{a} {b} {p}" for a, b, p in zip(low, high, table.prompt, strict=True)]),
        return_inverse=True,
    )
    raters, rater = np.unique(table.rater, return_inverse=True)
    ratings = np.full((len(raters), len(units)), np.nan)
    ratings[rater, unit] = outcome
    counts = np.stack([(ratings == value).sum(axis=0) for value in (1, 0, -1)], axis=1)
    return {
        "units": int((counts.sum(axis=1) > 1).sum()),
        "alpha_nominal": krippendorff(ratings),
        "alpha_interval": krippendorff(ratings, "interval"),
        "kappa": fleiss(counts),
    }


def _rater(rater: int, rows: Sequence[Vote], aspect: str) -> dict[str, Any]:
    """One rater's votes, anchors and sides."""
    pairs = [vote for vote in rows if vote.kind == PAIR]
    given = [vote.answers[aspect] for vote in pairs]
    lefts, rights = given.count("A"), given.count("B")
    same = [vote for vote in rows if vote.kind == IDENTICAL]
    filtered = [vote for vote in rows if vote.kind == LOWPASS]
    failed_same = sum(vote.answers[aspect] != "=" for vote in same)
    better = {"A": "B", "B": "A"}
    failed_filtered = sum(
        vote.answers[aspect] != better.get(vote.worse or "") for vote in filtered
    )
    every = [vote.answers[aspect] for vote in rows]
    alike = len(every) >= FEWEST_ALIKE and len(set(every)) == 1
    times = [vote.seconds for vote in rows if not math.isnan(vote.seconds)]
    return {
        "rater": rater + 1,
        "votes": len(pairs),
        "ties": given.count("="),
        "identical": len(same), "identical_failed": failed_same,
        "lowpass": len(filtered), "lowpass_failed": failed_filtered,
        "failed": failed_same + failed_filtered,
        "lefts": lefts, "rights": rights,
        "left_rate": lefts / (lefts + rights) if lefts + rights else None,
        "left_interval": list(wilson(lefts, lefts + rights)),
        "left_answers": every.count("A"), "right_answers": every.count("B"),
        "side_p": sign_test(every.count("A"), every.count("B")),
        "always": {"A": "left", "B": "right", "=": "equal"}[every[0]] if alike else None,
        "median_seconds": float(np.median(times)) if times else None,
    }
