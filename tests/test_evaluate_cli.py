"""Folders of songs through `yue evaluate`: good ones, bad ones, caches, tables, the report."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from conftest import GOLDEN
from yue.audio import Audio
from yue.cli import evaluate as verb
from yue.errors import FileError, OptionError
from yue.evaluate import folder, plots, report, run
from yue.evaluate.options import MeasureOptions
from yue.evaluate.preference import read_metrics

RATE = 16_000
LINE = "The river keeps on running down to the sea"


def tone(hertz: float, seconds: float = 3.0, rate: int = RATE, channels: int = 1) -> Audio:
    wave = 0.2 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return Audio(np.vstack([wave] * channels), rate)


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whole songs, a lone mix, silence, five seconds, stems alone, and one that is no audio."""
    root = tmp_path_factory.mktemp("songs")
    spoken = Audio.read(GOLDEN / "spoken.ogg")
    spoken.save(root / "whole.vocals.flac")
    band = tone(220, spoken.seconds, 22_050, 2)
    band.save(root / "whole.accompaniment.wav")
    mixed = spoken.samples + band.mono().resample(RATE).samples[:, : spoken.samples.shape[1]]
    Audio(mixed, RATE).save(root / "whole.mp3")
    (root / "whole.txt").write_text(f"[verse]\n{LINE}\n")
    manifest = {"seed": 7, "sections": [{"label": "verse", "text": LINE, "start": 0, "end": 2.8}]}
    (root / "whole.json").write_text(json.dumps(manifest))
    (root / "more").mkdir()
    tone(330, 5, 44_100, 2).save(root / "more" / "five & <six>.ogg")
    Audio(np.zeros((2, RATE)), RATE).save(root / "silent.wav")
    spoken.save(root / "stems.vocals.flac")
    tone(110, 2, 8_000).save(root / "stems.accompaniment.flac")
    (root / "broken.flac").write_bytes((root / "whole.vocals.flac").read_bytes()[:400])
    (root / ".hidden.wav").write_bytes(b"")
    (root / "notes.txt").write_text("not a song")
    return root


