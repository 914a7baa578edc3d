"""Folders of songs against a reference, through tiny models: distances, texts, what is left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from test_embed import noise, write_clap
from test_embed_models import write_audiobox
from yue.audio import Audio
from yue.cli import evaluate as verb
from yue.errors import ModelError, OptionError
from yue.evaluate import against, distances
from yue.evaluate.clap import Clap
from yue.evaluate.classify import Classifier
from yue.evaluate.embed import UNKNOWN_LICENCE
from yue.evaluate.folder import find_songs, tags_of
from yue.evaluate.keep import kept


@pytest.fixture(scope="module")
def clap(tmp_path_factory: pytest.TempPathFactory) -> Clap:
    return Clap.load(write_clap(tmp_path_factory.mktemp("clap"), fused=False))


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Five songs of two windows, one too short, one damaged; stereo at another rate."""
    folder = tmp_path_factory.mktemp("songs")
    for number in range(5):
        noise(12, number, rate=22_050).save(folder / f"song{number}.flac")
    noise(0.3).save(folder / "short.wav")
    (folder / "damaged.wav").write_bytes(b"RIFF")
    return {file.stem: file for file in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reference")
    for number in range(4):
        loud = Audio(noise(12, 50 + number).samples * 3, 48_000)
        loud.save(folder / f"ref{number}.wav")
    return {file.stem: file for file in sorted(folder.iterdir())}


def test_the_verb_measures_distances_too(
    songs: Any, reference: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = write_clap(tmp_path / "clap", fused=False)
    for name, files in (("mine", songs), ("theirs", reference)):
        (tmp_path / name).mkdir()
        for number, file in enumerate(sorted(files.values())[-2:]):
            Audio.read(file).cut(0, 3).save(tmp_path / name / f"{number}.wav")
    told = f"clap={weights}"
    verb.evaluate(
        tmp_path / "mine", against=tmp_path / "theirs", embedder=(told,), processes=1, cache=False,
        output=tmp_path / "a.html",
    )
    far = json.loads((tmp_path / "a.json").read_text())["distances"][told]
    assert far["fad"]["value"] > 0 and far["windows"] == {"songs": 2, "reference": 2}
    said = capsys.readouterr().err
    assert f"{told}: FAD {far['fad']['value']:.3f}" in said and "fewer windows than twice" in said
    page = (tmp_path / "a.html").read_text()
    assert not far["determined"] and "fewer windows than twice" in page and "Distances" in page
    with pytest.raises(OptionError, match="give a reference"):
        verb.evaluate(tmp_path / "mine", embedder=("clap",), output=tmp_path / "a.html")
    with pytest.raises(OptionError, match="embedder 'clop'"):
        verb.evaluate(
            tmp_path / "mine", against=tmp_path / "theirs", embedder=("clop",),
            output=tmp_path / "a.html",
        )


def test_songs_against_a_reference(clap: Clap, songs: Any, reference: Any, tmp_path: Path) -> None:
    told: list[Any] = []
    found = against.compare(
        songs, reference, clap, cache=tmp_path, progress=lambda *each: told.append(each)
    )
    assert set(found["skipped"]) == {"short", "damaged"}
    assert "at least 1 s" in found["skipped"]["short"]
    assert found["windows"] == {"songs": 10, "reference": 8}
    rows = {name: clap.embed(Audio.read(songs[name])) for name in found["per_song"]}
    others = {name: clap.embed(Audio.read(file)) for name, file in reference.items()}
    expected = distances.fad(distances.pooled(rows), distances.pooled(others))
    assert found["fad"]["value"] == pytest.approx(expected)
    assert found["embedder"]["licence"] == UNKNOWN_LICENCE and found["kl_ast"] is None
    assert told[-1] == ("listen", 4, 4) and len(told) == 11
    clap.model, model = None, clap.model  # the second run needs no model
    try:
        assert against.compare(songs, reference, clap, cache=tmp_path)["fad"] == found["fad"]
    finally:
        clap.model = model


def test_a_classifier_adds_kl(songs: Any, reference: Any, tmp_path: Path) -> None:
    class Quiet(Classifier):
        """Two classes, by loudness."""

        def embed(self, audio: Audio) -> np.ndarray:
            loud = min(1.0, audio.peak / 4)
            return np.array([[loud, 1 - loud], [loud / 2, 1 - loud / 2]], dtype=np.float32)

        def describe(self) -> dict[str, Any]:
            return {"extractor": "loudness"}

    quiet = Quiet(None, None, "", None)  # type: ignore[arg-type]
    found = against.compare(songs, reference, quiet)
    assert found["kl_ast"]["value"] > 0 and found["kl_ast"]["pairs"] == 0


def test_texts(clap: Clap, songs: Any) -> None:
    texts = {"song1": "pop", "song0": "rock", "damaged": "jazz", "elsewhere": "folk"}
    found = against.score_texts(songs, texts, clap)
    assert set(found["songs"]) == {"song0", "song1"} and set(found["skipped"]) == {"damaged"}
    assert found["left_out"] == ["short", "song2", "song3", "song4"]
    words = clap.embed_text(["pop"])[0]
    expected = np.mean(clap.embed(Audio.read(songs["song1"])) @ words)
    assert found["songs"]["song1"] == pytest.approx(expected, abs=1e-6)
    assert found["mean"] == pytest.approx(sum(found["songs"].values()) / 2)
    assert against.score_texts(songs, {}, clap)["mean"] is None


def test_aesthetics_of_files(songs: Any, tmp_path: Path) -> None:
    found = against.aesthetics(songs, str(write_audiobox(tmp_path)))
    assert len(found["songs"]) == 5 and set(found["skipped"]) == {"short", "damaged"}
    mean = np.mean([song["PQ"] for song in found["songs"].values()])
    assert found["mean"]["PQ"] == pytest.approx(mean)


def test_embedders_by_name(clap: Clap) -> None:
    assert isinstance(against.load_embedder("clap", clap.source), Clap)
    with pytest.raises(OptionError, match="embedder 'vggish': allowed are clap, mert, clamp3, ast"):
        against.load_embedder("vggish")
    for name in against.EMBEDDERS:  # the published weights are not on this machine
        with pytest.raises(ModelError, match="could not be loaded"):
            against.load_embedder(name)


def test_kept_features(songs: Any, tmp_path: Path) -> None:
    calls: list[int] = []

    def make(audio: Audio) -> np.ndarray:
        calls.append(1)
        return np.array([audio.peak])

    first = kept(songs["song0"], {"model": 1}, make, tmp_path)
    assert kept(songs["song0"], {"model": 1}, make, tmp_path) == first and len(calls) == 1
    moved = tmp_path / "moved.flac"
    moved.write_bytes(songs["song0"].read_bytes())
    assert kept(moved, {"model": 1}, make, tmp_path) == first and len(calls) == 1
    kept(moved, {"model": 2}, make, tmp_path)
    assert len(calls) == 2
    for file in tmp_path.glob("*.npy"):
        file.write_bytes(file.read_bytes()[:40])  # a damaged one is made anew
    assert kept(moved, {"model": 1}, make, tmp_path) == first and len(calls) == 3
    kept(moved, {"model": 1}, make, None)
    assert len(calls) == 4


@pytest.fixture
def tagged(songs: Any, tmp_path: Path) -> Path:
    """Three songs: tags in a file, tags in a manifest, no tags."""
    folder = tmp_path / "tagged"
    folder.mkdir()
    for number, name in enumerate(("filed", "told", "bare")):
        Audio.read(songs[f"song{number}"]).cut(0, 3).save(folder / f"{name}.flac")
    (folder / "filed.tags").write_text("folk warm\n")
    (folder / "filed.json").write_text('{"genres": "metal"}')
    (folder / "told.json").write_text('{"tags": ["jazz", "female"]}')
    return folder


def test_tags_of_songs(tagged: Path) -> None:
    told = {song.name: tags_of(song) for song in find_songs(tagged)}
    assert told == {"filed": "folk warm", "told": "jazz female", "bare": ""}


def test_judges_stand_in_the_table(
    clap: Clap, tagged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "audiobox").mkdir()
    audiobox = write_audiobox(tmp_path / "audiobox")
    verb.evaluate(
        tagged, judge=(f"clap={clap.source}", f"audiobox={audiobox}"), processes=1, cache=False,
        output=tmp_path / "a.html",
    )
    said = capsys.readouterr().err
    assert "bare was not judged by clap: no tags are known of it." in said
    assert f"2 songs judged by clap ({UNKNOWN_LICENCE})" in said
    told = json.loads((tmp_path / "a.json").read_text())
    fit = told["songs"]["told"]["clap"]["values"]["fit"]
    sound = clap.embed(Audio.read(tagged / "told.flac"))
    assert fit == pytest.approx(np.mean(sound @ clap.embed_text(["jazz female"])[0]), abs=1e-6)
    rows = {row["name"]: row for row in told["table"]}
    assert rows["clap.fit"]["n"] == 2 and rows["audiobox.PQ"]["n"] == 3
    assert "audiobox.CE" in (tmp_path / "a.html").read_text()


def test_who_cannot_judge(tagged: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="judge 'mert': allowed are clap, clamp3, audiobox"):
        verb.evaluate(tagged, judge=("mert",), output=tmp_path / "a.html", processes=1)
    with pytest.raises(ModelError, match="could not be loaded"):
        verb.evaluate(tagged, judge=("clap",), output=tmp_path / "a.html", processes=1)


def test_kept_aesthetics(songs: Any, tmp_path: Path) -> None:
    weights = str(write_audiobox(tmp_path))
    one = {"song0": songs["song0"]}
    first = against.aesthetics(one, weights, cache=tmp_path / "kept")
    assert len(list((tmp_path / "kept").iterdir())) == 1
    assert against.aesthetics(one, weights, cache=tmp_path / "kept") == first
    assert against.aesthetics(one, weights) == first
