"""FAD, KAD and KL against closed forms, expectations, slow twins; bad input."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yue.errors import OptionError
from yue.evaluate import distances
from yue.evaluate.distances import Gaussian, fad, fad_infinity, kad, kl


def normal(n: int, d: int, seed: int, *, mean: float = 0.0, sd: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, sd, (n, d))


def test_fad_of_a_set_with_itself_is_0() -> None:
    x = normal(200, 16, 1)
    assert fad(x, x) == pytest.approx(0, abs=1e-9)
    few = x[:5]  # fewer rows than dimensions: the covariance is singular
    assert fad(few, few) == pytest.approx(0, abs=1e-6)


def test_fad_of_shifted_gaussians_is_the_squared_shift() -> None:
    m = np.array([1.0, -2.0, 0.5])
    a, b = Gaussian(np.zeros(3), np.eye(3)), Gaussian(m, np.eye(3))
    assert fad(a, b) == pytest.approx(m @ m)
    x = normal(50, 3, 2)
    assert fad(x, x + m) == pytest.approx(m @ m)


def test_fad_of_diagonal_gaussians() -> None:
    """`|m|² + sum (s1 - s2)²`."""
    s1, s2 = np.array([1.0, 2.0, 0.0]), np.array([3.0, 2.5, 0.2])
    a, b = Gaussian(np.zeros(3), np.diag(s1**2)), Gaussian(np.ones(3), np.diag(s2**2))
    assert fad(a, b) == pytest.approx(3 + np.square(s1 - s2).sum())


def test_fad_of_covariances_that_do_not_commute() -> None:
    """In two dimensions tr (AB)^½ = sqrt(tr AB + 2 sqrt(det AB))."""
    a, b = np.array([[2.0, 0.7], [0.7, 1.0]]), np.array([[1.0, -0.4], [-0.4, 3.0]])
    cross = math.sqrt(np.trace(a @ b) + 2 * math.sqrt(np.linalg.det(a @ b)))
    expected = np.trace(a) + np.trace(b) - 2 * cross
    zero = np.zeros(2)
    assert fad(Gaussian(zero, a), Gaussian(zero, b)) == pytest.approx(expected)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 6), st.floats(0.01, 50))
def test_fad_is_symmetric_and_scales(seed: int, d: int, scale: float) -> None:
    x, y = normal(12, d, seed), normal(9, d, seed + 1, mean=0.5, sd=2)
    rotation = np.linalg.qr(normal(d, d, seed + 2))[0]
    value = fad(x, y)
    assert value >= 0
    assert fad(y, x) == pytest.approx(value, rel=1e-6, abs=1e-9)
    assert fad(x * scale, y * scale) == pytest.approx(scale**2 * value, rel=1e-6, abs=1e-9)
    assert fad(x @ rotation + 3, y @ rotation + 3) == pytest.approx(value, rel=1e-6, abs=1e-8)


def test_fad_infinity_removes_the_bias() -> None:
    """Against exact moments the truth is 0; 300 rows of 32 dimensions read nearly 1 too much."""
    truth = Gaussian(np.zeros(32), np.eye(32))
    plain = [fad(normal(300, 32, seed), truth) for seed in range(10)]
    found = [fad_infinity(normal(300, 32, seed), truth) for seed in range(10)]
    assert np.mean(plain) > 0.8
    assert abs(np.mean([each["value"] for each in found])) < 0.15 * np.mean(plain)
    for each in found:
        assert each["r2"] > 0.95 and each["slope"] > 0
        assert each["sizes"][0] == 60 and each["sizes"][-1] == 300
        assert each["values"][0] > each["values"][-1]
    assert found[0] == fad_infinity(normal(300, 32, 0), truth)
    assert found[0] != fad_infinity(normal(300, 32, 0), truth, seed=1)


def test_fad_infinity_of_an_exact_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line is fitted over 1/n: values 3 + 7/n give 3."""
    monkeypatch.setattr(distances, "fad", lambda rows, _: 3 + 7 / len(rows))
    found = fad_infinity(normal(100, 2, 0), Gaussian(np.zeros(2), np.eye(2)))
    assert (found["value"], found["slope"], found["r2"]) == pytest.approx((3, 7, 1))


def slow_kad(x: np.ndarray, y: np.ndarray, sigma: float) -> float:
    """The definition, pair by pair."""
    def k(a: np.ndarray, b: np.ndarray) -> float:
        return math.exp(-float(((a - b) ** 2).sum()) / (2 * sigma**2))

    n, m = len(x), len(y)
    xx = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return xx + yy - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


def test_kad_is_its_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(11, 4, 3) + 1000, normal(7, 4, 4, mean=0.5) + 1000
    distance = [np.linalg.norm(y[i] - y[j]) for i in range(7) for j in range(i)]
    sigma = float(np.median(distance))
    assert distances.median_distance(y) == pytest.approx(sigma, rel=1e-9)
    assert kad(x, y) == pytest.approx(slow_kad(x, y, sigma), rel=1e-9)
    monkeypatch.setattr(distances, "BLOCK", 3)
    assert kad(x, y) == pytest.approx(slow_kad(x, y, sigma), rel=1e-9)
    assert kad(x, y, bandwidth=2.0) == pytest.approx(slow_kad(x, y, 2.0), rel=1e-9)


