"""Tempo, beats and grids of click tracks, where all of them are known."""

from __future__ import annotations

import numpy as np
import pytest

from yue.audio import Audio
from yue.evaluate import tempo

RATE = 22_050


def clicks(times: np.ndarray, seconds: float, rate: int = RATE) -> Audio:
    """Short decaying tones at those times, over faint noise."""
    sound = 0.003 * np.random.default_rng(0).standard_normal(round(seconds * rate))
    time = np.arange(round(0.07 * rate)) / rate
    click = 0.5 * np.exp(-time / 0.01) * np.sin(2 * np.pi * 1_000 * time)
    for first in np.rint(times * rate).astype(int):
        part = sound[first : first + len(click)]
        part += click[: len(part)]
    return Audio(sound, rate)


def strength(audio: Audio) -> np.ndarray:
    return tempo.onsets(audio)


@pytest.mark.parametrize("bpm", [60, 75, 93.75, 100, 120, 128])
def test_tempo_and_beats_of_a_click_track(bpm: float) -> None:
    times = np.arange(0.3, 30, 60 / bpm)
    onset = strength(clicks(times, 30, 44_100))
    found = tempo.tempo(onset)
    assert found is not None and found[0] == pytest.approx(bpm, rel=0.005) and found[1] > 0.7
    beats = tempo.beats(onset, found[0])
    assert tempo.f_measure(beats, times) == 1.0
    nearest = times[np.abs(beats[:, None] - times).argmin(axis=1)]
    assert np.abs(beats - nearest).max() < 0.012
    grid = tempo.best_grid(beats)
    assert grid is not None and grid.f == 1.0 and grid.tempo == pytest.approx(bpm, rel=0.002)


@pytest.mark.parametrize("bpm", [150, 174, 200])
def test_fast_tempi_up_to_an_octave(bpm: float) -> None:
    onset = strength(clicks(np.arange(0.3, 30, 60 / bpm), 30))
    grid = tempo.grid_of(onset)
    assert grid is not None and grid.f == 1.0
    assert min(abs(grid.tempo * factor / bpm - 1) for factor in (0.5, 1, 2)) < 0.005


def test_chance_has_no_grid() -> None:
    steady = strength(clicks(np.arange(0.3, 60, 0.5), 60))
    grid = tempo.grid_of(steady)
    lucky = tempo.chance(steady)
    assert grid is not None and grid.f == 1.0 and lucky is not None and lucky < 0.75
    assert lucky == tempo.chance(steady)
    noise = strength(Audio(0.1 * np.random.default_rng(1).standard_normal(60 * RATE), RATE))
    found, grid = tempo.tempo(noise), tempo.grid_of(noise)
    assert found is not None and found[1] < 0.1 and grid is not None and grid.f < 0.75


def test_a_drifting_tempo_leaves_the_grid() -> None:
    steps = 0.5 * (1 + 0.2 * np.linspace(0, 1, 100))
    grid = tempo.grid_of(strength(clicks(np.cumsum(steps), 56)))
    assert grid is not None and grid.f < 0.7


def test_what_has_no_tempo() -> None:
    silent = strength(Audio(np.zeros((2, 30 * RATE)), RATE))
    assert not silent.any() and tempo.tempo(silent) is None and tempo.chance(silent) is None
    assert tempo.tempo(strength(clicks(np.arange(0, 3, 0.5), 3))) is None
    assert tempo.best_grid(np.array([1.0, 2, 3])) is None
    assert tempo.onsets(Audio(np.zeros((1, 0)), RATE)).size <= 1


def test_beats_pair_one_to_one() -> None:
    assert tempo.hits([1, 1.05, 2], [1.02, 3]) == 1
    assert tempo.hits([1.0, 1.1], [1.05, 1.15]) == 2
    assert tempo.f_measure([1, 2, 3, 4], [1, 2, 3]) == pytest.approx(6 / 7)
    assert tempo.f_measure([], []) == 0 and tempo.f_measure([1], []) == 0
    assert tempo.f_measure([1.069], [1]) == 1 and tempo.f_measure([1.071], [1]) == 0


def test_a_grid_is_the_one_that_was_laid() -> None:
    laid = tempo.Grid(0.48, 0.1, 0)
    times = laid.times(3, 60)
    assert times[0] == pytest.approx(3.46) and np.allclose(np.diff(times), 0.48)
    jittered = times + np.random.default_rng(2).uniform(-0.03, 0.03, len(times))
    grid = tempo.best_grid(np.delete(jittered, slice(20, 30)))
    assert grid is not None and grid.period == pytest.approx(0.48, rel=0.001)
    assert grid.f == pytest.approx(2 * 109 / (109 + 119), abs=0.02)
