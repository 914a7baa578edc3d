"""Song level: does a metric tell which of two songs a listener will prefer? Numpy only.

In go values of a metric per song, `{(system, song): value}`, and votes on pairs of songs of two
systems for one prompt. A vote without a winner says nothing about order and is left out. Out come

- `accuracy`: the share of votes whose winner has the larger value, equal values counting half
  (below one half for a metric that is better when small, such as a distance);
- `auc`: the chance that a difference of values seen with a win exceeds one seen with a loss. Each
  vote is looked at from both sides, so it does not matter which song was called A;
- intervals by the bootstrap of whole prompts and of whole raters, the wider of the two;
- `p`, two-sided: signs of whole prompts are flipped (all flips up to 12 prompts, else drawn).

Hundreds of votes in place of five systems; but a metric may score only by knowing the *systems*,
and of those there are still five. `within` looks at votes on the same two systems alone: the chance
that the difference of values seen with a win exceeds one seen with a loss *of that pair*. It is .5
for whatever knows nothing of single songs; its p comes from outcomes permuted within pairs.
"""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from yue.errors import FileError, OptionError
from yue.evaluate import agreement
from yue.evaluate.listen.aspects import ANSWERS
from yue.evaluate.listen.folder import PAIR
from yue.evaluate.listen.statistics import RESAMPLES, cluster_interval
from yue.files import PathLike

VERSION = 1
FEWEST = 3
"""Votes with a winner without which nothing is said."""
EXACT_UP_TO = 12
"""Prompts up to which all flips are counted (4,096)."""
TRIALS = 9_999
PERMUTATIONS = 1_999
"""Of outcomes within pairs of systems: each costs votes times votes."""

Values = Mapping[tuple[str, str], float]
"""A metric's value of each (system, song)."""


class Vote(NamedTuple):
    """A vote on two songs for one prompt: `outcome` 1 for the first, -1 the second, 0 neither."""

    rater: str
    prompt: str
    first: str
    second: str
    outcome: int


def read_metrics(path: PathLike) -> dict[str, dict[tuple[str, str], float]]:
    """A CSV of columns system, song, metric, value: `{metric: {(system, song): value}}`.

    An empty value means that there is none. Raises `FileError` that names the line.
    """
    found: dict[str, dict[tuple[str, str], float]] = {}
    for number, row in _rows(path, ("system", "song", "metric", "value")):
        if not row["value"].strip():
            continue
        value = _number(path, number, row["value"])
        place = found.setdefault(row["metric"], {})
        if (row["system"], row["song"]) in place:
            raise FileError(f"{path} line {number}: {row['metric']} of {row['song']} twice.")
        place[row["system"], row["song"]] = value
    return found


def read_numbers(path: PathLike, name: str, value: str) -> dict[str, float]:
    """A CSV of two columns, names and numbers. Raises `FileError` that names the line."""
    rows = _rows(path, (name, value))
    return {row[name]: _number(path, number, row[value]) for number, row in rows}


def read_votes(path: PathLike, aspect: str = "musicality") -> list[Vote]:
    """The votes on one aspect, from the votes.csv of `yue listen report` or one like it.

    Columns rater, prompt, A and B (systems), answer (A, = or B), and, if there are several, aspect
    and kind (anchors are left out). Raises `FileError` that names the line.
    """
    found = []
    for number, row in _rows(path, ("rater", "prompt", "A", "B", "answer")):
        if row.get("aspect", aspect) != aspect or row.get("kind", PAIR) != PAIR:
            continue
        if row["answer"] not in ANSWERS:
            raise FileError(f"{path} line {number}: answer {row['answer']!r}, not A, = or B.")
        found.append(
            Vote(row["rater"], row["prompt"], row["A"], row["B"], ANSWERS[row["answer"]])
        )
    return found


def system_means(values: Values) -> dict[str, float]:
    """The mean over songs of each system: what the paper correlates."""
    systems = dict.fromkeys(system for system, _ in values)
    return {
        each: float(np.mean([value for (system, _), value in values.items() if system == each]))
        for each in systems
    }


def win_rates(votes: Sequence[Vote]) -> dict[str, float]:
    """Per system the share of its votes won, a tie counting half: a human score."""
    points: dict[str, list[float]] = {}
    for vote in votes:
        points.setdefault(vote.first, []).append((1 + vote.outcome) / 2)
        points.setdefault(vote.second, []).append((1 - vote.outcome) / 2)
    return {system: float(np.mean(each)) for system, each in points.items()}


