"""All token numbers, as a value.

A `Vocabulary` turns codec codes into token ids and back and names the control tokens. YuE v1 is
one preset; a small model describes its own in its `config.json`. Numpy only; no text, no model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from yue.errors import ModelError

TRACKS = ("vocals", "accompaniment")
"""Order of the tracks in every array and token stream: vocal first (paper section 3.2)."""

WINDOW_SECONDS = 6
"""Stage 2 works on windows of this length, each by itself (paper section 3.3)."""


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Token ids of one model family.

    Ids `codec_base + k * codebook_size + c` stand for code `c` of codebook `k`; both tracks use
    the same ids and are told apart by position parity alone.
    """

    text_size: int
    """Ids below this belong to the text tokenizer."""
    eod: int
    soa: int
    eoa: int
    stage1: int
    xcodec: int
    stage2: int
    codec_base: int
    codebook_size: int
    codebooks: int
    """Codebooks per frame that Stage 2 fills, the first included."""
    silence: int
    """The first codebook's code for silence; pads short windows."""
    frame_rate: int = 50
    """Codec frames per second."""

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not isinstance(value, int) or value < 0:
                raise ModelError(f"vocabulary: {name} = {value!r} must be a whole number >= 0.")
        if self.codebook_size < 1 or self.codebooks < 1 or self.frame_rate < 1:
            raise ModelError("vocabulary: codebook_size, codebooks and frame_rate must be >= 1.")
        if not 0 <= self.silence < self.codebook_size:
            raise ModelError(f"vocabulary: silence = {self.silence} is not a code.")
        control = {self.eod, self.soa, self.eoa, self.stage1, self.xcodec, self.stage2}
        if len(control) < 6 or any(self.codec_base <= t < self.codec_end for t in control):
            raise ModelError("vocabulary: control tokens collide with each other or with codes.")
        if any(token < self.text_size for token in control) or self.codec_base < self.text_size:
            raise ModelError(
                f"vocabulary: control tokens and codes must lie above the {self.text_size} text "
                "ids, or a text could spell them."
            )

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Vocabulary:
        """The vocabulary that a model's config describes under `yue.vocabulary`, else YuE v1's.

        Raises `ModelError` on unknown or missing fields.
        """
        described = (config.get("yue") or {}).get("vocabulary")
        if described is None:
            return YUE_V1
        try:
            return cls(**described)
        except TypeError as error:
            names = ", ".join(field.name for field in dataclasses.fields(cls))
            raise ModelError(f"vocabulary in config.json: {error}; fields are {names}.") from error

    def as_dict(self) -> dict[str, int]:
        """Plain values, ready for a config."""
        return dataclasses.asdict(self)

    @property
    def codec_end(self) -> int:
        """One past the last code id that is used."""
        return self.codec_base + self.codebooks * self.codebook_size

    @property
    def size(self) -> int:
        """The smallest embedding that holds every id."""
        control = (self.eod, self.soa, self.eoa, self.stage1, self.xcodec, self.stage2)
        return max(self.codec_end, *(token + 1 for token in control))

    @property
    def window_frames(self) -> int:
        """Frames in one Stage-2 window."""
        return WINDOW_SECONDS * self.frame_rate

    @property
    def tokens_per_second(self) -> int:
        """Stage-1 tokens per second of song: both tracks interleaved."""
        return len(TRACKS) * self.frame_rate

    def codebook(self, k: int) -> range:
        """The ids of codebook `k`."""
        start = self.codec_base + k * self.codebook_size
        return range(start, start + self.codebook_size)

    def ids(self, codes: np.ndarray | Sequence[int], k: int = 0) -> np.ndarray:
        """Codes of codebook `k`, any shape, to token ids (int64).

        Raises `ModelError` where a value is no code.
        """
        array = np.asarray(codes, dtype=np.int64)
        if array.size and not (array.min() >= 0 and array.max() < self.codebook_size):
            bad = array[(array < 0) | (array >= self.codebook_size)].flat[0]
            raise ModelError(f"{bad} is not a code: allowed is 0..{self.codebook_size - 1}.")
        return array + self.codebook(k).start

    def codes(self, ids: np.ndarray | Sequence[int], k: int = 0) -> np.ndarray:
        """Token ids of codebook `k`, any shape, to codes (int64). Inverse of `ids`."""
        array = np.asarray(ids, dtype=np.int64)
        book = self.codebook(k)
        if array.size and not (book.start <= array.min() and array.max() < book.stop):
            bad = array[(array < book.start) | (array >= book.stop)].flat[0]
            raise ModelError(
                f"token {bad} is not of codebook {k}: allowed is {book.start}..{book.stop - 1}."
            )
        return array - book.start

    def interleave(self, tracks: np.ndarray) -> np.ndarray:
        """Codes (2, T) of codebook 0 to the ids `v1 a1 v2 a2 ...` (2T,)."""
        return self.ids(np.asarray(tracks).T.reshape(-1))

    def deinterleave(self, ids: np.ndarray | Sequence[int]) -> np.ndarray:
        """Ids `v1 a1 v2 a2 ...` to codes (2, T); a last unpaired id is dropped."""
        array = np.asarray(ids, dtype=np.int64)
        pairs = array[: len(array) // 2 * 2]
        return self.codes(pairs.reshape(-1, 2).T)


YUE_V1 = Vocabulary(
    text_size=32000,
    eod=32000,
    soa=32001,
    eoa=32002,
    stage1=32013,
    xcodec=32016,
    stage2=32017,
    codec_base=45334,
    codebook_size=1024,
    codebooks=8,
    silence=464,
)
"""The published checkpoints' vocabulary: Llama-2 text, 22 control tokens, xcodec at 45334."""
