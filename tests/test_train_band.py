"""The band's lessons against the songbook that gives them, and that something is learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from yue.audio import Audio
from yue.codec.tones import FLOOR, Band, Tones, TonesConfig, played
from yue.codec.upsamplers import load_upsamplers
from yue.codec.xcodec import XCodec
from yue.errors import ModelError
from yue.evaluate import music
from yue.hub import BUNDLED
from yue.songbook.band import accompany
from yue.songbook.bank import RATE, Bank
from yue.songbook.compose import compose
from yue.songbook.make import bank_folder
from yue.songbook.perform import BAND_LEVEL, active_rms
from yue.songbook.profile import SIMPLE
from yue.songbook.score import Score
from yue.train import band
from yue.train.parametric import SEED

CONFIG = TonesConfig(
    knots=48, top=16_000.0, n_fft=1024, dim=16, intermediate=32, early=1, layers=1
)


@pytest.fixture(scope="module")
def notes() -> band.Measured:
    measured = band.Measured(Bank(bank_folder()), CONFIG)
    try:
        measured.bank.prepare(SIMPLE.genres)
    except (ModelError, OSError) as error:
        pytest.skip(str(error))
    return measured


@pytest.fixture(scope="module")
def score() -> Score:
    return compose(SEED, 0, SIMPLE)


@pytest.fixture(scope="module")
def lesson(notes: band.Measured, score: Score) -> band.Lesson:
    codec = XCodec.load(BUNDLED / "tiny" / "codec", decode_only=False)
    return band.lesson(codec, score, notes, CONFIG)


def test_partials_lie_on_the_semitones_next_to_them() -> None:
    """A tone of three partials, in closed form."""
    time = np.arange(RATE) / RATE
    wave = sum(
        amplitude * np.cos(2 * np.pi * 220 * k * time)
        for k, amplitude in ((1, 0.4), (2, 0.2), (3, 0.1))
    )
    found = band.note_levels(np.asarray(wave, np.float32), 57, CONFIG)
    assert found.shape == (150, CONFIG.tones)
    middle = found[75]
    for note, amplitude in ((57, 0.4), (69, 0.2), (76, 0.1)):
        assert middle[note - CONFIG.lowest] == pytest.approx(amplitude**2 / 2, rel=0.01)
    rest = np.delete(middle, [57 - CONFIG.lowest, 69 - CONFIG.lowest, 76 - CONFIG.lowest])
    assert rest.max() < 1e-6


def test_the_levels_of_noise_give_its_power_back() -> None:
    """White noise, measured as a drum and made again from what was measured."""
    wave = 0.1 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    found = band.drum_levels(wave, CONFIG)
    assert found.shape == (150, 48)
    power = torch.from_numpy(found).mean(0).log().expand(1, 150, 48)
    made = played(Band(torch.full((1, 150, CONFIG.tones), FLOOR), power), CONFIG)
    share = CONFIG.top / (RATE / 2)
    assert float(made.square().mean()) == pytest.approx(0.01 * share, rel=0.1)


def test_a_lesson_sounds_like_the_song(
    notes: band.Measured, score: Score, lesson: band.Lesson
) -> None:
    """Made from its levels alone it has the song's loudness, key, chords and beats."""
    own = accompany(score, notes.bank)
    own = own * (BAND_LEVEL / active_rms(own, RATE))
    known = (torch.from_numpy(each.astype(np.float32))[None] for each in lesson.wanted)
    made = played(Band(*known), CONFIG)
    assert float(made.square().mean().sqrt()) == pytest.approx(np.sqrt(np.mean(own**2)), rel=0.15)
    one, other = (
        music.evaluate(Audio(wave, RATE))["values"] for wave in (own[None], made.numpy())
    )
    assert other["key"] == one["key"] and other["beat_f"] > 0.95
    same = [a == b for a, b in zip(one["chords"], other["chords"], strict=True)]
    assert np.mean(same) > 0.8


def test_a_lesson_lies_on_the_codec_s_frames(lesson: band.Lesson, score: Score) -> None:
    frames = lesson.codes.shape[1]
    assert frames == pytest.approx(50 * score.seconds, abs=2)
    assert lesson.tones.shape == (3 * frames, CONFIG.tones)
    assert lesson.noise.shape == (3 * frames, CONFIG.knots)
    assert lesson.tones.min() >= FLOOR and lesson.tones.max() < 0


def test_the_band_learns(lesson: band.Lesson) -> None:
    codec = XCodec.load(BUNDLED / "tiny" / "codec")
    told: list[dict[str, float]] = []
    made = band.train(
        codec, [lesson], CONFIG, steps=90, tell=lambda step, found: told.append(found)
    )
    assert not made.training and len(told) == 90
    for name in ("tones", "noise"):
        first, last = (np.mean([found[name] for found in part]) for part in (told[:5], told[-5:]))
        assert last < 0.8 * first, name
    with torch.inference_mode():
        sound = made(codec.embed(torch.from_numpy(lesson.codes[None, :, :50])))
    assert sound.shape == (1, 50 * CONFIG.hop) and sound.isfinite().all()


def test_the_script_puts_a_band_beside_the_voice(
    notes: band.Measured, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny, out = BUNDLED / "tiny", tmp_path / "upsampler"
    band.main([str(tiny / "codec"), str(tiny / "upsampler"), str(out), "--songs=1", "--steps=2"])
    assert capsys.readouterr().out == f"{out}\n"
    made, before = load_upsamplers(out), load_upsamplers(tiny / "upsampler")
    assert isinstance(made["accompaniment"], Tones)
    for name, tensor in before["vocals"].state_dict().items():
        assert torch.equal(tensor, made["vocals"].state_dict()[name])


def test_below_the_floor_all_is_silence() -> None:
    level = torch.tensor([[FLOOR, FLOOR, -4.0, -4.0]])
    found = torch.tensor([[FLOOR - 9, FLOOR + 1, FLOOR - 1, -3.0]])
    off = band.losses(band.Band(found, found), [level, level])
    assert float(off["noise"]) == pytest.approx((0 + 1 + 13 + 1) / 4)
    assert float(off["tones"]) == pytest.approx(band.TONES * (0 + 1 + 13 + 1) / 4)
