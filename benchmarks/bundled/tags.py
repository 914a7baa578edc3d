"""Tags: whether gender moves the pitch, genre the band, and mood the tempo.

The same words and seeds with other tags; the songbook does the same beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from bundled import tempi
from bundled.bench import Bench, told
from bundled.genres import accuracy, train
from bundled.lyrics import Lyric, regendered
from bundled.singers import Singer, Take
from bundled.table import Outcome, Row, mean
from yue.evaluate import tempo

LEAST_SEMITONES, LEAST_ACCURACY, LEAST_GENRES = 5.0, 0.8, 5
SLOW, FAST = "calm", "energetic"
MOOD_GENRE = "pop"
"""Moods are told apart in one genre, whose range of tempi holds slow and fast ones."""
SLOW_TEMPO, FAST_TEMPO = 93.75, 125.0
"""What the songbook's own slow and fast songs of that genre have (beats per minute)."""
PER_GENRE = 5


def run(bench: Bench) -> Outcome:
    """Gender, genre, mood."""
    parts = (gender(bench), genre(bench), mood(bench))
    return Outcome(
        [row for part in parts for row in part.rows],
        {name: part.detail for name, part in zip(("gender", "genre", "mood"), parts, strict=True)},
    )


def gender(bench: Bench) -> Outcome:
    """Median F0 with `female` less that with `male`, in semitones."""
    def lift(singer: Singer, lyric: Lyric) -> float:
        low, high = (
            singer.sing(lyric.tagged(regendered(lyric.tags, name)), seed=bench.seed).median_note
            for name in ("male", "female")
        )
        return high - low

    found = [[lift(singer, lyric) for singer in (bench.generated, bench.songbook)]
             for lyric in told(bench.some, "tags: gender")]
    one, two = (mean([each[who] for each in found]) for who in range(2))
    row = Row(part="tags", name="female above male, semitones", generated=one, songbook=two,
              chance=0.0, bar=f">= {LEAST_SEMITONES:.0f}", met=one.value >= LEAST_SEMITONES)
    return Outcome([row], {"semitones": found})


def genre(bench: Bench) -> Outcome:
    """The classifier on the songbook's own songs, unseen, and on songs by genre tags."""
    ear = train(bench)
    orders = [
        (name, lyric.tagged(f"{name} {lyric.gender}"))
        for name in bench.genres for lyric in bench.some[:PER_GENRE]
    ]
    heard = [
        [ear.genre(take.track("accompaniment")) for take in bench.both(lyric)]
        for _, lyric in told(orders, "tags: genre")
    ]
    asked = [name for name, _ in orders]
    (one, apart), (two, _) = (
        accuracy(ear, asked, [each[who] for each in heard]) for who in range(2)
    )
    count = len(ear.genres)
    return Outcome([
        Row(part="tags", name=f"{count} genres: the classifier on unseen songbook",
            generated=None, songbook=ear.held_out, chance=1 / count),
        Row(part="tags", name=f"{count} genres told apart", generated=one, songbook=two,
            chance=1 / count, bar=f">= {LEAST_ACCURACY}", met=one.value >= LEAST_ACCURACY),
        Row(part="tags", name="genres mostly recognised", generated=float(apart), chance=None,
            bar=f">= {LEAST_GENRES}", met=apart >= LEAST_GENRES),
    ], {"asked": asked, "heard": [each[0] for each in heard],
        "songbook": [each[1] for each in heard]})


def mood(bench: Bench) -> Outcome:
    """Tempo by slow and fast moods, and how much sooner the same words are over.

    A tempo is what a classifier of the songbook's own tempi hears in the pieces of a song; beside
    it stands that of one beat grid for the whole song, which may be half or double.
    """
    ear = tempi.train(bench, MOOD_GENRE)
    found = [_speeds(bench, ear, lyric) for lyric in told(bench.some, "tags: mood")]
    rows = [Row(part="tags", name=f"{len(ear.tempi)} tempi: the classifier on unseen songbook",
                generated=None, songbook=ear.held_out, chance=1 / len(ear.tempi))]
    for place, name in enumerate(("tempo", "tempo of one beat grid", "words per second")):
        one, two = (mean([each[who][place] for each in found]) for who in range(2))
        rows.append(Row(
            part="tags", name=f"fast over slow mood: {name}, octaves", generated=one,
            songbook=two, chance=0.0, bar="interval above 0" if place == 0 else "",
            met=one.low > 0 if place == 0 else None,
        ))
    return Outcome(rows, {"fast over slow": found})


def _speeds(
    bench: Bench, ear: tempi.Pulse, lyric: Lyric
) -> list[tuple[float, float | None, float]]:
    """By the model and by the songbook: fast over slow, in octaves."""
    slow, fast = (lyric.tagged(f"{tag} {MOOD_GENRE} {lyric.gender}") for tag in (SLOW, FAST))
    sung = [bench.generated.sing(one, seed=bench.seed) for one in (slow, fast)]
    book = [
        bench.songbook.sing(slow, seed=bench.seed, tempi=(pulse,))
        for pulse in (SLOW_TEMPO, FAST_TEMPO)
    ]
    return [octaves(ear, pair) for pair in (sung, book)]


def octaves(ear: tempi.Pulse, pair: Sequence[Take]) -> tuple[float, float | None, float]:
    """The second take over the first: tempo, that of a grid (`None` without one), words/s."""
    bands = [take.track("accompaniment") for take in pair]
    slow, fast = (ear.octaves(band) for band in bands)
    grids = [tempo.grid_of(tempo.onsets(band)) for band in bands]
    steady = math.log2(grids[1].tempo / grids[0].tempo) if grids[0] and grids[1] else None
    return fast - slow, steady, math.log2(pair[0].seconds / pair[1].seconds)
