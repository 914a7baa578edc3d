"""Audio: round trips, cuts, and files that are none."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from yue.audio import FORMATS, Audio
from yue.errors import AudioError, FileError


def tone(frequency: float, rate: int, seconds: float = 1.0, channels: int = 1) -> Audio:
    t = np.arange(int(rate * seconds)) / rate
    wave = 0.5 * np.sin(2 * math.pi * frequency * t)
    return Audio(np.repeat(wave[None], channels, axis=0), rate)


@pytest.mark.parametrize("suffix", list(FORMATS))
def test_every_format_round_trips(tmp_path: Path, suffix: str) -> None:
    audio = tone(440, 44_100)
    back = Audio.read(audio.save(tmp_path / f"x{suffix}"))
    assert back.rate == 44_100 and abs(back.seconds - 1) < 0.06
    assert back.level == pytest.approx(audio.level, abs=0.3)
    if suffix in (".wav", ".flac"):
        np.testing.assert_allclose(back.samples, audio.samples, atol=2**-22)


def test_minutes_of_ogg(tmp_path: Path) -> None:
    """libsndfile's Vorbis encoder crashes the process if given a minute at once."""
    audio = Audio(np.random.default_rng(0).normal(size=44_100 * 60) * 0.1, 44_100)
    assert Audio.read(audio.save(tmp_path / "x.ogg")).seconds == pytest.approx(60, abs=0.1)


def test_level_and_peak() -> None:
    audio = tone(100, 16_000)
    assert audio.level == pytest.approx(20 * math.log10(0.5 / math.sqrt(2)), abs=1e-3)
    assert audio.peak == pytest.approx(0.5, abs=1e-3)
    assert Audio(np.zeros((1, 10)), 8000).level == -math.inf


@pytest.mark.parametrize("rate", [16_000, 22_050, 48_000])
def test_resampling_keeps_a_tone(rate: int) -> None:
    resampled = tone(440, 44_100).resample(rate)
    expected = tone(440, rate).samples
    inner = slice(rate // 10, -rate // 10)
    np.testing.assert_allclose(resampled.samples[0, inner], expected[0, inner], atol=1e-4)


def test_cut_and_mono() -> None:
    audio = tone(440, 8000, channels=8)
    assert audio.mono().samples.shape == (1, 8000)
    np.testing.assert_allclose(audio.mono().samples, audio.samples[:1], atol=1e-6)
    assert audio.cut(0.25, 0.5).samples.shape == (8, 2000)
    assert audio.cut(0.5).seconds == 0.5 and audio.cut(0.5, 99).seconds == 0.5


@pytest.mark.parametrize(("start", "end"), [(0.5, 0.5), (0.6, 0.2), (2.0, None), (-1.0, 0.5)])
def test_empty_cuts_are_refused(start: float, end: float | None) -> None:
    with pytest.raises(AudioError, match=r"1\.00 s long"):
        tone(440, 8000).cut(start, end)


def test_eight_channels_are_read(tmp_path: Path) -> None:
    path = tone(440, 8000, channels=8).save(tmp_path / "x.wav")
    assert Audio.read(path, start=0.5).samples.shape == (8, 4000)


@pytest.mark.parametrize("content", [b"", b"not audio at all", b"RIFF\x00\x00\x00\x00WAVEfmt "])
def test_what_is_no_audio_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=r"x\.wav"):
        Audio.read(path)


def test_a_file_cut_off_gives_what_is_there_or_an_error(tmp_path: Path) -> None:
    path = tone(440, 44_100).save(tmp_path / "x.flac")
    path.write_bytes(path.read_bytes()[:3000])
    try:
        audio = Audio.read(path)
    except AudioError as error:
        assert "x.flac" in str(error)
    else:
        assert 0 < audio.seconds < 1


def test_missing_files_and_unknown_suffixes(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no such file"):
        Audio.read(tmp_path / "none.wav")
    with pytest.raises(AudioError, match=r"\.wav, \.flac, \.mp3, \.ogg"):
        tone(1, 8000).save(tmp_path / "x.xyz")
    with pytest.raises(FileError, match="could not write"):
        tone(1, 8000).save(tmp_path / "no" / "x.wav")


def test_samples_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / "x.wav", np.array([0.0, np.nan]), 8000, subtype="FLOAT")
    with pytest.raises(AudioError, match="not numbers"):
        Audio.read(tmp_path / "x.wav")