@pytest.fixture(scope="module")
def found(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> run.Evaluation:
    return run.evaluate_folder(songs, cache=tmp_path_factory.getbasetemp() / "kept")


def test_files_find_their_songs(songs: Path) -> None:
    names = {song.name: song for song in folder.find_songs(songs)}
    assert set(names) == {"whole", "more/five & <six>", "silent", "stems", "broken"}
    whole = names["whole"]
    assert set(whole.sounds) == {"mix", "vocals", "accompaniment"}
    assert whole.lyrics == songs / "whole.txt" and whole.manifest == songs / "whole.json"
    work = folder.read_song(names["stems"])
    assert work.mix.rate == RATE and work.mix.seconds == pytest.approx(2.8, abs=0.1)
    alone = folder.find_songs(songs / "whole.mp3")
    assert [song.name for song in alone] == ["whole"] and set(alone[0].sounds) == set(whole.sounds)


def test_a_folder_per_song(tmp_path: Path) -> None:
    (tmp_path / "pop").mkdir()
    for track in ("mix", "vocals", "accompaniment"):
        tone(220, 1).save(tmp_path / "pop" / f"{track}.wav")
    told = {"parts": [{"label": "verse", "text": "la", "start": 0, "end": 1}]}
    (tmp_path / "pop" / "mix.json").write_text(json.dumps(told))
    (song,) = folder.find_songs(tmp_path)
    work = folder.read_song(song)
    assert work.texts == ("la",) and [part.label for part in work.parts] == ["verse"]
    assert song.name == "pop/mix" and set(song.sounds) == {"mix", "vocals", "accompaniment"}


def test_good_songs_are_measured_and_bad_ones_named(found: run.Evaluation) -> None:
    assert set(found.songs) == {"whole", "more/five & <six>", "silent", "stems"}
    assert set(found.failed) == {"broken"} and "broken.flac" in found.failed["broken"]
    told = json.loads(json.dumps(found.as_dict()))
    assert told["n"] == 4 and told["failed_n"] == 1
    whole = found.songs["whole"]
    assert whole["phones"]["values"]["rate"] < 0.4 and whole["phones"]["values"]["complete"] == 1
    assert whole["structure"]["values"]["labels"] == ["verse"]
    assert "pitch" not in found.songs["silent"] and "phones" not in found.songs["stems"]
    assert found.songs["silent"]["sound"]["values"]["loudness"] is None
    assert found.songs["more/five & <six>"]["sound"]["values"]["channels"] == 2


def test_known_results_are_not_measured_again(
    songs: Path, found: run.Evaluation, tmp_path_factory: pytest.TempPathFactory
) -> None:
    kept = tmp_path_factory.getbasetemp() / "kept"
    ticks: list[tuple[str, float, float]] = []
    again = run.evaluate_folder(songs, cache=kept, progress=lambda *tick: ticks.append(tick))
    assert again == found or again.songs == found.songs
    assert again.cached == 4 and found.cached == 0 and ticks[-1] == ("songs", 5, 5)
    one = next(song for song in folder.find_songs(songs) if song.name == "silent")
    key = run._key(one, MeasureOptions())
    assert (kept / f"{key}.json").is_file()
    (kept / f"{key}.json").write_text("{cut")
    assert run.evaluate_folder(songs, cache=kept).cached == 3
    assert run._key(one, MeasureOptions(seed=1)) != key


def test_the_content_counts_not_the_name(tmp_path: Path) -> None:
    tone(220, 1).save(tmp_path / "a.wav")
    tone(220, 1).save(tmp_path / "b.wav")
    tone(221, 1).save(tmp_path / "c.wav")
    one, two, three = (song.digest() for song in folder.find_songs(tmp_path))
    assert one == two != three


def test_folders_without_songs(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="holds no songs"):
        run.evaluate_folder(tmp_path)
    with pytest.raises(FileError, match="no such folder"):
        run.evaluate_folder(tmp_path / "nowhere")
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    with pytest.raises(FileError, match=r"none of its 1 songs.*bad\.wav"):
        run.evaluate_folder(tmp_path)


def test_bad_company_fails_one_song_only(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        tone(220, 1).save(tmp_path / f"{name}.wav")
    (tmp_path / "a.json").write_text('{"sections": [{"label": "verse", "start": 3, "end": 1}]}')
    (tmp_path / "b.f0.npy").write_bytes(b"no array")
    tone(220, 1).save(tmp_path / "d.wav")
    (tmp_path / "d.json").write_text('{"sections": [{"label": "a", "start": 0, "end": 1000}]}')
    tone(220, 1).save(tmp_path / "e.wav")
    (tmp_path / "e.json").write_text('{"sections": [{"label": "a", "start": 0, "end": Infinity}]}')
    six = tone(220, 1)
    Audio(np.vstack([six.samples] * 6), six.rate).save(tmp_path / "six [1].wav")
    found = run.evaluate_folder(tmp_path)
    assert set(found.songs) == {"c", "six [1]"}
    assert "no time" in found.failed["a"] and "no f0 file" in found.failed["b"]
    assert "seconds are expected" in found.failed["d"] and "no time" in found.failed["e"]
    assert set(run.evaluate_folder(tmp_path / "six [1].wav").songs) == {"six [1]"}


def test_what_nobody_foresaw_costs_one_song(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        tone(220, 1).save(tmp_path / f"{name}.wav")
    real = run.read_song
    monkeypatch.setattr(run, "read_song", lambda song: 1 / 0 if song.name == "a" else real(song))
    found = run.evaluate_folder(tmp_path)
    assert found.failed == {"a": "ZeroDivisionError: division by zero"}
    assert set(found.songs) == {"b"}


def test_two_files_of_one_name(tmp_path: Path) -> None:
    for suffix in ("wav", "flac"):
        tone(220, 1).save(tmp_path / f"a.{suffix}")
    with pytest.raises(FileError, match=r"a\.flac and a\.wav: which is the song"):
        run.evaluate_folder(tmp_path)


class Page(HTMLParser):
    """Counts tags and remembers sources and text."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[tuple[str, str]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [(tag, value or "") for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_report_stands_alone(found: run.Evaluation) -> None:
    text = report.page(found, found)
    page = Page()
    page.feed(text)
    assert all(source.startswith("data:") for _, source in page.sources)
    assert [tag for tag, _ in page.sources].count("audio") == 4
    assert sum(source.startswith("data:image/png") for _, source in page.sources) > 6
    assert "five & <six>" in "".join(page.text) and "<six>" not in text
    assert "broken was left out" in "".join(page.text)
    assert "<script" not in text and not re.search(r"https?://", text)


def test_players_are_attenuated_and_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "SECONDS", 1.0)
    loud = report.excerpt(Audio(tone(1_000, 3).samples * 4.9, RATE))
    assert loud.seconds == 1 and loud.peak < 0.3
    quiet = tone(1_000, 3)
    quiet = Audio(quiet.samples * 0.01, RATE)
    assert report.excerpt(quiet).peak == pytest.approx(quiet.peak)
    assert report.excerpt(Audio(np.zeros((1, 10)), RATE)).peak == 0


def test_plots_are_pictures_also_of_little() -> None:
    pictures = [
        plots.violins({"a": [1, 2, 3, 4], "b": [2.0], "c": [], "$x_": [3, 3, 3]}, "range"),
        plots.violins({}, "range"), plots.spectrogram(tone(440, 0.5)),
        plots.spectrogram(Audio(np.zeros((2, 100)), RATE)),
        plots.over_time([{"start": 0, "rate": None}, {"start": 30, "rate": 1.2}], "rate"),
    ]
    assert all(picture.startswith(b"\x89PNG") and len(picture) > 500 for picture in pictures)
    assert plots.spectrogram(tone(440, 0.5)) == pictures[2]


def test_the_verb_writes_both_and_prints_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for side, hertz in (("mine", 220), ("theirs", 440)):
        (tmp_path / side).mkdir()
        for name in ("a", "b"):
            tone(hertz, 2).save(tmp_path / side / f"{name}.wav")
    output = tmp_path / "report.html"
    verb.evaluate(tmp_path / "mine", against=tmp_path / "theirs", output=output, processes=1)
    told = capsys.readouterr()
    assert "sound.loudness" in told.out and "difference" in told.out
    assert "2 songs" in told.err and str(output) in told.err
    numbers = json.loads(output.with_suffix(".json").read_text())
    row = next(row for row in numbers["table"] if row["name"] == "sound.bandwidth")
    assert row["pairs"] == 2 and row["difference"] < 0 and row["interval"][0] <= row["mean"]
    tidy = read_metrics(output.with_suffix(".csv"))["sound.seconds"]
    assert tidy == {(side, name): 2.0 for side in ("mine", "theirs") for name in ("a", "b")}
    verb.evaluate(tmp_path / "mine" / "a.wav", output=output, processes=1, json=True)
    one = json.loads(capsys.readouterr().out)
    assert one["n"] == 1 and one["table"][0]["interval"] is None and one["against"] is None


def test_the_verb_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="suffix"):
        verb.evaluate(tmp_path, output=tmp_path / "a.pdf")
    with pytest.raises(OptionError, match="no folder"):
        verb.evaluate(tmp_path, output=tmp_path / "no" / "a.html")
    with pytest.raises(OptionError, match="--processes 0"):
        verb.evaluate(tmp_path, output=tmp_path / "a.html", processes=0)


@pytest.mark.slow
def test_the_command_line_in_two_processes(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        tone(220, 2).save(tmp_path / f"{name}.wav")
    (tmp_path / "d.wav").write_bytes(b"RIFF")
    command = [sys.executable, "-m", "yue", "evaluate", str(tmp_path), "-o",
               str(tmp_path / "r.html"), "--processes", "2", "--no-cache", "--words", "none"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "d was left out" in done.stderr and "3 songs (0 known), 1 left out" in done.stderr
    assert (tmp_path / "r.html").stat().st_size > 10_000
    done = subprocess.run([*command[:4], str(tmp_path / "none")], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 1 and "no such folder" in done.stderr
