"""Statistics of votes: textbook values, closed forms, slow twins, planted truths found again."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yue.errors import OptionError
from yue.evaluate.agreement import holm
from yue.evaluate.listen import davidson, statistics

NAN = math.nan

STIGLER = np.array([[0, 730, 498, 221], [33, 0, 68, 17], [320, 813, 0, 142], [284, 276, 325, 0]])
"""Citations of Biometrika, Communications in Statistics, JASA, JRSS-B (Stigler 1994)."""

PAPER = np.array([
    [0, 47, 27, 64, 50], [53, 0, 24, 70, 51], [73, 76, 0, 83, 71], [36, 30, 17, 0, 31],
    [50, 49, 29, 69, 0],
])
"""The paper's average preference, row over column: YuE, Udio, Suno, Hailuo, Tiangong."""


def fit_matrix(wins: np.ndarray, **options: Any) -> davidson.Strengths:
    """Strengths from a table of wins, row over column."""
    left, right = np.nonzero(~np.eye(len(wins), dtype=bool))
    return davidson.fit(
        left, right, np.ones(len(left)), len(wins), weights=wins[left, right], side=False, **options
    )


def simulate(
    rng: np.random.Generator, strengths: np.ndarray, side: float, tie: float, n: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Votes drawn from the model: left, right, outcome."""
    pairs = np.array([rng.permutation(len(strengths))[:2] for _ in range(n)])
    left, right = pairs.T
    d = strengths[left] - strengths[right] + side
    weight = np.exp(np.stack([d / 2, np.full(n, tie), -d / 2]))
    edges = np.cumsum(weight / weight.sum(axis=0), axis=0)
    return left, right, 1 - (rng.random(n) > edges[:2]).sum(axis=0)


def test_bradley_terry_on_stiglers_citations() -> None:
    found = fit_matrix(STIGLER).values
    assert found - found[0] == pytest.approx([0, -2.94907, -0.47957, 0.26895], abs=1e-5)


def test_bradley_terry_on_the_papers_matrix() -> None:
    found = fit_matrix(PAPER)
    assert found.values == pytest.approx([-0.108, -0.023, 0.931, -0.769, -0.031], abs=5e-4)
    fitted = [[found.odds(i, j)[0] for j in range(5)] for i in range(5)]
    error = np.abs(100 * np.array(fitted) - PAPER)[~np.eye(5, dtype=bool)].max()
    assert error == pytest.approx(3.8, abs=0.05)


def test_bradley_terry_against_another_implementation() -> None:
    choix = pytest.importorskip("choix")
    theirs = choix.ilsr_pairwise_dense(PAPER.astype(float), alpha=0.0, max_iter=1000, tol=1e-10)
    assert fit_matrix(PAPER).values == pytest.approx(theirs - theirs.mean(), abs=1e-6)


def test_two_systems_in_closed_form() -> None:
    """30 wins, 5 ties, 7 losses: the model is saturated and repeats the shares."""
    outcome = np.repeat([1, 0, -1], [30, 5, 7])
    found = davidson.fit(np.zeros(42, int), np.ones(42, int), outcome, 2, side=False)
    assert found.odds(0, 1) == pytest.approx((30 / 42, 5 / 42, 7 / 42))
    assert found.values == pytest.approx([math.log(30 / 7) / 2, -math.log(30 / 7) / 2])
    assert found.tie == pytest.approx(math.log(5 / math.sqrt(30 * 7)))
    # The variance of a log odds, 1/30 + 1/7, for the difference of the two.
    assert 2 * found.errors[0] == pytest.approx(math.sqrt(1 / 30 + 1 / 7))


def test_likelihood_is_greatest() -> None:
    """The slow twin: a general optimiser on the model as its docstring writes it."""
    optimize = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(3)
    left, right, outcome = simulate(rng, np.array([0.5, 0.1, -0.6]), 0.4, -0.3, 300)

    def loss(theta: np.ndarray) -> float:
        values = np.append(theta[:2], -theta[:2].sum())
        d = values[left] - values[right] + theta[2]
        logits = np.stack([-d / 2, np.full(300, theta[3]), d / 2])
        chosen = logits[outcome + 1, np.arange(300)]
        return float((np.log(np.exp(logits).sum(axis=0)) - chosen).sum())

    slow = optimize.minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-7}).x
    found = davidson.fit(left, right, outcome, 3)
    assert [*found.values[:2], found.side, found.tie] == pytest.approx(slow, abs=1e-4)


def test_planted_strengths_are_inside_the_intervals() -> None:
    """95 % of the intervals of repeated experiments hold the truth, for every term."""
    rng = np.random.default_rng(11)
    truth, side, tie = np.array([0.8, 0.2, -0.3, -0.7]), 0.3, -0.5
    held = []
    for _ in range(150):
        found = davidson.fit(*simulate(rng, truth, side, tie, 200), 4)
        error = np.array([*(found.values - truth), found.side - side, found.tie - tie])
        spread = np.array([*found.errors, found.side_error, found.tie_error])
        held.append(np.abs(error) < 1.96 * spread)
    assert np.mean(held, axis=0) == pytest.approx(0.95, abs=0.06)
    assert np.mean(held) == pytest.approx(0.95, abs=0.025)


def test_many_fits_are_each_a_fit() -> None:
    rng = np.random.default_rng(5)
    left, right, outcome = simulate(rng, np.array([0.5, 0.0, -0.5]), 0.2, -1.0, 80)
    weights = rng.integers(0, 3, (20, 80)).astype(float)
    many = davidson.fit_many(left, right, outcome, 3, weights=weights, prior=0.01)
    each = [
        davidson.fit(left, right, outcome, 3, weights=row, prior=0.01).values for row in weights
    ]
    assert many == pytest.approx(np.array(each), abs=1e-9)


def test_side_is_not_taken_for_strength() -> None:
    """Equal systems, and raters who mostly vote left."""
    rng = np.random.default_rng(2)
    found = davidson.fit(*simulate(rng, np.zeros(3), 1.0, -2.0, 900), 3)
    assert found.side == pytest.approx(1.0, abs=0.3)
    assert np.abs(found.values).max() < 0.25


def test_renaming_systems_and_sides_changes_nothing() -> None:
    rng = np.random.default_rng(7)
    left, right, outcome = simulate(rng, np.array([0.5, 0.0, -0.5]), 0.2, -1.0, 200)
    found = davidson.fit(left, right, outcome, 3)
    order = np.array([2, 0, 1])
    renamed = davidson.fit(order[left], order[right], outcome, 3, prior=0.0)
    assert renamed.values[order] == pytest.approx(found.values)
    mirrored = davidson.fit(right, left, -outcome, 3)
    assert mirrored.values == pytest.approx(found.values)
    assert mirrored.side == pytest.approx(-found.side)
    weighted = davidson.fit(left, right, outcome, 3, weights=np.full(200, 4.0))
    assert weighted.values == pytest.approx(found.values)
    assert weighted.errors == pytest.approx(found.errors / 2)
    held = davidson.fit(order[left], order[right], outcome, 3, prior=1.0).values[order]
    assert held == pytest.approx(davidson.fit(left, right, outcome, 3, prior=1.0).values)


@pytest.mark.parametrize(
    ("left", "right", "outcome", "systems"),
    [
        ([0, 0, 1], [1, 1, 0], [1, 1, -1], 2),  # one won all
        ([0, 1, 2, 3], [1, 0, 3, 2], [1, 1, 1, 1], 4),  # two islands
        ([0, 1], [1, 0], [1, 1], 3),  # one never played
        ([0, 0], [1, 1], [0, 0], 2),  # only ties
    ],
)
def test_votes_without_finite_strengths(
    left: list[int], right: list[int], outcome: list[int], systems: int
) -> None:
    with pytest.raises(OptionError, match="prior above 0"):
        davidson.fit(left, right, outcome, systems)
    found = davidson.fit(left, right, outcome, systems, prior=0.25)
    assert np.isfinite(found.values).all() and found.values.sum() == pytest.approx(0)


def test_sign_tests_of_the_paper() -> None:
    """Musicality: only Hailuo and Suno differ from YuE."""
    ps = [statistics.sign_test(*pair) for pair in ((18, 16), (30, 7), (7, 28), (20, 17))]
    assert ps == pytest.approx([0.86, 0.0002, 0.0005, 0.74], abs=5e-3)
    assert ps[1] == pytest.approx(0.0002, abs=5e-5) and ps[2] == pytest.approx(0.0005, abs=5e-5)
    assert [p < 0.05 for p in holm(ps)] == [False, True, True, False]
    assert statistics.sign_test(0, 0) == 1 and statistics.sign_test(5, 5) == 1
    assert statistics.sign_test(0, 10) == pytest.approx(2 / 1024)


def test_wilson() -> None:
    # Newcombe (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    known = {(81, 263): (0.2553, 0.3662), (15, 148): (0.0624, 0.1605), (0, 20): (0.0, 0.1611),
             (1, 29): (0.0061, 0.1718)}
    for (wins, n), interval in known.items():
        assert statistics.wilson(wins, n) == pytest.approx(interval, abs=1e-4)
    assert statistics.wilson(0, 0) == (0, 1)
    with pytest.raises(OptionError, match="5 wins of 3"):
        statistics.wilson(5, 3)


@given(st.integers(0, 50), st.integers(1, 50))
def test_wilson_mirrors(wins: int, more: int) -> None:
    n = wins + more
    low, high = statistics.wilson(wins, n)
    assert 0 <= low <= wins / n <= high <= 1
    assert statistics.wilson(n - wins, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_plan() -> None:
    assert statistics.pairs_needed(0.6) == statistics.pairs_needed(0.4) == 194
    assert statistics.pairs_needed(0.55) == 783
    assert statistics.power_of(194, 0.6) == pytest.approx(0.8, abs=2e-3)
    # What the plan promises comes true: exact power of the sign test, by enumeration.
    n, hits = 194, 0.0
    for wins in range(n + 1):
        if statistics.sign_test(wins, n - wins) < 0.05:
            hits += math.comb(n, wins) * 0.6**wins * 0.4 ** (n - wins)
    assert hits == pytest.approx(0.8, abs=0.04)
    with pytest.raises(OptionError, match="one half"):
        statistics.pairs_needed(0.5)


def test_krippendorff_textbook() -> None:
    """Three coders, fifteen units: .691 nominal, .811 interval."""
    table = np.array([
        [NAN, NAN, NAN, NAN, NAN, 3, 4, 1, 2, 1, 1, 3, 3, NAN, 3],
        [1, NAN, 2, 1, 3, 3, 4, 3, NAN, NAN, NAN, NAN, NAN, NAN, NAN],
        [NAN, NAN, 2, 1, 3, 4, 4, NAN, 2, 1, 1, 3, 3, NAN, 4],
    ])
    assert statistics.krippendorff(table) == pytest.approx(0.691, abs=5e-4)
    assert statistics.krippendorff(table, "interval") == pytest.approx(0.811, abs=5e-4)
    assert statistics.krippendorff(table[::-1, ::-1]) == statistics.krippendorff(table)
    with pytest.raises(OptionError, match="nominal, interval"):
        statistics.krippendorff(table, "ratio")


def test_fleiss_textbook() -> None:
    """Fourteen raters, ten subjects, five categories: .210."""
    table = np.array([
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ])
    assert statistics.fleiss(table) == pytest.approx(0.210, abs=5e-4)
    assert statistics.fleiss(np.vstack([table, [1, 0, 0, 0, 0]])) == statistics.fleiss(table)


def test_agreement_at_its_ends() -> None:
    alike = np.array([[1, 0, -1, 1], [1, 0, -1, 1]], dtype=float)
    assert statistics.krippendorff(alike) == 1
    assert statistics.krippendorff(alike, "interval") == 1
    assert statistics.fleiss(np.array([[2, 0], [0, 2]])) == 1
    assert statistics.krippendorff(np.ones((2, 3))) is None
    assert statistics.krippendorff(np.array([[1, NAN], [NAN, 0]])) is None
    assert statistics.fleiss(np.array([[2, 0], [2, 0]])) is None
    assert statistics.fleiss(np.array([[1, 0], [0, 1]])) is None
    chance = np.random.default_rng(0).integers(-1, 2, (6, 900)).astype(float)
    assert statistics.krippendorff(chance) == pytest.approx(0, abs=0.03)
    assert statistics.krippendorff(chance, "interval") == pytest.approx(0, abs=0.03)


def means_of(scores: np.ndarray) -> Any:
    """The statistic that rates use: weights `(R, n)` to means `(R,)`."""
    return lambda weights: weights @ scores / weights.sum(axis=1)


def test_bootstrap_counts_clusters_not_votes() -> None:
    """Twenty raters, each of one mind in ten votes: as uncertain as twenty votes."""
    minds = np.repeat([0.0, 1.0], 10)
    scores, raters = np.repeat(minds, 10), np.repeat(np.arange(20), 10)
    by_rater = statistics.cluster_interval(means_of(scores), raters, resamples=4000)
    by_vote = statistics.cluster_interval(means_of(scores), np.arange(200), resamples=4000)
    # Quantiles of a binomial of 20 and of 200 at one half.
    assert by_rater == pytest.approx([0.3, 0.7], abs=0.03)
    assert by_vote == pytest.approx([0.43, 0.57], abs=0.015)
    alone = statistics.cluster_interval(means_of(scores), np.zeros(200))
    assert alone == pytest.approx([0.5, 0.5])


def test_bootstrap_holds_the_truth() -> None:
    """Raters with tastes of their own: the interval by raters covers, the one by votes does not."""
    rng = np.random.default_rng(4)
    raters = np.repeat(np.arange(30), 8)
    covered = {"raters": 0, "votes": 0}
    for _ in range(100):
        taste = np.clip(0.5 + rng.normal(0, 0.3, 30), 0, 1)
        scores = (rng.random(240) < taste[raters]).astype(float)
        for name, clusters in (("raters", raters), ("votes", np.arange(240))):
            low, high = statistics.cluster_interval(means_of(scores), clusters, resamples=200)
            covered[name] += low <= 0.5 <= high
    assert covered["raters"] >= 87
    assert covered["votes"] < covered["raters"]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31), st.integers(2, 5))
def test_strengths_add_up_to_nothing(seed: int, systems: int) -> None:
    rng = np.random.default_rng(seed)
    votes = simulate(rng, rng.normal(size=systems), rng.normal(), rng.normal(), 60)
    found = davidson.fit(*votes, systems, prior=0.1)
    assert found.values.sum() == pytest.approx(0, abs=1e-9)
    assert sum(found.odds(0, 1)) == pytest.approx(1)
    assert (found.errors > 0).all()
