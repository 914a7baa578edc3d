"""Many songs into a folder: several processes, resumable, the same files however it was run.

The unit of work is a shard of songs. It is written aside and renamed, so a shard that is there is
whole; a run that was cut off goes on with the missing ones. Only one run may work on a folder.
`songbook.json` says what was asked for and refuses to mix two different books in one folder.
"""

from __future__ import annotations

import io
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from yue.data.records import Record, write
from yue.errors import FileError, OptionError
from yue.files import PathLike, read_json, write_bytes, write_json
from yue.hub import cache_dir
from yue.songbook.bank import RATE, Bank
from yue.songbook.compose import compose
from yue.songbook.perform import Performance, perform
from yue.songbook.profile import Profile
from yue.songbook.rows import full_sheet, to_record
from yue.songbook.words import Vocabulary, load_vocabulary
from yue.songbook.world import Speakers

MANIFEST = "songbook.json"
SONGS_PER_SHARD = 20
POLL_SECONDS = 0.5
FORMAT = 2

Report = Callable[[str, float, float], None]
"""Called with a verb, what is done and what is wanted, both in hours."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to make: everything that the bytes of a shard depend on."""

    profile: Profile
    seed: int
    rate: int = RATE
    """Of the audio files, Hz."""
    audio: bool = True
    """Write both tracks as FLAC."""
    codec: str | None = None
    """A codec directory: write records with codes."""
    mix: bool = False
    """Encode the mix too."""
    songs: int = SONGS_PER_SHARD
    """In a shard."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the manifest, as JSON keeps them."""
        plain = {name: list(map(list, value)) if name == "forms" else
                 list(value) if isinstance(value, tuple) else value
                 for name, value in asdict(self.profile).items()}
        return {"format": FORMAT, **asdict(self), "profile": plain}


@dataclass(frozen=True, eq=False)
class Studio:
    """What a process needs to make songs, loaded once."""

    vocabulary: Vocabulary
    speakers: Speakers
    bank: Bank
    codec: Any = None

    @classmethod
    def open(cls, codec: str | None = None) -> Studio:
        """Load words, speakers and, if asked for, a codec. Raises `ModelError` if one is missing.
        """
        return cls(load_vocabulary(), Speakers(), Bank(bank_folder()), _load_codec(codec))

    def song(self, order: Order, index: int) -> Performance:
        """Compose and perform one song."""
        score = compose(order.seed, index, order.profile, vocabulary=self.vocabulary)
        return perform(
            score, self.speakers, self.bank, effects=order.profile.effects, rate=order.rate
        )


def bank_folder() -> Path:
    """Where the band's notes are kept."""
    return cache_dir() / "songbook"


def make(
    folder: PathLike, hours: float, order: Order, *, processes: int = 1,
    report: Report | None = None,
) -> Path:
    """Make about `hours` of songs, in whole shards; what is already there is kept.

    Raises `OptionError` for bad numbers, `FileError` if the folder holds another book,
    `ModelError` if a library or sound font is missing.
    """
    if not hours > 0 or processes < 1:
        raise OptionError(f"hours = {hours}, processes = {processes}: both must be above 0.")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, order)
    Bank(bank_folder()).prepare(order.profile.genres)
    Speakers()
    wanted = range(shards_for(hours, order))
    missing = [number for number in wanted if not shard_path(folder, number).is_dir()]
    told = _teller(report, folder, wanted, hours)
    if processes == 1 or len(missing) == 1:
        make_shards(folder, order, missing, told)
    else:
        _in_parallel(folder, order, missing, processes, told)
    return folder


def shards_for(hours: float, order: Order) -> int:
    """How many shards hold about `hours`, judged by the songs of the first one."""
    vocabulary = load_vocabulary()
    first = [
        compose(order.seed, index, order.profile, vocabulary=vocabulary).seconds
        for index in range(order.songs)
    ]
    return math.ceil(hours * 3600 / sum(first))


