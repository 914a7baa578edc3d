"""`yue data`: recordings to records, and records from and to other layouts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from cyclopts import App, Parameter

from yue.cli.console import bars, print_json, say
from yue.cli.flags import flags_of, group
from yue.data.knobs import PrepareOptions
from yue.errors import FileError, OptionError, YueError

if TYPE_CHECKING:
    from yue.data.prepare import Progress
    from yue.vocab import Vocabulary

    PrepareFlags: TypeAlias = Any
else:
    PrepareFlags = Annotated[flags_of(PrepareOptions), Parameter(name="*")]

TOLD_EVERY = 10.0
"""Seconds between two lines of progress where no bar can be drawn."""
SHOWN = 20
"""Errors that are told; all of them are in errors.jsonl."""

app = App(
    name="data", help="Prepare, check, import and export training data.", help_format="plaintext"
)

Records = Annotated[
    list[Path], Parameter(help="Parquet files of records, or folders with such.")
]


@app.command
def prepare(
    folder: Annotated[Path, Parameter(
        help="Recordings (wav, flac, mp3, ogg), with NAME.txt, NAME.lrc, NAME.json and stems "
        "NAME.vocals.wav, NAME.accompaniment.wav beside them where known."
    )],
    out: Annotated[Path, Parameter(help="Where the records go; run again to go on.")],
    *,
    options: PrepareFlags = None,
) -> None:
    """Recordings to records that `yue train` reads; prints a summary as JSON."""
    from yue.data.prepare import prepare as prepare_folder

    with bars() as bar:
        summary = prepare_folder(folder, out, group(PrepareOptions, options), _teller(bar))
    for name, why in summary["left_out"].items():
        say(f"{name}: {why}.")
    if summary["failed"]:
        _tell_errors(out / "errors.jsonl", summary["failed"])
    print_json(summary)
    if not summary["kept"]:
        raise YueError(f"none of {summary['songs']} songs could be prepared.")


def _teller(
    bar: Callable[[str, float, float], None] | None
) -> Callable[[Progress], None]:
    """Progress as a bar, or as a line now and then."""
    told = [-TOLD_EVERY]

    def tell(at: Progress) -> None:
        if bar is not None:
            bar("prepare", at.done, at.total)
        if at.seconds - told[0] >= (6 * TOLD_EVERY if bar else TOLD_EVERY) or at.done == at.total:
            told[0] = at.seconds
            failed = f", {at.failed} failed" if at.failed else ""
            speed = at.audio_seconds / max(at.seconds, 1e-9)
            say(
                f"prepare  {at.done}/{at.total} songs{failed}, {at.per_hour:,.0f} an hour, "
                f"{speed:.1f} x real time, {_clock(at.left)} left"
            )

    return tell


def _clock(seconds: float) -> str:
    minutes, hours = round(seconds) // 60 % 60, round(seconds) // 3600
    return f"{hours}:{minutes:02d}:{round(seconds) % 60:02d}"


def _tell_errors(path: Path, count: int) -> None:
    import json
    from itertools import islice

    with path.open(encoding="utf-8") as lines:
        for row in map(json.loads, islice(lines, SHOWN)):
            say(f"{row['id']}: {row['step']}: {row['error']}")
    if count > SHOWN:
        say(f"and {count - SHOWN} more in {path}.")


@app.command
def check(
    paths: Records,
    *,
    codec: Annotated[Path | None, Parameter(
        help="Codec directory whose sizes count; by default the published one's."
    )] = None,
) -> None:
    """Check records: each mistake by file, row, song and field; prints what is there as JSON."""
    from yue.data import records
    from yue.vocab import YUE_V1

    wrong = 0
    tally, vocabulary = _Tally(), YUE_V1 if codec is None else _vocabulary_of(codec)
    for path in _shards(paths):
        try:
            rows = records.read(path)
        except FileError as error:
            say(str(error))
            wrong += 1
            continue
        for number, record in enumerate(rows):
            tally.add(record)
            for problem in records.problems(record, vocabulary):
                say(f"{path} row {number} ({record.id}): {problem}")
                wrong += 1
    print_json(tally.as_dict(vocabulary.frame_rate))
    if wrong:
        raise YueError(f"{wrong} mistakes in {tally.songs} records.")


def _vocabulary_of(codec: Path) -> Vocabulary:
    """The sizes of a codec's config. Raises `FileError`, or `ModelError` for a field unknown."""
    from yue.codec.xcodec import XCodecConfig
    from yue.data.step import of_codec
    from yue.files import read_json

    config = XCodecConfig.from_dict(read_json(codec / "config.json"))
    return of_codec(config.codebook_size, config.frame_rate)


