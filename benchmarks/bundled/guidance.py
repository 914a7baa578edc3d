"""Guidance and trying again: the same songs with the words followed more and less closely.

Guidance is measured on the first try at each section, so that nothing but guidance follows the
words; then that first try against what the model does by itself. Effect: the phone error rate
without less that with it, songs paired. A section that derails costs more than guidance can save,
and few derail, so thirty songs tell little; single lines, of which there are many, tell more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bundled.bench import Bench, told
from bundled.lyrics import Lyric, single_lines
from bundled.pictures import curve
from bundled.table import Estimate, Outcome, Row, bootstrap, pooled
from bundled.words import errors

STRENGTHS = (1.0, 1.5, 2.0)
"""1 is off; the first section and the later ones alike."""
ONCE = {"tries": 1}
LINES = 240
"""More than thirty lyrics have that differ: all of them."""


def run(bench: Bench) -> Outcome:
    """Phone error rates by strength, the gain over none, and what trying again adds."""
    lines = single_lines(bench.lyrics, LINES, bench.seed)
    songs, alone = (by_strength(bench, each) for each in (bench.lyrics, lines))
    once, again = sung(bench, bench.lyrics, ONCE), sung(bench, bench.lyrics, {})
    rows = [*compared("songs", songs), *compared(f"{len(lines)} lines", alone)]
    rows += [
        Row(part="guidance", name="phone error rate, one try at a section",
            generated=pooled(*once.T)),
        _saved("trying again", once, again),
    ]
    curve(bench.out / "guidance.png", {"songs": rates(songs), "lines": rates(alone)},
          "guidance", "phone error rate")
    return Outcome(rows, {
        "songs": {str(key): each.tolist() for key, each in songs.items()},
        "lines": {str(key): each.tolist() for key, each in alone.items()},
        "once": once.tolist(), "again": again.tolist(),
    })


def by_strength(bench: Bench, lyrics: Sequence[Lyric]) -> dict[float, np.ndarray]:
    """Errors and asked phones of each lyric by strength of guidance."""
    return {
        strength: sung(bench, lyrics, {"guidance": strength, "guidance_later": strength, **ONCE})
        for strength in STRENGTHS
    }


def rates(counts: Mapping[float, np.ndarray]) -> dict[float, Estimate]:
    """Phone error rates by strength."""
    return {strength: pooled(*found.T) for strength, found in counts.items()}


def compared(what: str, counts: Mapping[float, np.ndarray]) -> list[Row]:
    """The rates, and what each strength saves over none."""
    return [
        *(Row(part="guidance", name=f"phone error rate, {what}, guidance {strength:g}",
              generated=rate) for strength, rate in rates(counts).items()),
        *(_saved(f"guidance {strength:g}, {what}", counts[STRENGTHS[0]], counts[strength])
          for strength in STRENGTHS[1:]),
    ]


def sung(bench: Bench, lyrics: Sequence[Lyric], knobs: dict[str, Any]) -> np.ndarray:
    """Errors and asked phones of each lyric `(songs, 2)`, sung with these options.

    One that does not end until the limit can have any number of errors, and a single such line
    outweighs a hundred others: it counts as wholly wrong and no more.
    """
    heard = [bench.generated.sing(lyric, seed=bench.seed, **knobs).symbols
             for lyric in told(lyrics, f"guidance: {knobs}")]
    counts = errors([lyric.asked for lyric in lyrics], heard)
    return np.minimum(counts, counts[:, 1:])


def gain(without: np.ndarray, with_it: np.ndarray) -> Estimate:
    """The pooled rate of the first less that of the second; both `(songs, 2)`."""
    def of(drawn: np.ndarray) -> float:
        one, two = (each[drawn].sum(axis=0) for each in (without, with_it))
        return float(one[0] / one[1] - two[0] / two[1])

    return bootstrap(of, len(without))


def _saved(what: str, without: np.ndarray, with_it: np.ndarray) -> Row:
    found = gain(without, with_it)
    return Row(part="guidance", name=f"phone errors saved by {what}", generated=found,
               chance=0.0, bar="interval above 0", met=found.low > 0)
