"""A five-minute song through all stages, and what rendering it takes in memory."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

RENDER = """
import json, resource, sys
import numpy as np
import yue
from yue.draft import Codes, Sung

seconds = int(sys.argv[1])
model = yue.load("random", device="cpu", threads=2)
def song(seconds):
    sections = (Sung("verse", "", seconds * 50),)
    codes = np.random.default_rng(0).integers(0, 1024, (2, 8, seconds * 50))
    return Codes(codes=codes, sections=sections)
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
model.render(song(12))
before = peak()
done = model.render(song(seconds))
arrays = sum(a.samples.nbytes for a in (done.mix, done.vocals, done.accompaniment))
print(json.dumps({"beyond": peak() - before - arrays, "arrays": arrays, "seconds": done.seconds}))
"""


def beyond_the_arrays(seconds: int) -> int:
    """Bytes of render's peak beyond the arrays that it returns, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", RENDER, str(seconds)], capture_output=True, text=True, check=True
    )
    result = json.loads(done.stdout)
    assert result["seconds"] == seconds and result["arrays"] == 3 * seconds * 44_100 * 4
    return result["beyond"]


@pytest.mark.slow
def test_rendering_takes_little_more_for_five_minutes_than_for_one() -> None:
    growth = beyond_the_arrays(300) - beyond_the_arrays(60)
    assert growth < 100e6, f"{growth / 1e6:.0f} MB"


@pytest.mark.slow
def test_ten_sections_of_thirty_seconds() -> None:
    """30,000 tokens, beyond the context of 16,384: the oldest sections go, the song is whole."""
    import yue

    model = yue.load("random", device="cpu")
    lyrics = "\n".join(f"[verse]\nline {i} of a long song\n" for i in range(10))
    song = model.sing(lyrics, "pop", seed=1, min_new_tokens=3000, max_new_tokens=3000)
    assert song.seconds == 300 and len(song.sections) == 10
    assert song.mix.samples.shape == (1, 300 * 44_100)
    assert all(section.truncated for section in song.sections)
