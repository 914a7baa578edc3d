"""Songs that lie in a folder as audio and sheets -> records, with another codec.

Singing takes longer than encoding: whoever trains a new codec keeps the audio and encodes it anew.
The unit of work is a shard, as in `make`: written aside and renamed, skipped when it is there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from yue.audio import Audio
from yue.codec.xcodec import XCodec
from yue.data.records import Record, write
from yue.errors import FileError
from yue.files import PathLike, read_json
from yue.songbook.rows import record_of
from yue.vocab import TRACKS

Report = Callable[[str, float, float], None]
"""Called with a verb, songs done and songs in all."""


def encode(
    folder: PathLike, codec: PathLike, out: PathLike, *, share: tuple[int, int] = (0, 1),
    report: Report | None = None,
) -> Path:
    """Write `shard-*.parquet` into `out`, one per shard of `folder`.

    `share = (k, n)`: only every n-th shard from the k-th on, so that n processes can work side by
    side. Raises `FileError` if the folder holds no songs.
    """
    folder, out = Path(folder), Path(out)
    shards = sorted(folder.glob("shard-*"))
    if not shards:
        raise FileError(f"{folder} holds no shards of songs: make some with `yue songbook make`.")
    out.mkdir(parents=True, exist_ok=True)
    coder = XCodec.load(codec, decode_only=False)
    own = shards[share[0] :: share[1]]
    for done, shard in enumerate(own):
        target = out / f"{shard.name}.parquet"
        if not target.exists():
            songs = sorted(shard.glob(f"*{VOCALS}"))
            write(target, [encode_song(_sheet_of(song), coder) for song in songs])
        if report is not None:
            report("shards", done + 1, len(own))
    return out


VOCALS = f".{TRACKS[0]}.flac"


def _sheet_of(vocals: Path) -> Path:
    """The sheet beside a song's vocals."""
    return vocals.with_name(vocals.name.removesuffix(VOCALS) + ".json")


def encode_song(sheet: Path, codec: XCodec) -> Record:
    """The song beside whose sheet both tracks lie as FLAC."""
    codes = {track: _codes(sheet.with_suffix(f".{track}.flac"), codec) for track in TRACKS}
    return record_of(read_json(sheet), codes, codec.config.frame_rate)


@torch.inference_mode()
def _codes(path: Path, codec: XCodec) -> np.ndarray:
    wave = Audio.read(path).mono().resample(codec.config.sample_rate).samples
    return codec.encode(torch.from_numpy(wave))[0].numpy().astype(np.int16)
