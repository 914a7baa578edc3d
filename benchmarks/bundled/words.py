"""Words: phone errors against the songbook's and against other lyrics, and single lines picked out.

Both rates come from the same phone loop, so they are compared only with each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bundled.bench import Bench, told
from bundled.lyrics import FOUR, Lyric, single_lines
from bundled.singers import Take
from bundled.table import Outcome, Row, excess, mean, pooled
from yue.evaluate.completeness import completeness
from yue.evaluate.words import align, distance, picked

MOST_EXCESS, MOST_SONGBOOK, LEAST_PICKED = 0.35, 0.55, 0.8
OTHERS = 5
"""Other lyrics that a song is scored against: those nearest in length, since a wrong length alone
makes errors and would flatter the model."""
QUARTERS = 4


def run(bench: Bench) -> Outcome:
    """Phone error rates, E, deletions by quarter, and the sections of four-section songs."""
    pairs = [bench.both(lyric) for lyric in told(bench.lyrics, "words: songs")]
    heard = [[take.symbols for take in pair] for pair in told(pairs, "words: heard")]
    return compared(bench.lyrics, pairs, heard)


def compared(
    lyrics: Sequence[Lyric], pairs: Sequence[tuple[Take, Take]],
    heard: Sequence[Sequence[Sequence[str]]],
) -> Outcome:
    """The rows, of what was heard in the model's and the songbook's take of each lyric."""
    asked = [lyric.asked for lyric in lyrics]
    sung, book = ([one[place] for one in heard] for place in range(2))
    generated, songbook = errors(asked, sung), errors(asked, book)
    shuffled = others(asked, sung)
    rates = [pooled(*each.T) for each in (generated, songbook, shuffled)]
    share = excess(generated, songbook, shuffled)
    rows = [
        Row(part="words", name="phone error rate", generated=rates[0], songbook=rates[1],
            chance=rates[2]),
        Row(part="words", name="E = (gen - book) / (shuffled - book)", generated=share,
            songbook=0.0, chance=1.0, bar=f"<= {MOST_EXCESS} (aim .2)",
            met=share.value <= MOST_EXCESS),
        Row(part="words", name="the songbook's own error", generated=None, songbook=rates[1],
            bar=f"<= {MOST_SONGBOOK}", met=rates[1].value <= MOST_SONGBOOK),
        *_quarters(asked, sung, book),
    ]
    detail = {
        "songs": {
            lyric.name: {"generated": _rate(g), "songbook": _rate(s), "shuffled": _rate(c),
                         "seconds": [take.seconds for take in pair]}
            for lyric, g, s, c, pair in zip(
                lyrics, generated, songbook, shuffled, pairs, strict=True
            )
        },
        "others": OTHERS,
    }
    whole, states = _sections(lyrics, pairs)
    return Outcome(rows + whole, {**detail, "sections": states})


def errors(asked: Sequence[Sequence[str]], heard: Sequence[Sequence[str]]) -> np.ndarray:
    """Errors and asked phones of each song: `(songs, 2)`."""
    return np.array([
        (distance(one, other), len(one)) for one, other in zip(asked, heard, strict=True)
    ], dtype=float)


def others(asked: Sequence[Sequence[str]], heard: Sequence[Sequence[str]]) -> np.ndarray:
    """The same, each song scored against the `OTHERS` other lyrics nearest in length."""
    found = []
    for number, sung in enumerate(heard):
        rest = [each for each in asked if list(each) != list(asked[number])]
        near = sorted(rest, key=lambda each: abs(len(each) - len(asked[number])))[:OTHERS]
        found.append(errors(near, [sung] * len(near)).sum(axis=0))
    return np.array(found)


def deletions(
    asked: Sequence[str], heard: Sequence[str], parts: int = QUARTERS
) -> np.ndarray:
    """Deleted and asked phones in each equal part of a song: `(parts, 2)`."""
    counts = np.zeros((parts, 2))
    for i, j in align(asked, heard):
        if i is not None:
            counts[i * parts // len(asked)] += (j is None, 1)
    return counts


def _quarters(
    asked: Sequence[Sequence[str]], sung: Sequence[Sequence[str]], book: Sequence[Sequence[str]]
) -> list[Row]:
    """A row per quarter of the song."""
    both = [
        np.stack([deletions(a, h) for a, h in zip(asked, heard, strict=True)])
        for heard in (sung, book)
    ]
    return [
        Row(part="words", name=f"deleted phones, quarter {quarter + 1}",
            generated=pooled(*both[0][:, quarter].T), songbook=pooled(*both[1][:, quarter].T))
        for quarter in range(QUARTERS)
    ]


def _sections(
    lyrics: Sequence[Lyric], pairs: Sequence[tuple[Take, Take]]
) -> tuple[list[Row], dict[str, object]]:
    """Sections sung in order, skipped, repeated, in songs of at least four sections."""
    long = [place for place, lyric in enumerate(lyrics) if len(lyric.sections) >= FOUR]
    if not long:
        return [], {}
    found = [
        [completeness(lyrics[place].phones, pairs[place][who].heard) for place in long]
        for who in range(2)
    ]
    found.append([
        completeness(other_words(lyrics, place), pairs[place][0].heard) for place in long
    ])
    in_order = [mean([each["complete"] for each in side]) for side in found]
    rows = [Row(
        part="words", name=f"sections sung in order ({len(long)} songs)", generated=in_order[0],
        songbook=in_order[1], chance=in_order[2], bar="all", met=in_order[0].value == 1,
    )]
    for state in ("skipped", "moved"):
        counts = [mean([_count(each, state) for each in side]) for side in found]
        rows.append(Row(part="words", name=f"sections {state} per song", generated=counts[0],
                        songbook=counts[1], chance=counts[2], bar="0", met=counts[0].value == 0))
    again = [mean([len(each["repeated"]) for each in side]) for side in found]
    rows.append(Row(part="words", name="sections repeated per song", generated=again[0],
                    songbook=again[1], chance=again[2], bar="0", met=again[0].value == 0))
    return rows, {lyrics[place].name: found[0][n] for n, place in enumerate(long)}


def other_words(lyrics: Sequence[Lyric], place: int) -> list[list[str]]:
    """The phones per section of another lyric: the next of those with most sections."""
    turned = [*lyrics[place + 1 :], *lyrics[:place]]
    return max(turned, key=lambda lyric: len(lyric.sections)).phones


def _count(found: dict[str, list[dict[str, str]]], state: str) -> int:
    return sum(section["state"] == state for section in found["sections"])


def _rate(counts: np.ndarray) -> float:
    return float(counts[0] / counts[1])


def run_lines(bench: Bench) -> Outcome:
    """Single lines, sung alone, and whether each is nearest to its own words."""
    lines = single_lines(bench.lyrics, bench.lines, bench.seed)
    asked = [line.asked for line in lines]
    heard = [[take.symbols for take in bench.both(line)] for line in told(lines, "lines")]
    right = [
        [picked(each[who], asked, place) for place, each in enumerate(heard)] for who in range(2)
    ]
    shares = [mean(side) for side in right]
    rates = [pooled(*errors(asked, [each[who] for each in heard]).T) for who in range(2)]
    return Outcome([
        Row(part="lines", name=f"picked out of {len(lines)}", generated=shares[0],
            songbook=shares[1], chance=1 / len(lines), bar=f">= {LEAST_PICKED}",
            met=shares[0].value >= LEAST_PICKED),
        Row(part="lines", name="phone error rate", generated=rates[0], songbook=rates[1]),
    ], {
        "lines": [
            {"text": line.sections[0].text, "picked": right[0][place],
             "songbook": right[1][place], "heard": heard[place][0]}
            for place, line in enumerate(lines)
        ],
    })
