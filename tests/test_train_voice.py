"""The voice's lessons against the songbook that gives them, and that something is learned."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from yue.codec.source_filter import SourceFilterConfig
from yue.codec.xcodec import XCodec
from yue.errors import ModelError
from yue.hub import BUNDLED
from yue.songbook.compose import compose
from yue.songbook.profile import SIMPLE
from yue.songbook.score import Score
from yue.songbook.sing import Parameters, parameters, sing
from yue.songbook.world import Speakers
from yue.train import voice
from yue.train.parametric import SEED

CONFIG = SourceFilterConfig(knots=80, dim=16, intermediate=32, early=1, layers=1)


@pytest.fixture(scope="module")
def sung() -> tuple[Score, Speakers, Parameters]:
    try:
        speakers = Speakers()
    except ModelError as error:
        pytest.skip(str(error))
    score = compose(SEED, 0, SIMPLE)
    return score, speakers, parameters(score, speakers)


@pytest.fixture(scope="module")
def codec() -> XCodec:
    return XCodec.load(BUNDLED / "tiny" / "codec", decode_only=False)


def test_parameters_are_those_of_the_song_that_is_sung(
    sung: tuple[Score, Speakers, Parameters]
) -> None:
    score, speakers, found = sung
    heard = sing(score, speakers, effects=False)
    assert np.allclose(found.wave, heard.wave, atol=1e-6)
    voiced = found.pitch > 0
    assert (voiced == (heard.pitch > 0)).all() and 0.2 < voiced.mean() < 0.95
    # As written and as sung differ by glides alone.
    cents = 1200 * np.abs(np.log2(found.pitch[voiced] / heard.pitch[voiced]))
    assert np.median(cents) < 1
    assert (found.melody[voiced] == found.pitch[voiced]).all()
    assert len(found.envelope) == len(found.aperiodicity) == len(found.pitch)


def test_a_lesson_lies_on_the_codec_s_frames(
    sung: tuple[Score, Speakers, Parameters], codec: XCodec
) -> None:
    found = voice.lesson(codec, CONFIG, sung[2])
    frames = found.codes.shape[1]
    assert found.harmonic.shape == found.noise.shape == (3 * frames, 80)
    assert found.octaves.shape == found.voiced.shape == (3 * frames,)
    assert found.harmonic.min() >= voice.FLOOR and found.harmonic.max() < 10
    share = (sung[2].pitch > 0).mean()
    assert found.voiced.mean() == pytest.approx(share, abs=0.01)
    hertz = 2.0 ** found.octaves[found.voiced]
    assert hertz.min() > 70 and hertz.max() < 900


def test_the_voice_learns(sung: tuple[Score, Speakers, Parameters], codec: XCodec) -> None:
    songs = [voice.lesson(codec, CONFIG, sung[2])]
    told: list[dict[str, float]] = []
    made = voice.train(
        codec, songs, dataclasses.replace(CONFIG, contrast=1.3), steps=90,
        tell=lambda step, found: told.append(found),
    )
    assert not made.training and len(told) == 90
    for name in ("harmonic", "noise", "pitch"):
        first, last = (np.mean([found[name] for found in part]) for part in (told[:5], told[-5:]))
        assert last < 0.9 * first, name
    with torch.inference_mode():
        assert made(codec.embed(torch.from_numpy(songs[0].codes[None, :, :50]))).isfinite().all()
