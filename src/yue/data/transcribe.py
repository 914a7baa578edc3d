"""What is sung, where nobody wrote it down: lines with times from a transformers model.

In go vocals `(n,)`; out come lines with seconds. A CTC model is read letter by letter (`align.py`),
its words joined up to the next pause; a Whisper-like one writes phrases itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from yue.data.align import CTC
from yue.data.given import Timed, as_lines
from yue.errors import ModelError
from yue.files import read_json

VERSION = 1


class Transcriber(Protocol):
    """Sound to words."""

    @property
    def rate(self) -> int:
        """Samples per second that it hears."""

    def transcribe(self, wave: np.ndarray) -> list[Timed]:
        """What a wave (n,) at `rate` says: lines with their seconds."""


def load(directory: Path, device: str = "cpu") -> Transcriber:
    """A CTC or a Whisper-like model from a directory in transformers' layout.

    Raises `ModelError` if it is neither.
    """
    config = read_json(directory / "config.json") if (directory / "config.json").is_file() else {}
    architecture = "".join(config.get("architectures") or ())
    if "CTC" in architecture:
        return Letters(CTC.load(directory, device))
    return Phrases.load(directory, device)


@dataclass(frozen=True, eq=False)
class Letters:
    """A CTC model."""

    model: CTC

    @property
    def rate(self) -> int:
        """Samples per second that it hears."""
        return self.model.rate

    def transcribe(self, wave: np.ndarray) -> list[Timed]:
        """Lines with their seconds: words up to the next pause."""
        return as_lines(self.model.transcribe(wave))


@dataclass(frozen=True, eq=False)
class Phrases:
    """A model that writes text with time marks, such as Whisper."""

    pipeline: Any
    rate: int

    @classmethod
    def load(cls, directory: Path, device: str = "cpu") -> Phrases:
        """From a directory in transformers' layout."""
        import transformers

        try:
            made = transformers.pipeline(
                "automatic-speech-recognition", model=str(directory), device=device,
                model_kwargs={"use_safetensors": True},
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = (str(error).strip().splitlines() or ["no reason given"])[0]
            raise ModelError(
                f"{directory} is no model that transcribes ({reason}). Give a Whisper or a CTC "
                "model, as a hub id or a local directory with safetensors."
            ) from error
        return cls(made, int(made.feature_extractor.sampling_rate))

    def transcribe(self, wave: np.ndarray) -> list[Timed]:
        """Phrases with their seconds."""
        said = self.pipeline(
            {"raw": wave.astype(np.float32), "sampling_rate": self.rate}, return_timestamps=True
        )
        length = len(wave) / self.rate
        found = []
        for chunk in said["chunks"]:
            start, end = chunk["timestamp"]
            start = min(start or 0.0, length)
            end = length if end is None else min(max(start, end), length)
            if text := chunk["text"].strip():
                found.append(Timed(text, start, end))
        return found
