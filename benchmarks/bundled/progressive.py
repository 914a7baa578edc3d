"""Structural progressive conditioning against all lyrics first, on the words late in a song.

Takes trained models of both kinds, in pairs by training seed, made by
`recipes/bundled/progressive.toml`. One trained with all lyrics first is given its words that way. A
phone is late if it would be sung after 20 s by the songbook's performance of the same words, evenly
spread over its sections; what counts is how late phones fare in a best alignment of the whole song,
so a model that stops early does not gain by it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bundled.bench import Bench, told
from bundled.guidance import gain
from bundled.lyrics import Lyric
from bundled.pictures import curve
from bundled.singers import ModelSinger
from bundled.table import Estimate, Outcome, Row, pooled
from yue.evaluate.words import align
from yue.song import TimedSection

LATE = 20.0
LEAST_SECTIONS = 3
"""Shorter songs are hardly longer than that."""
STEP = 10.0
"""Seconds per point of the plot."""
WHOLE_SONG = 12_000
"""Tokens that a song may last as one section: two minutes."""


def run(bench: Bench) -> Outcome:
    """Error rates of late phones by kind, and what progressive conditioning saves."""
    if not bench.progressive or len(bench.progressive) != len(bench.all_first):
        return Outcome([], {"skipped": "needs --progressive and --all-first, as many of each"})
    rows, saved, found = [], [], {}
    kinds = {"progressive": bench.progressive, "all first": bench.all_first}
    for number in range(len(bench.progressive)):
        for kind, singers in kinds.items():
            found[kind, number] = fates(bench, singers[number], whole=kind == "all first")
        pair = [late(found[kind, number]) for kind in kinds]
        saved.append(gain(pair[1], pair[0]))
        rows.append(_row(f"words after {LATE:.0f} s saved, training {number + 1}", saved[-1]))
    runs = range(len(saved))
    both = [np.concatenate([late(found[kind, n]) for n in runs]) for kind in kinds]
    for kind, counts in zip(kinds, both, strict=True):
        rows.append(Row(part="progressive", name=f"phone errors after {LATE:.0f} s, {kind}",
                        generated=pooled(*counts.T)))
    rows.append(_row("saved, all trainings", gain(both[1], both[0])))
    curve(bench.out / "progressive.png", {
        kind: by_time([each for n in runs for each in found[kind, n]]) for kind in kinds
    }, "seconds", "phone error rate")
    return Outcome(rows, {"saved": saved})


def fates(bench: Bench, singer: ModelSinger, *, whole: bool) -> list[np.ndarray]:
    """For each lyric `(phones, 2)`: when each phone is due, in seconds, and its errors."""
    knobs = {"max_new_tokens": WHOLE_SONG} if whole else {}
    found = []
    long = [lyric for lyric in bench.lyrics if len(lyric.sections) >= LEAST_SECTIONS]
    for lyric in told(long, f"progressive: {singer.source}"):
        take = singer.sing(lyric, seed=bench.seed, **knobs)
        sections = bench.songbook.sing(lyric, seed=bench.seed).sections
        found.append(np.stack([due(lyric, sections), fate(lyric.asked, take.symbols)], axis=1))
    return found


def due(lyric: Lyric, sections: Sequence[TimedSection]) -> np.ndarray:
    """When each phone is due, spread evenly over its section: `(phones,)` in seconds."""
    return np.concatenate([
        np.linspace(part.start, part.end, len(phones), endpoint=False)
        for part, phones in zip(sections, lyric.phones, strict=True)
    ])


def fate(asked: Sequence[str], heard: Sequence[str]) -> np.ndarray:
    """Errors at each asked phone, insertions counted at the phone before: `(phones,)`."""
    counts, now = np.zeros(len(asked)), 0
    for i, j in align(asked, heard):
        now = now if i is None else i
        counts[now] += i is None or j is None or asked[i] != heard[j]
    return counts


def late(songs: Sequence[np.ndarray]) -> np.ndarray:
    """Errors and asked phones after `LATE` of each song that lasts so long: `(songs, 2)`."""
    counts = [(song[song[:, 0] >= LATE, 1].sum(), (song[:, 0] >= LATE).sum()) for song in songs]
    return np.array([each for each in counts if each[1]], dtype=float).reshape(-1, 2)


def by_time(songs: Sequence[np.ndarray]) -> dict[float, Estimate]:
    """Error rates in steps of time, songs drawn again."""
    last = max(song[:, 0].max() for song in songs)
    found = {}
    for start in np.arange(0.0, last, STEP):
        inside = [song[(song[:, 0] >= start) & (song[:, 0] < start + STEP)] for song in songs]
        there = [part for part in inside if len(part)]
        if there:
            found[float(start + STEP / 2)] = pooled(
                [part[:, 1].sum() for part in there], [len(part) for part in there]
            )
    return found


def _row(name: str, saved: Estimate) -> Row:
    return Row(part="progressive", name=name, generated=saved, chance=0.0,
               bar="interval above 0", met=saved.low > 0)
