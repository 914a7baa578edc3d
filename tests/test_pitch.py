"""Notes and vocal range: the published songs, the documented cases, pure truths, bad files."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yue.errors import FileError, OptionError
from yue.evaluate import pitch

SYSTEMS = ("Hailuo Music", "Tiangong", "Seed Music", "Udio", "YuE", "Suno V4")


def hz(note: float) -> float:
    return float(440 * 2 ** ((note - 69) / 12))


def sing(*notes: tuple[float, int]) -> np.ndarray:
    """A track of (note, frames); note 0 is silence."""
    return np.array([hz(note) if note else 0.0 for note, frames in notes for _ in range(frames)])


def slow_range(f0: np.ndarray) -> int | None:
    """The published rule, frame by frame: the slow twin."""
    counted, held, last = [], 0, None
    for f in f0.tolist():
        if not f > 0:
            continue
        note = round(69 + 12 * np.log2(f / 440))
        held = held + 1 if note == last else 1
        last = note
        if held >= 4:
            counted.append(note)
    return max(counted) - min(counted) if counted else None


@pytest.fixture(scope="module")
def published(shared: Path) -> dict[str, np.ndarray]:
    return pitch.load_f0(shared / "f0.npz")


@pytest.fixture(scope="module")
def results(published: dict[str, np.ndarray]) -> dict[float, dict[str, Any]]:
    return {
        seconds: pitch.evaluate_songs(published, equal_seconds=seconds) for seconds in (15, 25)
    }


def test_every_published_song(results: dict[float, dict[str, Any]], shared: Path) -> None:
    expected = json.loads((shared / "vocal_ranges.json").read_text())
    songs = results[15]["songs"]
    assert len(expected) == 319
    assert {key: song["range"] for key, song in songs.items()} == expected


def test_the_published_systems(results: dict[float, dict[str, Any]], shared: Path) -> None:
    expected = json.loads((shared / "evaluation.json").read_text())["vocal_range"]
    assert set(expected) == set(SYSTEMS)
    for system, figures in expected.items():
        found = results[15]["systems"][system]["range"]
        rounded = {name: round(found[name], 4) for name in figures}
        assert rounded == figures and found["missing"] == 0


def test_the_table_at_equal_length(results: dict[float, dict[str, Any]]) -> None:
    """docs/evaluation.md: medians over songs at 15 s and 25 s, and voiced seconds."""
    table = {
        15: (15.4, 15.0, 15.0, 17.1, 17.2, 19.6),
        25: (18.0, 16.7, 17.4, 19.7, 19.5, 22.0),
    }
    for seconds, row in table.items():
        medians = [results[seconds]["systems"][name]["equal_range"]["median"] for name in SYSTEMS]
        assert medians == pytest.approx(row, abs=0.051)
    voiced = [results[15]["systems"][name]["voiced_seconds"]["median"] for name in SYSTEMS]
    assert voiced == pytest.approx((28.0, 67.1, 47.8, 86.4, 127.4, 130.7), abs=0.051)
    percentiles = results[15]["systems"]["YuE"]["percentile_range"]
    assert round(percentiles["median"], 1) == 12.2
    assert results[25]["systems"]["Hailuo Music"]["equal_range"]["missing"] == 19


@pytest.mark.parametrize(
    ("f0", "lowest", "highest"),
    [
        ([220] * 4 + [440] * 4, 57, 69),
        ([220] * 4 + [440] * 3, 57, 57),
        ([220] * 2 + [0] * 5 + [220] * 2 + [330] * 10, 57, 64),
        ([220] * 2 + [np.nan] * 5 + [220] * 2 + [330] * 10, 57, 64),
        ([220, 440] * 20, None, None),
        ([220] * 3, None, None),
        ([0.0] * 50, None, None),
        ([], None, None),
    ],
)
def test_documented_cases(f0: list[float], lowest: int | None, highest: int | None) -> None:
    found = pitch.evaluate(f0, equal_seconds=15)
    assert (found["lowest"], found["highest"]) == (lowest, highest)
    assert found["range"] == (None if lowest is None or highest is None else highest - lowest)
    assert found["equal_range"] is None


def test_gaps_end_a_note_if_asked() -> None:
    f0 = sing((57, 2), (0, 5), (57, 2), (64, 10))
    assert pitch.vocal_range(f0) == 7
    assert pitch.vocal_range(f0, bridge_gaps=False) == 0
    notes, frames = pitch.held_notes(sing((57, 4), (0, 1), (57, 6)), bridge_gaps=False)
    assert notes.tolist() == [57, 57] and frames.tolist() == [4, 6]


def test_a_hold_of_one_frame_counts_every_frame() -> None:
    assert pitch.vocal_range([220, 440] * 3, hold=0.01) == 12
    assert pitch.vocal_range(sing((60, 5), (72, 4)), hold=0.05) == 0


def test_notes_round_to_even() -> None:
    """Python's rounding: 68.5 is 68, and 69.5 is 70."""
    f0 = [hz(68.5), hz(69.5)]
    exact = pitch.pitches(f0)
    expected = [round(float(value)) for value in exact]
    notes = [pitch.held_notes([f] * 4)[0].tolist() for f in f0]
    assert notes == [[note] for note in expected]


