"""A simple classifier of genres: spectral and rhythm statistics, logistic regression.

It learns from the songbook's accompaniments alone (only the band plays, nobody sings) and is judged
on songs of the songbook that it has not seen, before it judges anybody else. What it hears ends at
5 kHz, where a small codec still speaks, and does not depend on loudness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from bundled.bench import Bench, told
from bundled.table import Estimate, mean
from yue.audio import Audio
from yue.evaluate import tempo
from yue.evaluate.spectrum import stft
from yue.songbook.band import accompany
from yue.songbook.bank import RATE
from yue.songbook.compose import compose

SEED = 77
"""Of the training songs; none of them has the words or the seed of a measured one."""
HELD_OUT = 0.25
HEARD_RATE, SIZE, HOP = 16_000, 1_024, 256
BANDS, LOWEST, HIGHEST = 32, 60.0, 5_000.0
FLOOR_DB = 60.0
"""Below the loudest band of a song nothing is told apart."""
LAGS = 24
SLOWEST = 2.0
"""Seconds: rhythm is the autocorrelation of onsets up to here, in `LAGS` steps."""
SECONDS = 30.0


@dataclass(frozen=True)
class Ear:
    """The trained classifier and its accuracy on held-out songs of the songbook."""

    model: Any
    genres: tuple[str, ...]
    held_out: Estimate

    def shares(self, audio: Audio) -> dict[str, float]:
        """How likely each genre is."""
        found = self.model.predict_proba(features(audio)[None])[0]
        return dict(zip(self.model.classes_.tolist(), found.tolist(), strict=True))

    def genre(self, audio: Audio) -> str:
        """The likeliest genre."""
        shares = self.shares(audio)
        return max(shares, key=lambda name: shares[name])


def train(bench: Bench) -> Ear:
    """Learn `bench.genres` from accompaniments; a quarter of them is held out."""
    labels = [name for name in bench.genres for _ in range(bench.training_songs)]
    orders = list(enumerate(labels))
    heard = np.array([features(band_of(bench, name, number))
                      for number, name in told(orders, "genres: training songs")])
    held = np.arange(len(labels)) % bench.training_songs < HELD_OUT * bench.training_songs
    names = np.array(labels)
    model = fitted(heard[~held], names[~held])
    right = (model.predict(heard[held]) == names[held]).astype(float).tolist()
    return Ear(model, tuple(bench.genres), mean(right))


def fitted(heard: np.ndarray, names: np.ndarray) -> Any:
    """Logistic regression on standardised features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2_000)).fit(
        heard, names
    )


def band_of(bench: Bench, genre: str, index: int, **changes: Any) -> Audio:
    """The accompaniment of a song of the songbook; no one sings. `changes` to its profile."""
    profile = bench.songbook.profile.replace(genres=(genre,), **changes)
    studio = bench.songbook.studio
    score = compose(SEED, index, profile, vocabulary=studio.vocabulary)
    return Audio(accompany(score, studio.bank).astype(np.float32), RATE)


def features(audio: Audio) -> np.ndarray:
    """Means and spreads of band levels, how strongly each band changes, and the rhythm: `(n,)`."""
    audio = audio.mono().cut(0.0, min(SECONDS, audio.seconds))
    levels = band_levels(audio)
    flux = np.maximum(0.0, np.diff(levels, axis=0)).mean(axis=0)
    average = levels.mean(axis=0)
    return np.concatenate([
        average - average.mean(), levels.std(axis=0), flux, rhythm(tempo.onsets(audio)),
    ])


def band_levels(audio: Audio) -> np.ndarray:
    """Decibels in bands of even width in log frequency `(frames, BANDS)`, 0 for the loudest."""
    power = np.abs(stft(audio.resample(HEARD_RATE).samples[0], SIZE, HOP)) ** 2
    hertz = np.geomspace(LOWEST, HIGHEST, BANDS + 1)
    edges = np.round(hertz * SIZE / HEARD_RATE).astype(int)
    bands = np.stack([
        power[:, low : max(high, low + 1)].mean(axis=1)
        for low, high in pairwise(edges)
    ], axis=1)
    top = max(float(np.percentile(bands, 99)), 1e-12)
    return np.clip(10 * np.log10(np.maximum(bands / top, 1e-12)), -FLOOR_DB, 0.0)


def rhythm(strength: np.ndarray) -> np.ndarray:
    """The autocorrelation of onset strengths over `LAGS` ranges of lag; 0 where there is none."""
    centred = strength - strength.mean()
    total = float(centred @ centred)
    lags = np.linspace(0.1, SLOWEST, LAGS + 1) * tempo.FPS
    if not total:
        return np.zeros(LAGS)
    whole = np.correlate(centred, centred, "full")[len(centred) - 1 :] / total
    whole = np.pad(whole, (0, max(0, round(lags[-1]) + 1 - len(whole))))
    return np.array([
        whole[round(low) : round(high)].max() for low, high in pairwise(lags)
    ])


def accuracy(ear: Ear, asked: Sequence[str], heard: Sequence[str]) -> tuple[Estimate, int]:
    """Share of songs heard as what was asked for, and how many genres mostly are."""
    right = [one == other for one, other in zip(asked, heard, strict=True)]
    mostly = [
        np.mean([hit for hit, name in zip(right, asked, strict=True) if name == genre]) > 0.5
        for genre in dict.fromkeys(asked)
    ]
    return mean([float(hit) for hit in right]), sum(map(bool, mostly))
