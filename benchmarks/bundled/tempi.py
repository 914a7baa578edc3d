"""A simple classifier of tempi: rhythm statistics of pieces of a song, logistic regression.

A beat tracker gives a song one tempo, and 75 beats per minute may be 150. Which of the songbook's
own tempi a piece has can be learned as genres are: from the songbook's accompaniments alone, judged
on songs that were not learned from. A song's tempo is then the mean over its pieces, in octaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bundled.bench import Bench, told
from bundled.genres import HELD_OUT, band_of, fitted, rhythm
from bundled.table import Estimate, mean
from yue.audio import Audio
from yue.evaluate import tempo

PIECE = 8.0
"""Seconds: three to five bars."""


@dataclass(frozen=True)
class Pulse:
    """The trained classifier and its accuracy on pieces of held-out songs."""

    model: Any
    tempi: tuple[float, ...]
    """Beats per minute."""
    held_out: Estimate

    def octaves(self, audio: Audio) -> float:
        """The tempo as log2 of beats per minute: what is expected of each piece, on average."""
        shares = self.model.predict_proba(features(audio)).mean(axis=0)
        return float(shares @ np.log2(self.model.classes_.astype(float)))


def train(bench: Bench, genre: str) -> Pulse:
    """Learn a genre's tempi from its accompaniments; a quarter of the songs is held out."""
    tempi = bench.songbook.profile.tempi
    orders = [(each, number) for each in tempi for number in range(bench.training_songs)]
    songs = [features(band_of(bench, genre, index, tempi=(each,)))
             for index, (each, _) in enumerate(told(orders, "tempi: training songs"))]
    held = [number < HELD_OUT * bench.training_songs for _, number in orders]
    model = fitted(*_pieces(songs, orders, [not each for each in held]))
    right = [
        float(np.mean(model.predict(song) == f"{each:g}"))
        for song, (each, _), out in zip(songs, orders, held, strict=True) if out
    ]
    return Pulse(model, tempi, mean(right))


def _pieces(
    songs: Sequence[np.ndarray], orders: Sequence[tuple[float, int]], chosen: Sequence[bool]
) -> tuple[np.ndarray, np.ndarray]:
    """Features of all pieces of the chosen songs `(pieces, n)` and their tempi as texts."""
    kept = [(song, f"{each:g}") for song, (each, _), yes in zip(songs, orders, chosen, strict=True)
            if yes]
    names = [name for song, name in kept for _ in song]
    return np.concatenate([song for song, _ in kept]), np.array(names)


def features(audio: Audio) -> np.ndarray:
    """The rhythm of each piece `(pieces, n)`; what is left over at the end belongs to the last."""
    strength = tempo.onsets(audio)
    count = max(1, int(len(strength) / (PIECE * tempo.FPS)))
    return np.stack([rhythm(piece) for piece in np.array_split(strength, count)])
