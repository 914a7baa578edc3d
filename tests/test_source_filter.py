"""The source-filter voice: closed forms, and pieces against the whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pieces import in_pieces
from yue.codec.parametric import noise_of, overlap_add, spread_of, windows
from yue.codec.source_filter import (
    CONTRAST_WIDTH,
    SourceFilter,
    SourceFilterConfig,
    Voice,
    filtered,
    minimum_phase,
    per_sample,
    pulse_train,
    running_phase,
    sharpened,
)
from yue.codec.upsamplers import load_upsamplers, save_upsamplers
from yue.codec.vocos import Vocos, VocosConfig
from yue.errors import ModelError

SMALL = SourceFilterConfig(
    knots=12, input_channels=6, dim=8, intermediate=12, early=1, layers=1
)
RATE = SMALL.sample_rate


def flat(power: float, steps: int, pitch: float) -> Voice:
    level = torch.full((1, steps, SMALL.knots), power)
    return Voice(level, level, torch.full((1, steps), pitch), torch.ones(1, steps))


def test_pulses_are_the_sum_of_their_harmonics() -> None:
    hertz = per_sample(torch.full((1, 20), 3_000.0), SMALL.step)
    cycles = running_phase(hertz, RATE, 0, 0.0)
    found = pulse_train(hertz, cycles, RATE)
    wanted = sum(torch.cos(k * cycles) for k in range(1, 8)) * 2 * (3_000 / RATE) ** 0.5
    assert torch.allclose(found.double(), wanted, atol=1e-5)  # type: ignore[arg-type]


def test_the_phase_is_what_it_is_said_to_be_and_runs_at_the_pitch() -> None:
    cycles = running_phase(per_sample(torch.full((1, 6), 441.0), SMALL.step), RATE, 300, 1.25)
    assert cycles[0, 300] == pytest.approx(1.25)
    assert cycles[0, 400] - cycles[0, 300] == pytest.approx(2 * torch.pi)


def test_windows_add_up_to_the_wave() -> None:
    wave = torch.randn(2, 9 * SMALL.step)
    back = overlap_add(windows(wave, SMALL.step), SMALL.step)
    inner = slice(SMALL.step, -SMALL.step)
    assert torch.allclose(back[:, inner], wave[:, inner], atol=1e-6)


def test_minimum_phase_keeps_the_power_and_rings_after_its_beginning() -> None:
    power = torch.randn(64).cumsum(0).repeat_interleave(16)
    power = torch.cat([power, power[-1:]])
    filter_ = minimum_phase(power)
    assert torch.allclose(filter_.abs().square().log(), power, atol=1e-3)
    energy = torch.fft.irfft(filter_).square()
    assert energy[: len(energy) // 2].sum() > 0.99 * energy.sum()


def test_knots_are_joined_by_straight_lines() -> None:
    weights = spread_of(SMALL)
    inside = torch.linspace(0, RATE / 2, SMALL.n_fft // 2 + 1) <= SMALL.top
    assert torch.allclose(weights.sum(0)[inside], torch.ones(int(inside.sum())), atol=1e-6)
    assert (weights >= 0).all() and ((weights > 0).sum(0) <= 2).all()


@pytest.mark.parametrize("source", ["pulses", "noise"])
def test_a_flat_envelope_gives_its_power_in_the_band(source: str) -> None:
    steps, pitch = 300, 200.0
    voice = flat(-4.0, steps, pitch)
    silence = torch.zeros(1, steps * SMALL.step)
    hertz = per_sample(voice.pitch, SMALL.step)
    pulses = pulse_train(hertz, running_phase(hertz, RATE, 0, 0.0), RATE)
    noise = noise_of(0, steps // 3, SMALL.hop)[None]
    chosen = (pulses, silence) if source == "pulses" else (silence, noise)
    found = filtered(*chosen, voice, SMALL)[0, SMALL.hop : -SMALL.hop].square().mean()
    # exp(-4) is the power of the whole band at 16 kHz, all of which `top` lets through.
    assert float(found.log()) == pytest.approx(-4.0, abs=0.1)


def test_pieces_sound_like_the_whole() -> None:
    torch.manual_seed(0)
    model = SourceFilter(SMALL).eval()
    with torch.no_grad():
        model.out.weight.mul_(0.2)
        model.out.bias[-1] = 1.0
    features = torch.randn(1, 6, 90)
    with torch.inference_mode():
        whole, made = model(features), in_pieces(model, features)
    assert made.shape == whole.shape == (1, 90 * SMALL.hop)
    assert torch.allclose(made, whole, atol=1e-4 * float(whole.abs().max()))
    assert whole.square().mean() > 0


def test_contrast_moves_envelopes_away_from_their_local_mean() -> None:
    ramp = torch.linspace(-9, -3, 40).expand(1, 3, 40)
    assert torch.allclose(sharpened(ramp, 1.5)[..., 15:25], ramp[..., 15:25], atol=1e-5)
    peak = torch.zeros(1, 1, 60)
    peak[..., 30] = 2.0
    mean = 2.0 / CONTRAST_WIDTH
    assert float(sharpened(peak, 1.5)[0, 0, 30]) == pytest.approx(mean + 1.5 * (2.0 - mean))


def test_upsamplers_of_two_kinds_are_kept(tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = {
        "vocals": SourceFilter(SMALL).eval(),
        "accompaniment": Vocos(
            VocosConfig(input_channels=6, dim=8, intermediate=12, layers=2, n_fft=64, hop=16)
        ).eval(),
    }
    loaded = load_upsamplers(save_upsamplers(tmp_path / "up", made))
    for track, model in made.items():
        assert loaded[track].config == model.config
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, loaded[track].state_dict()[name])


@pytest.mark.parametrize("wrong", [
    {"knots": 1}, {"knots": 8, "subframes": 4}, {"knots": 8, "n_fft": 64},
    {"knots": 8, "top": 3e4}, {"knots": 8, "colour": 1},
])
def test_sizes_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ModelError, match=r"config\.json"):
        SourceFilterConfig.from_dict(wrong)
