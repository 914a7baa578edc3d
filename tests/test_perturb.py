"""Another voice: pitch and formants move as asked, time does not; a song keeps its other voice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from test_prepare import RATE, read, record, tone
from yue.data.knobs import PrepareOptions
from yue.data.perturb import FORMANT_RATIO, PITCH_SEMITONES, draw, perturb, shifted, stretched
from yue.data.prepare import prepare

pytest.importorskip("pyworld")

SUNG, FORMANT = 160.0, 1000.0


def vowel(seconds: float = 2.0, f0: float = SUNG, formant: float = FORMANT) -> np.ndarray:
    """Harmonics of f0 under one wide hump, silent for its first quarter."""
    time = np.arange(int(seconds * RATE)) / RATE
    harmonics = np.arange(1, int(RATE / 2 / f0)) * f0
    strength = np.exp(-0.5 * ((harmonics - formant) / 250) ** 2) + 0.002
    wave = sum(a * np.sin(2 * np.pi * f * time) for a, f in zip(strength, harmonics, strict=True))
    wave[: len(wave) // 4] = 0
    return (0.3 * wave / np.abs(wave).max()).astype(np.float32)


def heard(wave: np.ndarray) -> tuple[float, float]:
    """F0 by the autocorrelation's peak, and the centre of the spectrum's energy, in Hz."""
    held = wave[len(wave) // 2 : len(wave) // 2 + 8192] * np.hanning(8192)
    power = np.abs(np.fft.rfft(held, 1 << 16)) ** 2
    lags = np.fft.irfft(power)
    low, high = RATE // 400, RATE // 60
    f0 = RATE / (low + int(np.argmax(lags[low:high])))
    hertz = np.fft.rfftfreq(1 << 16, 1 / RATE)
    return f0, float((hertz * power).sum() / power.sum())


@pytest.mark.parametrize(("pitch", "formant"), [(1.0, 1.0), (1.25, 1.0), (1.0, 1.2), (0.8, 0.85)])
def test_pitch_and_formants_move_apart_from_each_other(pitch: float, formant: float) -> None:
    wave = vowel()
    made = shifted(wave, RATE, pitch, formant)
    assert made.shape == wave.shape and made.dtype == np.float32
    f0, centre = heard(made)
    assert f0 == pytest.approx(SUNG * pitch, rel=0.02)
    assert centre == pytest.approx(FORMANT * formant, rel=0.08)


def test_time_is_kept() -> None:
    made = np.abs(perturb(vowel(), RATE))
    quarter = len(made) // 4
    assert made[: quarter - 400].max() < 0.02 < 0.1 < made[quarter + 400 : quarter + 2400].max()


def test_spectra_are_stretched_along_frequency() -> None:
    bins = np.arange(33.0)[None]
    np.testing.assert_allclose(stretched(bins, 2.0)[0], np.arange(33) / 2)
    np.testing.assert_allclose(stretched(bins, 0.5)[0], np.minimum(np.arange(33) * 2, 32))


def test_the_other_voice_is_never_near_and_always_the_same() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        wave = rng.normal(size=100).astype(np.float32)
        pitch, formant = draw(wave)
        assert draw(wave.copy()) == (pitch, formant)
        assert PITCH_SEMITONES / 2 <= abs(pitch) <= PITCH_SEMITONES
        assert FORMANT_RATIO**0.5 <= max(formant, 1 / formant) <= FORMANT_RATIO


def test_prepared_with_voices(tmp_path: Path) -> None:
    songs = tmp_path / "songs"
    record(songs / "a.vocals.wav", vowel(4.0))
    record(songs / "a.accompaniment.wav", tone(4.0))
    plain = PrepareOptions(codec="random")
    prepare(songs, tmp_path / "plain", plain)
    prepare(songs, tmp_path / "voices", plain.replace(voices=True))
    without, row = (read(tmp_path / name)["a"] for name in ("plain", "voices"))
    assert "perturbed" not in without.codes
    assert row.codes["perturbed"].shape == row.codes["vocals"].shape
    assert (row.codes["perturbed"] != row.codes["vocals"]).mean() > 0.1
    np.testing.assert_array_equal(without.codes["vocals"], row.codes["vocals"])
