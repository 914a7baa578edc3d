"""Preparation against songs of which everything is known: the songbook's."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from test_prepare import RANDOM, read
from yue.audio import Audio
from yue.data import structure
from yue.data.prepare import prepare
from yue.data.records import Record
from yue.errors import ModelError
from yue.songbook.make import Order, Studio, make
from yue.songbook.profile import SIMPLE

FORM = ("verse", "chorus", "verse", "chorus")
PROFILE = SIMPLE.replace(forms=(FORM,), lines=(2, 2), voices=("m1",), genres=("folk",))
ORDER = Order(profile=PROFILE, seed=3, rate=16_000, songs=2)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two songs: their stems, and a sheet beside them."""
    try:
        Studio.open().bank.file(0)
    except ModelError as error:
        pytest.skip(str(error))
    return make(tmp_path_factory.mktemp("book"), 0.001, ORDER) / "shard-00000"


def sheets(book: Path) -> dict[str, dict]:
    found = {path.stem: json.loads(path.read_text()) for path in book.glob("*-*-*.json")}
    assert len(found) == ORDER.songs
    return found


def test_a_book_becomes_the_records_that_it_means(book: Path, tmp_path: Path) -> None:
    prepare(book, tmp_path / "out", RANDOM)
    found = read(tmp_path / "out")
    for name, sheet in sheets(book).items():
        song = found[name]
        assert [(p.label, p.text) for p in song.parts] == [
            (p["label"], p["text"]) for p in sheet["parts"]
        ]
        times = [(p["start"] * 50, p["end"] * 50) for p in sheet["parts"]]
        np.testing.assert_allclose([(p.start, p.end) for p in song.parts], times, atol=1)
        assert len(song.phones) >= 0.99 * len(sheet["phones"])
        assert list(song.tags) == sheet["tags"] and song.notes["match"]["rate"] == 1


def joined(book: Path, tmp_path: Path, lyrics: bool) -> dict[str, Record]:
    """Records from sound and timed lines alone, with labelled lyrics or without."""
    songs = tmp_path / "songs"
    songs.mkdir()
    for path in book.glob("*.flac"):
        (songs / path.name).write_bytes(path.read_bytes())
    for name, sheet in sheets(book).items():
        lines = sheet["songbook"]["lines"]
        (songs / f"{name}.json").write_text(json.dumps({"lines": lines}))
        if lyrics:
            texts = (f"[{p['label']}]\n{p['text']}\n" for p in sheet["parts"])
            (songs / f"{name}.txt").write_text("\n".join(texts))
    prepare(songs, tmp_path / "out", RANDOM)
    return read(tmp_path / "out")


def test_lyrics_and_line_times_give_the_true_sections(book: Path, tmp_path: Path) -> None:
    found = joined(book, tmp_path, lyrics=True)
    for name, sheet in sheets(book).items():
        truth, song = sheet["parts"], found[name]
        assert song.notes["match"]["rate"] == 1
        assert song.notes["match"]["placed"] == len(truth)
        sung = [(p.label, p.text) for p in song.parts if p.text]
        assert sung == [(p["label"], p["text"]) for p in truth if p["text"]]
        starts = [p.start / 50 for p in song.parts if p.text][1:]
        wanted = [p["start"] for p in truth if p["text"]][1:]
        np.testing.assert_allclose(starts, wanted, atol=1.0)


def test_lines_without_labels_lose_no_word(book: Path, tmp_path: Path) -> None:
    found = joined(book, tmp_path, lyrics=False)
    for name, sheet in sheets(book).items():
        said = "\n".join(part.text for part in found[name].parts if part.text).split("\n")
        assert said == [line["text"] for line in sheet["songbook"]["lines"]]


def test_the_baseline_hears_where_sections_change(book: Path) -> None:
    import mir_eval

    scores = []
    for name, sheet in sheets(book).items():
        stems = [
            Audio.read(book / f"{name}.{track}.flac").samples[0]
            for track in ("vocals", "accompaniment")
        ]
        size = min(map(len, stems))
        found = structure.segment(stems[0][:size] + stems[1][:size], ORDER.rate, stems[0][:size])
        truth = np.array([[p["start"], p["end"]] for p in sheet["parts"]])
        heard = np.array([[s.start, s.end] for s in found])
        truth[-1, 1] = heard[-1, 1] = max(truth[-1, 1], heard[-1, 1])
        scores.append(mir_eval.segment.detection(truth, heard, window=3, trim=True))
        assert all(a.end == b.start for a, b in itertools.pairwise(found))
    assert np.mean([hit[2] for hit in scores]) > 0.3  # chance is about .2 at this length
