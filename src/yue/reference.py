"""A recording to sing like: audio in, reference ids out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from yue.audio import Audio
from yue.codec.layers import full_precision
from yue.codec.xcodec import XCodec
from yue.errors import AudioError
from yue.files import PathLike
from yue.prompt import dual_reference, single_reference
from yue.vocab import Vocabulary

DEFAULT_SECONDS = 30.0
"""Length of a reference if no end is given: what the ICL checkpoints were trained on."""


@dataclass(frozen=True)
class Reference:
    """A recording whose style and voice the song should take on.

    Give a mixture (or one stem) as `audio`, or both `vocals` and `accompaniment`, which works
    best; paths or `Audio`. Used are the seconds `start` to `end`, 30 s if no end is given.
    """

    audio: PathLike | Audio | None = None
    start: float = 0.0
    end: float | None = None
    vocals: PathLike | Audio | None = None
    accompaniment: PathLike | Audio | None = None

    def __post_init__(self) -> None:
        if (self.vocals is None) != (self.accompaniment is None):
            raise AudioError("a dual reference needs both vocals and accompaniment.")
        if (self.audio is None) == (self.vocals is None):
            raise AudioError("give either one recording, or vocals and accompaniment.")
        if self.start < 0 or (self.end is not None and self.end <= self.start):
            raise AudioError(
                f"reference: start = {self.start} s, end = {self.end} s; start must be 0 or more "
                "and smaller than end."
            )

    @property
    def dual(self) -> bool:
        """Whether both tracks are given."""
        return self.vocals is not None

    @property
    def until(self) -> float:
        """The end in seconds."""
        return self.start + DEFAULT_SECONDS if self.end is None else self.end

    def encode(self, codec: XCodec, vocabulary: Vocabulary) -> tuple[int, ...]:
        """The ids between `<xcodec>` and EOA of the reference block.

        The whole recording is encoded and the codes are cut, as the checkpoints were trained.
        Stems of unequal length are cut to the shorter. Raises `AudioError` for audio that cannot
        be read or holds nothing at those seconds.
        """
        if not self.dual:
            assert self.audio is not None
            codes = _first_codebook(self.audio, codec)
            self._check(len(codes), vocabulary)
            ids = single_reference(codes, self.start, self.until, vocabulary)
        else:
            assert self.vocals is not None and self.accompaniment is not None
            tracks = [_first_codebook(a, codec) for a in (self.vocals, self.accompaniment)]
            shorter = min(map(len, tracks))
            self._check(shorter, vocabulary)
            both = np.stack([track[:shorter] for track in tracks])
            ids = dual_reference(both, self.start, self.until, vocabulary)
        return tuple(ids.tolist())

    def _check(self, frames: int, vocabulary: Vocabulary) -> None:
        seconds = frames / vocabulary.frame_rate
        if self.start >= seconds:
            raise AudioError(
                f"the reference starts at {self.start} s, but the recording is {seconds:.2f} s "
                "long: choose an earlier start."
            )


def _first_codebook(source: PathLike | Audio, codec: XCodec) -> np.ndarray:
    """Codes (T,) of the first codebook of a whole recording, in mono."""
    audio = source if isinstance(source, Audio) else Audio.read(source)
    audio = audio.mono().resample(codec.config.sample_rate)
    hop = codec.config.hop
    if audio.samples.shape[1] < hop:
        raise AudioError(
            f"the reference is {audio.seconds:.3f} s long: at least {hop / audio.rate:.3f} s are "
            "needed, and about 30 s work best."
        )
    device = codec.device
    with torch.inference_mode(), full_precision():
        codes = codec.encode(torch.from_numpy(audio.samples).to(device), 1)
    return codes[0, 0].cpu().numpy()
