"""Making a book: the same bytes however it is run, whole shards only, also after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from yue.audio import Audio
from yue.cli.songbook import Log
from yue.codec.xcodec import XCodec, XCodecConfig
from yue.data.records import read
from yue.errors import FileError, ModelError, OptionError
from yue.songbook.compose import compose
from yue.songbook.make import MANIFEST, Order, Studio, make, shards_for
from yue.songbook.profile import SIMPLE

TINY = SIMPLE.replace(forms=(("verse",),), lines=(1, 1), voices=("m1",), genres=("folk",))
ORDER = Order(profile=TINY, seed=3, rate=16_000, songs=2)

RUN = """
import sys
from yue.songbook.make import Order, make
from yue.songbook.profile import SIMPLE
if __name__ == "__main__":
    tiny = SIMPLE.replace(forms=(("verse",),), lines=(1, 1), voices=("m1",), genres=("folk",))
    order = Order(profile=tiny, seed=3, rate=16_000, songs=2)
    make(sys.argv[1], float(sys.argv[2]), order, processes=int(sys.argv[3]))
"""


@pytest.fixture(scope="module", autouse=True)
def libraries() -> None:
    try:
        Studio.open().bank.file(0)
    except ModelError as error:
        pytest.skip(str(error))


@cache
def first_shard() -> float:
    """Seconds of the first shard of `ORDER`."""
    return sum(compose(ORDER.seed, index, TINY).seconds for index in range(ORDER.songs))


def hours(shards: int) -> float:
    """What gives so many shards of `ORDER`."""
    return (shards - 0.5) * first_shard() / 3600


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("book"), hours(4), ORDER)


def test_hours_are_whole_shards() -> None:
    assert [shards_for(hours(number), ORDER) for number in (1, 2, 4)] == [1, 2, 4]


def test_a_song_is_two_tracks_and_a_sheet(book: Path) -> None:
    shard = book / "shard-00001"
    names = {path.name for path in shard.iterdir()}
    assert names == {"shard.json"} | {
        f"simple-3-{index:06d}.{kind}" for index in (2, 3)
        for kind in ("vocals.flac", "accompaniment.flac", "json")
    }
    sheet = json.loads((shard / "simple-3-000002.json").read_text())
    vocals = Audio.read(shard / "simple-3-000002.vocals.flac")
    assert vocals.rate == 16_000
    assert vocals.seconds == pytest.approx(sheet["songbook"]["seconds"], abs=1e-3)


def test_any_number_of_processes_makes_the_same_bytes(book: Path, tmp_path: Path) -> None:
    told: list[float] = []
    make(tmp_path, hours(4), ORDER, processes=2, report=lambda _, done, __: told.append(done))
    assert contents(tmp_path) == contents(book)
    assert told == sorted(told) and told[-1] == pytest.approx(hours(4))


def test_more_hours_go_on_where_the_others_ended(book: Path, tmp_path: Path) -> None:
    make(tmp_path, hours(1), ORDER)
    before = (tmp_path / "shard-00000").stat().st_mtime_ns
    make(tmp_path, hours(4), ORDER)
    assert (tmp_path / "shard-00000").stat().st_mtime_ns == before
    assert contents(tmp_path) == contents(book)


@pytest.mark.parametrize("processes", [1, 2])
def test_it_goes_on_after_a_kill(book: Path, tmp_path: Path, processes: int) -> None:
    script = tmp_path / "run.py"
    script.write_text(RUN)
    out = tmp_path / "out"
    command = [sys.executable, str(script), str(out), str(hours(4)), str(processes)]
    running = subprocess.Popen(command, start_new_session=True)
    while not list(out.glob("*shard-*")):
        assert running.poll() is None
        time.sleep(0.005)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    whole, reference = contents(out), contents(book)
    assert len(whole) < len(reference)
    for name, data in whole.items():
        if ".part" not in name:
            assert data == reference[name]
    make(out, hours(4), ORDER)
    assert contents(out) == reference


def test_two_books_do_not_mix(book: Path) -> None:
    with pytest.raises(FileError, match=r"another songbook \(seed differ"):
        make(book, 0.01, Order(profile=TINY, seed=4, rate=16_000, songs=2))
    assert json.loads((book / MANIFEST).read_text())["seed"] == 3


@pytest.mark.parametrize(("length", "processes"), [(0.0, 1), (float("nan"), 1), (1.0, 0)])
def test_bad_numbers(tmp_path: Path, length: float, processes: int) -> None:
    with pytest.raises(OptionError, match="must be above 0"):
        make(tmp_path, length, ORDER, processes=processes)


def test_records_with_codes(tmp_path: Path) -> None:
    config = XCodecConfig(encoder_channels=4, decoder_channels=16, latent=8, codebooks=2,
                          codebook_size=16)
    codec = XCodec(config).save(tmp_path / "codec")
    order = Order(profile=TINY, seed=3, rate=16_000, songs=2, audio=False, codec=str(codec),
                  mix=True)
    make(tmp_path / "book", hours(1), order)
    shard = tmp_path / "book" / "shard-00000"
    assert {path.name for path in shard.iterdir()} == {"records.parquet", "shard.json"}
    records = read(shard / "records.parquet")
    assert [record.id for record in records] == ["simple-3-000000", "simple-3-000001"]
    for record in records:
        assert set(record.codes) == {"vocals", "accompaniment", "mix"}
        assert record.frames == pytest.approx(record.notes["songbook"]["seconds"] * 50, abs=1)
        assert record.phones and record.dual.shape == (2, record.frames)
        assert np.ptp(record.codes["vocals"]) > 0


def run(*tokens: str) -> None:
    from yue.cli.verbs import app

    with pytest.raises(SystemExit) as done:
        app(list(tokens), exit_on_error=False)
    assert not done.value.code


def test_the_command_line_shows_a_song(capsys: pytest.CaptureFixture[str]) -> None:
    run("songbook", "show", "7", "--profile", "simple", "--voice", "f1")
    shown = capsys.readouterr().out
    assert shown.startswith("simple-1-000007: ") and "voice f1" in shown
    run("songbook", "show", "7", "--json")
    assert json.loads(capsys.readouterr().out)["index"] == 7


def test_progress_without_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log()
    times = iter([log.began + 1, log.began + 40, log.began + 50, log.began + 360])
    monkeypatch.setattr(time, "monotonic", lambda: next(times))
    for done in (1.0, 2.0, 3.0, 4.0):
        log("songs", done, 4.0)
    assert capsys.readouterr().err.splitlines() == [
        "songs: 2.00 of 4.00 h, 90 x real time, 1 min left",
        "songs: 4.00 of 4.00 h, 30 x real time, 0 min left",
    ]


@pytest.mark.slow
def test_the_command_line_makes_songs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("songbook", "make", str(tmp_path / "book"), "--hours", "0.001", "--profile", "simple",
        "--rate", "16000", "--processes", "1")
    assert json.loads(capsys.readouterr().out) == {"folder": str(tmp_path / "book")}
    assert len(list((tmp_path / "book").glob("shard-*/*.vocals.flac"))) == 20
