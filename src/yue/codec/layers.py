"""The convolutional pieces of the codec: Snake, residual units, up- and downsampling stages.

Parameter names are the published checkpoint's after its weight norm is folded into plain weights.
Tensors are (B, channels, time).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DILATIONS = (1, 3, 9)
KERNEL = 7


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Convolutions and products in true fp32: TF32 flips codes where two are nearly as near."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.backends.cudnn.flags(allow_tf32=False):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


class Snake(nn.Module):
    """`x + sin²(a x) / (a + 1e-9)` with a learned a per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C, T)."""
        return torch.addcdiv(x, (self.alpha * x).sin().square(), self.alpha + 1e-9)


class ResidualUnit(nn.Module):
    """Snake, dilated convolution, Snake, pointwise convolution, added to the input."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        padding = dilation * (KERNEL - 1) // 2
        self.block = nn.Sequential(
            Snake(channels),
            nn.Conv1d(channels, channels, KERNEL, dilation=dilation, padding=padding),
            Snake(channels),
            nn.Conv1d(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C, T)."""
        return x + self.block(x)


class Downsample(nn.Module):
    """Residual units, then a strided convolution to twice the channels."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            *(ResidualUnit(channels, dilation) for dilation in DILATIONS),
            Snake(channels),
            nn.Conv1d(
                channels, 2 * channels, 2 * stride, stride=stride, padding=math.ceil(stride / 2)
            ),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, 2C, about T / stride)."""
        return self.block(x)


class Upsample(nn.Module):
    """A strided transposed convolution to half the channels, then residual units."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        half = channels // 2
        self.block = nn.Sequential(
            Snake(channels),
            nn.ConvTranspose1d(
                channels, half, 2 * stride, stride=stride, padding=math.ceil(stride / 2),
                output_padding=stride % 2,
            ),
            *(ResidualUnit(half, dilation) for dilation in DILATIONS),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C / 2, T * stride)."""
        return self.block(x)


class Encoder(nn.Module):
    """Waveform (B, 1, S) -> latents (B, latent, about S / product of strides)."""

    def __init__(self, channels: int, strides: tuple[int, ...], latent: int) -> None:
        super().__init__()
        stages = [Downsample(channels * 2**i, stride) for i, stride in enumerate(strides)]
        last = channels * 2 ** len(strides)
        self.block = nn.Sequential(
            nn.Conv1d(1, channels, KERNEL, padding=KERNEL // 2),
            *stages,
            Snake(last),
            nn.Conv1d(last, latent, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, S) -> (B, latent, T)."""
        return self.block(x)


class Decoder(nn.Module):
    """Latents (B, latent, T) -> waveform (B, 1, T * product of strides), unbounded."""

    def __init__(self, channels: int, strides: tuple[int, ...], latent: int) -> None:
        super().__init__()
        self.strides = strides
        stages = [Upsample(channels // 2**i, stride) for i, stride in enumerate(strides)]
        last = channels // 2 ** len(strides)
        self.model = nn.Sequential(
            nn.Conv1d(latent, channels, KERNEL, padding=KERNEL // 2),
            *stages,
            Snake(last),
            nn.Conv1d(last, 1, KERNEL, padding=KERNEL // 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, latent, T) -> (B, 1, S)."""
        return self.model(x)

    @property
    def context(self) -> int:
        """Frames on either side that one output frame depends on, rounded up and one to spare."""
        reach, rate = float(KERNEL // 2), 1
        for stride in self.strides:
            reach += 1 / rate
            rate *= stride
            reach += sum(DILATIONS) * (KERNEL // 2) / rate
        return math.ceil(reach + KERNEL // 2 / rate) + 1


class SemanticUnit(nn.Module):
    """ELU, convolution, ELU, pointwise convolution, added to the input; no biases."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _Nested(nn.Conv1d(channels, channels, 3, padding=1, bias=False))
        self.conv2 = nn.Conv1d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C, T)."""
        return x + self.conv2(F.elu(self.conv1(F.elu(x))))


class SemanticBlock(nn.Module):
    """Two units and a convolution with bias."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.res_units = nn.Sequential(SemanticUnit(channels), SemanticUnit(channels))
        self.conv = _Nested(nn.Conv1d(channels, channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C, T)."""
        return self.conv(self.res_units(x))


class SemanticEncoder(nn.Module):
    """What stands between the semantic teacher's features and the quantiser."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = _Nested(nn.Conv1d(channels, channels, 3, padding=1, bias=False))
        self.conv_blocks = nn.Sequential(SemanticBlock(channels), SemanticBlock(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C, T)."""
        return self.conv_blocks(self.conv(x))


class SemanticDecoderBlock(nn.Module):
    """A convolution with bias and two units."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = _Nested(nn.Conv1d(channels, channels, 3, padding=1))
        self.res_units = nn.Sequential(SemanticUnit(channels), SemanticUnit(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C, T)."""
        return self.res_units(self.conv(x))


class SemanticDecoder(nn.Module):
    """Gives the teacher's features back from quantised ones; needed in training only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _Nested(nn.Conv1d(channels, channels, 3, padding=1, bias=False))
        blocks = (SemanticDecoderBlock(channels) for _ in range(2))
        self.conv_blocks = nn.Sequential(*blocks)
        self.conv2 = _Nested(nn.Conv1d(channels, channels, 3, padding=1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C, T)."""
        return self.conv2(self.conv_blocks(self.conv1(x)))


class _Nested(nn.Module):
    """A convolution one name deeper, as the checkpoint spells it."""

    def __init__(self, conv: nn.Conv1d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


def fold_weight_norm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Replace each weight-norm pair (either spelling) by the weight `g v / |v|`, in fp32.

    The norm runs over all axes but the one along which g extends.
    """
    spellings = {
        ".weight_g": ".weight_v",
        ".parametrizations.weight.original0": ".parametrizations.weight.original1",
    }
    folded = dict(state)
    for g_end, v_end in spellings.items():
        for name in [name for name in state if name.endswith(g_end)]:
            stem = name.removesuffix(g_end)
            g, v = folded.pop(name).float(), folded.pop(stem + v_end).float()
            axes = [axis for axis in range(v.dim()) if g.shape[axis] == 1]
            folded[stem + ".weight"] = g * v / torch.linalg.vector_norm(v, dim=axes, keepdim=True)
    return folded