class _Tally:
    """What a set of records holds."""

    def __init__(self) -> None:
        self.songs = self.frames = self.parts = self.words = self.phones = 0
        self.splits: dict[str, int] = {}
        self.tracks: dict[str, int] = {}
        self.languages: dict[str, int] = {}

    def add(self, record: Any) -> None:
        """Count a record."""
        self.songs += 1
        self.frames += record.frames if record.codes else 0
        self.parts += len(record.parts)
        self.words += sum(len(part.text.split()) for part in record.parts)
        self.phones += len(record.phones)
        _count(self.splits, record.split)
        _count(self.languages, record.language or "unknown")
        for track in record.codes:
            _count(self.tracks, track)

    def as_dict(self, frame_rate: int) -> dict[str, Any]:
        """Plain values; hours at the codec's frame rate."""
        counts = vars(self).copy()
        return {
            "songs": counts.pop("songs"),
            "hours": round(counts.pop("frames") / frame_rate / 3600, 4), **counts,
        }


def _count(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1


def _shards(paths: Iterable[Path]) -> list[Path]:
    """Parquet files of folders, and files. Raises `FileError` if there are none."""
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
        if not inside or not path.exists():
            raise FileError(f"{path}: no Parquet file of records there.")
        found += inside
    return found


@app.command(name="import")
def import_upstream(
    jsonl: Annotated[Path, Parameter(help="One JSON object per song, codes in .npy files.")],
    out: Annotated[Path, Parameter(help="Folder for the records.")],
    *,
    root: Annotated[Path | None, Parameter(
        help="Where the paths inside begin; by default beside the file."
    )] = None,
    shard: Annotated[int, Parameter(help="Songs per Parquet file.")] = 256,
) -> None:
    """Records from the published training code's lists; prints what came through as JSON."""
    from yue.data import records, upstream
    from yue.data.prepare import SHARD

    if shard < 1:
        raise OptionError(f"--shard {shard}: at least 1.")
    songs, report = upstream.read(jsonl, root=root)
    out.mkdir(parents=True, exist_ok=True)
    files = [
        records.write(out / SHARD.format(number), songs[first : first + shard])
        for number, first in enumerate(range(0, len(songs), shard))
    ]
    for reason, count in report.dropped.items():
        say(f"left out {count}: {reason}; first at {report.first[reason]}.")
    print_json({
        "songs": report.songs, "parts": report.parts, "dropped": dict(report.dropped),
        "files": [str(file) for file in files],
    })
    if not songs:
        raise YueError(f"{jsonl}: no song came through.")


@app.command
def export(
    paths: Records,
    *,
    megatron: Annotated[Path, Parameter(
        help="Prefix of the token files PREFIX.bin and PREFIX.idx to write."
    )],
    model: Annotated[Path, Parameter(
        name=["--model", "-m"],
        help="Model directory, or a tokenizer file, whose token numbers count.",
    )],
    split: Annotated[str | None, Parameter(help="train, valid or test; by default all.")] = None,
    seed: Annotated[int, Parameter(help="Of the order of tags.")] = 0,
) -> None:
    """Token files of the Megatron family: a document per song, lyrics to song."""
    from yue.data import records
    from yue.data.export import documents, forms_of
    from yue.data.megatron import write

    forms = forms_of(model)
    chosen = (
        record for path in _shards(paths) for record in records.read(path)
        if split is None or record.split == split
    )
    made, dropped = documents(chosen, forms, seed)
    for reason, count in dropped.items():
        say(f"left out {count}: {reason}.")
    if not made:
        raise YueError("no song with sections and both tracks is in there.")
    megatron.resolve().parent.mkdir(parents=True, exist_ok=True)
    index = write(megatron, made, forms.vocabulary.size)
    tokens = sum(len(sequence) for document in made for sequence in document)
    print_json({"documents": len(made), "tokens": tokens, "index": str(index)})
    sys.stdout.flush()