def test_a_glide_holds_what_it_holds() -> None:
    """12 semitones in 48 frames: 4 frames a note; in 24: two, none counts."""
    assert pitch.vocal_range(sing(*((60.02 + i / 4 - 0.5, 1) for i in range(52)))) == 12
    assert pitch.vocal_range(sing(*((60.02 + i / 2, 1) for i in range(24)))) is None


@pytest.mark.parametrize("step", [0.005, 0.016, 0.02, 0.01])
def test_other_steps_come_to_the_grid(step: float) -> None:
    def per_second(seconds: float) -> int:
        return round(seconds / step)

    f0 = sing((57, per_second(1)), (0, per_second(0.5)), (64, per_second(1)))
    grid = pitch.to_grid(f0, step)
    assert len(grid) == pytest.approx(250, abs=3)
    assert set(np.unique(np.round(grid, 6))) == {0.0, 220.0, round(hz(64), 6)}
    assert np.count_nonzero(grid == 0) == pytest.approx(50, abs=2)
    assert pitch.vocal_range(f0, step=step) == 7
    assert pitch.evaluate(f0, step=step)["voiced_seconds"] == pytest.approx(2, abs=0.03)


def test_a_glide_between_coarse_frames_is_straight() -> None:
    grid = pitch.to_grid([hz(60), hz(64)], 0.04)
    assert pitch.pitches(grid[:5]) == pytest.approx([60, 61, 62, 63, 64])


def test_equal_length_by_hand() -> None:
    """Ten seconds of one note, then ten of the octave: of five windows of 10 s, three hold both."""
    f0 = sing((57, 1000), (69, 1000))
    assert pitch.equal_range(f0, 10) == pytest.approx(3 * 12 / 5)
    assert pitch.equal_range(f0, 20) == 12
    assert pitch.equal_range(f0, 20.01) is None
    assert pitch.equal_range(f0, 10, windows=1) == 0
    assert pitch.equal_range([220, 440] * 500, 5) is None


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0, 57, 58.4, 60, 72]), st.integers(1, 7)), max_size=20))
def test_the_slow_twin_agrees(notes: list[tuple[float, int]]) -> None:
    f0 = sing(*notes)
    assert pitch.vocal_range(f0) == slow_range(f0)
    assert pitch.vocal_range(f0) == pitch.vocal_range(f0[f0 > 0])
    octave_up = pitch.vocal_range(2 * f0)
    assert octave_up == pitch.vocal_range(f0)
    whole = pitch.equal_range(f0, max(1, np.count_nonzero(f0)) / 100)
    assert whole == pitch.vocal_range(f0)


def test_summary() -> None:
    assert pitch.summary([3, None, 9, 4.5]) == {
        "n": 3, "missing": 1, "mean": 5.5, "median": 4.5, "min": 3, "max": 9,
    }
    assert pitch.summary([None])["mean"] is None and pitch.summary([])["n"] == 0


