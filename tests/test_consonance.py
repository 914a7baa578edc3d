"""The voice against the band by what upsamplers make of codes: closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from yue.codec.consonance import AROUND, consonance
from yue.codec.source_filter import Voice
from yue.codec.tones import FLOOR, Band, TonesConfig, hertz_of

SIZES = TonesConfig(knots=48)
RATE = round(SIZES.sample_rate / SIZES.step)
"""Subframes per second."""
TRIAD = (48, 64, 67)
"""C, E, G."""


def voice_on(notes: np.ndarray, *, voiced: bool = True) -> Voice:
    pitch = torch.tensor([[hertz_of(float(note)) for note in notes]])
    nothing = torch.zeros(1, len(notes), 2)
    return Voice(nothing, nothing, pitch, torch.full(pitch.shape, 1.0 if voiced else -1.0))


def band_of(*chords: tuple[int, ...], steps: int) -> Band:
    """Chords in equal times, all tones alike."""
    tones = torch.full((1, steps * len(chords), SIZES.tones), FLOOR)
    for place, chord in enumerate(chords):
        tones[0, place * steps : (place + 1) * steps, [note - SIZES.lowest for note in chord]] = -2
    return Band(tones, torch.zeros(1, steps * len(chords), 2))


@pytest.mark.parametrize("note", range(48, 72))
def test_what_is_sung_on_the_triad_is_consonant(note: int) -> None:
    band, voice = band_of(TRIAD, steps=RATE), voice_on(np.full(RATE, note + 0.3))
    assert consonance(voice, band, SIZES) == (note % 12 in (0, 4, 7))


def test_it_is_the_share_of_the_singing() -> None:
    notes = np.repeat([60, 61, 64, 66], RATE)
    assert consonance(voice_on(notes), band_of(TRIAD, steps=4 * RATE), SIZES) == 0.5
    silent = voice_on(notes)
    silent.voicing[0, : 2 * RATE] = -1
    assert consonance(silent, band_of(TRIAD, steps=4 * RATE), SIZES) == 0.5


def test_each_chord_counts_where_it_is_played() -> None:
    """F sharp major after C major: a voice that goes along, and one that is always late."""
    chords = (TRIAD, (54, 58, 61))
    band = band_of(*chords, steps=4 * RATE)
    along = np.repeat([60, 66], 4 * RATE)
    found = [consonance(voice_on(notes), band, SIZES) for notes in (along, along[::-1].copy())]
    reach = AROUND / 2 / 4
    assert found[0] > 1 - reach and found[1] < reach


@given(st.lists(st.integers(45, 70), min_size=1, max_size=20),
       st.permutations(range(12)), st.floats(-0.4, 0.4))
def test_over_all_transpositions_a_quarter_is_consonant(
    melody: list[int], order: list[int], off: float
) -> None:
    """With all twelve pitch classes at levels of their own, whatever the melody."""
    tones = torch.full((1, 20 * len(melody), SIZES.tones), FLOOR)
    for level, note in enumerate(order):
        tones[..., 60 + note - SIZES.lowest] = -2.0 - level / 4
    band = Band(tones, torch.zeros(1, tones.shape[1], 2))
    notes = np.repeat(melody, 20) + off
    shares = [consonance(voice_on(notes + shift), band, SIZES) for shift in range(12)]
    assert np.mean(shares) == pytest.approx(1 / 4)


def test_without_a_voice_there_is_nothing_to_say() -> None:
    silent = voice_on(np.full(RATE, 60), voiced=False)
    assert math.isnan(consonance(silent, band_of(TRIAD, steps=RATE), SIZES))
