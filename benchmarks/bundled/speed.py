"""Speed: a song of about a minute on two CPU cores, in a process of its own, from a cold start.

One process sings the whole song, stage after stage; another stops at the first rendered section,
which is what a listener waits for. Seconds are wall clock and scaled to 60 s of song; the peak is
that of the process, torch and all; the clock starts before Python does.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bundled.bench import Bench
from bundled.lyrics import FOUR
from bundled.table import Outcome, Row

CORES = 2
SONG = 60.0
MOST_SECONDS, MOST_BYTES = 60.0, 1.5e9
STAGES = ("compose", "refine", "render")


def run(bench: Bench) -> Outcome:
    """Wall seconds of each stage for 60 s of song, peak memory, time to the first section."""
    lyric = next((one for one in bench.lyrics if len(one.sections) >= FOUR), bench.lyrics[0])
    told = {"model": bench.model, "text": lyric.text, "tags": lyric.tags, "seed": bench.seed}
    whole, first = (timed({**told, "first": first}) for first in (False, True))
    scale = SONG / whole["seconds"]
    total = whole["load"] + scale * sum(whole[stage] for stage in STAGES)
    rows = [
        Row(part="speed", name=f"{stage}, s per {SONG:.0f} s of song",
            generated=scale * whole[stage]) for stage in STAGES
    ]
    rows += [
        Row(part="speed", name="load the package and the model, s", generated=whole["load"]),
        Row(part="speed", name=f"all, s per {SONG:.0f} s of song", generated=total,
            bar=f"<= {MOST_SECONDS:.0f}", met=total <= MOST_SECONDS),
        Row(part="speed", name="peak memory, MB", generated=whole["peak"] / 1e6,
            bar=f"< {MOST_BYTES / 1e6:.0f}", met=whole["peak"] < MOST_BYTES),
        Row(part="speed", name="first rendered section, s", generated=first["total"],
            bar="before the whole song", met=first["total"] < whole["total"]),
    ]
    return Outcome(rows, {"whole": whole, "first": first, "lyric": lyric.name, "cores": CORES,
                          "load_average": os.getloadavg()})


def timed(told: dict[str, Any]) -> dict[str, float]:
    """Run this module in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-m", __name__], input=json.dumps({**told, "began": time.time()}),
        text=True, check=True, stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": str(CORES),
             "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    return dict(json.loads(done.stdout))


def main() -> None:
    """What the fresh process does: sing what stdin says and tell the times on stdout."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    told = json.load(sys.stdin)
    begin = told["began"]
    import yue

    model = yue.load(told["model"], device="cpu", threads=CORES)
    found: dict[str, float] = {"load": time.time() - begin}
    sung = model.composing(told["text"], told["tags"], seed=told["seed"])
    drafts = next(iter(sung)) if told["first"] else list(sung)[-1]
    found["compose"] = time.time() - begin - found["load"]
    start = time.time()
    codes = model.refine(drafts[0]) if model.refines else drafts[0]
    found["refine"] = time.time() - start
    start = time.time()
    song = model.render(codes)
    found |= {
        "render": time.time() - start, "total": time.time() - begin,
        "seconds": song.seconds,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT,
    }
    print(json.dumps(found))


_RSS_UNIT = 1 if sys.platform == "darwin" else 1024

if __name__ == "__main__":
    main()
