"""Guidance and trying again: the same songs with the words followed more and less closely.

Guidance is measured on the first try at each section, so that nothing but guidance follows the
words; then that first try against what the model does by itself. Effect: the phone error rate
without less that with it, songs paired.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bundled.bench import Bench, told
from bundled.pictures import curve
from bundled.table import Estimate, Outcome, Row, bootstrap, pooled
from bundled.words import errors

STRENGTHS = (1.0, 1.5, 2.0)
"""1 is off; the first section and the later ones alike."""
ONCE = {"tries": 1}


def run(bench: Bench) -> Outcome:
    """Phone error rates by strength, the gain over none, and what trying again adds."""
    counts = {
        strength: sung(bench, {"guidance": strength, "guidance_later": strength, **ONCE})
        for strength in STRENGTHS
    }
    once, again = sung(bench, ONCE), sung(bench, {})
    rates = {strength: pooled(*found.T) for strength, found in counts.items()}
    rows = [
        Row(part="guidance", name=f"phone error rate, guidance {strength:g}", generated=rate)
        for strength, rate in rates.items()
    ]
    rows += [
        _saved(f"guidance {strength:g}", counts[STRENGTHS[0]], counts[strength])
        for strength in STRENGTHS[1:]
    ]
    rows += [
        Row(part="guidance", name="phone error rate, one try at a section",
            generated=pooled(*once.T)),
        _saved("trying again", once, again),
    ]
    curve(bench.out / "guidance.png", {"generated": rates}, "guidance", "phone error rate")
    return Outcome(rows, {
        "counts": {str(key): each.tolist() for key, each in counts.items()},
        "once": once.tolist(), "again": again.tolist(),
    })


def sung(bench: Bench, knobs: dict[str, Any]) -> np.ndarray:
    """Errors and asked phones of each song `(songs, 2)`, sung with these options."""
    heard = [bench.generated.sing(lyric, seed=bench.seed, **knobs).symbols
             for lyric in told(bench.lyrics, f"guidance: {knobs}")]
    return errors([lyric.asked for lyric in bench.lyrics], heard)


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
