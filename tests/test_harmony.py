"""Key and chords of synthetic progressions, where all of them are known."""

from __future__ import annotations

import numpy as np
import pytest

from yue.audio import Audio
from yue.evaluate import harmony

RATE = 22_050
MAJOR_SONG = [(0, "major"), (7, "major"), (9, "minor"), (5, "major")] * 3 + [(0, "major")]
MINOR_SONG = [(0, "minor"), (5, "minor"), (7, "minor"), (8, "major")] * 3 + [(0, "minor")]


def played(
    progression: list[tuple[int, str]], seconds: float = 2.0, *, tonic: int = 0, cents: float = 0
) -> Audio:
    """Triads of decaying tones with five harmonics, the root doubled below."""
    time = np.arange(round(seconds * RATE)) / RATE
    parts = []
    for root, mode in progression:
        third = 4 if mode == "major" else 3
        base = 48 + (root + tonic) % 12
        notes = [base, base + 12, base + 12 + third, base + 19]
        hertz = [440 * 2 ** ((note - 69 + cents / 100) / 12) for note in notes]
        tones = [np.sin(2 * np.pi * h * k * time) / k**1.5 for h in hertz for k in range(1, 6)]
        parts.append(np.exp(-time) * np.sum(tones, axis=0))
    return Audio(0.05 * np.concatenate(parts), RATE)


@pytest.mark.parametrize("tonic", range(12))
@pytest.mark.parametrize(("song", "mode"), [(MAJOR_SONG, "major"), (MINOR_SONG, "minor")])
def test_all_keys_and_their_chords(song: list[tuple[int, str]], mode: str, tonic: int) -> None:
    chroma = harmony.chroma(played(song, tonic=tonic))
    key = harmony.key(chroma.energy.sum(axis=0))
    assert key is not None and (key.tonic, key.mode) == (tonic, mode) and key.confidence > 0.02
    bars = np.arange(len(song) + 1) * 2.0
    found = [(chord.root, chord.mode) for chord in harmony.chords(chroma, bars.tolist())]
    assert found == [((root + tonic) % 12, chord_mode) for root, chord_mode in song]


@pytest.mark.parametrize("cents", [-40, -20, 15, 35])
def test_tuning_is_found_and_taken_out(cents: float) -> None:
    chroma = harmony.chroma(played(MAJOR_SONG, tonic=2, cents=cents))
    assert chroma.tuning == pytest.approx(cents / 100, abs=0.05)
    assert str(harmony.key(chroma.energy.sum(axis=0))) == "D major"


def test_the_first_beat_of_the_bar_is_found() -> None:
    chroma = harmony.chroma(played(MAJOR_SONG))
    for skipped in range(4):
        beats = np.arange(skipped, 52) * 0.5
        bars = harmony.bars_of(chroma, beats)
        assert np.allclose(bars % 2, 0) and len(bars) >= 12
    assert harmony.bars_of(chroma, np.zeros(0)).size == 0
    assert harmony.bars_of(chroma, np.array([1.0, 1.5])).size == 0


def test_silence_has_no_key_and_no_chord() -> None:
    silent = harmony.chroma(Audio(np.zeros((2, 5 * RATE)), RATE))
    assert harmony.key(silent.energy.sum(axis=0)) is None and silent.tuning == 0
    assert [str(chord) for chord in harmony.chords(silent, [0, 2, 4])] == ["N", "N"]
    gap = Audio(np.hstack([played(MAJOR_SONG[:1]).samples, np.zeros((1, 2 * RATE))]), RATE)
    first, second = harmony.chords(harmony.chroma(gap), [0, 2, 4])
    assert str(first) == "C" and first.tones == {0, 4, 7} and first.clarity > 0.9
    assert str(second) == "N" and second.tones == frozenset()


def test_confidence_falls_where_there_is_no_key() -> None:
    chromatic = [(step, "major") for step in range(12)]
    clear = harmony.key(harmony.chroma(played(MAJOR_SONG)).energy.sum(axis=0))
    vague = harmony.key(harmony.chroma(played(chromatic)).energy.sum(axis=0))
    assert clear is not None and vague is not None and vague.confidence < clear.confidence / 2
    assert harmony.key(np.ones(12)) is None and harmony.key(np.zeros(12)) is None


def test_scales() -> None:
    assert harmony.Key(9, "minor", 0).scale == harmony.Key(0, "major", 0).scale
    assert str(harmony.Key(10, "minor", 0)) == "Bb minor"
    assert str(harmony.Chord(0, 1, 9, "minor", 1)) == "Am"
