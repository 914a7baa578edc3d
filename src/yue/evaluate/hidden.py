"""Hidden states of a Stage-1 model as features of a recording: what it has learned to hear.

As MARBLE measured YuE: 16 kHz mono brought to a peak of 1, windows of 30 s (a tail under 1 s is
dropped), codes of the first codebook alone, no control token around them, all hidden states, the
mean over time in fp32. `(states, windows, D)`: the embedding, each layer, the last one normalised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from yue.audio import Audio
from yue.codec.layers import full_precision
from yue.codec.xcodec import XCodec
from yue.errors import OptionError
from yue.evaluate.embed import SHORTEST, Embedder, wave_of, windows
from yue.hub import ModelSpec, fetch
from yue.lm.llama import Llama

VERSION = 1
WINDOW = 30.0


class Layered(Protocol):
    """What turns sound into vectors of several layers."""

    def states(self, audio: Audio) -> np.ndarray:
        """Features `(layers, windows, D)` float32. Raises `AudioError` for less than a second."""
        ...

    def describe(self) -> dict[str, Any]:
        """What the numbers depend on."""
        ...


@dataclass(frozen=True)
class OneLayer:
    """Any embedder as features of a single layer."""

    embedder: Embedder

    def states(self, audio: Audio) -> np.ndarray:
        """Its embeddings `(1, windows, D)`."""
        return self.embedder.embed(audio)[None]

    def describe(self) -> dict[str, Any]:
        """The embedder's own."""
        return self.embedder.describe()


@dataclass
class Stage1Features:
    """A Stage-1 model and the codec that writes its alphabet."""

    model: Llama
    codec: XCodec
    source: str = "memory"

    def __post_init__(self) -> None:
        frames = round(WINDOW * self.codec.config.frame_rate)
        if frames > self.model.config.max_position_embeddings:
            raise OptionError(
                f"{self.source} reads {self.model.config.max_position_embeddings} tokens, a window "
                f"of {WINDOW:g} s has {frames}: it is too small for this measurement."
            )

    @classmethod
    def load(
        cls, model: str, *, device: str = "cpu", dtype: torch.dtype | None = torch.float32
    ) -> Self:
        """The Stage 1 and the codec of a model: preset, directory or hub id."""
        parts = fetch(ModelSpec.make(model))
        return cls(
            Llama.load(parts.stage1.path, dtype=dtype, device=device),
            XCodec.load(parts.codec.path, decode_only=False, device=device), model,
        )

    @torch.inference_mode()
    def states(self, audio: Audio) -> np.ndarray:
        """Features `(layers + 1, windows, D)` float32."""
        rate = self.codec.config.sample_rate
        wave = wave_of(audio, rate)
        wave = wave / max(float(np.abs(wave).max()), 1e-9)
        pieces = windows(wave, round(WINDOW * rate), round(SHORTEST * rate))
        return torch.cat([self._piece(piece) for piece in pieces], dim=1).cpu().numpy()

    def describe(self) -> dict[str, Any]:
        """What the numbers depend on."""
        return {
            "extractor": "yue stage 1", "version": VERSION, "weights": self.source,
            "dtype": str(self.model.lm_head.weight.dtype).removeprefix("torch."),
            "windowing": f"{WINDOW:g} s side by side, tail under {SHORTEST:g} s dropped, mean over "
            "time; first codebook, no control tokens", "seed": None,
        }

    def _piece(self, piece: np.ndarray) -> Tensor:
        """One window `(n,)` to `(layers + 1, 1, D)`."""
        device = next(self.codec.parameters()).device
        with full_precision():
            codes = self.codec.encode(torch.from_numpy(piece).to(device)[None], 1)[:, 0]
        ids = self.model.config.vocabulary.ids(codes.cpu().numpy())
        return layer_means(self.model, torch.from_numpy(ids).to(self.model.lm_head.weight.device))


def layer_means(model: Llama, ids: Tensor) -> Tensor:
    """Ids `(B, T)` to the mean over time of every hidden state, fp32 `(layers + 1, B, D)`.

    In the order of transformers' `hidden_states`: the embedding, each layer but the last, and the
    last after the final norm.
    """
    found: list[Tensor] = []

    def keep(layer: Any, inputs: tuple[Tensor, ...]) -> None:  # what goes in is the state before
        found.append(inputs[0].float().mean(dim=1))

    handles = [layer.register_forward_pre_hook(keep) for layer in model.model.layers]
    try:
        last = model.hidden(ids)
    finally:
        for handle in handles:
            handle.remove()
    return torch.stack([*found, last.float().mean(dim=1)])
