"""Correlations: the paper's table 4, textbook values, full enumeration, properties, bad input."""

from __future__ import annotations

import itertools
import json
import math
import re
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from yue.errors import OptionError
from yue.evaluate import agreement, pitch

NAMES = {"Hailuo Music": "Hailuo", "Suno V4": "SunoV4"}
"""Systems as the pitch files call them, to the names of the tables."""
MUSICALITY = {"Hailuo": 28.0, "SunoV4": 74.9, "Tiangong": 51.5, "Udio": 45.0, "YuE": 50.6}
"""Inferred (docs/evaluation.md), not printed in the paper."""


@pytest.fixture(scope="module")
def paper(shared: Path) -> Any:
    return json.loads((shared / "evaluation.json").read_text())


@pytest.fixture(scope="module")
def average(paper: Any) -> dict[str, float]:
    """The rounded overall preferences, per system."""
    table = paper["pairwise"]["en_average_all_aspects"]
    return dict(zip(table["order"], table["overall"], strict=True))


@pytest.fixture(scope="module")
def metrics(paper: Any) -> dict[str, dict[str, float]]:
    """Table 3, and the vocal ranges' means over all languages."""
    systems = paper["table3"]["systems"]
    columns = {
        name: dict(zip(systems, column, strict=True))
        for name, column in paper["table3"].items()
        if name != "systems"
    }
    ranges = {NAMES.get(name, name): row["mean"] for name, row in paper["vocal_range"].items()}
    return {**columns, "VocalRange": ranges}


def test_table_4_average(paper: Any, metrics: Any, average: dict[str, float]) -> None:
    """All nine printed values, to three decimals; none is left over."""
    found = agreement.evaluate(metrics, average)["metrics"]
    table = paper["table4_pearson"]
    for name, printed in zip(table["cols"], table["Average"], strict=True):
        assert found[name]["n"] == 5
        assert round(found[name]["pearson"]["value"], 3) == printed, name
    assert found["VocalRange"]["left_out"] == ["Seed Music"]
    assert found["KL"]["left_out"] == []


def test_table_4_musicality(paper: Any, metrics: Any) -> None:
    """The preferences behind this row are unpublished; the inferred ones come within .002.

    Not reproduced to three decimals: KL -.231 (printed -.232), FAD -.248 (-.249), CE .369 (.368),
    PC -.269 (-.268), CLAP -.071 (-.072), CLaMP3 .331 (.333). CU, PQ and VocalRange are.
    """
    found = agreement.evaluate(metrics, MUSICALITY)["metrics"]
    table = paper["table4_pearson"]
    values = [found[name]["pearson"]["value"] for name in table["cols"]]
    assert values == pytest.approx(table["Musicality"], abs=0.002)


def test_how_little_five_systems_say(metrics: Any, average: dict[str, float]) -> None:
    """docs/evaluation.md: exact p and leave-one-out ranges of three coefficients."""
    found = agreement.evaluate(metrics, average)["metrics"]
    pearson = {name: row["pearson"] for name, row in found.items()}
    assert all(row["exact"] for row in found.values())
    assert [round(pearson[name]["p"], 3) for name in ("VocalRange", "CLaMP3", "CLAP")] == [
        0.083, 0.733, 0.9,
    ]
    ends = {
        name: (round(min(row["leave_one_out"]), 2), round(max(row["leave_one_out"]), 2))
        for name, row in pearson.items()
    }
    assert ends["VocalRange"] == (0.65, 0.95) and ends["CLaMP3"] == (-0.16, 0.78)
    assert all(row["p_holm"] > 0.7 for row in pearson.values())
    low, high = pearson["VocalRange"]["fisher"]
    assert low < 0 < high