def partial(kind: str, x: ArrayLike, y: ArrayLike, control: ArrayLike) -> float:
    """The coefficient of x and y with what a third list explains taken off, -1 to 1.

    `(r_xy - r_xz r_yz) / sqrt((1 - r_xz²) (1 - r_yz²))`; for Pearson that of the residuals. Raises
    `OptionError` if the control explains all of x or of y.
    """
    coefficient = {"pearson": agreement.pearson, "spearman": agreement.spearman}.get(kind)
    if coefficient is None:
        raise OptionError(f"coefficient {kind!r}: allowed are pearson, spearman.")
    xy, xz, yz = coefficient(x, y), coefficient(x, control), coefficient(y, control)
    rest = (1 - xz**2) * (1 - yz**2)
    if rest < 1e-12:
        raise OptionError("the control explains x or y entirely: nothing is left to correlate.")
    return max(-1.0, min(1.0, (xy - xz * yz) / math.sqrt(rest)))


def predict(
    values: Values, votes: Sequence[Vote], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """How well a metric predicts votes.

    `n`, `ties`, `left_out`, `prompts`, `raters`, `accuracy` and `auc` with intervals, `p`, and
    `within` (`auc`, its interval, `p`; `None` if no two systems have both wins and losses).

    `left_out` counts votes on songs that have no value. Raises `OptionError` for fewer than 3
    votes with a winner.
    """
    known = [v for v in votes if {(v.first, v.prompt), (v.second, v.prompt)} <= values.keys()]
    decided = [vote for vote in known if vote.outcome]
    if len(decided) < FEWEST:
        raise OptionError(f"{len(decided)} votes with a winner: at least {FEWEST} are needed.")
    differences = [values[v.first, v.prompt] - values[v.second, v.prompt] for v in decided]
    margin = np.array(differences) * [vote.outcome for vote in decided]
    # What is left of equal values after a mean was taken off must not count as a difference.
    margin[np.abs(margin) < 1e-12 * max(map(abs, values.values()))] = 0
    clusters = {
        "prompts": np.array([vote.prompt for vote in decided]),
        "raters": np.array([vote.rater for vote in decided]),
    }
    return {
        "n": len(decided), "ties": len(known) - len(decided), "left_out": len(votes) - len(known),
        **{name: len(np.unique(each)) for name, each in clusters.items()},
        "accuracy": float(_accuracy(margin)(np.ones((1, len(margin))))[0]),
        "accuracy_interval": _interval(_accuracy(margin), clusters, resamples, seed),
        "auc": float(_auc(margin)(np.ones((1, len(margin))))[0]),
        "auc_interval": _interval(_auc(margin), clusters, resamples, seed),
        "p": flip_p(margin, clusters["prompts"], seed=seed),
        "within": _within(decided, margin, clusters, resamples, seed),
    }


def flip_p(margin: np.ndarray, prompts: np.ndarray, *, seed: int = 0) -> float:
    """Two-sided p that winners are as likely to have the smaller value, by flips of prompts.

    `margin` `(n,)`: the winner's value less the loser's.
    """
    _, member = np.unique(prompts, return_inverse=True)
    sums = np.bincount(member, weights=np.sign(margin))
    exact = len(sums) <= EXACT_UP_TO
    if exact:
        flips = np.array(list(itertools.product((-1, 1), repeat=len(sums))))
    else:
        flips = np.random.default_rng(seed).choice((-1, 1), size=(TRIALS, len(sums)))
    hits = int(np.count_nonzero(np.abs(flips @ sums) >= abs(sums.sum()) - 1e-9))
    return hits / len(flips) if exact else (1 + hits) / (1 + TRIALS)


def evaluate(
    metrics: Mapping[str, Values], votes: Sequence[Vote], *, resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """All metrics: what `predict` says of each, with `p_holm` over metrics.

    Raises `OptionError` that names the metric.
    """
    rows: dict[str, dict[str, Any]] = {}
    for name, values in metrics.items():
        try:
            rows[name] = predict(values, votes, resamples=resamples, seed=seed)
        except OptionError as error:
            raise OptionError(f"{name}: {error}") from error
    for part in (rows, {name: row["within"] for name, row in rows.items() if row["within"]}):
        adjusted = agreement.holm([row["p"] for row in part.values()])
        for row, p in zip(part.values(), adjusted, strict=True):
            row["p_holm"] = p
    return {
        "metric": "preference", "version": VERSION, "metrics": rows,
        "options": {"resamples": resamples, "seed": seed},
    }


def _accuracy(margin: np.ndarray) -> Any:
    """Weights of votes `(R, n)` to accuracies `(R,)`; NaN for no votes."""
    hits = (1 + np.sign(margin)) / 2
    return lambda weights: _over(weights @ hits, weights.sum(axis=1))


def _auc(margin: np.ndarray) -> Any:
    """Weights of votes `(R, n)` to areas under the curve `(R,)`.

    A win is seen with the margin m of its vote, a loss with -m: it exceeds where m + m' > 0.
    """
    ahead = (1 + np.sign(margin[:, None] + margin[None])) / 2
    return lambda weights: _over(
        ((weights @ ahead) * weights).sum(axis=1), weights.sum(axis=1) ** 2
    )


def _within(
    votes: Sequence[Vote], margin: np.ndarray, clusters: Mapping[str, np.ndarray], resamples: int,
    seed: int,
) -> dict[str, Any] | None:
    """The area under the curve among votes on the same two systems."""
    turned = np.array([1 if vote.first < vote.second else -1 for vote in votes])
    won = np.array([vote.outcome for vote in votes]) * turned > 0
    # The winner's margin, seen from the system that comes first by name.
    difference = np.where(won, margin, -margin)
    names = [" ".join(sorted((vote.first, vote.second))) for vote in votes]
    _, pair = np.unique(names, return_inverse=True)
    order = np.sign(difference[:, None] - difference) * (pair[:, None] == pair)
    compared = (won[:, None] & ~won) & (pair[:, None] == pair)
    if not compared.any():
        return None
    ahead = compared * (1 + order) / 2

    def auc(weights: np.ndarray) -> np.ndarray:
        return _over(
            ((weights @ ahead) * weights).sum(axis=1), ((weights @ compared) * weights).sum(axis=1)
        )

    return {
        "auc": float(auc(np.ones((1, len(votes))))[0]),
        "auc_interval": _interval(auc, clusters, resamples, seed),
        "p": _permuted_p(order, won, pair, seed),
    }


def _permuted_p(order: np.ndarray, won: np.ndarray, pair: np.ndarray, seed: int) -> float:
    """Two-sided p of `sum order[i, j]` over wins i and losses j, outcomes permuted within pairs."""
    generator = np.random.default_rng(seed)
    groups = np.argsort(pair, kind="stable"), np.cumsum(np.bincount(pair))[:-1]
    drawn = np.empty((PERMUTATIONS, len(won)), dtype=np.float64)
    for rows in np.split(*groups):
        drawn[:, rows] = generator.permuted(np.tile(won[rows], (PERMUTATIONS, 1)), axis=1)
    seen = np.einsum("i,ij,j", won, order, ~won)
    hits = np.abs(((drawn @ order) * (1 - drawn)).sum(axis=1)) >= abs(seen) - 1e-9
    return (1 + int(hits.sum())) / (1 + PERMUTATIONS)


def _over(values: np.ndarray, total: np.ndarray) -> np.ndarray:
    return np.divide(values, total, out=np.full(len(values), math.nan), where=total > 0)


def _interval(
    statistic: Any, clusters: Mapping[str, np.ndarray], resamples: int, seed: int
) -> tuple[float, float]:
    """The wider of the intervals by prompts and by raters."""
    each = [
        cluster_interval(statistic, members, resamples=resamples, seed=seed)
        for members in clusters.values()
    ]
    low, high = max(each, key=lambda pair: pair[1] - pair[0])
    return float(low), float(high)


def _number(path: PathLike, line: int, text: str) -> float:
    """A finite number of a cell."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise FileError(f"{path} line {line}: {text!r} is no number.")
    return value


def _rows(path: PathLike, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Lines of a CSV, numbered as in the file. Raises `FileError` for one without `columns`."""
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileError(f"{path} could not be read: {error}.") from error
    if missing := [name for name in columns if name not in (reader.fieldnames or ())]:
        raise FileError(f"{path} has no column {', '.join(missing)}: needed are "
                        f"{', '.join(columns)}.")
    for number, row in rows:
        if any(row[name] is None for name in columns):
            raise FileError(f"{path} line {number} is cut off.")
    return rows
