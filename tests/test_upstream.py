"""Import of upstream's JSONL and npy, on files written as its scripts write them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from yue.data import upstream
from yue.data.records import Part, check
from yue.errors import FileError


def write(folder: Path, *songs: dict) -> Path:
    path = folder / "songs.jsonl"
    lines = (song if isinstance(song, str) else json.dumps(song) for song in songs)
    path.write_text("\n".join(lines))
    return path


def a_song(folder: Path, name: str = "a", frames: int = 1000, **changes: object) -> dict:
    rng = np.random.default_rng(frames)
    song = {
        "id": name, "audio_length_in_sec": frames / 50, "genres": "pop, female vocal, airy",
        "splitted_lyrics": {"segmented_lyrics": [
            {"offset": 0, "duration": 8, "codec_frame_start": 0, "codec_frame_end": 400,
             "line_content": "[verse]\nHello there\n\n"},
            {"offset": 8, "duration": 12, "codec_frame_start": 400, "codec_frame_end": 1000,
             "line_content": "[chorus]\n\n"},
        ]},
    }
    for key, rows in (("codec", 1), ("vocals_codec", 8), ("instrumental_codec", 12)):
        np.save(folder / f"{name}.{key}.npy", rng.integers(0, 1024, (rows, frames)))
        song[key] = f"{name}.{key}.npy"
    return {**song, **changes}


def test_a_song_comes_through(tmp_path: Path) -> None:
    (record,), report = upstream.read(write(tmp_path, a_song(tmp_path)))
    assert (report.songs, report.parts, dict(report.dropped)) == (1, 2, {})
    assert record.parts == (Part("verse", "Hello there", 0, 400), Part("chorus", "", 400, 1000))
    assert record.tags == ("pop", "female vocal", "airy")
    assert {k: v.shape for k, v in record.codes.items()} == {
        "mix": (1, 1000), "vocals": (8, 1000), "accompaniment": (12, 1000)
    }
    stored = np.load(tmp_path / "a.vocals_codec.npy")
    np.testing.assert_array_equal(record.codes["vocals"], stored)
    assert check(record)


def test_what_is_dropped_is_counted_with_its_reason(tmp_path: Path) -> None:
    segments = a_song(tmp_path)["splitted_lyrics"]["segmented_lyrics"]
    short = {**segments[0], "codec_frame_start": 380}
    outside = {**segments[1], "codec_frame_start": 1200}
    both = {"segmented_lyrics": [segments[0], short, outside]}
    np.save(tmp_path / "flat.npy", np.zeros(5))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "a.codec.npy").read_bytes()[:500])
    path = write(
        tmp_path,
        a_song(tmp_path, splitted_lyrics=both),
        a_song(tmp_path, "b", splitted_lyrics={"segmented_lyrics": [short, outside]}),
        a_song(tmp_path, "c", audio_length_in_sec=30),
        a_song(tmp_path, "d", codec="none.npy"),
        a_song(tmp_path, "e", codec="flat.npy"),
        a_song(tmp_path, "f", codec="cut.npy"),
        {"id": "g"},
        "{broken",
        "[1]",
    )
    kept, report = upstream.read(path)
    assert [record.id for record in kept] == ["a"] and len(kept[0].parts) == 1
    assert dict(report.dropped) == {
        "section shorter than a second": 2, "section outside the song": 2,
        "no section is left": 1, "frames do not fit the stated length": 1,
        "none.npy is missing or damaged": 1, "cut.npy is missing or damaged": 1,
        "flat.npy holds no codes of shape (1..12, frames)": 1, "no codes": 1,
        "not a song's JSON object": 2,
    }
    assert report.first["no codes"] == "songs.jsonl line 7"


def test_tracks_are_trimmed_to_the_shortest(tmp_path: Path) -> None:
    song = a_song(tmp_path)
    np.save(tmp_path / "a.codec.npy", np.zeros((1, 993), np.int64))
    (record,), _ = upstream.read(write(tmp_path, song))
    assert record.frames == 993 and record.parts[-1].end == 993


def test_a_missing_list_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"none\.jsonl"):
        upstream.read(tmp_path / "none.jsonl")
