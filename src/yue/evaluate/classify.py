"""What is heard in a song, as class probabilities, and `kl_ast`: how two sets differ in it.

The classifier is an Audio Spectrogram Transformer of transformers (Gong et al., 2021) with AudioSet
classes; 16 kHz mono in, windows over the *whole* song, `(windows, C)` probabilities out (softmax).
`kl_ast` is no number of the paper: its KL comes from another classifier (PaSST), which heard only
the first ten seconds, against a reference that was never published. Compare `kl_ast` with `kl_ast`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch

from yue.audio import Audio
from yue.errors import OptionError
from yue.evaluate.distances import kl
from yue.evaluate.embed import (
    SHORTEST,
    about,
    batches,
    load_model,
    load_part,
    wave_of,
    windows,
)
from yue.evaluate.options import EmbedOptions

VERSION = 1
AUDIOSET = "MIT/ast-finetuned-audioset-10-10-0.4593"
FRAMES_PER_SECOND = 100


class Classifier:
    """An audio classifier with its extractor; an `Embedder` whose vectors are probabilities."""

    def __init__(self, model: Any, extractor: Any, source: str, options: EmbedOptions) -> None:
        self.model, self.extractor = model, extractor
        self.source, self.options = source, options

    @classmethod
    def load(cls, source: str = AUDIOSET, options: EmbedOptions | None = None) -> Self:
        """From a hub id or a local folder. Raises `ModelError` that names the cure."""
        from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

        options = options or EmbedOptions()
        return cls(
            load_model(AutoModelForAudioClassification, source, options.device),
            load_part(AutoFeatureExtractor.from_pretrained, source), source, options,
        )

    @property
    def window(self) -> float:
        """Seconds that the model hears at once."""
        return float(self.extractor.max_length / FRAMES_PER_SECOND)

    @torch.inference_mode()
    def embed(self, audio: Audio) -> np.ndarray:
        """Probabilities `(windows, C)` float32, each row adding up to 1."""
        rate = self.extractor.sampling_rate
        wave = wave_of(audio, rate)
        pieces = windows(wave, round(self.window * rate), round(SHORTEST * rate))
        found = []
        for some in batches(pieces, self.options.batch):
            seen = self.extractor(list(some), sampling_rate=rate, return_tensors="pt")
            logits = self.model(seen["input_values"].to(self.options.device)).logits
            found.append(logits.float().softmax(dim=-1).cpu())
        return torch.cat(found).numpy()

    def describe(self) -> dict[str, Any]:
        """What the numbers depend on."""
        return {
            "extractor": "ast", "version": VERSION, **about(self.source, self.model),
            "windowing": f"{self.window:g} s side by side, tail under {SHORTEST:g} s dropped",
            "seed": None,
        }


def kl_ast(
    songs: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """KL of class distributions in nats, from probabilities `{name: (windows, C)}`.

    A song's distribution is the mean of its windows'. `value`: KL(reference || songs) of the mean
    over songs. `paired`: mean over songs that both have, by name, or `None`; `pairs`, how many.
    """
    if not songs or not reference:
        raise OptionError("no songs, or no reference: nothing to compare.")
    a = {name: np.asarray(rows, np.float64).mean(axis=0) for name, rows in songs.items()}
    b = {name: np.asarray(rows, np.float64).mean(axis=0) for name, rows in reference.items()}
    both = sorted(a.keys() & b.keys())
    return {
        "metric": "kl_ast", "version": VERSION,
        "value": float(kl(np.mean(list(b.values()), axis=0), np.mean(list(a.values()), axis=0))),
        "paired": float(np.mean([kl(b[name], a[name]) for name in both])) if both else None,
        "pairs": len(both),
    }
