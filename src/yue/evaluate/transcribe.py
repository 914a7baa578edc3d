"""Words that a speech model of transformers hears in a vocal track, with times.

In goes `Audio` and a model (hub id or directory; CTC such as wav2vec2, or Whisper-like); out come
words with seconds. The track is heard in the pieces of `recognise.pieces`, each by itself: so no
model is conditioned on what it wrote before, and one that falls into a loop falls for one piece
only; what it may write is bounded by the length of the piece. Where a model gives times of phrases
only, their words are spread evenly over them. Licences of weights are the user's to look up.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from yue.audio import Audio
from yue.errors import ModelError
from yue.evaluate.needs import need
from yue.evaluate.recognise import QUIET, Heard, pieces
from yue.evaluate.recognise import RATE as PIECE_RATE
from yue.evaluate.words import tokens

VERSION = 1
TOKENS_PER_SECOND = 12
"""The most that is written for a second of singing; speech is 3 to 5."""
_CONTROL = re.compile(r"<[^<>\s]*>")
"""Tokens such as <unk> that some models write into their text."""


class Transcriber:
    """A model that writes down what it hears; loaded once, used for many songs."""

    def __init__(self, model: str, *, language: str | None = None, device: str = "cpu") -> None:
        """Load it. Raises `ModelError` if `model` is no speech recognition model."""
        try:
            self._pipeline = need("transformers").pipeline(
                "automatic-speech-recognition", model=model, device=device
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"{model!r} could not be loaded as a speech recognition model ({error}). Expected "
                "a hub id that is on this machine, or a directory."
            ) from error
        self.model, self._language = model, language
        self._rate = int(self._pipeline.feature_extractor.sampling_rate)

    def words_of(self, audio: Audio) -> list[Heard]:
        """The words, normalised to `words.tokens`, in order with start and end in seconds."""
        samples = audio.mono().resample(PIECE_RATE).samples[0]
        heard: list[Heard] = []
        for first, last in pieces(samples):
            piece = samples[first:last]
            if np.abs(piece).max(initial=0.0) >= QUIET:
                heard += self._heard(Audio(piece, PIECE_RATE), first / PIECE_RATE)
        return heard

    def _heard(self, piece: Audio, start: float) -> list[Heard]:
        """The words of one piece that begins at `start` seconds."""
        wave = piece.resample(self._rate).samples[0]
        told = self._pipeline(
            {"raw": wave, "sampling_rate": self._rate}, **self._settings(piece.seconds)
        )
        chunks = told.get("chunks") or [{"text": told["text"], "timestamp": (0.0, piece.seconds)}]
        return [word for chunk in chunks for word in _spread(chunk, start, piece.seconds)]

    def _settings(self, seconds: float) -> dict[str, Any]:
        """What the pipeline is asked for, by the kind of model."""
        if not self._pipeline.model.can_generate():
            return {"return_timestamps": "word"}
        generate: dict[str, Any] = {"max_new_tokens": 16 + round(TOKENS_PER_SECOND * seconds)}
        if self._language:
            generate["language"] = self._language
        whisper = self._pipeline.model.config.model_type == "whisper"
        settings: dict[str, Any] = {"generate_kwargs": generate}
        return {**settings, "return_timestamps": True} if whisper else settings


def _spread(chunk: dict[str, Any], start: float, seconds: float) -> list[Heard]:
    """The words of one chunk of text, evenly over its time."""
    words = tokens(_CONTROL.sub(" ", chunk["text"]))
    low, high = chunk.get("timestamp") or (None, None)
    first, last = float(low or 0.0), float(seconds if high is None else high)
    step = max(0.0, last - first) / max(1, len(words))
    return [
        Heard(word, start + first + place * step, start + first + (place + 1) * step)
        for place, word in enumerate(words)
    ]
