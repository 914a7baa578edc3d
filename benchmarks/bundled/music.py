"""Music: the voice against the key and chords that the band plays, range, beat, and clean stems.

Measured on sound alone, the same way for the model's songs and the songbook's. What a failing stem
would look like is measured too: the songbook's own *mix*, taken for its vocals or accompaniment;
a stem passes that is nearer to the songbook's clean stem than to that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bundled.bench import Bench, told
from bundled.singers import Take
from bundled.table import Estimate, Outcome, Row, halfway, mean, within
from yue.audio import Audio
from yue.evaluate import f0, melody, music, pitch, sound

LEAST_SHARE = 0.75
"""Of the songbook's share of notes on the scale and on chord tones."""
NEAR = 0.25
"""Of the songbook's vocal range and entropy, upwards and downwards."""
LEAST_BEAT = 0.8
QUIET_SHARE, LOUD_SHARE = 10, 90
"""Percentiles of frame levels: a voice rests between its lines, drums fill the rests."""
FLOOR_DB = -50.0
"""Of full scale: a frame quieter than this is a rest, whatever a codec whispers in it."""
MIXED = "mixed"
"""The controls' prefix."""

FIT = {
    "on_scale": ("notes on the scale of the band's key", melody.SCALE_CHANCE),
    "chord_tones": ("chord tones on strong beats", melody.CHORD_CHANCE),
}
LIKE = {
    "range": "vocal range, semitones",
    "pitch_class_entropy": "pitch-class entropy, bits",
}
STEMS = {
    "accompaniment_in_vocals": "vocals: leaked accompaniment, dB",
    "vocals_rest": "vocals: quiet below loud frames, dB",
    "vocals_in_accompaniment": "accompaniment: leaked vocals, dB",
    "same_voice": "accompaniment: sings the vocals' line",
}


def run(bench: Bench) -> Outcome:
    """All rows, over all lyrics."""
    pairs = [bench.both(lyric) for lyric in told(bench.lyrics, "music: songs")]
    found = [
        (measured(pair[0], bench.seed), measured(pair[1], bench.seed) | controls(pair[1]))
        for pair in told(pairs, "music: measured")
    ]
    rows = rows_of([one for one, _ in found], [other for _, other in found])
    names = [lyric.name for lyric in bench.lyrics]
    return Outcome(rows, {
        name: {"generated": one, "songbook": other}
        for name, (one, other) in zip(names, found, strict=True)
    })


def measured(take: Take, seed: int) -> dict[str, Any]:
    """What there is to say of one song."""
    vocals, band = take.track("vocals"), take.track("accompaniment")
    found = music.evaluate(band, take.pitch, seed=seed)["values"]
    found.pop("chords")
    sung = pitch.evaluate(take.pitch)
    return {
        **found, "range": sung["range"], "percentile_range": sung["percentile_range"],
        "voiced": voiced(take.pitch), **stems(vocals, band),
        "same_voice": same_line(take, band),
    }


def stems(vocals: Audio, band: Audio) -> dict[str, float | None]:
    """Leakage both ways, and how far the vocals' rests lie below what is sung."""
    return {
        "accompaniment_in_vocals": sound.leakage(band, vocals),
        "vocals_in_accompaniment": sound.leakage(vocals, band),
        "vocals_rest": rest(vocals),
    }


def controls(take: Take) -> dict[str, float | None]:
    """The same of a mix that stands for either stem: what must not come out."""
    vocals, band = take.track("vocals"), take.track("accompaniment")
    mix = Audio(vocals.samples + band.samples, vocals.rate)
    found = {
        "accompaniment_in_vocals": sound.leakage(band, mix),
        "vocals_in_accompaniment": sound.leakage(vocals, mix),
        "vocals_rest": rest(mix),
        "same_voice": same_line(take, mix),
    }
    return {f"{MIXED}_{name}": value for name, value in found.items()}


def same_line(take: Take, other: Audio) -> float | None:
    """Share of the voiced frames in which `other` has the vocals' pitch, above chance."""
    both = melody.same_voice(take.pitch, f0.track(other))
    return None if both is None else both[0] - both[1]


def rest(audio: Audio) -> float:
    """Decibels from the loud frames (90th percentile) down to the quiet ones (10th)."""
    size = round(sound.FRAME * audio.rate)
    wave = audio.mono().samples[0]
    frames = wave[: len(wave) // size * size].reshape(-1, size)
    levels = 10 * np.log10(np.maximum(np.square(frames).mean(axis=1), 10 ** (FLOOR_DB / 10)))
    low, high = np.percentile(levels, [QUIET_SHARE, LOUD_SHARE])
    return float(high - low)


def voiced(track: np.ndarray) -> float:
    """Share of the frames that are voiced."""
    return float(np.mean(track > 0)) if len(track) else 0.0


def rows_of(
    generated: Sequence[Mapping[str, Any]], songbook: Sequence[Mapping[str, Any]]
) -> list[Row]:
    """The table's rows from what was measured of each song."""
    def of(side: Sequence[Mapping[str, Any]], name: str) -> Estimate:
        return mean([each[name] for each in side])

    rows = []
    for name, (text, chance) in FIT.items():
        one, two = of(generated, name), of(songbook, name)
        rows.append(Row(
            part="music", name=text, generated=one, songbook=two, chance=chance,
            bar=f">= {LEAST_SHARE} of songbook", met=one.value >= LEAST_SHARE * two.value,
        ))
    for name, text in LIKE.items():
        one, two = of(generated, name), of(songbook, name)
        rows.append(Row(part="music", name=text, generated=one, songbook=two, chance=0.0,
                        bar="within 1/4 of songbook", met=within(one, two, NEAR)))
    beat = of(generated, "beat_f")
    rows.append(Row(
        part="music", name="beat F against the best grid", generated=beat,
        songbook=of(songbook, "beat_f"), chance=of(generated, "beat_f_chance"),
        bar=f">= {LEAST_BEAT}", met=beat.value >= LEAST_BEAT,
    ))
    one, two = of(generated, "voiced"), of(songbook, "voiced")
    rows.append(Row(part="music", name="vocals: voiced share of the song", generated=one,
                    songbook=two, chance=0.0, bar="within 1/4 of songbook",
                    met=within(one, two, NEAR)))
    for name, text in STEMS.items():
        one, two, bad = of(generated, name), of(songbook, name), of(songbook, f"{MIXED}_{name}")
        rows.append(Row(part="music", name=text, generated=one, songbook=two, chance=bad,
                        bar="nearer to the stem than to the mix",
                        met=clean(name, one, two, bad)))
    return rows


def clean(name: str, value: Estimate, stem: Estimate, mix: Estimate) -> bool:
    """Whether a stem is like a stem; cleaner than the songbook's counts as clean."""
    better = value.value > stem.value if name == "vocals_rest" else value.value < stem.value
    return better or halfway(value, stem, mix)

