"""`yue evaluate`: score a folder of songs, ours or a rival's."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from cyclopts import Parameter

from yue.cli.console import bars, print_json, say
from yue.cli.flags import flags_of, group
from yue.errors import OptionError
from yue.evaluate.options import MeasureOptions

if TYPE_CHECKING:
    from yue.evaluate.judge import Verdict
    from yue.evaluate.run import Evaluation

    MeasureFlags: TypeAlias = Any
else:
    MeasureFlags = Annotated[flags_of(MeasureOptions), Parameter(name="*")]

HTML = (".html", ".htm")


def evaluate(
    songs: Annotated[Path, Parameter(
        help="A folder of songs (NAME.flac; beside them, if there are any, NAME.vocals.flac, "
        "NAME.accompaniment.flac, lyrics NAME.txt, manifest NAME.json), or one file."
    )],
    *,
    against: Annotated[Path | None, Parameter(
        help="Another such folder to compare with; songs of the same names are paired."
    )] = None,
    embedder: Annotated[tuple[str, ...], Parameter(
        help="With --against: distances of the mixes in this embedding, clap, mert, clamp3 or ast; "
        "NAME=FOLDER takes local weights."
    )] = (),
    judge: Annotated[tuple[str, ...], Parameter(
        help="Published models as judges of each song: clap or clamp3 (how well the mix fits its "
        "tags: NAME.tags, or the manifest's) or audiobox (Audiobox Aesthetics); NAME=FOLDER takes "
        "local weights."
    )] = (),
    output: Annotated[Path, Parameter(
        name=["--output", "-o"], help="The report (.html); its numbers go beside it (.json), and "
        "every value of every song as `yue agree` reads it (.csv)."
    )] = Path("report.html"),
    json: Annotated[bool, Parameter(
        name="--json", negative="", help="Print the numbers as JSON instead of a table."
    )] = False,
    processes: Annotated[int | None, Parameter(help="By default one per core.")] = None,
    cache: Annotated[bool, Parameter(
        help="Keep results by content, so that only what is new is measured."
    )] = True,
    options: MeasureFlags = None,
) -> None:
    """Measure songs: sound, tempo, key, structure, pitch, words; a table and a report."""
    from yue.evaluate.judge import joined
    from yue.evaluate.listen.report import to_csv
    from yue.evaluate.report import doubt, page
    from yue.evaluate.table import metric_rows, table, text_of
    from yue.files import write_bytes, write_json

    if output.suffix.lower() not in HTML:
        raise OptionError(f"--output {output}: the suffix must be {' or '.join(HTML)}.")
    if processes is not None and processes < 1:
        raise OptionError(f"--processes {processes}: expected at least 1.")
    if not output.resolve().parent.is_dir():
        raise OptionError(f"--output {output}: there is no folder {output.parent}.")
    if embedder and against is None:
        raise OptionError(f"--embedder {' '.join(embedder)}: give a reference with --against.")
    chosen = group(MeasureOptions, options)
    distances = {
        name: _distances(name, songs, against, cache) for name in embedder if against is not None
    }
    folders = [songs, against] if against else [songs]
    # Judges come first: weights that are not there should be known before minutes of measuring.
    verdicts = [[_judged(folder, asked, cache) for asked in judge] for folder in folders]
    found, *others = [
        joined(_measured(folder, chosen, processes, cache), each)
        for folder, each in zip(folders, verdicts, strict=True)
    ]
    other = others[0] if others else None
    told = {
        **found.as_dict(), "against": other.as_dict() if other else None, "distances": distances
    }
    rows = table(found.songs, other.songs if other else None, seed=chosen.seed)
    told["table"] = [vars(row) for row in rows]
    numbers = write_json(output.with_suffix(".json"), told)
    write_bytes(output, page(found, other, distances).encode())
    rows_by_song = [
        row for folder, each in zip(folders, (found, other), strict=False) if each is not None
        for row in metric_rows(folder.resolve().name, each.songs)
    ]
    tidy = write_bytes(output.with_suffix(".csv"), to_csv(rows_by_song).encode())
    say(f"{output}, {numbers} and {tidy}")
    for name, far in distances.items():
        licence = far["embedder"]["licence"]
        why = f"; {doubted}" if (doubted := doubt(far)) else ""
        say(
            f"{name}: FAD {far['fad']['value']:.3f}, KAD {far['kad']['value']:.4f} ({licence}){why}"
        )
        for song, reason in far["skipped"].items():
            say(f"{song} was left out of {name}: {reason}")
    print_json(told) if json else sys.stdout.write(text_of(rows))


def _distances(asked: str, songs: Path, against: Path, cache: bool) -> dict[str, Any]:
    """How far the mixes of one folder lie from those of another, in one embedding."""
    from yue.evaluate.against import compare, load_embedder
    from yue.evaluate.folder import MIX, find_songs
    from yue.hub import cache_dir

    name, _, weights = asked.partition("=")
    model = load_embedder(name, weights or None)
    mixes, others = (
        {song.name: song.sounds[MIX] for song in find_songs(folder) if MIX in song.sounds}
        for folder in (songs, against)
    )
    with bars() as progress:
        return compare(
            mixes, others, model, cache=cache_dir() / "features" if cache else None,
            progress=progress,
        )


def _judged(folder: Path, asked: str, cache: bool) -> Verdict:
    """What one judge says of a folder, and a line for each song that it left out."""
    from yue.evaluate.folder import find_songs
    from yue.evaluate.judge import judge
    from yue.hub import cache_dir

    name, _, weights = asked.partition("=")
    with bars() as progress:
        verdict = judge(
            find_songs(folder), name, weights or None,
            cache=cache_dir() / "features" if cache else None, progress=progress,
        )
    for song, reason in verdict.left_out.items():
        say(f"{song} was not judged by {name}: {reason}")
    say(f"{folder}: {len(verdict.records)} songs judged by {name} ({verdict.licence})")
    return verdict


def _measured(
    folder: Path, options: MeasureOptions, processes: int | None, cache: bool
) -> Evaluation:
    """One folder, with progress and a line for each song that failed."""
    from yue.evaluate.run import evaluate_folder
    from yue.hub import cache_dir

    with bars() as progress:
        found = evaluate_folder(
            folder, options, processes=processes or os.cpu_count() or 1, progress=progress,
            cache=cache_dir() / "evaluate" if cache else None, verb=folder.name[-8:] or "songs",
        )
    for name, reason in found.failed.items():
        say(f"{name} was left out: {reason}")
    say(f"{folder}: {len(found.songs)} songs ({found.cached} known), {len(found.failed)} left out")
    return found
