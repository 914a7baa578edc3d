"""Audio in memory: samples and a rate. Reading, cutting, resampling, writing; no models.

Samples are float32 `(channels, n)`, full scale 1.0.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from yue.errors import AudioError
from yue.files import PathLike, write_bytes

FORMATS = {
    ".wav": ("WAV", "PCM_24"),
    ".flac": ("FLAC", "PCM_24"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
    ".ogg": ("OGG", "VORBIS"),
}
"""Suffixes that can be written, with libsndfile's names of format and subtype."""

BLOCK = 65_536


@dataclass(frozen=True, eq=False, repr=False)
class Audio:
    """Samples `(channels, n)` float32, full scale 1.0, at `rate` Hz."""

    samples: np.ndarray
    rate: int

    def __post_init__(self) -> None:
        samples = np.asarray(self.samples, dtype=np.float32)
        if samples.ndim == 1:
            samples = samples[None]
        if samples.ndim != 2 or samples.shape[0] < 1:
            raise AudioError(f"samples of shape {samples.shape}: expected (channels, n).")
        if self.rate < 1:
            raise AudioError(f"rate = {self.rate}: expected at least 1 Hz.")
        object.__setattr__(self, "samples", samples)

    def __repr__(self) -> str:
        return f"<audio {self.seconds:.2f} s, {self.samples.shape[0]} x {self.rate} Hz>"

    @classmethod
    def read(cls, path: PathLike, *, start: float = 0.0, end: float | None = None) -> Audio:
        """Read a file (wav, flac, mp3, ogg, ...), or its seconds `start` to `end`.

        Raises `AudioError` for files that are missing, damaged or not audio.
        """
        import soundfile

        path = Path(path)
        if not path.is_file():
            raise AudioError(f"{path}: no such file.")
        try:
            samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        except (soundfile.SoundFileError, RuntimeError) as error:
            raise AudioError(
                f"{path} could not be read as audio ({error}). "
                "wav, flac, mp3 and ogg can be read; is the file complete?"
            ) from error
        if not len(samples):
            raise AudioError(f"{path} holds no samples. Is the file complete?")
        if not np.isfinite(samples).all():
            raise AudioError(f"{path} holds samples that are not numbers. Is the file damaged?")
        return cls(samples.T, rate).cut(start, end)

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.samples.shape[1] / self.rate

    @property
    def peak(self) -> float:
        """The largest magnitude, 0 for no samples."""
        return float(np.abs(self.samples).max(initial=0.0))

    @property
    def level(self) -> float:
        """Root mean square in dB of full scale; minus infinity for silence."""
        power = float(np.square(self.samples, dtype=np.float64).mean()) if self.samples.size else 0
        return 10 * math.log10(power) if power > 0 else -math.inf

    def cut(self, start: float = 0.0, end: float | None = None) -> Audio:
        """The seconds `start` to `end`; an `end` past the last sample means the last sample.

        Raises `AudioError` if nothing would be left.
        """
        if start == 0.0 and end is None:
            return self
        first = round(start * self.rate)
        last = self.samples.shape[1] if end is None else round(end * self.rate)
        if start < 0 or last <= first or first >= self.samples.shape[1]:
            raise AudioError(
                f"start {start} s to end {end} s: nothing there. The audio is {self.seconds:.2f} s "
                "long; start must be 0 or more, before its end, and smaller than end."
            )
        return Audio(self.samples[:, first:last], self.rate)

    def mono(self) -> Audio:
        """The mean of all channels."""
        if self.samples.shape[0] == 1:
            return self
        return Audio(self.samples.mean(axis=0, keepdims=True), self.rate)

    def resample(self, rate: int) -> Audio:
        """The same sound at another rate (soxr, very high quality)."""
        if rate == self.rate:
            return self
        import soxr

        return Audio(soxr.resample(self.samples.T, self.rate, rate, quality="VHQ").T, rate)

    def encode(self, suffix: str) -> bytes:
        """The bytes of a file whose format `suffix` names (.wav, .flac, .mp3, .ogg)."""
        import soundfile

        if suffix.lower() not in FORMATS:
            raise AudioError(f"{suffix!r} is no known format: allowed are {', '.join(FORMATS)}.")
        kind, subtype = FORMATS[suffix.lower()]
        buffer = io.BytesIO()
        channels, total = self.samples.shape
        with soundfile.SoundFile(
            buffer, "w", self.rate, channels, format=kind, subtype=subtype
        ) as file:
            # In blocks: libsndfile's Vorbis encoder overruns its stack on a minute at once.
            for first in range(0, total, BLOCK):
                file.write(self.samples[:, first : first + BLOCK].T)
        return buffer.getvalue()

    def save(self, path: PathLike) -> Path:
        """Write a file, its format chosen by the suffix; never leaves a half-written one.

        Raises `AudioError` for an unknown suffix, `FileError` if the disk refuses.
        """
        path = Path(path)
        return write_bytes(path, self.encode(path.suffix))
