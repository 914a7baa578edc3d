"""The f0 extractor against tones and sung notes whose pitch is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from yue.audio import Audio
from yue.errors import AudioError, FileError
from yue.evaluate import f0, pitch

RATE = 16_000


def hertz(note: float) -> float:
    return 440 * 2 ** ((note - 69) / 12)


def cents(found: np.ndarray, true: float) -> np.ndarray:
    return 1200 * np.log2(found[found > 0] / true)


def sung(notes: list[float], seconds: float = 1.0, vibrato: float = 30.0) -> Audio:
    """Notes as a voice holds them: a buzz through two formants, 70-ms glides, vibrato in cents."""
    steps = np.repeat(notes, round(seconds * RATE)).astype(float)
    glide = np.hanning(round(0.07 * RATE))
    steps = np.convolve(np.pad(steps, len(glide), mode="edge"), glide / glide.sum(), "same")
    steps = steps[len(glide) : -len(glide)]
    time = np.arange(len(steps)) / RATE
    line = hertz(steps + vibrato / 100 * np.sin(2 * np.pi * 5.5 * time))
    phase = 2 * np.pi * np.cumsum(line) / RATE
    sound = np.zeros(len(steps))
    for harmonic in range(1, 40):
        at = harmonic * line
        formants = np.exp(-(((at - 700) / 300) ** 2)) + 0.5 * np.exp(-(((at - 1200) / 400) ** 2))
        sound += (at < 7_000) * (formants + 0.03) / harmonic**0.5 * np.sin(harmonic * phase)
    return Audio(0.3 * sound / np.abs(sound).max(), RATE)


@pytest.mark.parametrize("note", [45, 50.5, 57, 64, 69, 74.3, 81])
def test_pure_tones_within_10_cents(note: float) -> None:
    time = np.arange(44_100 * 2) / 44_100
    found = f0.track(Audio(0.3 * np.sin(2 * np.pi * hertz(note) * time), 44_100))
    assert len(found) == 200
    inner = found[20:-20]
    assert np.count_nonzero(inner) >= 10 and np.abs(cents(inner, hertz(note))).max() < 5


@pytest.mark.parametrize("lowest", [45, 52, 60])
def test_sung_notes_within_10_cents(lowest: int) -> None:
    notes = [lowest, lowest + 4, lowest + 7, lowest + 12, lowest + 5, lowest]
    found = f0.track(sung(notes))
    for place, note in enumerate(notes):
        held = found[100 * place + 15 : 100 * place + 97]
        assert (held > 0).mean() > 0.95
        assert abs(np.median(cents(held, hertz(note)))) < 10
    assert pitch.vocal_range(f0.track(sung(notes, vibrato=0))) == 12


def test_times_begin_at_zero_and_glides_are_not_late() -> None:
    silence = np.zeros((1, RATE), np.float32)
    later = Audio(np.hstack([silence, sung([57]).samples, silence]), RATE)
    found = f0.track(later)
    assert np.flatnonzero(found)[[0, -1]] == pytest.approx([100, 199], abs=4)
    time = np.arange(4 * RATE) / RATE
    line = 150 * 2 ** (time / 4)
    phase = 2 * np.pi * np.cumsum(line) / RATE
    glide = f0.track(Audio(0.2 * sum(np.sin(k * phase) / k for k in range(1, 10)), RATE))
    off = 1200 * np.log2(glide[50:-50] / (150 * 2 ** (np.arange(50, 350) / 400)))
    assert abs(np.median(off)) < 3 and np.abs(off).max() < 15


def test_chunks_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    song = sung([52, 57, 61, 64], seconds=1.3)
    whole = f0.track(song)
    monkeypatch.setattr(f0, "CHUNK", 2.048)
    cut = f0.track(song)
    both = (whole > 0) & (cut > 0)
    assert len(cut) == len(whole) and both.mean() > 0.95
    assert np.abs(1200 * np.log2(cut[both] / whole[both])).max() < 5


def test_what_has_no_pitch() -> None:
    assert not f0.track(Audio(np.zeros((2, 44_100)), 44_100)).any()
    assert f0.track(Audio(np.zeros((1, 0)), 16_000)).size == 0
    assert f0.track(Audio(np.ones((1, 100)), 16_000)).size == 1
    hiss = np.random.default_rng(1).standard_normal(3 * RATE)
    assert (f0.track(Audio(0.1 * hiss, RATE)) > 0).mean() < 0.05
    with pytest.raises(AudioError, match="not numbers"):
        f0.track(Audio(np.full((1, RATE), np.inf), RATE))


def test_files_of_another_extractor(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([220, np.nan, 0, 221.0]))
    assert f0.load(tmp_path / "a.npy").tolist() == [220, 0, 0, 221]
    (tmp_path / "a.csv").write_text("# s, Hz\n0.02,220\n0.04,220\n0.06,0\n0.08,440\n")
    assert f0.load(tmp_path / "a.csv") == pytest.approx(
        [0, 0, 220, 220, 220, 0, 0, 440, 440, 440]
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.csv", ""), ("a.csv", "0,220\n0,220\n"), ("a.csv", "la,220"), ("a.csv", "0,-3\n.1,5\n"),
     ("a.npy", "no array"), ("a.csv", "1,2,3\n4,5,6\n")],
)
def test_files_that_are_none(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(FileError, match="no f0 file"):
        f0.load(tmp_path / name)
    with pytest.raises(FileError, match="no f0 file"):
        f0.load(tmp_path / "missing.npy")
