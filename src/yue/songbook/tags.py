"""The words by which a song is described: only what one can hear in it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from yue.songbook.voices import VOICES

FAST = 100.0
"""Beats per minute from which a song is fast."""

MOODS = {
    ("major", True): ("happy", "uplifting", "energetic"),
    ("major", False): ("romantic", "calm", "hopeful"),
    ("minor", True): ("dark", "intense", "rebellious"),
    ("minor", False): ("sad", "melancholic", "introspective"),
}
"""By mode and whether the song is fast."""


def tags_of(
    genre: str, voice: str, tempo: float, mode: str, instruments: Sequence[str], *,
    rap: bool, rng: np.random.Generator,
) -> tuple[str, ...]:
    """Mood, gender, genre, timbre, an instrument that plays, and how the voice is used."""
    singer = VOICES[voice]
    mood = MOODS[mode, tempo >= FAST]
    return (
        str(rng.choice(mood)), singer.gender, genre, str(rng.choice(singer.timbres)),
        *(str(rng.choice(instruments)) for _ in instruments[:1]),
        "rapping" if rap else "vocal",
    )
