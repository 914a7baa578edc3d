"""The offline metrics of `yue evaluate`: seconds of one core per three-minute song, and by metric.

    python benchmarks/evaluate.py                    100 songs, both cores, then from the cache
    python benchmarks/evaluate.py --songs 8 --parts  and one song metric by metric

Songs are the songbook's (full profile: all genres, voices, effects), verse and chorus in turn until
three minutes are full, with stems and lyrics; they are made once and kept in the output folder.
CPU seconds are those of all processes together, so a neighbour that takes a core away costs little.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from yue.audio import Audio
from yue.evaluate import f0, harmony, music, pitch, recognise, sound, structure
from yue.evaluate.folder import find_songs, read_song
from yue.evaluate.measure import measure
from yue.evaluate.run import Evaluation, evaluate_folder
from yue.files import write_json
from yue.songbook.compose import compose
from yue.songbook.make import Studio
from yue.songbook.perform import perform
from yue.songbook.profile import PROFILES
from yue.songbook.rows import full_sheet
from yue.songbook.score import Score

SONG = 180.0
SEED = 903
MOST = 20.0
"""Seconds of one core per song."""


def main() -> None:
    """Make the songs that are missing, then measure all of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--songs", type=int, default=100)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--parts", action="store_true", help="One song, metric by metric.")
    parser.add_argument("--out", type=Path, default=Path("out/evaluate"))
    asked = parser.parse_args()
    folder = asked.out / f"songs-{asked.songs}"
    make_songs(folder, asked.songs)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, "
          f"Python {platform.python_version()}; {asked.processes} processes\n")
    with tempfile.TemporaryDirectory(dir=asked.out) as kept:
        for name in ("measured", "from the cache"):
            found, wall, cpu = timed(lambda: evaluate_folder(
                folder, processes=asked.processes, cache=kept, progress=told
            ))
            tell(name, found, wall, cpu)
    if asked.parts:
        for name, seconds in by_part(folder).items():
            print(f"{name}: {seconds:.2f} s")


def make_songs(folder: Path, count: int) -> None:
    """Songs of at least three minutes, with stems, lyrics and sheet, where they are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    studio = Studio.open()
    for number in range(count):
        path = folder / f"{number:03d}.json"
        if path.is_file():
            continue
        made = perform(
            three_minutes(studio, number), studio.speakers, studio.bank,
            effects=PROFILES["full"].effects,
        )
        for name in ("vocals", "accompaniment", "mix"):
            suffix = ".flac" if name == "mix" else f".{name}.flac"
            Audio(getattr(made, name), made.rate).save(path.with_suffix(suffix))
        path.with_suffix(".txt").write_text(made.score.lyrics, "utf-8")
        write_json(path, full_sheet(made))


def three_minutes(studio: Studio, number: int) -> Score:
    """The shortest song of verses and choruses that fills `SONG`."""
    pairs = 1
    while True:
        profile = PROFILES["full"].replace(
            forms=(("intro", *("verse", "chorus") * pairs, "outro"),)
        )
        score = compose(SEED, number, profile, vocabulary=studio.vocabulary)
        if score.seconds >= SONG:
            return score
        pairs += 1


def timed(work: Callable[[], Evaluation]) -> tuple[Evaluation, float, float]:
    """What it gives, wall seconds, and CPU seconds of this process and its children."""
    begin, before = time.perf_counter(), cpu_seconds()
    found = work()
    return found, time.perf_counter() - begin, cpu_seconds() - before


def cpu_seconds() -> float:
    """Spent so far; children count once they have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def tell(name: str, found: Evaluation, wall: float, cpu: float) -> None:
    """A line of figures."""
    songs = len(found.songs)
    length = sum(each["sound"]["values"]["seconds"] for each in found.songs.values())
    each = cpu / length * SONG
    verdict = f" (bar: {MOST:.0f}, {'met' if each <= MOST else 'not met'})"
    print(f"{name}: {songs} songs of {length / songs:.0f} s ({found.cached} known, "
          f"{len(found.failed)} failed) in {wall:.1f} s; {each:.2f} s of one core per "
          f"{SONG:.0f} s of song{verdict}", flush=True)


def told(_: str, done: float, total: float) -> None:
    """Progress on one line."""
    print(f"\r{done:.0f}/{total:.0f}", end="" if done < total else "\n", flush=True)


def by_part(folder: Path) -> dict[str, float]:
    """CPU seconds of each metric for the first song, read included."""
    song = find_songs(folder)[0]
    spent: dict[str, float] = {}

    def clock(name: str, work: Callable[[], Any]) -> Any:
        before = cpu_seconds()
        found = work()
        spent[name] = cpu_seconds() - before
        return found

    work = clock("read", lambda: read_song(song))
    assert work.vocals is not None and work.accompaniment is not None
    vocals, band = work.vocals, work.accompaniment
    chroma = clock("chroma", lambda: harmony.chroma(band))
    line = clock("f0", lambda: f0.track(vocals))
    clock("sound", lambda: sound.evaluate(work.mix, vocals, band))
    clock("music", lambda: music.evaluate(band, line, chroma=chroma, stray=True))
    clock("structure", lambda: structure.evaluate(chroma, work.mix.seconds, work.parts))
    clock("pitch", lambda: pitch.evaluate(line))
    clock("phones", lambda: recognise.phones_of(vocals))
    clock("all", lambda: measure(work))
    return spent


if __name__ == "__main__":
    main()
