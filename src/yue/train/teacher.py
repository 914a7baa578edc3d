"""The semantic teacher of a small codec: a model that names what is sung and played.

The published codec leans on a HuBERT trained on a hundred thousand hours. On songs that this
project makes itself, phones and notes are known exactly, so a small model learns them directly:
frame by frame the phone, the pitch, and (from the sound alone, for every track) pitch classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from yue.codec.xcodec import XCodec
from yue.train.clips import REST, SEMITONES, UNKNOWN, Batch
from yue.train.spectral import chroma

PHONE_CLASSES = REST + 1
PITCH_CLASSES = SEMITONES + 1
CHROMA = 12

STILL = {
    "hidden_dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0,
    "feat_proj_dropout": 0.0, "layerdrop": 0.0, "apply_spec_augment": False,
}
"""HuBERT's regularisers, switched off: the labels are exact and there are many."""


class Readers(nn.Module):
    """What can be read off features frame by frame: phone, pitch, pitch classes.

    Plain linear maps, so that what they find must lie open in the features.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.phone = nn.Linear(width, PHONE_CLASSES)
        self.pitch = nn.Linear(width, PITCH_CLASSES)
        self.chroma = nn.Linear(width, CHROMA)

    def losses(self, features: Tensor, batch: Batch, heard: Tensor) -> dict[str, Tensor]:
        """Features (B, D, T) against labels and `heard` pitch classes (B, 12, T), in nats."""
        x = features.transpose(1, 2)
        heard = heard.transpose(1, 2)
        spread = -(heard * self.chroma(x).log_softmax(-1)).sum(-1)
        return {
            "phone": _cross_entropy(self.phone(x), batch.phones),
            "pitch": _cross_entropy(self.pitch(x), batch.pitch),
            "chroma": (spread - _entropy(heard)).mean(),
        }

    @torch.no_grad()
    def accuracy(self, features: Tensor, batch: Batch) -> dict[str, float]:
        """Share of labelled frames whose phone, and whose pitch, is read right."""
        x = features.transpose(1, 2)
        pairs = {"phone": (self.phone(x), batch.phones), "pitch": (self.pitch(x), batch.pitch)}
        return {name: _right(*pair) for name, pair in pairs.items()}


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over known frames; zero where none is known."""
    total = F.cross_entropy(
        logits.flatten(0, 1), target.flatten(), ignore_index=UNKNOWN, reduction="sum"
    )
    return total / (target != UNKNOWN).sum().clamp_min(1)


def _entropy(shares: Tensor) -> Tensor:
    return -(shares * shares.clamp_min(1e-9).log()).sum(-1)


def _right(logits: Tensor, target: Tensor) -> float:
    known = target != UNKNOWN
    return float((logits.argmax(-1) == target)[known].float().mean()) if known.any() else 0.0


def heard_in(batch: Batch, codec: XCodec) -> Tensor:
    """The pitch classes of a batch's sound (B, 12, T) on the codec's frames."""
    return chroma(batch.coarse, codec.config.sample_rate, codec.config.hop)


def freeze_regularisers(config: Mapping[str, Any]) -> dict[str, Any]:
    """A HuBERT configuration without dropout and masking."""
    return {**config, **STILL}
