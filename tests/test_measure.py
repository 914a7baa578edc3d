"""One song in memory: all records, and what is missing left out."""

from __future__ import annotations

import json

import numpy as np
import pytest

from conftest import GOLDEN
from yue.audio import Audio
from yue.errors import AudioError, OptionError
from yue.evaluate.measure import Work, measure, measure_arrays
from yue.evaluate.options import MeasureOptions
from yue.evaluate.structure import Part

RATE = 16_000
PROGRESSION = [(48, 64, 67, 72), (43, 62, 67, 71), (45, 64, 69, 72), (41, 60, 65, 69)]


def band(bars: int = 8) -> np.ndarray:
    """C, G, Am, F at 120 bpm: a chord struck on each beat."""
    time = np.arange(RATE // 2) / RATE
    beats = []
    for bar in range(bars):
        tones = [440 * 2 ** ((note - 69) / 12) for note in PROGRESSION[bar % 4]]
        wave = sum(np.sin(2 * np.pi * h * k * time) / k for h in tones for k in (1, 2, 3))
        beats += [np.exp(-6 * time) * wave] * 4
    return (0.04 * np.concatenate(beats)).astype(np.float32)


def voice(bars: int = 8) -> np.ndarray:
    """The tones of the chords sung on the strong beats, a second each."""
    time = np.arange(RATE) / RATE
    notes = [PROGRESSION[bar % 4][1 + half] - 12 for bar in range(bars) for half in (0, 1)]
    tones = [440 * 2 ** ((note - 69) / 12) for note in notes]
    hold = np.minimum(1, 20 * np.minimum(time, 1 - time))
    waves = [sum(np.sin(2 * np.pi * h * k * time) / k for k in range(1, 9)) for h in tones]
    return (0.1 * np.concatenate([hold * wave for wave in waves])).astype(np.float32)


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, object]]:
    sections = [
        {"label": "verse", "start": 0, "end": 8}, {"label": "verse", "start": 8, "end": 16},
    ]
    return measure_arrays(voice(), band(), RATE, texts=["la la la"], sections=sections)


def values(found: dict, metric: str) -> dict:
    return found[metric]["values"]


def test_music_is_what_was_played(found: dict) -> None:
    music = values(found, "music")
    assert music["tempo"] == pytest.approx(120, rel=0.01) and music["beat_f"] > 0.95
    assert music["key"] == "C major"
    assert music["on_scale"] > 0.97 and music["chord_tones"] > 0.9
    assert {"C", "G", "Am", "F"} == set(music["chords"])
    assert abs(music["tuning"]) < 3 and music["off_centre"] < 10


def test_a_voice_in_the_accompaniment_is_heard(found: dict) -> None:
    clean = values(found, "music")
    leaked = values(measure_arrays(voice(), band() * 0.1 + 0.5 * voice(), RATE), "music")
    assert leaked["same_voice"] > 0.9 > clean["same_voice"] and leaked["same_voice_chance"] < 0.5
    sound = values(measure_arrays(voice(), band() * 0.1 + 0.5 * voice(), RATE), "sound")
    assert sound["vocals_in_accompaniment"] > values(found, "sound")["vocals_in_accompaniment"] + 3


def test_pitch_is_what_was_sung(found: dict) -> None:
    pitch = values(found, "pitch")
    assert (pitch["lowest"], pitch["highest"], pitch["range"]) == (48, 57, 9)
    assert pitch["voiced_seconds"] == pytest.approx(16, abs=1.5)
    assert found["pitch"]["extractor"].startswith("swift-f0 ")


def test_sound_structure_and_phones(found: dict) -> None:
    assert values(found, "sound")["seconds"] == 16
    assert values(found, "sound")["vocal_ratio"] is not None
    assert values(found, "structure")["return_gain"] is None
    assert values(found, "phones")["asked"] == 6
    assert values(found, "phones")["sections"] == [{"state": None}]


def test_every_record_says_how_it_was_made(found: dict) -> None:
    assert json.loads(json.dumps(found)) == found
    for metric, told in found.items():
        assert told["metric"] == metric and told["version"] >= 1
        assert {"extractor", "windowing", "seed", "options", "values"} <= told.keys()
    again = measure_arrays(voice(), band(), RATE, texts=["la la la"])
    assert values(again, "music") == values(found, "music")


def test_real_speech_is_measured_against_its_words() -> None:
    spoken = Audio.read(GOLDEN / "spoken.ogg")
    work = Work(mix=spoken, vocals=spoken, texts=("The river keeps on running down to the sea.",))
    phones = values(measure(work), "phones")
    assert phones["rate"] < 0.4 and phones["complete"] == 1.0 and len(phones["words"]) == 9
    assert "phones" not in measure(work, MeasureOptions(words="none"))
    chinese = Work(mix=spoken, vocals=spoken, texts=("我爱你",))
    assert "phones" not in measure(chinese)


def test_a_given_f0_is_used() -> None:
    mix = Audio(band(), RATE)
    found = measure(Work(mix=mix, f0=np.full(1_000, 440.0), asked=(Part("verse", 0, 8),)))
    assert values(found, "pitch")["lowest"] == 69 and found["pitch"]["extractor"] == "f0 file"
    assert "length_error" not in values(found, "structure")


def test_lengths_against_what_was_asked() -> None:
    work = Work(
        mix=Audio(band(), RATE), parts=(Part("verse", 0, 6), Part("chorus", 6, 16)),
        asked=(Part("verse", 0, 8), Part("chorus", 8, 16)),
    )
    structure = values(measure(work), "structure")
    assert structure["length_error"] == pytest.approx(0.25) and structure["order_error"] == 0
    assert structure["boundaries_half"] == 0 and structure["boundaries_three"] == 1


@pytest.mark.parametrize("seconds", [0.01, 0.5, 5])
def test_silent_and_short_songs_have_no_values_rather_than_errors(seconds: float) -> None:
    nothing = np.zeros(round(seconds * RATE), np.float32)
    found = measure_arrays(nothing, nothing, RATE, texts=["Come home, come home tonight"])
    assert values(found, "sound")["loudness"] is None and values(found, "sound")["silent"] == 1
    assert values(found, "music")["key"] is None and values(found, "music")["tempo"] is None
    assert values(found, "pitch")["range"] is None
    assert values(found, "phones")["rate"] == 1.0 and values(found, "phones")["complete"] == 0


def test_what_cannot_be_measured() -> None:
    with pytest.raises(AudioError, match="shape"):
        measure_arrays(np.zeros(10), np.zeros(11), RATE)
    with pytest.raises(AudioError, match="no samples"):
        measure(Work(mix=Audio(np.zeros((1, 0)), RATE)))
    with pytest.raises(OptionError, match="equal_seconds"):
        MeasureOptions(equal_seconds=0)
