"""What the bundled model shows: words, music, tags, guidance, context, speed, in one table.

    python benchmarks/bundled.py --lyrics DIR                     the default model, all parts
    python benchmarks/bundled.py --lyrics DIR --model out/tiny --part words lines
    python benchmarks/bundled.py --lyrics DIR --model songbook    the songbook against itself: E = 0
    python benchmarks/bundled.py --lyrics DIR --part progressive --progressive A --all-first B

`DIR` holds NAME.txt (lyrics) and NAME.tags. Songs are made once and kept in the output folder, so
parts share them and a run that was cut off goes on. Each part writes NAME.json there; the table
holds all parts that this model has results of. Nothing here is tuned on the lyrics.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bundled.bench import Bench
from bundled.lyrics import read_lyrics
from bundled.singers import AllFirstSinger, ModelSinger, SongbookSinger
from bundled.table import markdown, row_of
from yue.files import read_json, write_json
from yue.pipeline import DEFAULT_MODEL
from yue.songbook.profile import PROFILES

PARTS = {
    "words": "words:run", "lines": "words:run_lines", "music": "music:run", "tags": "tags:run",
    "guidance": "guidance:run", "reference": "reference:run", "progressive": "progressive:run",
    "speed": "speed:run", "pictures": "pictures:run",
}
"""Module and function of each part."""
SONGBOOK = "songbook"
"""As a model's name: the songbook sings in the model's place, to see that the measures work."""
PACKAGES = ("yue-music", "torch", "numpy", "scipy", "pocketsphinx", "swift-f0", "scikit-learn")


def main(arguments: list[str] | None = None) -> None:
    """Run the parts that were asked for, then print the table of all that are there."""
    asked = parser().parse_args(arguments)
    bench = bench_of(asked)
    setting = setting_of(bench, asked)
    for name in asked.part or PARTS:
        started = time.perf_counter()
        found = function_of(name)(bench)
        spent = round(time.perf_counter() - started, 1)
        write_json(result_path(bench, name), {
            "part": name, "setting": setting, "seconds_spent": spent, **found.as_dict(),
        })
    print(report(bench, setting))


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    made = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    made.add_argument("--lyrics", type=Path, required=True)
    made.add_argument("--model", default=DEFAULT_MODEL)
    made.add_argument("--part", nargs="+", choices=list(PARTS))
    made.add_argument("--out", type=Path, default=Path("out/bundled"))
    made.add_argument("--profile", choices=list(PROFILES), default="simple")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--songs", type=int, help="only the first so many lyrics")
    made.add_argument("--few", type=int, default=Bench.few)
    made.add_argument("--lines", type=int, default=Bench.lines)
    made.add_argument("--genres", nargs="+", default=list(Bench.genres))
    made.add_argument("--training-songs", type=int, default=Bench.training_songs)
    made.add_argument("--progressive", nargs="+", default=[], metavar="DIR")
    made.add_argument("--all-first", nargs="+", default=[], metavar="DIR")
    made.add_argument("--threads", type=int)
    return made


def bench_of(asked: argparse.Namespace) -> Bench:
    """The setting that the arguments describe."""
    songs = asked.out / "songs"
    book = SongbookSinger(PROFILES[asked.profile], songs)
    models = {name: kind(name, songs, asked.threads) for kind, names in (
        (ModelSinger, (asked.model, *asked.progressive)), (AllFirstSinger, asked.all_first),
    ) for name in names}
    return Bench(
        generated=book if asked.model == SONGBOOK else models[asked.model], songbook=book,
        lyrics=read_lyrics(asked.lyrics)[: asked.songs], out=asked.out, model=asked.model,
        seed=asked.seed, few=asked.few, lines=asked.lines, genres=tuple(asked.genres),
        training_songs=asked.training_songs,
        progressive=[models[name] for name in asked.progressive],
        all_first=[models[name] for name in asked.all_first],
    )


def function_of(part: str) -> Any:
    """The function that runs a part; its module is imported now."""
    module, function = PARTS[part].split(":")
    return getattr(importlib.import_module(f"bundled.{module}"), function)


def result_path(bench: Bench, part: str) -> Path:
    """Where a part's result of this model is kept."""
    folder = bench.out / f"{bench.generated.name}-{bench.generated.identity}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{part}.json"


def setting_of(bench: Bench, asked: argparse.Namespace) -> dict[str, Any]:
    """What the figures depend on: model, lyrics, options, machine, versions."""
    return {
        "model": bench.model, "identity": bench.generated.identity,
        "songbook": bench.songbook.identity, "lyrics": len(bench.lyrics),
        "options": {key: str(value) for key, value in vars(asked).items() if key != "part"},
        "machine": f"{processor()}, {os.cpu_count()} CPUs", "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def processor() -> str:
    """The CPU's name."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines()
             if line.startswith("model name")] if info.is_file() else []
    return names[0] if names else platform.processor() or platform.machine()


def report(bench: Bench, setting: dict[str, Any]) -> str:
    """The table of all parts that are there, under what they were measured on."""
    stored = [read_json(path) for name in PARTS
              if (path := result_path(bench, name)).is_file()]
    rows = [row_of(row) for each in stored for row in each["rows"]]
    judged = [row.met for row in rows if row.met is not None]
    used = ", ".join(f"{name} {number}" for name, number in setting["versions"].items())
    return (
        f"{setting['model']} ({setting['identity']}), {setting['lyrics']} lyrics, "
        f"{setting['machine']}, Python {setting['python']}, {used}\n\n{markdown(rows)}\n\n"
        f"{sum(judged)} of {len(judged)} bars met. Brackets: 95 % bootstrap over songs."
    )


if __name__ == "__main__":
    main(sys.argv[1:])
