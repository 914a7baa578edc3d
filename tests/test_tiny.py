"""The model that ships: small enough, whole, and a singer."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import yue
from yue.audio import Audio
from yue.codec.consonance import consonance_of
from yue.codec.xcodec import XCodec
from yue.draft import Sung
from yue.errors import ModelError
from yue.evaluate import f0, harmony
from yue.hub import BUNDLED, PRESETS
from yue.pipeline import DEFAULT_MODEL
from yue.songbook.band import accompany
from yue.songbook.bank import RATE, Bank
from yue.songbook.compose import compose
from yue.songbook.make import bank_folder
from yue.songbook.perform import BAND_LEVEL, active_rms
from yue.songbook.profile import SIMPLE
from yue.vocab import TRACKS

LYRICS = "[verse]\nSilver morning on the empty road\nGive me a reason to remember you\n"
MOST_BYTES = 64e6


@pytest.fixture(scope="module")
def songs() -> dict[str, yue.Song]:
    model = yue.load(device="cpu")
    return {
        gender: model.sing(LYRICS, f"pop {gender} happy", seed=3) for gender in ("male", "female")
    }


def test_the_default_model_ships_with_the_package_and_is_small() -> None:
    folder = BUNDLED / DEFAULT_MODEL
    assert PRESETS[DEFAULT_MODEL].stage1 == str(folder / "stage1")
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MOST_BYTES
    assert {path.suffix for path in files} == {".json", ".safetensors"}


def test_a_section_ends_by_itself(songs: dict[str, yue.Song]) -> None:
    for song in songs.values():
        (section,) = song.sections
        assert not section.truncated and 3 < section.end < 20


def test_nothing_is_refined_that_would_not_be_heard(songs: dict[str, yue.Song]) -> None:
    """Stage 2 is left out; with it the song would sound the same."""
    model, sung = yue.load(device="cpu"), songs["male"]
    assert set(sung.manifest["timings"]) == {"compose_seconds", "render_seconds"}
    draft = model.compose(LYRICS, "pop male happy", seed=3)
    refined = model.refine(draft)
    assert np.ptp(refined.codes[:, 1:]) > 0
    np.testing.assert_array_equal(model.render(refined).mix.samples, sung.mix.samples)


def test_a_section_is_judged_by_the_notes_that_its_codes_stand_for(
    songs: dict[str, yue.Song]
) -> None:
    """The kept try's figure is that of its codes; the same voice without its band has another."""
    model = yue.load(device="cpu")
    parts = model._codec, *(model._upsamplers[track] for track in TRACKS)
    draft = model.compose(LYRICS, "pop male happy", seed=3)
    (section,) = songs["male"].sections
    assert section.consonance == pytest.approx(consonance_of(draft.codes, *parts), abs=1e-3)
    assert section.consonance > 0.4
    half = draft.frames // 2
    turned = np.stack([draft.codes[0], np.roll(draft.codes[1], half)])
    assert consonance_of(turned, *parts) != pytest.approx(section.consonance, abs=1e-2)
    assert math.isnan(consonance_of(draft.codes[:, :0], *parts))


def test_a_woman_sings_higher_than_a_man_and_both_sing_a_tune(songs: dict[str, yue.Song]) -> None:
    notes = {}
    for gender, song in songs.items():
        hertz = f0.track(song.vocals)
        voiced = hertz[hertz > 0]
        assert len(voiced) > 0.3 * len(hertz)
        notes[gender] = 69 + 12 * np.log2(voiced / 440)
        assert np.ptp(np.percentile(notes[gender], [5, 95])) > 2, "no monotone"
    assert np.median(notes["female"]) - np.median(notes["male"]) > 5


def test_the_band_plays_and_does_not_sing_along(songs: dict[str, yue.Song]) -> None:
    for song in songs.values():
        band, voice = (track.samples[0] for track in (song.accompaniment, song.vocals))
        assert 1e-3 < np.sqrt(np.mean(band**2)) < 1 and len(band) == len(voice)
        assert abs(np.corrcoef(band, voice)[0, 1]) < 0.2


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_band_is_still_there_when_its_codes_are_sung(number: int) -> None:
    """Key and chords of a songbook's band, through the codes that Stage 1 is to predict."""
    bank = Bank(bank_folder())
    score = compose(991, number, SIMPLE)
    try:
        wave = accompany(score, bank)
    except (ModelError, OSError) as error:
        pytest.skip(str(error))
    own = Audio(wave[None] * (BAND_LEVEL / active_rms(wave, RATE)), RATE).cut(0.0, 24.0)
    codec = XCodec.load(BUNDLED / DEFAULT_MODEL / "codec", decode_only=False)
    heard = torch.from_numpy(own.resample(codec.config.sample_rate).samples)
    with torch.inference_mode():
        codes = codec.encode(heard, 1)[0].numpy().astype(np.int16)
    draft = yue.Draft(
        codes=np.concatenate([codes, codes]), sections=(Sung("verse", "", codes.shape[1]),),
        frame_rate=codec.config.frame_rate,
    )
    one, other = map(harmony.chroma, (own, yue.load(device="cpu").render(draft).accompaniment))
    keys = [harmony.key(found.energy.sum(axis=0)) for found in (one, other)]
    assert str(keys[0]) == str(keys[1])
    bars = [bar.start for bar in score.bars if bar.start < own.seconds]
    pairs = zip(harmony.chords(one, bars), harmony.chords(other, bars), strict=True)
    same = [str(chord) == str(heard) for chord, heard in pairs]
    assert len(same) > 3 and np.mean(same) > 0.7
