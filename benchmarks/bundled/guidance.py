"""Guidance: the same songs with the words followed more and less closely.

Effect: the phone error rate without guidance less that with it, songs paired.
"""

from __future__ import annotations

import numpy as np

from bundled.bench import Bench, told
from bundled.pictures import curve
from bundled.table import Estimate, Outcome, Row, bootstrap, pooled
from bundled.words import errors

STRENGTHS = (1.0, 1.5, 2.0)
"""1 is off; the first section and the later ones alike."""


def run(bench: Bench) -> Outcome:
    """Phone error rates by strength, and the gain over none."""
    asked = [lyric.asked for lyric in bench.lyrics]
    counts = {}
    for strength in STRENGTHS:
        knobs = {"guidance": strength, "guidance_later": strength}
        heard = [bench.generated.sing(lyric, seed=bench.seed, **knobs).symbols
                 for lyric in told(bench.lyrics, f"guidance {strength}")]
        counts[strength] = errors(asked, heard)
    rates = {strength: pooled(*found.T) for strength, found in counts.items()}
    gains = {strength: gain(counts[STRENGTHS[0]], counts[strength]) for strength in STRENGTHS[1:]}
    rows = [
        Row(part="guidance", name=f"phone error rate, guidance {strength:g}", generated=rate)
        for strength, rate in rates.items()
    ]
    rows += [
        Row(part="guidance", name=f"phone errors saved by guidance {strength:g}", generated=found,
            chance=0.0, bar="interval above 0", met=found.low > 0)
        for strength, found in gains.items()
    ]
    curve(bench.out / "guidance.png", {"generated": rates}, "guidance", "phone error rate")
    return Outcome(rows, {"counts": {str(key): each.tolist() for key, each in counts.items()}})


def gain(without: np.ndarray, with_it: np.ndarray) -> Estimate:
    """The pooled rate of the first less that of the second; both `(songs, 2)`."""
    def of(drawn: np.ndarray) -> float:
        one, two = (each[drawn].sum(axis=0) for each in (without, with_it))
        return float(one[0] / one[1] - two[0] / two[1])

    return bootstrap(of, len(without))
