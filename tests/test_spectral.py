"""Mel and STFT distances, pitch classes, and the adversary's losses, against what must hold."""

from __future__ import annotations

import math

import pytest
import torch

from yue.codec.mel import mel_filters
from yue.train.adversary import Adversary, deceive_loss, match_loss, unmask_loss
from yue.train.spectral import chroma, mel_distance, stft_distance

RATE = 16_000


def tone(hertz: float, seconds: float = 0.5, level: float = 0.5) -> torch.Tensor:
    t = torch.arange(int(seconds * RATE)) / RATE
    return level * torch.sin(2 * math.pi * hertz * t)[None]


def test_a_wave_is_no_distance_from_itself_and_half_as_loud_is_log_two() -> None:
    wave = torch.randn(2, 8000, generator=torch.Generator().manual_seed(1))
    assert mel_distance(wave, wave, RATE) == 0
    assert stft_distance(wave, wave) == 0
    assert mel_distance(wave, wave / 2, RATE).item() == pytest.approx(math.log(2), abs=1e-4)
    assert stft_distance(wave / 2, wave).item() == pytest.approx(0.5 + math.log(2), abs=1e-4)


def test_the_gradient_of_silence_is_finite() -> None:
    made = torch.zeros(1, 4000, requires_grad=True)
    (mel_distance(made, tone(440, 0.25), RATE) + stft_distance(made, tone(440, 0.25))).backward()
    assert made.grad is not None and made.grad.isfinite().all()


@pytest.mark.parametrize("bands", [20, 80, 200])
def test_mel_filters_have_unit_sum_and_rise(bands: int) -> None:
    filters = mel_filters(RATE, 512, bands)
    torch.testing.assert_close(filters.sum(1), torch.ones(bands))
    middles = (filters * torch.arange(257)).sum(1)
    assert (middles.diff() > -1e-4).all()


@pytest.mark.parametrize("midi", [57, 60, 64, 69, 76])
def test_a_tone_sounds_in_its_pitch_class(midi: int) -> None:
    heard = chroma(tone(440 * 2 ** ((midi - 69) / 12), 1.0), RATE, 320)
    assert heard.shape == (1, 12, 50)
    assert (heard[0].argmax(0) == midi % 12).float().mean() > 0.95
    torch.testing.assert_close(heard.sum(1), torch.ones(1, 50))


def test_the_adversary_learns_to_tell_noise_from_tones() -> None:
    torch.manual_seed(0)
    judge = Adversary((128, 256), 4)
    optimiser = torch.optim.Adam(judge.parameters(), 3e-3)
    real = torch.cat([tone(f) for f in (220, 330, 440)])
    made = 0.3 * torch.randn(3, RATE // 2)
    first = unmask_loss(judge(real), judge(made))
    for _ in range(30):
        optimiser.zero_grad()
        loss = unmask_loss(judge(real), judge(made))
        loss.backward()
        optimiser.step()
    assert loss < 0.5 * first
    assert deceive_loss(judge(made)) > deceive_loss(judge(real))
    assert match_loss(judge(real), judge(real)) == 0
    assert match_loss(judge(real), judge(made)) > 0.1
