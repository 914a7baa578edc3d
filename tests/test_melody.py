"""Melodies against keys and chords, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from yue.evaluate import melody
from yue.evaluate.harmony import Chord, Key

C_MAJOR = Key(0, "major", 1.0)


def sung(*notes: tuple[float, float]) -> np.ndarray:
    """F0 per 10 ms of notes: MIDI number (0: unvoiced), seconds."""
    parts = [np.full(round(s * 100), 440 * 2 ** ((n - 69) / 12) if n else 0.0) for n, s in notes]
    return np.concatenate(parts) if parts else np.zeros(0)


def test_shares_of_the_held_time() -> None:
    line = sung((60, 1), (0, 0.5), (64, 2), (66, 1), (61, 0.03))
    assert melody.class_weights(line)[[0, 4, 6, 1]] == pytest.approx([1, 2, 1, 0])
    assert melody.on_scale(line, C_MAJOR) == pytest.approx(3 / 4)
    assert melody.entropy(line) == pytest.approx(1.5)
    assert melody.entropy(sung((60, 1), (72, 1))) == 0
    assert melody.entropy(sung(*[(note, 0.1) for note in range(60, 72)])) == pytest.approx(
        np.log2(12)
    )


def test_chance_over_all_transpositions_is_exact() -> None:
    draw = np.random.default_rng(3)
    notes = draw.integers(50, 70, 40)
    chords = [Chord(at, at + 2.0, int(draw.integers(12)), "minor", 1) for at in range(0, 40, 2)]
    shares, tones = [], []
    for step in range(12):
        line = sung(*[(note + step, 1.0) for note in notes])
        shares.append(melody.on_scale(line, C_MAJOR))
        tones.append(melody.chord_tones(line, chords))
    assert np.mean(shares) == pytest.approx(melody.SCALE_CHANCE)
    assert np.mean(tones) == pytest.approx(melody.CHORD_CHANCE)


def test_chord_tones_on_strong_beats() -> None:
    bars = [Chord(0, 2, 0, "major", 1), Chord(2, 4, 9, "minor", 1), Chord(4, 6, None, None, 0)]
    # Beats 1 and 3 of a bar of 2 s: at 0, 1, 2 and 3 s; what is sung between does not matter.
    line = sung((64, 0.5), (61, 0.5), (62, 1), (60, 1), (69, 1), (66, 2))
    assert melody.chord_tones(line, bars) == pytest.approx(3 / 4)
    rest = sung((64, 0.5), (0, 1.5), (60, 1), (0, 1))
    assert melody.chord_tones(rest, bars) == 1
    assert melody.chord_tones(sung((0, 6)), bars) is None
    assert melody.chord_tones(line, []) is None


def test_tuning_and_centre() -> None:
    flat = sung((60 - 0.3, 1), (67 - 0.3, 1))
    assert melody.off_centre(flat) == pytest.approx(30)
    assert melody.off_centre(melody.tuned(flat, -0.3)) == pytest.approx(0, abs=1e-6)
    assert melody.median_note(sung((60, 2), (72, 1))) == pytest.approx(60)


def test_a_leaked_voice_stands_out_from_chance() -> None:
    draw = np.random.default_rng(4)
    line = sung(*[(note, 0.3) for note in draw.integers(50, 74, 100)])
    other = sung(*[(note, 0.3) for note in draw.integers(50, 74, 100)])
    leaked = np.where(np.arange(len(line)) % 300 < 150, line, other)
    assert melody.same_voice(line, line) == pytest.approx((1.0, 1 / 24), abs=0.05)
    share, chance = melody.same_voice(line, leaked) or (0, 0)
    assert share == pytest.approx(0.5, abs=0.07) and chance < 0.15
    share, chance = melody.same_voice(line, other) or (0, 0)
    assert abs(share - chance) < 0.1
    assert melody.same_voice(line, np.zeros(10)) == (0, 0)


def test_no_notes_no_values() -> None:
    for nothing in (np.zeros(0), np.zeros(500)):
        assert melody.entropy(nothing) is None and melody.on_scale(nothing, C_MAJOR) is None
        assert melody.median_note(nothing) is None and melody.off_centre(nothing) is None
        assert melody.same_voice(nothing, nothing) is None
