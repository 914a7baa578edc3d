"""Training an upsampler that describes sound, from songs whose descriptions are known exactly.

No sound is made while it learns, so half an hour on two cores goes through a hundred hours of song.
`voice.py` and `band.py` say what is known and how far a description is off.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from yue.codec.xcodec import XCodec
from yue.train import optimise
from yue.train.config import OptimiserOptions
from yue.train.schedule import warmed_cosine

SEED = 5
"""Of the songs that are learned from."""
CLIPS, FRAMES = 16, 150
MUON = OptimiserOptions(
    name="muon", muon_ratio=20.0, beta1=0.9, beta2=0.99, weight_decay=0.0, clip=5.0
)
HEIGHT, WARMUP, LAST = 1e-3, 50, 0.02
"""The learning rate at its height, steps of warm-up, share of the rate at the end."""
STEPS, SONGS = 4400, 700
TOLD_EVERY = 100

Tell = Callable[[int, dict[str, float]], None]
M = TypeVar("M", bound=nn.Module)


class Lesson(Protocol):
    """A song: codes (1, T) int64, and what is known of each of its subframes, arrays (n T, ...)."""

    @property
    def codes(self) -> np.ndarray:
        """The first codebook's codes (1, T)."""
        ...

    @property
    def wanted(self) -> tuple[np.ndarray, ...]:
        """What the losses compare with, in their order."""
        ...


def draw(songs: Sequence[Lesson], rng: np.random.Generator) -> list[Tensor]:
    """Clips as tensors: codes (B, 1, T), then what is wanted in their subframes."""
    long = [song for song in songs if song.codes.shape[1] >= FRAMES]
    weights = np.array([song.codes.shape[1] for song in long], float)
    rows = []
    for place in rng.choice(len(long), CLIPS, p=weights / weights.sum()):
        song = long[place]
        frames = song.codes.shape[1]
        first = int(rng.integers(frames - FRAMES + 1))
        codes = song.codes[:, first : first + FRAMES]
        rows.append((codes, *(
            _cut(values, len(values) // frames, first) for values in song.wanted
        )))
    return [torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True)]


def _cut(values: np.ndarray, subframes: int, first: int) -> np.ndarray:
    part = values[subframes * first : subframes * (first + FRAMES)]
    return part.astype(np.float32) if part.dtype == np.float16 else part


def fit(
    make: Callable[[], M], codec: XCodec, songs: Sequence[Lesson],
    losses: Callable[[M, Tensor, Sequence[Tensor]], dict[str, Tensor]], *, steps: int,
    seed: int = 1, bf16: bool = False, tell: Tell = lambda step, found: None,
) -> M:
    """A new upsampler that learned for so many steps, its rate falling over them.

    `losses` by name are of the model, features (B, C, T) and what is wanted. With `bf16` products
    are in bfloat16, which pays where the processor has matrix units for it.
    """
    torch.manual_seed(seed)
    rng, model = np.random.default_rng(seed), make().train()
    optimisers = optimise.make(model, MUON, inner=_is_pointwise)
    for step in range(steps):
        optimise.set_rate(optimisers, HEIGHT * warmed_cosine(step, steps, WARMUP, LAST))
        codes, *wanted = draw(songs, rng)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            found = losses(model, codec.embed(codes), wanted)
        model.zero_grad(set_to_none=True)
        torch.stack(list(found.values())).sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), MUON.clip)
        for optimiser in optimisers:
            optimiser.step()
        tell(step + 1, {name: float(loss.detach()) for name, loss in found.items()})
    return model.eval()


def _is_pointwise(name: str, parameter: Tensor) -> bool:
    return "pwconv" in name and parameter.dim() > 1


def asked(what: str, track: str, arguments: Sequence[str] | None) -> argparse.Namespace:
    """The arguments of a script that trains a track's upsampler."""
    parser = argparse.ArgumentParser(prog=f"train-{what}", description=f"Train a {what}.")
    parser.add_argument("codec", help="a codec directory")
    parser.add_argument("upsampler", help=f"an upsampler directory; all but its {track} is kept")
    parser.add_argument("out", help=f"where the upsampler directory with the {what} goes")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--songs", type=int, default=SONGS)
    parser.add_argument("--bf16", action="store_true", help="bfloat16 products (AMX)")
    return parser.parse_args(arguments)


def told(step: int, found: dict[str, float]) -> None:
    """Say on stderr, now and then, how far the training is."""
    if step % TOLD_EVERY == 0:
        losses = ", ".join(f"{name} {loss:.3f}" for name, loss in found.items())
        print(f"step {step}: {losses}", file=sys.stderr, flush=True)