def test_range_by_median_language_and_length(shared: Path, average: dict[str, float]) -> None:
    songs = pitch.evaluate_songs(pitch.load_f0(shared / "f0.npz"))
    systems = {NAMES.get(name, name): row for name, row in songs["systems"].items()}
    scores = list(average.values())

    def against_scores(measure: str, figure: str) -> float:
        return agreement.pearson([systems[name][measure][figure] for name in average], scores)

    assert round(against_scores("range", "mean"), 3) == 0.858
    assert round(against_scores("range", "median"), 3) == 0.815
    assert 0.755 < against_scores("voiced_seconds", "mean") < 0.795
    assert 0.755 < against_scores("voiced_seconds", "median") < 0.795

    english: dict[str, list[int]] = {}
    for key, song in songs["songs"].items():
        system, language, _ = pitch.split_key(key)
        if language == "en":
            english.setdefault(NAMES.get(system, system), []).append(song["range"])
    means = [statistics.fmean(english[name]) for name in average]
    assert round(agreement.pearson(means, scores), 3) == 0.878

    rows = songs["songs"].values()
    columns = ([row[name] for row in rows] for name in ("range", "voiced_seconds"))
    assert round(agreement.spearman(*columns), 2) == 0.53


def test_textbook_values() -> None:
    x = [1, 2, 3, 4, 5]
    for coefficient in (agreement.pearson, agreement.spearman, agreement.kendall):
        assert coefficient(x, [3, 5, 7, 9, 11]) == pytest.approx(1, abs=1e-15)
        assert coefficient(x, [9, 7, 5, 3, 1]) == pytest.approx(-1, abs=1e-15)
    # Sums of squares 10 and 6, of products 6: 6 / sqrt(60).
    assert agreement.pearson(x, [2, 4, 5, 4, 5]) == pytest.approx(6 / math.sqrt(60))
    # 1 - 6 * (1 + 1 + 4 + 4) / (5 * 24)
    assert agreement.spearman(x, [20, 10, 50, 40, 30]) == pytest.approx(1 - 60 / 120)
    # Of 10 pairs 4 are reversed: 20 10, 50 40, 50 30, 40 30.
    assert agreement.kendall(x, [20, 10, 50, 40, 30]) == pytest.approx((6 - 4) / 10)
    # x ties one pair, y another: of 6 pairs 4 agree, none disagrees; 4 / sqrt(5 * 5).
    assert agreement.kendall([1, 1, 2, 3], [1, 2, 3, 3]) == pytest.approx(4 / 5)
    assert agreement.ranks([10, 30, 20, 20, 5]).tolist() == [2, 5, 3.5, 3.5, 1]


def test_exact_p_by_hand() -> None:
    """4 points in order: of 24 orders the identity and the reverse are as extreme."""
    for kind in agreement.KINDS:
        assert agreement.permutation_p(kind, [1, 2, 3, 4], [2, 4, 6, 8]) == 2 / 24
    # One exchange, S = 4: three orders have 4, three -4, one 6 and one -6.
    assert agreement.permutation_p("kendall", [1, 2, 3, 4], [1, 2, 4, 3]) == 8 / 24
    assert agreement.permutation_p("pearson", [1, 2, 3], [1, 0, 1]) == 1


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from(agreement.KINDS),
    st.lists(st.integers(0, 5), min_size=4, max_size=4),
    st.lists(st.integers(0, 5), min_size=4, max_size=4),
)
def test_exact_p_is_full_enumeration(kind: str, x: list[int], y: list[int]) -> None:
    assume(len(set(x)) > 1 and len(set(y)) > 1)
    coefficient = getattr(agreement, kind)
    seen = abs(coefficient(x, y))
    values = [abs(coefficient(x, list(order))) for order in itertools.permutations(y)]
    expected = sum(value > seen - 1e-9 for value in values) / 24
    assert agreement.permutation_p(kind, x, y) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("kind", agreement.KINDS)
def test_drawn_p_agrees_with_exact_p(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = [1, 2, 3, 4, 5, 6, 7], [2, 1, 4, 3, 3, 9, 5]
    exact = agreement.permutation_p(kind, x, y)
    monkeypatch.setattr(agreement, "EXACT_UP_TO", 0)
    drawn = agreement.permutation_p(kind, x, y, seed=3)
    assert drawn == pytest.approx(exact, abs=4 * math.sqrt(exact / agreement.TRIALS))
    assert drawn == agreement.permutation_p(kind, x, y, seed=3)
    assert drawn != agreement.permutation_p(kind, x, y, seed=4)


def test_many_points() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=60)
    found = agreement.agree(x, x + rng.normal(size=60), trials=499, resamples=500)
    assert not found["exact"] and found["n"] == 60
    for kind in agreement.KINDS:
        assert found[kind]["p"] == 1 / 500
        low, high = found[kind]["bootstrap"]
        assert 0 < low < found[kind]["value"] < high < 1
    low, high = found["pearson"]["fisher"]
    assert (low, high) == pytest.approx(found["pearson"]["bootstrap"], abs=0.1)


