"""A folder of recordings to records: real files, the tiny random codec, real kills."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from yue.audio import Audio
from yue.data import records
from yue.data.knobs import PrepareOptions
from yue.data.prepare import Progress, prepare
from yue.data.records import Part, Record
from yue.data.steps import BY_NAME, STEPS
from yue.errors import FileError, ModelError, OptionError
from yue.rehearsal import CODEC, random_codec

RATE = 16_000
RANDOM = PrepareOptions(codec="random")
YUE = [sys.executable, "-m", "yue", "data"]


def environment(**more: str) -> dict[str, str]:
    """Asked for in a test, when the cache folder is the tests' own."""
    return {**os.environ, "OMP_NUM_THREADS": "1", **more}


def tone(seconds: float, hertz: float = 220.0, rate: int = RATE, level: float = 0.3) -> np.ndarray:
    t = np.arange(round(seconds * rate)) / rate
    beat = 0.6 + 0.4 * np.sin(2 * np.pi * 2 * t)
    return (level * beat * np.sin(2 * np.pi * hertz * t)).astype(np.float32)


def record(path: Path, wave: np.ndarray, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return Audio(wave, rate).save(path)


def read(out: Path) -> dict[str, Record]:
    found = [r for path in sorted(out.glob("*.parquet")) for r in records.read(path)]
    assert [r.id for r in found] == sorted(r.id for r in found)
    return {r.id: records.check(r) for r in found}


def errors(out: Path) -> dict[str, dict[str, str]]:
    rows = [json.loads(line) for line in (out / "errors.jsonl").read_text("utf-8").splitlines()]
    return {row["id"]: row for row in rows}


def equal(a: dict[str, Record], b: dict[str, Record]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        one, two = vars(a[name]).copy(), vars(b[name]).copy()
        codes = one.pop("codes"), two.pop("codes")
        assert one == two
        assert codes[0].keys() == codes[1].keys()
        for track in codes[0]:
            np.testing.assert_array_equal(codes[0][track], codes[1][track])


LYRICS = "[verse]\nThe river keeps on running\n\n[chorus]\nCome home\n"
LRC = "[00:00.50]The river keeps on running\n[00:06.20]Come home\n[00:10.00]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A song with stems, lyrics, times and facts; one bare; one broken."""
    songs = tmp_path / "songs"
    record(songs / "a.wav", tone(12) + tone(12, 330))
    record(songs / "a.vocals.wav", tone(12))
    record(songs / "a.accompaniment.wav", tone(12, 330))
    (songs / "a.txt").write_text(LYRICS)
    (songs / "a.lrc").write_text(LRC)
    facts = {"tags": "pop, female vocal", "language": "en", "license": "CC0", "artist": "Ann"}
    (songs / "a.json").write_text(json.dumps(facts))
    record(songs / "b.flac", tone(3, 440))
    (songs / "c.mp3").write_bytes(b"no sound at all" * 9)
    return songs


def test_a_folder_becomes_records(folder: Path, tmp_path: Path) -> None:
    summary = prepare(folder, tmp_path / "out", RANDOM)
    found = read(tmp_path / "out")
    song = found["a"]
    # There is no border of the structure near, so it begins .3 s before "Come" (6.2 s).
    assert song.parts == (
        Part("verse", "The river keeps on running", 0, 295), Part("chorus", "Come home", 295, 600)
    )
    assert (song.tags, song.language, song.licence, song.artist) == (
        ("pop", "female vocal"), "en", "CC0", "Ann"
    )
    assert {k: v.shape for k, v in song.codes.items()} == {
        "mix": (8, 600), "vocals": (8, 600), "accompaniment": (8, 600)
    }
    quality = song.notes["quality"]
    assert (quality["rate"], quality["channels"], quality["seconds"]) == (RATE, 1, 12)
    assert quality["sung"] == 1 and abs(quality["vocal_ratio"]) < 2 and quality["clipped"] == 0
    assert song.notes["match"]["rate"] == 1
    assert song.notes["versions"] == {step.name: step.version for step in STEPS}
    assert found["b"].parts == () and set(found["b"].codes) == {"mix"}
    assert "no lyrics" in found["b"].notes["findings"]
    assert errors(tmp_path / "out").keys() == {"c"}
    assert errors(tmp_path / "out")["c"]["step"] == "decode"
    assert (summary["songs"], summary["kept"], summary["failed"]) == (3, 2, 1)
    assert summary["match"]["words"] == summary["match"]["timed"] == 7
    assert summary["with_lyrics_placed"] == 1 and summary["with_stems"] == 1
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == summary


def test_codes_are_those_of_the_whole_track(folder: Path, tmp_path: Path) -> None:
    import torch

    from yue.codec.xcodec import XCodec
    from yue.hub import fetch_part

    prepare(folder, tmp_path / "out", RANDOM)
    codec = XCodec.load(fetch_part("codec", "random").path, decode_only=False)
    wave = torch.from_numpy(Audio.read(folder / "a.vocals.wav").samples)
    with torch.inference_mode():
        wanted = codec.encode(wave, 8)[0].numpy()
    np.testing.assert_array_equal(read(tmp_path / "out")["a"].codes["vocals"], wanted)


def test_doing_it_again_does_nothing(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = prepare(folder, out, RANDOM)
    shard = (out / "songs-00000.parquet").stat().st_mtime_ns
    again = prepare(folder, out, RANDOM)
    assert (again["worked_on"], again["steps_run"]) == (0, {})
    assert (out / "songs-00000.parquet").stat().st_mtime_ns == shard
    assert {k: v for k, v in again.items() if k not in ("worked_on", "steps_run")} == {
        k: v for k, v in first.items() if k not in ("worked_on", "steps_run")
    }
    stored = list((out / "work").glob("*/*.npz"))
    heavy = [path for path in stored if path.stat().st_size > 12 * RATE * 4]
    assert stored and not heavy  # audio is gone


def test_only_what_depends_on_a_change_is_done_again(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(folder, out, RANDOM.replace(keep_audio=True))
    before = read(out)
    (folder / "a.txt").write_text(LYRICS.replace("chorus", "bridge"))
    summary = prepare(folder, out, RANDOM.replace(keep_audio=True))
    assert summary["worked_on"] == 1
    assert set(summary["steps_run"]) == {"given", "structure", "words", "join", "record"}
    after = read(out)
    assert [part.label for part in after["a"].parts] == ["verse", "bridge"]
    np.testing.assert_array_equal(after["a"].codes["mix"], before["a"].codes["mix"])
    # A setting that only the join reads.
    summary = prepare(folder, out, RANDOM.replace(keep_audio=True, min_match=0.9))
    assert set(summary["steps_run"]) == {"join", "record"}


def test_songs_come_and_go(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(folder, out, RANDOM.replace(shard=1))
    assert len(list(out.glob("*.parquet"))) == 2
    (folder / "c.mp3").unlink()
    (folder / "b.flac").unlink()
    summary = prepare(folder, out, RANDOM.replace(shard=1))
    assert (summary["songs"], summary["kept"], summary["failed"]) == (1, 1, 0)
    assert read(out).keys() == {"a"} and len(list(out.glob("*.parquet"))) == 1
    record(folder / "d.wav", tone(2))
    assert prepare(folder, out, RANDOM)["worked_on"] == 1
    assert read(out).keys() == {"a", "d"}


def test_rates_channels_and_formats_mix(tmp_path: Path) -> None:
    songs = tmp_path / "songs"
    for name, rate, channels in (("a.wav", 8000, 1), ("b.flac", 44_100, 2), ("c.ogg", 48_000, 2),
                                 ("d.mp3", 22_050, 1), ("e.wav", 96_000, 2)):
        wave = tone(2, 220, rate)
        record(songs / name, np.stack([wave, wave * 0.5][:channels]), rate)
    record(songs / "deep" / "er" / "f.wav", np.stack([tone(2)] * 6))
    prepare(songs, tmp_path / "out", RANDOM)
    found = read(tmp_path / "out")
    assert found.keys() == {"a", "b", "c", "d", "e", "deep/er/f"}
    assert all(abs(r.frames - 100) <= 5 for r in found.values())
    assert found["b"].notes["quality"]["rate"] == 44_100


def test_what_cannot_be_prepared_says_why(tmp_path: Path) -> None:
    songs = tmp_path / "songs"
    record(songs / "silent.wav", np.zeros(3 * RATE))
    record(songs / "short.wav", tone(0.4))
    (songs / "empty.wav").write_bytes(b"")
    whole = record(songs / "whole.wav", tone(3)).read_bytes()
    (songs / "cut.flac").write_bytes(record(songs / "x.flac", tone(9)).read_bytes()[:4000])
    (songs / "nan.wav").write_bytes(whole[:44] + b"")
    record(songs / "odd.wav", tone(9))
    record(songs / "odd.vocals.wav", tone(3))
    record(songs / "odd.accompaniment.wav", tone(9))
    record(songs / "facts.wav", tone(2))
    (songs / "facts.json").write_text('{"tags": [1]}')
    record(songs / "words.wav", tone(2))
    (songs / "words.txt").write_bytes(b"\xff\xfe\x00\x00\x01")
    summary = prepare(songs, tmp_path / "out", RANDOM)
    why = {name: row["error"] for name, row in errors(tmp_path / "out").items()}
    assert "silent" in why.pop("silent")
    assert "0.40 s long" in why.pop("short")
    for name in ("empty", "cut", "nan"):
        assert "could not be read" in why[name] or "holds no samples" in why[name]
        del why[name]
    assert "differ in length" in why.pop("odd") and "tags" in why.pop("facts")
    assert "words.txt" in why.pop("words")
    assert not why
    assert read(tmp_path / "out").keys() == {"whole", "x"}
    assert sum(summary["errors"].values()) == summary["failed"] == 8
    # They fail for good: nothing is tried again until the file changes.
    assert prepare(songs, tmp_path / "out", RANDOM)["worked_on"] == 0
    record(songs / "silent.wav", tone(3))
    assert prepare(songs, tmp_path / "out", RANDOM)["worked_on"] == 1
    assert "silent" in read(tmp_path / "out")


def test_unicode_names_stems_alone_and_lyrics_alone(tmp_path: Path) -> None:
    songs = tmp_path / "songs"
    record(songs / "Ünïcode 歌.wav", tone(3))
    record(songs / "stems" / "vocals.wav", tone(3))
    record(songs / "stems" / "no_vocals.wav", tone(3, 110))
    record(songs / "lonely.vocals.wav", tone(3))
    (songs / "nobody.txt").write_text("words")
    summary = prepare(songs, tmp_path / "out", RANDOM)
    found = read(tmp_path / "out")
    assert found.keys() == {"Ünïcode 歌", "stems"}
    assert set(found["stems"].codes) == {"mix", "vocals", "accompaniment"}
    assert sorted(summary["left_out"].values()) == [
        "a stem alone: its mix or the other is missing", "lyrics without a recording"
    ]


def test_the_same_recording_twice_is_kept_once(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "b.flac", folder / "z.flac")
    summary = prepare(folder, tmp_path / "out", RANDOM)
    assert summary["duplicates"] == {"z": "b"} and read(tmp_path / "out").keys() == {"a", "b"}
    assert summary["steps_run"]["encode"] == 2  # not a third time for the copy


def test_an_instrumental_takes_the_structure(tmp_path: Path) -> None:
    songs = tmp_path / "songs"
    record(songs / "i.wav", tone(8))
    record(songs / "i.vocals.wav", np.zeros(8 * RATE))
    record(songs / "i.accompaniment.wav", tone(8))
    prepare(songs, tmp_path / "out", RANDOM)
    (part,) = read(tmp_path / "out")["i"].parts
    assert (part.text, part.start, part.end) == ("", 0, 400)


def test_sections_and_phones_that_are_given_exactly(tmp_path: Path) -> None:
    songs = tmp_path / "songs"
    record(songs / "s.wav", tone(10))
    (songs / "s.json").write_text(json.dumps({
        "parts": [{"label": "verse", "start": 0, "end": 4.01, "text": "one"},
                  {"label": "solo", "start": 4.01, "end": 4.5, "text": ""},
                  {"label": "chorus", "start": 4.5, "end": 10, "text": "two"}],
        "phones": [{"symbol": "W", "start": 0.5, "end": 0.6},
                   {"symbol": "T", "start": 5.0, "end": 5.1}],
        "transcript": "spoken", "mood": "odd",
    }))
    prepare(songs, tmp_path / "out", RANDOM)
    song = read(tmp_path / "out")["s"]
    assert song.parts == (Part("verse", "one", 0, 200), Part("chorus", "two", 225, 500))
    assert [(p.symbol, p.start, p.end, p.part) for p in song.phones] == [
        ("W", 25, 30, 0), ("T", 250, 255, 1)
    ]
    assert song.transcript == "spoken"
    assert any("mood" in f for f in song.notes["findings"])
    assert "section shorter than a second" in song.notes["findings"]


@pytest.mark.parametrize("content", [[], ["notes.txt"], ["picture.png"]])
def test_a_folder_without_songs(tmp_path: Path, content: list[str]) -> None:
    songs = tmp_path / "songs"
    songs.mkdir()
    for name in content:
        (songs / name).write_text("x")
    with pytest.raises(FileError, match="holds no recordings"):
        prepare(songs, tmp_path / "out", RANDOM)
    with pytest.raises(FileError, match="is no folder"):
        prepare(songs / "none", tmp_path / "out", RANDOM)


def test_a_missing_model_stops_at_once(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="codec"):
        prepare(folder, tmp_path / "out", PrepareOptions(codec=str(tmp_path / "none")))
    (tmp_path / "aligner").mkdir()
    with pytest.raises(ModelError, match="no CTC model"):
        (folder / "a.lrc").unlink()
        prepare(folder, tmp_path / "out", RANDOM.replace(aligner=str(tmp_path / "aligner")))
    with pytest.raises(OptionError, match="executor"):
        RANDOM.replace(executor="slurm")


def test_damaged_results_are_made_again(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(folder, out, RANDOM)
    before = read(out)
    for path in (out / "work").glob("*/*.npz"):
        path.write_bytes(path.read_bytes()[:50])
    (folder / "a.json").write_text('{"tags": ["rock"]}')
    with pytest.raises(FileError, match=r"1 results in .* were damaged, that of b"):
        prepare(folder, out, RANDOM)
    prepare(folder, out, RANDOM)
    after = read(out)
    assert after["a"].tags == ("rock",)
    np.testing.assert_array_equal(after["a"].codes["mix"], before["a"].codes["mix"])
    shutil.rmtree(out / "work")
    prepare(folder, out, RANDOM)
    equal(read(out), after)


def test_a_second_run_on_the_same_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(folder, out, RANDOM)
    with sqlite3.connect(out / "manifest.sqlite") as other:
        other.execute("begin exclusive")
        with pytest.raises(FileError, match="another run"):
            prepare(folder, out, RANDOM)
    other.close()
    (out / "manifest.sqlite").write_bytes(b"something else, long enough to be read" * 99)
    with pytest.raises(FileError, match="no manifest"):
        prepare(folder, out, RANDOM)


def test_steps_are_pure_and_idempotent(folder: Path) -> None:
    from yue.data.step import Plan, Tools
    from yue.hub import fetch_part

    tools = Tools(Plan(codec=fetch_part("codec", "random").path))
    files = {role: str(folder / name) for role, name in (
        ("mix", "a.wav"), ("vocals", "a.vocals.wav"), ("accompaniment", "a.accompaniment.wav"),
        ("text", "a.txt"), ("lrc", "a.lrc"), ("facts", "a.json"))}
    row: dict[str, Any] = {"id": "a", "files": files}
    for step in STEPS:
        before = dict(row)
        after = step(row, tools)
        assert row == before and after.keys() == {*row, step.name}
        assert step(after, tools) is after
        row = after
    assert set(BY_NAME) <= row.keys()


def test_another_codec_s_sizes_count(folder: Path, tmp_path: Path) -> None:
    """25 frames per second, 2,048 codes: borders in its frames, codes as it has them."""
    strides = (*CODEC.strides[:-1], 2 * CODEC.strides[-1])
    config = replace(CODEC, strides=strides, codebook_size=2048, semantic_size=0, semantic=None)
    random_codec(0, config).save(tmp_path / "codec")
    options = PrepareOptions(codec=str(tmp_path / "codec"))
    prepare(folder, tmp_path / "out", options)
    (rows,) = [records.read(path) for path in (tmp_path / "out").glob("*.parquet")]
    song = next(row for row in rows if row.id == "a")
    assert song.frames == 300 and song.codes["mix"].max() > 1023
    assert song.parts == (
        Part("verse", "The river keeps on running", 0, 147), Part("chorus", "Come home", 147, 300)
    )
    command = [*YUE, "check", str(tmp_path / "out")]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 1 and "allowed is 0..1023" in refused.stderr
    told = subprocess.run(
        [*command, "--codec", str(tmp_path / "codec")], capture_output=True, text=True, check=True
    )
    assert json.loads(told.stdout)["hours"] == pytest.approx(15 / 3600, abs=1e-4)


# Executors ------------------------------------------------------------------------------------

def test_progress_tells_rate_and_time_left(folder: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    prepare(folder, tmp_path / "out", RANDOM, told.append)
    assert [(at.done, at.total) for at in told] == [(1, 3), (2, 3), (3, 3)]
    assert told[-1].failed == 1 and told[-1].left == 0 and told[0].per_hour > 0
    assert told[-1].audio_seconds == pytest.approx(15)
    half = Progress(done=2, total=6, failed=0, seconds=10, audio_seconds=0)
    assert half.left == 20 and half.per_hour == 720


def test_processes_give_equal_rows(folder: Path, tmp_path: Path) -> None:
    prepare(folder, tmp_path / "serial", RANDOM)
    options = RANDOM.replace(executor="processes", workers=2)
    summary = prepare(folder, tmp_path / "many", options)
    equal(read(tmp_path / "serial"), read(tmp_path / "many"))
    assert errors(tmp_path / "serial") == errors(tmp_path / "many")
    assert summary["steps_run"]["encode"] == 2
    equal(read(tmp_path / "serial"), read(tmp_path / "many"))


@pytest.mark.slow
def test_ray_gives_equal_rows(folder: Path, tmp_path: Path) -> None:
    prepare(folder, tmp_path / "serial", RANDOM)
    done = subprocess.run(
        [*YUE, "prepare", str(folder), str(tmp_path / "ray"), "--codec", "random",
         "--executor", "ray", "--workers", "2"],
        capture_output=True, text=True, check=False,
        env=environment(RAY_raylet_start_wait_time_s="300"),
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["failed"] == 1
    equal(read(tmp_path / "serial"), read(tmp_path / "ray"))
    assert errors(tmp_path / "serial") == errors(tmp_path / "ray")


MORTAL = """
import sys
from fragile import Mortal
from yue.data import prepare
from yue.data.knobs import PrepareOptions
prepare.Worker = Mortal
options = PrepareOptions(codec="random", executor=sys.argv[3], workers=1)
prepare.prepare(sys.argv[1], sys.argv[2], options)
"""


@pytest.mark.parametrize(("executor", "deaths"), [
    ("serial", 2), pytest.param("processes", 0, marks=pytest.mark.slow),
    pytest.param("ray", 0, marks=pytest.mark.slow),
])
def test_a_song_that_kills_its_process_becomes_an_error_row(
    tmp_path: Path, executor: str, deaths: int
) -> None:
    """Alone in this process it ends the run, twice; the third run goes on without it."""
    songs, out = many(tmp_path / "songs", 2), tmp_path / "out"
    record(songs / "dies.wav", tone(8, 300))
    command = [sys.executable, "-c", MORTAL, str(songs), str(out), executor]
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    for _ in range(deaths):
        killed = subprocess.run(command, env=environment(PYTHONPATH=paths), check=False)
        assert killed.returncode == -signal.SIGKILL
    last = subprocess.run(
        command, env=environment(PYTHONPATH=paths, RAY_raylet_start_wait_time_s="300"),
        capture_output=True, text=True, check=False,
    )
    assert last.returncode == 0, last.stderr
    assert read(out).keys() == {"00", "01"}
    assert errors(out).keys() == {"dies"} and "its worker died" in errors(out)["dies"]["error"]


def many(folder: Path, count: int) -> Path:
    for index in range(count):
        record(folder / f"{index:02d}.wav", tone(8, 150 + 20 * index))
        (folder / f"{index:02d}.txt").write_text(f"[verse]\nsong number {index}\n")
    return folder


@pytest.mark.parametrize("executor", [
    "serial", pytest.param("processes", marks=pytest.mark.slow)
])
def test_a_killed_run_goes_on_without_doing_anything_twice(tmp_path: Path, executor: str) -> None:
    songs = many(tmp_path / "songs", 8)
    prepare(songs, tmp_path / "whole", RANDOM)
    out = tmp_path / "out"
    command = [*YUE, "prepare", str(songs), str(out), "--codec", "random", "--executor", executor,
               "--workers", "2", "--keep-audio"]
    running = subprocess.Popen(
        command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while len(list(out.glob("work/*/*.npz"))) < 25 and time.monotonic() < deadline:
        assert running.poll() is None, "it was done before it could be killed"
        time.sleep(0.005)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    kept = {path: path.stat().st_mtime_ns for path in out.glob("work/*/*.npz")}
    assert 25 <= len(kept) < 8 * len(STEPS)
    assert not list(out.glob("*.parquet"))
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert sum(summary["steps_run"].values()) == 8 * len(STEPS) - len(kept)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert not list(out.glob("work/*/.*.part"))
    equal(read(tmp_path / "whole"), read(out))