def test_many_songs_are_json() -> None:
    found = pitch.evaluate_songs(
        {"a/en/1": [220] * 9, "a/en/x/2": [], "b/zh/1": sing((60, 9), (72, 9))}, equal_seconds=0.1
    )
    assert json.loads(json.dumps(found)) == found
    assert found["systems"]["a"]["range"]["n"] == 1
    assert found["systems"]["a"]["range"]["missing"] == 1
    assert found["systems"]["b"]["range"]["mean"] == 12
    assert found["options"]["equal_seconds"] == 0.1 and found["options"]["step"] == 0.01


@pytest.mark.parametrize(
    ("f0", "words"),
    [
        ([220, -1], "-1"),
        ([220, np.inf], "inf"),
        ([[220.0]], "shape"),
        (["la"], "number"),
        ([[1], [1, 2]], "number"),
        ([None, 220], "number"),
    ],
)
def test_tracks_that_are_none(f0: Any, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        pitch.vocal_range(f0)


def test_options_out_of_range() -> None:
    for wrong in (0, -1, np.nan, np.inf):
        with pytest.raises(OptionError, match="step"):
            pitch.vocal_range([220], step=wrong)
        with pytest.raises(OptionError, match="hold"):
            pitch.vocal_range([220], hold=wrong)
        with pytest.raises(OptionError, match="seconds"):
            pitch.equal_range([220], wrong)
    with pytest.raises(OptionError, match="windows"):
        pitch.equal_range([220], 1, windows=0)
    with pytest.raises(OptionError, match="system/language/id"):
        pitch.evaluate_songs({"song": [220]})


def write(path: Path, **tracks: Any) -> Path:
    np.savez_compressed(path, **{name.replace("__", "/"): value for name, value in tracks.items()})
    return path


def test_a_file_comes_back(tmp_path: Path) -> None:
    path = write(tmp_path / "f0.npz", a__en__1=np.float32([220, np.nan]), a__en__2=np.arange(3))
    tracks = pitch.load_f0(path)
    assert {key: track.tolist() for key, track in tracks.items()} == {
        "a/en/1": [220, 0], "a/en/2": [0, 1, 2],
    }


def bad_files(folder: Path) -> Iterator[tuple[Path, str]]:
    good = write(folder / "good.npz", a__en__1=np.full(4000, 220.0)).read_bytes()
    (folder / "cut.npz").write_bytes(good[: len(good) // 2])
    (folder / "text.npz").write_text("no zip at all")
    (folder / "nothing.npz").write_bytes(b"")
    np.save(folder / "single.npy", np.zeros(3))
    with zipfile.ZipFile(folder / "alien.npz", "w") as file:
        file.writestr("a/en/1.txt", "no array")
    yield folder / "missing.npz", "no such file"
    yield folder, "not an f0 file"
    yield folder / "cut.npz", "not a whole one"
    yield folder / "text.npz", "not an f0 file"
    yield folder / "nothing.npz", "not an f0 file"
    yield folder / "single.npy", "single array"
    yield folder / "alien.npz", "no array"
    yield write(folder / "empty.npz"), "empty"
    yield write(folder / "key.npz", song=np.zeros(3)), "system/language/id"
    yield write(folder / "pickle.npz", a__en__1=np.array([{}], dtype=object)), "not an f0 file"
    yield write(folder / "two.npz", a__en__1=np.zeros((2, 2))), r"a/en/1: .*shape"
    yield write(folder / "negative.npz", a__en__1=np.array([-1.0])), r"a/en/1: .*-1"


def test_files_that_are_none(tmp_path: Path) -> None:
    for path, words in bad_files(tmp_path):
        with pytest.raises(FileError, match=words):
            pitch.load_f0(path)


def test_a_flipped_byte_never_surprises(tmp_path: Path) -> None:
    path = write(tmp_path / "f0.npz", a__en__1=np.linspace(100, 400, 50))
    good = path.read_bytes()
    for place in range(len(good)):
        path.write_bytes(good[:place] + bytes([good[place] ^ 0x41]) + good[place + 1 :])
        try:
            pitch.load_f0(path)
        except FileError as error:
            assert str(path) in str(error)
