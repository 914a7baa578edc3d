"""What tells a codec's output from a recording: a discriminator on complex spectra.

Waveforms (B, S) go in; per spectrum size a map of scores and the hidden layers come out (the layout
of Encodec's multi-scale STFT discriminator, arXiv 2210.13438 section 3.4). Hinge losses.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2
DILATIONS = (1, 2, 4)

Judged = list[tuple[Tensor, list[Tensor]]]
"""Per spectrum size: scores, and the hidden layers that led to them."""


class SpectrumJudge(nn.Module):
    """Scores of one STFT: real and imaginary part as two channels of a picture."""

    window: Tensor

    def __init__(self, n_fft: int, channels: int, share: float = 1.0) -> None:
        super().__init__()
        self.n_fft, self.bins = n_fft, 1 + round(share * n_fft / 2)
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        convolutions = [nn.Conv2d(2, channels, (3, 9), padding=(1, 4))]
        convolutions += [
            nn.Conv2d(channels, channels, (3, 9), (1, 2), (dilation, 4), (dilation, 1))
            for dilation in DILATIONS
        ]
        convolutions.append(nn.Conv2d(channels, channels, 3, padding=1))
        normed = (nn.utils.parametrizations.weight_norm(conv) for conv in convolutions)
        self.hidden = nn.ModuleList(normed)
        self.score = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, wave: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(B, S) -> scores (B, 1, frames, fewer bins), hidden layers."""
        spectrum = torch.stft(
            wave, self.n_fft, self.n_fft // 4, window=self.window, return_complex=True,
            normalized=True,
        )
        x = torch.view_as_real(spectrum[:, : self.bins]).permute(0, 3, 2, 1)
        layers = []
        for conv in self.hidden:
            x = F.leaky_relu(conv(x), SLOPE)
            layers.append(x)
        return self.score(x), layers


class Adversary(nn.Module):
    """Judges of several spectrum sizes, each hearing the lower `share` of all frequencies."""

    def __init__(self, sizes: Sequence[int], channels: int, share: float = 1.0) -> None:
        super().__init__()
        self.judges = nn.ModuleList(SpectrumJudge(n, channels, share) for n in sizes)

    def forward(self, wave: Tensor) -> Judged:
        """(B, S) -> what each judge says."""
        return [judge(wave) for judge in self.judges]


def unmask_loss(real: Judged, made: Judged) -> Tensor:
    """What the adversary minimises: real above 1, made below -1 (hinge)."""
    parts = [
        F.relu(1 - a).mean() + F.relu(1 + b).mean()
        for (a, _), (b, _) in zip(real, made, strict=True)
    ]
    return torch.stack(parts).mean()


def deceive_loss(made: Judged) -> Tensor:
    """What the codec minimises: the adversary takes its output for real."""
    return torch.stack([-scores.mean() for scores, _ in made]).mean()


def match_loss(real: Judged, made: Judged) -> Tensor:
    """Mean relative difference of the adversary's hidden layers."""
    parts = [
        F.l1_loss(b, a.detach()) / a.detach().abs().mean().clamp_min(1e-6)
        for (_, layers), (_, others) in zip(real, made, strict=True)
        for a, b in zip(layers, others, strict=True)
    ]
    return torch.stack(parts).mean()
