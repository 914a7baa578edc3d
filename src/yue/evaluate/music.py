"""The music of one song in numbers: tempo, beats, key, chords, and how the voice fits them.

In goes `Audio` of the accompaniment (the mix, where there are no stems) and, if there is a voice,
its f0 track; out comes one record. All of it is measured on sound alone, so that any system can be
compared; conventions are those of `tempo.py`, `harmony.py` and `melody.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from yue.audio import Audio
from yue.evaluate import harmony, melody, tempo
from yue.evaluate.f0 import track
from yue.evaluate.pitch import STEP
from yue.evaluate.record import record

VERSION = 1
STRAY = 60.0
"""Seconds of the accompaniment in which the voice is looked for: tracking it all is dear."""


def evaluate(
    audio: Audio, vocals_f0: np.ndarray | None = None, *, chroma: harmony.Chroma | None = None,
    stray: bool = False, seed: int = 0,
) -> dict[str, Any]:
    """Tempo, key and chords of `audio`; with the vocals' f0 how they fit.

    `stray` also looks for the vocals' line in `audio`, which must then be the accompaniment alone:
    in the minute in which most is sung. `chroma` is that of `audio`, if it is known already.
    """
    sounded = chroma or harmony.chroma(audio)
    grid, values = _rhythm(audio, seed)
    key = harmony.key(sounded.energy.sum(axis=0))
    beats = grid.times(0.0, audio.seconds) if grid else np.zeros(0)
    bars = harmony.bars_of(sounded, beats)
    chords = harmony.chords(sounded, bars.tolist())
    values |= {
        "key": str(key) if key else None, "key_confidence": key.confidence if key else None,
        "tuning": 100 * sounded.tuning, "chords": [str(chord) for chord in chords],
        "chord_clarity": float(np.mean([c.clarity for c in chords])) if chords else None,
    }
    if vocals_f0 is not None:
        values |= _fit(melody.tuned(vocals_f0, sounded.tuning), key, chords)
    if vocals_f0 is not None and stray:
        share, chance = _stray(audio, vocals_f0) or (None, None)
        values |= {"same_voice": share, "same_voice_chance": chance}
    return record(
        "music", VERSION, values, extractor="onsets and chroma of this package",
        windowing=f"onsets {tempo.HOP / tempo.RATE:.4f} s, chroma {harmony.HOP / harmony.RATE:.4f} "
        f"s, bars of {harmony.BEATS} beats",
        seed=seed,
    )


def _rhythm(audio: Audio, seed: int) -> tuple[tempo.Grid | None, dict[str, Any]]:
    """The best grid of beats, and what there is to say of tempo and beats."""
    strength = tempo.onsets(audio)
    pulse, grid = tempo.tempo(strength), tempo.grid_of(strength)
    return grid, {
        "tempo": grid.tempo if grid else None,
        "tempo_confidence": pulse[1] if pulse else None,
        "beat_f": grid.f if grid else None,
        "beat_f_chance": tempo.chance(strength, seed=seed),
    }


def _stray(audio: Audio, f0: np.ndarray) -> tuple[float, float] | None:
    """`melody.same_voice` of the minute in which most is sung; `None` if nothing is."""
    frames = min(len(f0), round(STRAY / STEP))
    voiced = np.concatenate([[0], np.cumsum(f0 > 0)])
    first = int((voiced[frames:] - voiced[: len(voiced) - frames]).argmax())
    if not f0.any() or first * STEP >= audio.seconds:
        return None
    part = audio.cut(first * STEP, first * STEP + STRAY)
    return melody.same_voice(f0[first : first + frames], track(part))


def _fit(f0: np.ndarray, key: harmony.Key | None, chords: list[harmony.Chord]) -> dict[str, Any]:
    """The vocals' f0 `(frames,)`, in the accompaniment's tuning, beside its key and chords."""
    return {
        "on_scale": melody.on_scale(f0, key) if key else None,
        "on_scale_chance": melody.SCALE_CHANCE,
        "chord_tones": melody.chord_tones(f0, chords),
        "chord_tones_chance": melody.CHORD_CHANCE,
        "pitch_class_entropy": melody.entropy(f0),
        "median_note": melody.median_note(f0),
        "off_centre": melody.off_centre(f0),
    }
