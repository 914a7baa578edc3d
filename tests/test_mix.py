"""Filters by closed forms: tones through the crossover, published coefficients, exact sums."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from yue.audio import Audio
from yue.mix import (
    Crossover,
    add_up,
    band_gain,
    biquad,
    impulse_filter,
    impulse_response,
    sinc_filter,
    upstream_join,
)

LOW, HIGH = 16_000, 44_100
CUT = 5500.0


def tone(frequency: float, rate: int, seconds: float = 0.5, phase: float = 0.3) -> np.ndarray:
    t = np.arange(int(rate * seconds)) / rate
    return (0.3 * np.sin(2 * math.pi * frequency * t + phase)).astype(np.float32)


def inside(x: np.ndarray, rate: int) -> np.ndarray:
    return x[rate // 20 : -rate // 20]


def gain_db(y: np.ndarray, x: np.ndarray) -> float:
    return 20 * math.log10(np.sqrt(np.mean(y**2)) / np.sqrt(np.mean(x**2)))


@pytest.mark.parametrize("frequency", [100, 1000, 3000, 4000, 5000, 5500, 6000, 7000])
def test_equal_signals_on_both_sides_sum_flat(frequency: float) -> None:
    """Where upstream's filters leave a notch (null at 5.5 kHz), ours lose nothing."""
    high = tone(frequency, HIGH)
    expected = high.copy()
    Crossover.clean(LOW, HIGH, CUT).join(tone(frequency, LOW), high)
    difference = inside(high - expected, HIGH)
    assert np.abs(difference).max() < 2e-3 * 0.3


@pytest.mark.parametrize(
    ("frequency", "from_low"), [(500, 1.0), (4500, 1.0), (6500, 0.0), (12_000, 0.0)]
)
def test_each_band_comes_from_its_own_side(frequency: float, from_low: float) -> None:
    low = tone(frequency, LOW) if frequency < LOW / 2 else np.zeros(LOW // 2, np.float32)
    high = np.zeros(HIGH // 2, np.float32)
    Crossover.clean(LOW, HIGH, CUT).join(low, high)
    wanted = from_low * inside(tone(frequency, HIGH), HIGH)
    assert np.abs(inside(high, HIGH) - wanted).max() < 1e-3
    high = tone(frequency, HIGH)
    Crossover.clean(LOW, HIGH, CUT).join(np.zeros_like(low), high)
    wanted = (1 - from_low) * inside(tone(frequency, HIGH), HIGH)
    assert np.abs(inside(high, HIGH) - wanted).max() < 1e-3


def test_pieces_equal_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    low, high = (rng.normal(size=n).astype(np.float32) for n in (LOW, HIGH))
    crossover = Crossover.clean(LOW, HIGH, CUT)
    whole = high.copy()
    crossover.join(low, whole)
    monkeypatch.setattr("yue.mix.BLOCKS_PER_PIECE", 7)
    crossover.join(low, high)
    np.testing.assert_allclose(high, whole, atol=1e-5)


def test_the_low_band_is_brought_to_level_but_not_without_bound() -> None:
    assert band_gain(0.1, 0.2) == pytest.approx(2)
    assert band_gain(0.001, 1.0) == 4 and band_gain(1.0, 0.001) == 0.25
    assert band_gain(0.0, 1.0) == 1 and band_gain(1.0, 0.0) == 1
    high = tone(1000, HIGH)
    expected = high.copy()
    assert Crossover.clean(LOW, HIGH, CUT).join(0.5 * tone(1000, LOW), high) == pytest.approx(
        2, rel=2e-3
    )
    assert np.abs(inside(high - expected, HIGH)).max() < 2e-3


def test_published_biquads() -> None:
    b, a = biquad("low", CUT, HIGH)
    np.testing.assert_allclose(b, [0.09726458, 0.19452916, 0.09726458], atol=1e-7)
    np.testing.assert_allclose(a, [1, -0.94500065, 0.33405896], atol=1e-7)
    b, a = biquad("high", CUT, HIGH)
    np.testing.assert_allclose(b, [0.5697649, -1.1395298, 0.5697649], atol=1e-7)


def test_a_recursive_filter_by_its_impulse_response() -> None:
    """The block form equals the recursion written out."""
    b, a = biquad("low", CUT, HIGH)
    x = np.random.default_rng(1).normal(size=441 * 3)
    expected = np.zeros_like(x)
    for n in range(len(x)):
        expected[n] = sum(b[k] * x[n - k] for k in range(3) if n >= k)
        expected[n] -= sum(a[k] * expected[n - k] for k in (1, 2) if n >= k)
    ours = impulse_filter(impulse_response(b, a), 441)(x.astype(np.float32))
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("frequency", "db"), [(3000, -3.1), (4000, -7.1), (5000, -16.7), (7000, -8.7)]
)
def test_the_upstream_way_has_its_published_notch(frequency: float, db: float) -> None:
    x = tone(frequency, HIGH)
    y = upstream_join(tone(frequency, LOW), x, (LOW, HIGH), CUT)
    assert gain_db(inside(y, HIGH), inside(x, HIGH)) == pytest.approx(db, abs=0.3)


def test_resampling_by_the_sinc_filter_keeps_tones() -> None:
    up = sinc_filter(160, 441, edge=158.4, zeros=64, kaiser=8.0)
    y = up(tone(1000, LOW))
    assert len(y) == HIGH // 2
    assert np.abs(inside(y - tone(1000, HIGH), HIGH)).max() < 1e-3


def test_a_real_recording_comes_through_whole(shared: Path) -> None:
    """Both sides fed with one recording: ours gives it back, upstream's filters do not."""
    recording = Audio.read(shared / "audio" / "pop.00001.mp3").mono().resample(HIGH).cut(0, 10)
    high = recording.samples[0].copy()
    low = recording.resample(LOW).samples[0]
    original = high.copy()
    theirs = upstream_join(low, original, (LOW, HIGH), CUT)
    Crossover.clean(LOW, HIGH, CUT).join(low, high)
    # Silence is assumed around a recording, so the cut's hard edges ring within 5 ms of them.
    ours, theirs, original = (inside(x, HIGH) for x in (high, theirs, original))
    assert gain_db(ours - original, original) < -90
    assert gain_db(theirs - original, original) > -20


def test_stems_add_up_to_the_mix_and_are_scaled_together() -> None:
    rng = np.random.default_rng(0)
    stems = [rng.normal(size=1000).astype(np.float32) for _ in range(2)]
    mix, factor = add_up(stems, 0.99)
    assert factor < 1 and np.abs(mix).max() <= 0.99 + 1e-6
    np.testing.assert_allclose(mix, stems[0] + stems[1], atol=1e-6)
    quiet = [np.full(4, 0.1, np.float32), np.full(4, 0.2, np.float32)]
    mix, factor = add_up(quiet, 0.99)
    assert factor == 1 and mix[0] == pytest.approx(0.3)


def test_silence_and_nothing() -> None:
    mix, factor = add_up([np.zeros(5, np.float32), np.zeros(5, np.float32)], 0.99)
    assert factor == 1 and not mix.any()
    mix, factor = add_up([np.zeros(0, np.float32), np.zeros(0, np.float32)], 0.99)
    assert len(mix) == 0
