"""A folder of songs -> a result per song: in parallel, cached by content, with what failed.

A song that cannot be read or measured is named with the reason, counted, and left out; the others
go on. A result is kept under a hash of the song's files, the options and all versions: what
has not changed is not measured again, wherever it lies and whatever it is called.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yue.errors import FileError, YueError
from yue.evaluate.folder import VERSION as FOLDER_VERSION
from yue.evaluate.folder import SongFiles, find_songs, read_song
from yue.evaluate.measure import VERSIONS, measure
from yue.evaluate.options import MeasureOptions
from yue.evaluate.record import named
from yue.files import PathLike, read_json, write_json

PACKAGES = ("yue-music", "swift-f0", "pocketsphinx", "pyloudnorm", "scipy", "numpy", "transformers")

Progress = Callable[[str, float, float], None]


@dataclass(frozen=True)
class Evaluation:
    """What was measured: records per song, reasons per song that failed, and how."""

    folder: str
    songs: dict[str, dict[str, dict[str, Any]]]
    failed: dict[str, str]
    options: dict[str, Any]
    packages: list[str]
    cached: int = 0
    files: dict[str, SongFiles] = field(default_factory=dict, compare=False, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "folder": self.folder, "n": len(self.songs), "failed_n": len(self.failed),
            "failed": self.failed, "options": self.options, "versions": VERSIONS,
            "packages": self.packages, "songs": self.songs,
        }


def evaluate_folder(
    folder: PathLike, options: MeasureOptions | None = None, *, processes: int = 1,
    cache: PathLike | None = None, progress: Progress | None = None, verb: str = "songs",
) -> Evaluation:
    """Measure every song of a folder.

    `cache` is a folder for results, or `None`. Raises `FileError` if there are no songs, or if not
    a single one could be measured.
    """
    options = options or MeasureOptions()
    songs = find_songs(folder)
    jobs = [(song, options, None if cache is None else Path(cache)) for song in songs]
    found: dict[str, tuple[dict[str, Any] | None, str]] = {}
    for done, (name, records, note) in enumerate(_outcomes(jobs, processes), 1):
        found[name] = records, note
        if progress:
            progress(verb, done, len(jobs))
    told = [(song.name, *found[song.name]) for song in songs]
    good = {name: records for name, records, _ in told if records is not None}
    failed = {name: note for name, records, note in told if records is None}
    if not good:
        first = next(iter(failed.values()))
        raise FileError(f"{folder}: none of its {len(failed)} songs could be measured ({first})")
    return Evaluation(
        folder=str(folder), songs=good, failed=failed, options=options.as_dict(),
        packages=[named(package) for package in PACKAGES],
        cached=sum(note == _CACHED for _, note in found.values()),
        files={song.name: song for song in songs},
    )


_CACHED = "cached"
Job = tuple[SongFiles, MeasureOptions, Path | None]
Outcome = tuple[str, dict[str, Any] | None, str]


def _outcomes(jobs: Sequence[Job], processes: int) -> Iterator[Outcome]:
    """The outcome of each job, in the order in which they are done."""
    if min(processes, len(jobs)) <= 1:
        yield from map(_measured, jobs)
        return
    # Spawned, not forked: the threads of numpy and onnxruntime do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(jobs)), mp_context=context) as pool:
        waiting = {pool.submit(_measured, job): job for job in jobs}
        try:
            for future in as_completed(waiting):
                yield _outcome(future, waiting[future])
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _outcome(future: Future[Outcome], job: Job) -> Outcome:
    """What a process answered, or that it died."""
    try:
        return future.result()
    except BrokenProcessPool:
        return job[0].name, None, "its process was ended from outside; is the memory too small?"


def _measured(job: Job) -> Outcome:
    """Name, records (`None` if it failed) and a note: the reason, or whether it was cached."""
    song, options, cache = job
    try:
        kept = None if cache is None else cache / f"{_key(song, options)}.json"
        if kept is not None and (known := _known(kept)):
            return song.name, known, _CACHED
        records = measure(read_song(song), options)
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_json(kept, records)
    except (YueError, MemoryError) as error:
        return song.name, None, str(error) or "not enough memory."
    except Exception as error:  # noqa: BLE001 - one song must not cost the others
        return song.name, None, f"{type(error).__name__}: {error}"
    return song.name, records, ""


def _key(song: SongFiles, options: MeasureOptions) -> str:
    """The name of a cached result."""
    packages = [named(each) for each in PACKAGES[1:]]
    how = json.dumps([options.as_dict(), VERSIONS, FOLDER_VERSION, packages])
    return hashlib.sha256(f"{how} {song.digest()}".encode()).hexdigest()


def _known(path: Path) -> dict[str, Any] | None:
    """A cached result; `None` if there is none, or only a damaged one."""
    try:
        told = read_json(path) if path.is_file() else None
    except FileError:
        return None
    return told if isinstance(told, dict) and told else None
