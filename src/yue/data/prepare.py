"""A folder of recordings -> records in Parquet: `prepare`.

In OUT lie `songs-00000.parquet`, ... for training; `errors.jsonl` and `summary.json` for people;
`manifest.sqlite` and `work/` so that a run that stopped, at any point, goes on where it was. The
same folder prepared again costs a look at its files; what has changed is made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from yue.data import records
from yue.data.executors import EXECUTORS, Outcome, Task, Worker, died, examine
from yue.data.knobs import PrepareOptions
from yue.data.manifest import Manifest, Song
from yue.data.records import RECORDED, Record
from yue.data.sources import Source, scan
from yue.data.step import MODELS, Plan
from yue.data.steps import keys_of, record_of
from yue.data.store import Store
from yue.errors import FileError, ModelError
from yue.files import PathLike, write_bytes, write_json
from yue.hub import MANIFEST as MODEL_MANIFEST
from yue.hub import ModelSpec, fetch_part

SHARD = "songs-{:05d}.parquet"
MOST_TRIES = 2
"""A song during which this very process died so often is an error row."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is. Rates count only the songs of this run that were worked on."""

    done: int
    total: int
    failed: int
    seconds: float
    """Since the work began."""
    audio_seconds: float
    """Of finished songs."""

    @property
    def per_hour(self) -> float:
        """Songs per hour."""
        return self.done / max(self.seconds, 1e-9) * 3600

    @property
    def left(self) -> float:
        """Seconds until the end at this rate."""
        return (self.total - self.done) / max(self.done, 1) * self.seconds


Report = Callable[[Progress], None]


def prepare(
    folder: PathLike, out: PathLike, options: PrepareOptions | None = None,
    report: Report | None = None,
) -> dict[str, Any]:
    """Prepare every song of a folder; returns the summary, which is also written.

    Raises `FileError` if there are no songs or OUT is in use, `ModelError` if a model is missing,
    `OptionError` if a package is. A song that cannot be prepared is a row in `errors.jsonl`.
    """
    options = options or PrepareOptions()
    # 1. What there is.
    found = scan(folder)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    with Manifest(out / "manifest.sqlite") as manifest:
        # 2. What is not finished, or has changed.
        plan = plan_of(options, manifest)
        store = Store(out / "work")
        store.sweep()
        manifest.keep_only(song.id for song in found.songs)
        tasks = [
            task for task in _tasks(found.songs, manifest)
            if _is_open(task, manifest, store, plan)
        ]
        tries = manifest.tries()
        fatal = [task for task in tasks if tries.get(task["id"], 0) >= MOST_TRIES]
        for task in fatal:
            _settle(died(task), manifest)
            tasks.remove(task)
        # 3. The work, song by song.
        worker = Worker(plan, store, keep_audio=options.keep_audio)
        executor = EXECUTORS[options.executor]
        ran: Counter[str] = Counter()
        queue: Iterable[Task] = tasks
        if options.executor == "serial":
            tasks.sort(key=lambda task: tries.get(task["id"], 0))
            queue = _noted(tasks, manifest)
        outcomes = executor(worker, queue, _workers(options))
        try:
            for outcome in _reported(outcomes, len(tasks), report):
                _settle(outcome, manifest)
                ran.update(name for name, _ in outcome["ran"].values())
        except KeyboardInterrupt:
            manifest.forgive()
            raise
        # 4. Records, errors, summary.
        songs, twins = _unique(manifest.done())
        shards = write_shards(out, songs, store, manifest, options.shard)
        errors = _write_errors(out, manifest)
        return _write_summary(
            out, songs=songs, twins=twins, errors=errors, left_out=found.left_out, ran=ran,
            shards=shards, worked=len(tasks), total=len(found.songs),
        )


def _workers(options: PrepareOptions) -> int:
    return options.workers or os.cpu_count() or 1


# The plan -----------------------------------------------------------------------------------------

