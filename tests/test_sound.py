"""Sound measured against closed forms: the standard's tones, known clipping, silence, leakage."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from yue.audio import Audio
from yue.errors import AudioError
from yue.evaluate import sound

RATE = 48_000


def tone(hertz: float, level: float = 0.0, seconds: float = 5.0, rate: int = RATE) -> Audio:
    """A sine whose peak lies `level` dB from full scale."""
    time = np.arange(round(seconds * rate)) / rate
    return Audio(10 ** (level / 20) * np.sin(2 * np.pi * hertz * time), rate)


def noise(seed: int, seconds: float = 10.0, rate: int = RATE, level: float = 0.1) -> Audio:
    drawn = np.random.default_rng(seed).standard_normal(round(seconds * rate))
    return Audio(level * drawn, rate)


def joined(*parts: Audio) -> Audio:
    return Audio(np.concatenate([part.samples for part in parts], axis=1), parts[0].rate)


def scaled(audio: Audio, gain: float) -> Audio:
    return Audio(audio.samples * gain, audio.rate)


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_loudness_of_the_standards_tones(rate: int) -> None:
    full = tone(997, rate=rate)
    left = Audio(np.vstack([full.samples, 0 * full.samples]), rate)
    assert sound.loudness(left) == pytest.approx(-3.01, abs=0.1)
    both = Audio(np.vstack([full.samples] * 2), rate)
    assert sound.loudness(both) == pytest.approx(0.0, abs=0.1)
    for same in (full, Audio(np.vstack([full.samples] * 6), rate)):  # mono: by both speakers
        assert sound.loudness(same) == pytest.approx(sound.loudness(both), abs=1e-3)
    assert sound.loudness(scaled(both, 10 ** (-23 / 20))) == pytest.approx(-23.0, abs=0.1)


def test_the_gate_leaves_out_what_is_quiet() -> None:
    """EBU Tech 3341, case 3: -36, -23, -36 LUFS gives -23; here in 10, 60, 10 seconds."""
    parts = [
        Audio(np.vstack([tone(1_000, level, seconds).samples] * 2), RATE)
        for level, seconds in ((-36, 10), (-23, 60), (-36, 10))
    ]
    assert sound.loudness(joined(*parts)) == pytest.approx(-23.0, abs=0.1)


def test_what_has_no_loudness() -> None:
    assert sound.loudness(Audio(np.zeros((2, RATE)), RATE)) is None
    assert sound.loudness(tone(997, seconds=0.3)) is None
    assert sound.loudness(tone(997, level=-90)) is None


def test_true_peak_stands_between_the_samples() -> None:
    time = np.arange(RATE)
    quarter = Audio(np.sin(np.pi / 2 * time + np.pi / 4), RATE)
    assert 20 * math.log10(quarter.peak) == pytest.approx(-3.01, abs=0.01)
    faded = Audio(quarter.samples * np.hanning(RATE), RATE)
    assert sound.true_peak(faded) == pytest.approx(0.0, abs=0.1)
    assert sound.true_peak(tone(997, -6)) == pytest.approx(-6.0, abs=0.05)
    assert sound.true_peak(Audio(np.zeros((1, 9)), RATE)) is None


def test_clipping_has_its_known_share() -> None:
    assert sound.clipped(tone(997)) == 0
    cut = Audio(np.clip(tone(997, 6.0206).samples, -1, 1), RATE)
    assert sound.clipped(cut) == pytest.approx(2 / 3, abs=0.03)
    one = Audio(np.array([0, 1, 0, 1, 1, 0, 1, 1, 1, -1.0, 0, 0.5]), RATE)
    assert sound.clipped(one) == pytest.approx(4 / 12)


def test_silence_is_found_where_it_is() -> None:
    nothing = Audio(np.zeros((1, RATE)), RATE)
    song = joined(nothing, noise(1, 3), nothing, nothing, noise(2, 2), scaled(nothing, 1))
    found = sound.silence(song)
    assert found == pytest.approx(
        {"silent": 4 / 9, "lead": 1.0, "tail": 1.0, "longest_gap": 2.0}, abs=1e-6
    )
    assert sound.silence(nothing)["silent"] == 1.0
    assert sound.silence(tone(200, -59 + 3.01))["silent"] == 0.0
    assert sound.silence(tone(200, -61 + 3.01))["silent"] == 1.0


@pytest.mark.parametrize("edge", [3_500, 8_000, 16_000])
def test_bandwidth_is_that_of_the_filter(edge: int) -> None:
    bins = np.fft.rfft(noise(3).samples[0])
    bins[edge * 10 :] = 0
    low = Audio(np.fft.irfft(bins), RATE)
    assert sound.bandwidth(low) == pytest.approx(edge, rel=0.05)
    assert sound.bandwidth(Audio(np.zeros((1, RATE)), RATE)) is None


def test_bandwidth_survives_resampling() -> None:
    narrow = noise(4, rate=16_000).resample(44_100)
    assert sound.bandwidth(narrow) == pytest.approx(8_000, rel=0.05)


@pytest.mark.parametrize("gain", [0.5, 0.1, 0.03])
def test_leakage_is_what_was_put_in(gain: float) -> None:
    voice, band = noise(5, 40, 16_000), noise(6, 40, 16_000)
    leaky = Audio(band.samples + gain * voice.samples, 16_000)
    share = gain**2 / (1 + gain**2)
    assert sound.leakage(voice, leaky) == pytest.approx(10 * math.log10(share), abs=1.5)


def test_leakage_sees_delay_and_filter_but_not_chance() -> None:
    voice, band = noise(5, 40, 16_000), noise(6, 40, 16_000)
    late = np.roll(voice.samples, 80)
    assert sound.leakage(voice, Audio(band.samples + 0.3 * late, 16_000)) == pytest.approx(
        10 * math.log10(0.09 / 1.09), abs=1.5
    )
    assert sound.leakage(voice, band) < -35
    assert sound.leakage(voice, voice) == pytest.approx(0, abs=0.01)
    assert sound.leakage(voice, Audio(np.zeros((1, 640_000)), 16_000)) is None
    assert sound.leakage(tone(440, seconds=1), tone(440, seconds=1)) is None


def test_vocals_over_accompaniment() -> None:
    voice = noise(7)
    assert sound.vocal_ratio(voice, scaled(voice, 0.5)) == pytest.approx(6.02, abs=0.01)
    assert sound.vocal_ratio(voice, scaled(voice, 0.0)) is None


def test_one_face() -> None:
    voice, band = noise(8, rate=16_000), noise(9, rate=44_100)
    mix = Audio(voice.resample(44_100).samples + band.samples, 44_100)
    found = sound.evaluate(mix, voice, band)
    assert json.loads(json.dumps(found)) == found
    assert found["metric"] == "sound" and found["extractor"].startswith("pyloudnorm ")
    assert found["values"]["seconds"] == pytest.approx(10)
    assert "vocal_ratio" not in sound.evaluate(mix)["values"]
    short = sound.evaluate(Audio(np.zeros((2, 10)), 44_100))["values"]
    assert short["loudness"] is None and short["silent"] == 1.0
    with pytest.raises(AudioError, match="not numbers"):
        sound.evaluate(Audio(np.array([0.0, np.nan]), 44_100))
