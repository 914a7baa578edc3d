"""Events and a note bank -> the accompaniment (n,) at 44.1 kHz, by adding up notes."""

from __future__ import annotations

import numpy as np

from yue.songbook.bank import DRUM_KIT, RATE, VELOCITY, Bank
from yue.songbook.score import Event, Score

LOUDNESS_POWER = 1.6
"""Amplitude grows with this power of velocity."""

RELEASE_SECONDS, RELEASE_DECAY = 0.09, 0.03


def accompany(score: Score, bank: Bank) -> np.ndarray:
    """What the band plays (n,) float32. The level is raw: `perform` sets it."""
    track = np.zeros(round(score.seconds * RATE), np.float32)
    release = np.exp(
        -np.arange(round(RELEASE_SECONDS * RATE)) / (RELEASE_DECAY * RATE)
    ).astype(np.float32)
    for event in score.events:
        start = round(event.start * RATE)
        wave = _sounded(event, bank, release)[: len(track) - start]
        track[start : start + len(wave)] += wave
    return track


def gain_of(event: Event) -> float:
    """What an event's note in the bank, int16, is multiplied by."""
    return float((event.velocity / VELOCITY) ** LOUDNESS_POWER / 32767)


def _sounded(event: Event, bank: Bank, release: np.ndarray) -> np.ndarray:
    """One event's samples: the bank's note, scaled, let go at its end; drums ring out."""
    note = bank.note(DRUM_KIT if event.drum else event.program, event.key)
    gain = np.float32(gain_of(event))
    if event.drum:
        return note * gain
    held = round(event.seconds * RATE)
    wave = note[: held + len(release)] * gain
    wave[held:] *= release[: max(0, len(wave) - held)]
    return wave