def plan_of(options: PrepareOptions, manifest: Manifest) -> Plan:
    """The plan of a run: models found or fetched, and their contents hashed.

    Raises `ModelError` that names the part that is missing.
    """
    from yue.codec.xcodec import XCodecConfig
    from yue.files import read_json

    sources = {name: getattr(options, name) for name in MODELS}
    sources["codec"] = codec_of(options.codec)
    places = {
        name: fetch_part(name, source).path for name, source in sources.items()
        if source is not None
    }
    prints = tuple((name, _print(path, manifest)) for name, path in places.items())
    config = places["codec"] / "config.json"
    if not config.is_file():
        raise ModelError(f"codec: {places['codec']} holds no config.json.")
    coder = XCodecConfig.from_dict(read_json(config))
    several = options.executor != "serial"
    cpus = os.cpu_count() or 1
    return Plan(
        codec=places["codec"], separator=places.get("separator"), aligner=places.get("aligner"),
        transcriber=places.get("transcriber"), prints=prints,
        rate=coder.sample_rate, codebook_size=coder.codebook_size, frame_rate=coder.frame_rate,
        voices=options.voices, min_seconds=options.min_seconds, max_seconds=options.max_seconds,
        min_score=options.min_score, min_match=options.min_match, device=options.device,
        threads=max(1, cpus // _workers(options)) if several else None,
    )


def codec_of(source: str) -> str:
    """The codec that a name means: a whole model's is its codec part."""
    path = Path(source).expanduser()
    return ModelSpec.of_directory(path).codec if (path / MODEL_MANIFEST).is_file() else source


def _print(path: Path, manifest: Manifest) -> str:
    """A hash of a model's files, names and contents."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    found = []
    for file in files:
        known = manifest.digest(str(file))
        if known is None:
            row = examine(str(file))
            manifest.keep_digests([row])
            known = row[-1]
        found.append([file.relative_to(path).as_posix(), known])
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()


# Songs --------------------------------------------------------------------------------------------

def _tasks(songs: Iterable[Source], manifest: Manifest) -> Iterator[dict[str, Any]]:
    for song in songs:
        known = {role: manifest.digest(path) for role, path in song.files.items()}
        yield {"id": song.id, "files": song.files, "digests": known}


def _is_open(task: Task, manifest: Manifest, store: Store, plan: Plan) -> bool:
    """Whether a song is neither finished nor failed for good with these files and this plan."""
    song = manifest.song(task["id"])
    if song is None or None in task["digests"].values():
        return True
    if song.attempt != keys_of(task["id"], task["digests"], plan)["record"]:
        return True
    if song.error is not None:
        return not song.final
    return not all(key and store.has(key) for key in (song.record, song.codes))


def _noted(tasks: Iterable[Task], manifest: Manifest) -> Iterator[Task]:
    """The same tasks; that one is being tried is written down before, and stays if we die of it."""
    for task in tasks:
        manifest.try_(task["id"])
        yield task


def _reported(
    outcomes: Iterable[Outcome], total: int, report: Report | None
) -> Iterator[Outcome]:
    """The same outcomes; after each, `report` hears how far it is."""
    began, failed, audio = time.perf_counter(), 0, 0.0
    for done, outcome in enumerate(outcomes, 1):
        yield outcome
        failed += "error" in outcome
        audio += outcome.get("report", {}).get("seconds", 0.0)
        if report is not None:
            report(Progress(
                done=done, total=total, failed=failed, seconds=time.perf_counter() - began,
                audio_seconds=audio,
            ))


def _settle(outcome: Outcome, manifest: Manifest) -> None:
    """Write down what became of a song. Raises `ModelError` for what no song gets past."""
    manifest.keep_digests(outcome["files"])
    keys, failed = outcome["keys"], "error" in outcome
    audio = sorted(d for role, d in outcome["digests"].items() if role in RECORDED)
    manifest.keep(
        Song(
            id=outcome["id"], record=None if failed else keys["record"],
            codes=None if failed else keys["encode"], audio=" ".join(audio),
            error=outcome.get("error"), step=outcome["step"] if failed else None,
            final=bool(outcome.get("final")), report=outcome.get("report", {}),
            attempt=keys.get("record"),
        ),
        outcome["ran"],
    )
    if outcome.get("fatal"):
        raise ModelError(outcome["error"])


def _unique(songs: Iterable[Song]) -> tuple[list[Song], dict[str, str]]:
    """Songs without those whose recording came before; of these, id -> the id that is kept."""
    first: dict[str | None, Song] = {}
    twins = {}
    for song in songs:
        kept = first.setdefault(song.audio, song)
        if kept is not song:
            twins[song.id] = kept.id
    return list(first.values()), twins


# What is written ------------------------------------------------------------------------------

def write_shards(
    out: Path, songs: Iterable[Song], store: Store, manifest: Manifest, size: int
) -> list[Path]:
    """Records in files of `size` songs, in order; what is there already is left alone.

    Raises `FileError` if results were damaged on disk; they are then removed, to be made again.
    """
    before = manifest.shards()
    now: dict[str, Any] = {}
    damaged: list[Song] = []
    rest = iter(songs)
    while batch := list(islice(rest, size)):
        name = SHARD.format(len(now))
        told = json.dumps([[song.id, song.record, song.codes] for song in batch])
        now[name] = hashlib.sha256(told.encode()).hexdigest()
        if before.get(name) == now[name] and (out / name).is_file():
            continue
        rows = [(song, _record(song, store)) for song in batch]
        damaged += [song for song, row in rows if row is None]
        records.write(out / name, [row for _, row in rows if row is not None])
    if damaged:
        for key in (key for song in damaged for key in (song.record, song.codes) if key):
            store.drop(key)
        raise FileError(
            f"{len(damaged)} results in {store.folder} were damaged, that of {damaged[0].id} for "
            "one; they are removed. Run the same command again to make them anew."
        )
    for name in set(before) - set(now):
        (out / name).unlink(missing_ok=True)
    manifest.keep_shards(now)
    return [out / name for name in now]


def _record(song: Song, store: Store) -> Record | None:
    values, codes = (store.get(key or "") for key in (song.record, song.codes))
    return None if values is None or codes is None else record_of(song.id, values, codes)


def _write_errors(out: Path, manifest: Manifest) -> list[Song]:
    """One JSON line per song that could not be prepared: id, step, error."""
    failed = list(manifest.failed())
    lines = (
        json.dumps({"id": s.id, "step": s.step, "error": s.error}, ensure_ascii=False)
        for s in failed
    )
    write_bytes(out / "errors.jsonl", "".join(f"{line}\n" for line in lines).encode())
    return failed


def _write_summary(
    out: Path, *, songs: list[Song], twins: dict[str, str], errors: list[Song],
    left_out: dict[str, str], ran: Counter[str], shards: list[Path], worked: int, total: int,
) -> dict[str, Any]:
    """Counts, match rates, and reasons; written as `summary.json`."""
    matches = [song.report["match"] for song in songs]
    sums = {
        name: sum(match[name] for match in matches)
        for name in ("words", "timed", "lines", "sections", "placed")
    }
    lyrics = [match for match in matches if match["words"]]
    summary = {
        "songs": total, "kept": len(songs), "failed": len(errors), "duplicates": twins,
        "worked_on": worked, "hours": sum(song.report["seconds"] for song in songs) / 3600,
        "parts": sum(song.report["parts"] for song in songs),
        "with_stems": sum(song.report["stems"] for song in songs),
        "with_lyrics_placed": sum(
            bool(song.report["parts"] and song.report["match"]["words"]) for song in songs
        ),
        "match": {
            **sums, "words_rate": _ratio(sums["timed"], sums["words"]),
            "sections_rate": _ratio(sums["placed"], sums["sections"]),
            "mean_song_rate": _ratio(sum(match["rate"] for match in lyrics), len(lyrics)),
        },
        "times_from": dict(Counter(song.report["words"] for song in songs)),
        "languages": dict(Counter(song.report["language"] or "unknown" for song in songs)),
        "findings": dict(Counter(f for song in songs for f in song.report["findings"])),
        "errors": dict(Counter(f"{song.step}: {_kind(song)}" for song in errors)),
        "left_out": left_out, "steps_run": dict(ran), "files": [str(path) for path in shards],
    }
    write_json(out / "summary.json", summary)
    return summary


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _kind(song: Song) -> str:
    """An error without the file's path and its numbers, so that alike ones count together."""
    return " ".join(
        word for word in (song.error or "").split() if "/" not in word and not word[0].isdigit()
    )