def test_p_is_uniform_if_nothing_agrees() -> None:
    rng = np.random.default_rng(11)
    ps = [agreement.permutation_p("pearson", *rng.normal(size=(2, 5))) for _ in range(300)]
    assert np.mean(np.array(ps) <= 0.1) == pytest.approx(0.1, abs=0.05)


def test_leave_one_out_by_hand() -> None:
    x, y = [1, 2, 3, 10], [1, 2, 3, -5]
    found = agreement.leave_one_out("pearson", x, y)
    assert found[3] == pytest.approx(1)
    assert found[0] == pytest.approx(agreement.pearson(x[1:], y[1:]))
    assert agreement.leave_one_out("kendall", [1, 1, 1, 2], [1, 2, 3, 4])[3] is None
    assert agreement.leave_one_out("spearman", [1, 2, 3], [1, 3, 2]) == [None] * 3


def test_intervals() -> None:
    # Fisher (1921): r = .5, n = 28: z = .5493 +- 1.96 / 5.
    low, high = agreement.fisher_interval(0.5, 28)
    by_hand = [math.tanh(0.54931 - 0.39199), math.tanh(0.54931 + 0.39199)]
    assert [low, high] == pytest.approx(by_hand, abs=1e-4)
    assert agreement.fisher_interval(0.3, 3) == (-1, 1)
    assert agreement.fisher_interval(1.0, 9) == (1, 1)
    narrow, wide = (agreement.fisher_interval(0.5, 28, c) for c in (0.5, 0.99))
    assert wide[0] < low < narrow[0] < narrow[1] < high < wide[1]
    x, y = [1, 2, 3, 4, 5, 6], [1, 3, 2, 5, 4, 6]
    same = [agreement.bootstrap_interval("spearman", x, y, seed=seed) for seed in (1, 1, 2)]
    assert same[0] == same[1] and same[0] != same[2]
    assert agreement.bootstrap_interval("kendall", x, x) == (1, 1)


def test_holm_by_hand() -> None:
    assert agreement.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert agreement.holm([0.9, 0.8]) == [1, 1] and agreement.holm([]) == []


VALUES = st.lists(st.integers(-50, 50), min_size=3, max_size=12)


@settings(deadline=None)
@given(VALUES, st.randoms(use_true_random=False), st.sampled_from(agreement.KINDS))
def test_properties(x: list[int], random: Any, kind: str) -> None:
    y = [random.randint(-9, 9) for _ in x]
    assume(len(set(x)) > 1 and len(set(y)) > 1)
    coefficient = getattr(agreement, kind)
    value = coefficient(x, y)
    assert -1 <= value <= 1
    assert coefficient(y, x) == pytest.approx(value, abs=1e-12)
    assert coefficient(x, [-v for v in y]) == pytest.approx(-value, abs=1e-12)
    assert coefficient([1e6 + 3 * v for v in x], y) == pytest.approx(value, abs=1e-9)
    assert coefficient(x, x) == pytest.approx(1)
    order = random.sample(range(len(x)), len(x))
    mixed = coefficient([x[i] for i in order], [y[i] for i in order])
    assert mixed == pytest.approx(value, abs=1e-12)
    if kind != "pearson":
        assert coefficient([math.exp(v / 7) for v in x], [v**3 for v in y]) == value


@settings(deadline=None)
@given(VALUES, st.randoms(use_true_random=False))
def test_scipy_agrees(x: list[int], random: Any) -> None:
    stats = pytest.importorskip("scipy.stats")
    y = [random.randint(-9, 9) for _ in x]
    assume(len(set(x)) > 1 and len(set(y)) > 1)
    assert agreement.pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)
    assert agreement.spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    assert agreement.kendall(x, y) == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-12)
    assert agreement.ranks(x).tolist() == stats.rankdata(x).tolist()
    if len(x) > 3 and abs(agreement.pearson(x, y)) < 0.999:
        interval = stats.pearsonr(x, y).confidence_interval()
        found = agreement.fisher_interval(agreement.pearson(x, y), len(x))
        assert found == pytest.approx(tuple(interval), abs=1e-9)


