"""The structure baseline on songs whose form is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yue.data import structure
from yue.data.structure import borders, kinds, labels, novelty, segment, similarity
from yue.lyrics import LABELS

RATE = 16_000


def chords(roots: list[int], seconds: float, overtones: int, level: float, seed: int) -> np.ndarray:
    """Triads over roots (semitones from A3), each half a second, some noise: a section."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(0.5 * RATE)) / RATE
    bars = []
    for index in range(round(seconds / 0.5)):
        root = roots[index // 2 % len(roots)]
        tones = [220 * 2 ** ((root + third) / 12) for third in (0, 4, 7)]
        bar = sum(
            np.sin(2 * np.pi * tone * k * t) / k
            for tone in tones for k in range(1, overtones + 1) if tone * k < RATE / 2
        )
        bars.append(bar * np.exp(-2 * t))
    wave = np.concatenate(bars)
    noise = rng.normal(0, 0.01, len(wave))
    return (level * wave / np.abs(wave).max() + level * noise).astype(np.float32)


def verse(seed: int, seconds: float = 15) -> np.ndarray:
    return chords([0, 5, 0, 7], seconds, 2, 0.2, seed)


def chorus(seed: int, seconds: float = 15) -> np.ndarray:
    return chords([3, 8, 10, 3], seconds, 12, 0.5, seed)


def abab() -> np.ndarray:
    """Two minutes: eight sections of 15 s, verse and chorus in turn."""
    return np.concatenate([(verse, chorus)[i % 2](i) for i in range(8)])


def test_two_minutes_of_verse_and_chorus() -> None:
    spans = segment(abab(), RATE)
    assert [span.label for span in spans] == ["verse", "chorus"] * 4
    found = np.array([span.start for span in spans[1:]])
    np.testing.assert_allclose(found, np.arange(15, 120, 15), atol=0.6)
    assert spans[0].start == 0 and spans[-1].end == 120


def test_what_is_not_sung_is_intro_bridge_or_outro() -> None:
    wave = np.concatenate([verse(9), verse(0), chorus(1), verse(8), verse(2), chorus(3), verse(7)])
    silent = np.zeros(15 * RATE, np.float32)
    voice = np.random.default_rng(0).normal(0, 0.1, 15 * RATE).astype(np.float32)
    vocals = np.concatenate([silent, voice, voice, silent, voice, voice, silent])
    # The instrumental parts sound like verses: only the voice tells them apart.
    times = np.arange(8) * 15.0
    active = structure.quality.sung(vocals, RATE)
    singing = [structure._share(active, a, a + 15) for a in times[:-1]]
    kind = kinds(structure.features(wave, RATE), [(int(a * 2), int(a * 2) + 29) for a in times[:7]])
    assert labels(kind, [-20, -20, -10, -20, -20, -10, -20], singing) == [
        "intro", "verse", "chorus", "bridge", "verse", "chorus", "outro"
    ]


def test_a_part_that_comes_once_behind_a_chorus_is_a_bridge() -> None:
    assert labels([0, 1, 0, 1, 2, 1], [-20, -10, -20, -10, -9, -10], [1.0] * 6) == [
        "verse", "chorus", "verse", "chorus", "bridge", "chorus"
    ]


def test_nothing_returns_nothing_is_a_chorus() -> None:
    assert labels([0, 1, 2], [-20, -10, -5], [1.0] * 3) == ["verse"] * 3


@given(st.integers(1, 200_000), st.integers(0, 5))
@settings(max_examples=15, deadline=None)
def test_spans_cover_any_wave(samples: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    wave = rng.normal(0, 0.1, samples) * np.repeat(rng.random(samples // 5000 + 1), 5000)[:samples]
    spans = segment(wave.astype(np.float32), RATE, wave.astype(np.float32))
    assert spans[0].start == 0 and spans[-1].end == pytest.approx(samples / RATE)
    assert all(a.end == b.start and a.start < a.end
               for a, b in itertools.pairwise(spans))
    assert {span.label for span in spans} <= set(LABELS)


@pytest.mark.parametrize("samples", [0, 100, 5 * RATE])
def test_silence_is_one_span(samples: int) -> None:
    spans = segment(np.zeros(samples, np.float32), RATE)
    assert [(s.label, s.start, s.end) for s in spans] == [("verse", 0, samples / RATE)]


def test_novelty_is_largest_at_the_border_of_two_blocks() -> None:
    alike = np.kron(np.eye(2), np.ones((30, 30)))
    curve = novelty(alike, 10)
    assert curve.argmax() == 30
    assert curve[30] == pytest.approx(0.5)  # half of the board: alike within, unlike across
    assert novelty(np.ones((60, 60)), 10).max() == pytest.approx(0)
    assert borders(curve, 5) == [30]


def test_novelty_equals_a_loop() -> None:
    rng = np.random.default_rng(0)
    alike = similarity(rng.normal(size=(40, 5)))
    radius = 6
    padded = np.pad(alike, radius, mode="reflect")
    place = np.arange(-radius, radius) + 0.5
    wanted = []
    for i in range(40):
        total = weight = 0.0
        for k in range(2 * radius):
            for m in range(2 * radius):
                taper = np.exp(-2 * (place[k] ** 2 + place[m] ** 2) / radius**2)
                total += np.sign(place[k] * place[m]) * taper * padded[i + k, i + m]
                weight += taper
        wanted.append(max(0, total / weight))
    np.testing.assert_allclose(novelty(alike, radius), wanted, atol=1e-12)


def test_borders_keep_their_distance() -> None:
    curve = np.zeros(50)
    curve[[1, 10, 12, 30, 49]] = [9, 5, 4, 6, 9]
    assert borders(curve, 4) == [10, 30]
    assert borders(np.zeros(0), 4) == []


def test_chroma_tells_notes_apart() -> None:
    t = np.arange(RATE * 4) / RATE
    table = structure._chroma(RATE)
    for note in range(12):
        wave = np.sin(2 * np.pi * 440 * 2 ** (note / 12) * t)
        power = np.abs(np.fft.rfft(wave[: structure.FRAME] * np.hanning(structure.FRAME))) ** 2
        assert (table @ power).argmax() == note
