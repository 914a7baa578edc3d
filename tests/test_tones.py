"""The band of tones and noise: closed forms, and pieces against the whole."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from pieces import in_pieces
from yue.codec.parametric import noise_of
from yue.codec.source_filter import SourceFilter, SourceFilterConfig
from yue.codec.tones import FLOOR, Tones, TonesConfig, hertz_of, note_of, ringing
from yue.codec.upsamplers import load_upsamplers, save_upsamplers
from yue.errors import ModelError

SMALL = TonesConfig(
    knots=6, input_channels=6, dim=8, intermediate=12, early=1, layers=1, n_fft=1024, top=16_000.0
)
RATE = SMALL.sample_rate


def levels(steps: int, **notes: float) -> torch.Tensor:
    """Silence but for some notes, `n69=-4.0`."""
    power = torch.full((1, steps, SMALL.tones), FLOOR)
    for name, level in notes.items():
        power[..., int(name[1:]) - SMALL.lowest] = level
    return power


def test_notes_are_in_equal_temperament() -> None:
    assert hertz_of(69) == 440 and hertz_of(57) == 220
    assert hertz_of(60) == pytest.approx(261.6256, abs=1e-4)
    notes = torch.tensor([33.0, 60.25, 69.0, 96.0])
    torch.testing.assert_close(note_of(torch.tensor([hertz_of(n) for n in notes.tolist()])), notes)


def test_held_tones_are_sines_of_their_power() -> None:
    """Slow twin: the sum of two sines, sample by sample."""
    sound = ringing(levels(300, n69=-4.0, n76=-6.0), SMALL, 0)[0].double().numpy()
    time = np.arange(len(sound)) / RATE
    inner = slice(RATE // 4, -RATE // 4)
    wanted = np.zeros_like(sound)
    for note, power in ((69, -4.0), (76, -6.0)):
        hertz = hertz_of(note)
        start = 2 * math.pi * (note * (math.sqrt(5) - 1) / 2 % 1.0)
        amplitude = math.sqrt(2) * (math.exp(power / 2) - math.exp(FLOOR / 2))
        wanted += amplitude * np.cos(2 * math.pi * hertz * time + start)
    assert np.abs(sound - wanted)[inner].max() < 1e-4


def test_what_is_at_the_floor_is_silent() -> None:
    assert not ringing(levels(9), SMALL, 0).any()
    assert not ringing(levels(9, n60=FLOOR - 5), SMALL, 0).any()


def test_a_tone_begins_within_two_steps_and_without_a_click() -> None:
    power = levels(60)
    power[:, 30:, 69 - SMALL.lowest] = -2.0
    sound = ringing(power, SMALL, 0)[0]
    begin = 30 * SMALL.step + SMALL.step // 2
    assert not sound[: begin - SMALL.step].any()
    steepest = 2 * math.pi * 440 / RATE * math.sqrt(2) * math.exp(-1)
    assert sound.diff().abs().max() < 1.1 * steepest
    assert sound[begin : begin + 200].abs().max() > 0.9 * math.sqrt(2) * math.exp(-1)


def test_noises_of_two_stems_have_nothing_in_common() -> None:
    one, other = noise_of(3, 50, 882), noise_of(3, 50, 882, 1)
    assert float(one.square().mean()) == pytest.approx(1, abs=0.02)
    assert abs(float((one * other).mean())) < 0.02
    assert torch.equal(noise_of(4, 1, 882, 1), other[882 : 2 * 882])


def test_pieces_sound_like_the_whole() -> None:
    torch.manual_seed(0)
    model = Tones(SMALL).eval()
    with torch.no_grad():
        model.out.bias.add_(1.5)
    features = torch.randn(1, 6, 90)
    with torch.inference_mode():
        whole, made = model(features), in_pieces(model, features)
    assert made.shape == whole.shape == (1, 90 * SMALL.hop)
    assert torch.allclose(made, whole, atol=1e-4 * float(whole.abs().max()))
    assert whole.square().mean() > 0


def test_a_voice_and_a_band_are_kept(tmp_path: Path) -> None:
    torch.manual_seed(0)
    voice = SourceFilterConfig(knots=6, input_channels=6, dim=8, intermediate=12)
    made = {"vocals": SourceFilter(voice).eval(), "accompaniment": Tones(SMALL).eval()}
    loaded = load_upsamplers(save_upsamplers(tmp_path / "up", made))
    for track, model in made.items():
        assert type(loaded[track]) is type(model) and loaded[track].config == model.config
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, loaded[track].state_dict()[name])


@pytest.mark.parametrize("wrong", [
    {"tones": 0}, {"tones": 93, "lowest": -1}, {"tones": 120}, {"tones": 9, "colour": 1},
    {"tones": 9, "n_fft": 64},
])
def test_sizes_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ModelError, match=r"config\.json"):
        TonesConfig.from_dict({"knots": 8, **wrong})