def make_shards(
    folder: Path, order: Order, numbers: Sequence[int], told: Callable[[], None] = lambda: None
) -> None:
    """Make some shards, one after the other, with one studio."""
    if not numbers:
        return
    studio = Studio.open(order.codec)
    for number in numbers:
        write_shard(studio, folder, order, number)
        told()


def _in_parallel(
    folder: Path, order: Order, numbers: Sequence[int], processes: int, told: Callable[[], None]
) -> None:
    """Deal the shards out to processes; each loads its own studio."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        hands = (numbers[place::processes] for place in range(processes))
        running = {pool.submit(make_shards, folder, order, hand) for hand in hands}
        while running:
            finished, running = wait(running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            told()
            for future in finished:
                future.result()


def _teller(
    report: Report | None, folder: Path, wanted: Sequence[int], hours: float
) -> Callable[[], None]:
    """Tells how many of the hours are there."""

    def tell() -> None:
        if report is not None:
            there = sum(shard_path(folder, number).is_dir() for number in wanted)
            report("songs", hours * there / len(wanted), hours)

    return tell


def shard_path(folder: Path, number: int) -> Path:
    """The folder of a shard."""
    return folder / f"shard-{number:05d}"


def _claim(folder: Path, order: Order) -> None:
    """Write the manifest, or check that the one there asks for the same songs."""
    path = folder / MANIFEST
    wanted = order.as_dict()
    if not path.exists():
        write_json(path, wanted)
        return
    held = read_json(path)
    differing = sorted(name for name in wanted if held.get(name) != wanted[name])
    if differing:
        raise FileError(
            f"{folder} holds another songbook ({', '.join(differing)} differ): "
            "choose another folder, or the same options to go on."
        )


def write_shard(studio: Studio, folder: Path, order: Order, number: int) -> Path:
    """Make one shard: aside first, then renamed."""
    final = shard_path(folder, number)
    part = final.with_name(f".{final.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    records: list[Record] = []
    seconds = 0.0
    for index in range(number * order.songs, (number + 1) * order.songs):
        song = studio.song(order, index)
        seconds += song.score.seconds
        _write_song(studio, part, order, song, records)
    if records:
        write(part / "records.parquet", records)
    write_json(part / "shard.json", {"songs": order.songs, "seconds": round(seconds, 3)})
    return part.replace(final)


def _write_song(
    studio: Studio, folder: Path, order: Order, song: Performance, records: list[Record]
) -> None:
    name = song.score.id
    if order.audio:
        write_bytes(folder / f"{name}.vocals.flac", flac(song.vocals, song.rate))
        write_bytes(folder / f"{name}.accompaniment.flac", flac(song.accompaniment, song.rate))
    if order.codec is None or order.audio:
        write_json(folder / f"{name}.json", full_sheet(song))
    if order.codec is not None:
        codes = codes_of(studio.codec, song, mix=order.mix)
        records.append(to_record(song, codes, frame_rate=studio.codec.config.frame_rate))


def flac(wave: np.ndarray, rate: int) -> bytes:
    """A mono FLAC file of 16 bits: the songs hold less than that."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, wave, rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def codes_of(codec: Any, song: Performance, *, mix: bool = False) -> dict[str, np.ndarray]:
    """Codes (K, T) int16 of both tracks, and of the mix if asked for."""
    import torch

    tracks = {"vocals": song.vocals, "accompaniment": song.accompaniment}
    if mix:
        tracks["mix"] = song.mix
    rate = codec.config.sample_rate
    with _one_thread(), torch.inference_mode():
        return {
            name: codec.encode(torch.from_numpy(_at(wave, song.rate, rate))[None])[0]
            .numpy().astype(np.int16)
            for name, wave in tracks.items()
        }


@contextmanager
def _one_thread() -> Iterator[None]:
    """The last bits of a sum depend on the number of threads: codes should not."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _at(wave: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    if rate == wanted:
        return wave
    import soxr

    return np.asarray(soxr.resample(wave, rate, wanted), dtype=np.float32)


def _load_codec(directory: str | None) -> Any:
    if directory is None:
        return None
    from yue.codec.xcodec import XCodec

    return XCodec.load(directory, decode_only=False)