@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1.0, 1e200, 1e307])
def test_extreme_sizes(scale: float) -> None:
    x = [scale * v for v in (-9.0, 2.0, 3.0, 8.0)]
    for kind in agreement.KINDS:
        value = getattr(agreement, kind)(x, [1, 3, 2, 4])
        expected = getattr(agreement, kind)([-9, 2, 3, 8], [1, 3, 2, 4])
        assert value == pytest.approx(expected, abs=1e-3)


def test_values_that_differ_in_the_last_digit() -> None:
    x = [1.0, np.nextafter(1, 2), np.nextafter(np.nextafter(1, 2), 2)]
    assert agreement.pearson(x, [1, 2, 3]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        ([1, 2, 3], [1, 2], "3 values and 2 scores"),
        ([1, 2], [1, 2], "at least 3"),
        ([], [], "at least 3"),
        ([1, 1, 1], [1, 2, 3], "x is 1.0 everywhere"),
        ([1, 2, 3], [0, 0, 0], "y is 0.0 everywhere"),
        ([1, math.nan, 3], [1, 2, 3], "x holds NaN"),
        ([1, 2, 3], [1, 2, math.inf], "y holds NaN or infinity"),
        ([[1, 2, 3]], [1, 2, 3], "list of numbers"),
        ([1, 2, 3], ["a", "b", "c"], "list of numbers"),
        ([1, None, 3], [1, 2, 3], "list of numbers"),
        ([[1], [1, 2], [3]], [1, 2, 3], "list of numbers"),
    ],
)
def test_what_cannot_be_correlated(x: Any, y: Any, words: str) -> None:
    for kind in agreement.KINDS:
        with pytest.raises(OptionError, match=words):
            getattr(agreement, kind)(x, y)
        with pytest.raises(OptionError, match=words):
            agreement.permutation_p(kind, x, y)


def test_options_out_of_range() -> None:
    x, y = list(range(9)), [3, 1, 4, 1, 5, 9, 2, 6, 5]
    with pytest.raises(OptionError, match="pearson, spearman, kendall"):
        agreement.permutation_p("peerson", x, y)
    for options in ({"trials": 0}, {"seed": -1}):
        with pytest.raises(OptionError, match=next(iter(options))):
            agreement.permutation_p("pearson", x, y, **options)
    for wrong in ({"confidence": 1.0}, {"confidence": math.nan}, {"resamples": 99}, {"seed": -1}):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            agreement.bootstrap_interval("pearson", x, y, **wrong)
    with pytest.raises(OptionError, match="r = 2"):
        agreement.fisher_interval(2, 9)
    with pytest.raises(OptionError, match="n = 2"):
        agreement.fisher_interval(0.2, 2)
    with pytest.raises(OptionError, match="p-values"):
        agreement.holm([0.1, 1.5])


def test_many_metrics_are_json_and_errors_name_the_metric() -> None:
    scores = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 5.0}
    good = {"a": 1.0, "c": 2.0, "d": 4.0, "e": 8.0}
    found = agreement.evaluate({"good": good}, scores)
    row = found["metrics"]["good"]
    assert row["systems"] == ["a", "c", "d"] and row["left_out"] == ["b", "e"] and row["n"] == 3
    json.dumps(found, allow_nan=False)
    poor = {"poor": {"a": 1.0, "b": 2.0}}
    both = agreement.evaluate({"good": good, **poor}, scores)
    assert set(both["metrics"]) == {"good"}
    assert re.match("poor, systems with a score: a, b: .*at least 3", both["failed"]["poor"])
    with pytest.raises(OptionError, match=r"poor, systems with a score: a, b: .*at least 3"):
        agreement.evaluate(poor, scores)
    assert agreement.evaluate({}, scores)["metrics"] == {}