def test_kad_of_equal_laws_is_0_in_expectation_at_any_n() -> None:
    for n in (4, 40):
        values = [kad(normal(n, 3, s), normal(20, 3, 9999 + s), bandwidth=2.0) for s in range(600)]
        error = np.std(values) / math.sqrt(len(values))
        assert abs(np.mean(values)) < 3 * error
        assert min(values) < 0  # unbiased, so it must
        assert error < 0.01


def test_kad_in_closed_form() -> None:
    """N(0, 1) against N(d, 1): `2 s / sqrt(s² + 2) * (1 - exp(-d² / 2 (s² + 2)))`, bandwidth s."""
    d, s = 1.5, 1.2
    expected = 2 * s / math.sqrt(s**2 + 2) * (1 - math.exp(-(d**2) / (2 * (s**2 + 2))))
    values = [
        kad(normal(60, 1, seed, mean=d), normal(60, 1, 7777 + seed), bandwidth=s)
        for seed in range(300)
    ]
    error = float(np.std(values)) / math.sqrt(len(values))
    assert np.mean(values) == pytest.approx(expected, abs=3 * error)
    assert error < 0.01


def test_kl_by_hand() -> None:
    assert kl([0.5, 0.5], [0.25, 0.75]) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    assert kl([1, 0], [0.5, 0.5]) == pytest.approx(math.log(2))
    assert kl([0.2, 0.8], [0.2, 0.8]) == 0
    assert kl([1, 0], [0, 1]) == pytest.approx(-math.log(distances.FLOOR))
    pairs = kl([[0.5, 0.5], [1, 0]], [[0.5, 0.5], [0.5, 0.5]])
    assert pairs == pytest.approx([0, math.log(2)])


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=8))
def test_kl_is_not_negative(pairs: list[tuple[float, float]]) -> None:
    p, q = np.array(pairs).T + 1e-3
    assert kl(p / p.sum(), q / q.sum()) >= -1e-12


def folder(n: int, d: int, seed: int, mean: float = 0.0) -> dict[str, Any]:
    """Songs of 8 windows each, which lie about a place of their own."""
    places = normal(n, d, seed, mean=mean)
    return {f"song-{i}": place + normal(8, d, 100 * seed + i, sd=0.3)
            for i, place in enumerate(places)}


def test_evaluate_songs() -> None:
    songs, reference = folder(12, 4, 1, mean=1.0), folder(40, 4, 2)
    found = distances.evaluate(songs, reference)
    assert found["windows"] == {"songs": 96, "reference": 320} and found["dimensions"] == 4
    for name in ("fad", "kad"):
        low, high = found[name]["interval"]
        assert low < found[name]["value"] < high
    assert found["fad"]["value"] == fad(distances.pooled(songs), distances.pooled(reference))
    assert found["per_song"]["song-3"] == fad(songs["song-3"], distances.pooled(reference))
    near = distances.evaluate(folder(12, 4, 3), reference)
    assert near["fad"]["value"] < found["fad"]["value"]
    assert near["kad"]["value"] < found["kad"]["value"]


def test_jackknife_of_a_mean_is_the_textbook_error() -> None:
    values = normal(20, 1, 5)
    songs = {str(i): value[None] for i, value in enumerate(values)}
    low, high = distances.jackknife(lambda rows: float(rows.mean()), songs)
    error = values.std(ddof=1) / math.sqrt(20)
    assert (high - low) / 2 == pytest.approx(1.959964 * error)


def test_one_song() -> None:
    found = distances.evaluate({"a": normal(3, 4, 0)}, folder(5, 4, 1))
    assert found["fad"]["interval"] is None and found["fad_infinity"] is None
    assert found["per_song"]["a"] > 0
    short = distances.evaluate({"a": normal(1, 4, 0), "b": normal(1, 4, 1)}, folder(5, 4, 1))
    assert short["per_song"] == {"a": None, "b": None}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fad([1, 2, 3], [4, 5, 6]), "expected \\(windows, D\\)"),
        (lambda: fad(normal(1, 4, 0), normal(9, 4, 0)), "at least 2 rows"),
        (lambda: fad(np.full((3, 2), np.nan), normal(3, 2, 0)), "NaN"),
        (lambda: fad(normal(9, 4, 0), normal(9, 5, 0)), "two different embeddings"),
        (lambda: kad(normal(9, 4, 0), normal(9, 5, 0)), "two different embeddings"),
        (lambda: kad(normal(9, 4, 0), np.ones((9, 4))), "no bandwidth"),
        (lambda: kad(normal(9, 4, 0), normal(9, 4, 1), bandwidth=0.0), "bandwidth = 0"),
        (lambda: fad([["a"]], [["b"]]), "expected numbers"),
        (lambda: fad_infinity(normal(3, 2, 0), normal(9, 2, 0)), "at least 4"),
        (lambda: kl([0.5, 0.5], [1.0]), "not the same C"),
        (lambda: kl([0.5, 0.6], [0.5, 0.5]), "p is no distribution"),
        (lambda: distances.evaluate({}, {}), "nothing to compare"),
        (lambda: distances.jackknife(np.mean, {"a": [[1.0]]}), "at least 3"),
    ],
)
def test_bad_input(call: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        call()
