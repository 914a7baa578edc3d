"""CLAP: sound and text in one space, by transformers' `ClapModel` (Wu et al., 2023).

48 kHz mono in, 10-s windows out, `(windows, D)` of length 1. Two traps of the extractor are kept
out. It draws random chunks (fused checkpoints from songs longer than a window) with numpy's global
generator: each window is extracted by itself, under a seed of its own, so no score depends on the
batch or on what ran before. And it marks one window of a batch as long where none is: one at a
time, each is marked alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch

from yue.audio import Audio
from yue.evaluate.embed import (
    SHORTEST,
    about,
    batches,
    load_model,
    load_part,
    numpy_seed,
    unit,
    wave_of,
    windows,
)
from yue.evaluate.options import ClapOptions

VERSION = 1
FUSED = "laion/clap-htsat-fused"
"""The family of the paper's checkpoint; whether it is the same one was not checked."""
MUSIC = "laion/larger_clap_music"
TEXT_TOKENS = 77
"""Longer texts are cut, as in training."""


class Clap:
    """A CLAP model with its extractor and tokenizer."""

    def __init__(
        self, model: Any, extractor: Any, tokenizer: Any, source: str, options: ClapOptions
    ) -> None:
        self.model, self.extractor, self.tokenizer = model, extractor, tokenizer
        self.source, self.options = source, options

    @classmethod
    def load(cls, source: str = FUSED, options: ClapOptions | None = None) -> Self:
        """From a hub id or a local folder. Raises `ModelError` that names the cure."""
        from transformers import AutoFeatureExtractor, AutoTokenizer, ClapModel

        options = options or ClapOptions()
        return cls(
            load_model(ClapModel, source, options.device),
            load_part(AutoFeatureExtractor.from_pretrained, source),
            load_part(AutoTokenizer.from_pretrained, source), source, options,
        )

    @torch.inference_mode()
    def embed(self, audio: Audio) -> np.ndarray:
        """Embeddings `(windows, D)` float32 of length 1; one window with `whole`."""
        rate = self.extractor.sampling_rate
        wave = wave_of(audio, rate)
        size = len(wave) if self.options.whole else self.extractor.nb_max_samples
        seen = [self._extract(piece) for piece in windows(wave, size, round(SHORTEST * rate))]
        found = [
            self.model.get_audio_features(
                **{name: torch.cat([each[name] for each in some]) for name in some[0]}
            ).pooler_output
            for some in batches(seen, self.options.batch)
        ]
        return torch.cat(found).float().cpu().numpy()

    @torch.inference_mode()
    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings `(n, D)` float32 of length 1."""
        found = []
        for some in batches(list(texts), self.options.batch):
            tokens = self.tokenizer(
                some, padding=True, truncation=True, max_length=TEXT_TOKENS, return_tensors="pt"
            ).to(self.options.device)
            features = self.model.get_text_features(
                input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
            )
            found.append(features.pooler_output)
        return unit(torch.cat(found).float().cpu().numpy()).astype(np.float32)

    def describe(self) -> dict[str, Any]:
        """What the numbers depend on."""
        return {
            "extractor": "clap", "version": VERSION, **about(self.source, self.model),
            "windowing": "whole song" if self.options.whole else
            f"{self.extractor.max_length_s} s side by side, tail under {SHORTEST:g} s dropped",
            "seed": self.options.seed,
        }

    def _extract(self, piece: np.ndarray) -> dict[str, torch.Tensor]:
        """What the model reads of one window `(n,)`: `input_features` and `is_longer`."""
        with numpy_seed(self.options.seed):
            found = self.extractor(
                piece, sampling_rate=self.extractor.sampling_rate, return_tensors="pt"
            )
        return {
            "input_features": found["input_features"].float().to(self.options.device),
            "is_longer": found["is_longer"].to(self.options.device),
        }
