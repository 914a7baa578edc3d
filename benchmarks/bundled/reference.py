"""References: whether a song takes on the voice and the genre of a recording it is given.

Four songs of the songbook with words of their own, of two voices and two genres, are the
recordings; the tags say nothing about either, so what pulls is the reference.
"""

from __future__ import annotations

import numpy as np

from bundled.bench import Bench, told
from bundled.genres import train
from bundled.lyrics import Lyric
from bundled.pictures import points
from bundled.singers import Take
from bundled.table import Outcome, Row, mean
from yue.lyrics import Section

NEUTRAL = "vocal"
GENDERS = ("male", "female")
SEED = 41
WORDS = (
    Section("verse", "Morning opens like a letter\nNobody has read before\n"
            "Every hour growing better\nThan the one that shut the door"),
    Section("chorus", "Hold the light and let it linger\nHold it till the day is done\n"
            "Draw a circle with your finger\nRound the shadow of the sun"),
)
"""What is sung in the recordings."""


def run(bench: Bench) -> Outcome:
    """Pull of the median F0 and of the genre, over `few` lyrics and four references."""
    if not bench.generated.references:
        return Outcome([], {"skipped": "this model takes no references"})
    ear = train(bench)
    genres = (bench.genres[0], bench.genres[-1])
    recordings = {
        (gender, genre): bench.songbook.sing(
            Lyric(f"reference-{gender}-{genre}", WORDS, f"{genre} {gender}"), seed=SEED
        )
        for gender in GENDERS for genre in genres
    }
    sung = [
        {kind: bench.generated.sing(lyric.tagged(NEUTRAL), seed=bench.seed, like=recording)
         for kind, recording in recordings.items()}
        for lyric in told(bench.some, "references")
    ]
    lifts = [lift(songs) for songs in sung]
    likelier = [
        {kind: ear.shares(take.track("accompaniment")) for kind, take in songs.items()}
        for songs in sung
    ]
    pulls = [pull(shares, genres) for shares in likelier]
    own = {kind: ear.shares(take.track("accompaniment")) for kind, take in recordings.items()}
    one, two = mean(lifts), mean(pulls)
    points(bench.out / "reference.png", {"median F0, semitones": lifts,
                                         f"{genres[1]} rather than {genres[0]}": pulls})
    return Outcome([
        Row(part="reference", name="female over male reference, semitones", generated=one,
            songbook=lift(recordings), chance=0.0, bar="interval above 0", met=one.low > 0),
        Row(part="reference", name=f"{genres[1]} over {genres[0]} reference, probability",
            generated=two, songbook=pull(own, genres), chance=0.0, bar="interval above 0",
            met=two.low > 0),
    ], {"lifts": lifts, "pulls": pulls, "classifier": ear.held_out})


def lift(songs: dict[tuple[str, str], Take]) -> float:
    """Median note by the female references less that by the male ones, semitones."""
    low, high = (
        np.nanmean([take.median_note for (gender, _), take in songs.items() if gender == name])
        for name in GENDERS
    )
    return float(high - low)


def pull(shares: dict[tuple[str, str], dict[str, float]], genres: tuple[str, str]) -> float:
    """How much likelier the second genre is by its own references than by the first's: -1 to 1.

    Only these two genres are compared.
    """
    def leaning(genre: str) -> float:
        found = [each for (_, kind), each in shares.items() if kind == genre]
        return float(np.mean([
            each[genres[1]] / max(each[genres[0]] + each[genres[1]], 1e-12) for each in found
        ]))

    return leaning(genres[1]) - leaning(genres[0])
