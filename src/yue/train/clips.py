"""Short cuts of recordings, with what is known about them: what the codec is trained on.

A clip is a pure function of (seed, step, index): nothing is shuffled, nothing has to be saved.
Labels lie beside the audio (`NAME.json` of the songbook beside `NAME.vocals.flac`); what nothing
is known about is marked so, and no loss counts it.
"""

from __future__ import annotations

import functools
import glob
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from yue.errors import FileError
from yue.files import read_json
from yue.phonemes import PHONES

UNKNOWN = -100
"""The target of a frame that nothing is known about; cross entropy ignores it."""
REST = len(PHONES)
"""The phone class of frames without singing."""
LOWEST, SEMITONES = 36, 48
"""Pitch classes are MIDI notes 36..83, and one more for frames without a pitch."""
UNPITCHED = SEMITONES
QUIET = 1e-3
"""A clip whose root mean square lies below this is drawn anew, up to three times."""


@dataclass(frozen=True, eq=False)
class Labels:
    """What is known of each frame (T,) int64: phone class and pitch class, or `UNKNOWN`."""

    phones: np.ndarray
    pitch: np.ndarray

    @classmethod
    def unknown(cls, frames: int) -> Labels:
        """Nothing is known."""
        return cls(*(np.full(frames, UNKNOWN, np.int64) for _ in range(2)))

    def cut(self, first: int, last: int) -> Labels:
        """Frames `first` to `last`; what lies beyond the end is a rest."""
        missing = (0, max(0, last - len(self.phones)))
        return Labels(
            np.pad(self.phones[first:last], missing, constant_values=REST),
            np.pad(self.pitch[first:last], missing, constant_values=UNPITCHED),
        )


@dataclass(frozen=True, eq=False)
class Batch:
    """Clips of one track: waves (B, S) at the upsampler's and the codec's rate, labels (B, T).

    `codes` (B, K, T) are what Stage 2 would make of them, where that is known.
    """

    track: str
    wave: Tensor
    coarse: Tensor
    phones: Tensor
    pitch: Tensor
    codes: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        tensors = (self.wave, self.coarse, self.phones, self.pitch, self.codes)
        return Batch(self.track, *(None if x is None else x.to(device) for x in tensors))  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Clips:
    """Recordings by track, cut into clips of whole codec frames."""

    files: Mapping[str, tuple[Path, ...]]
    sample_rate: int
    coarse_rate: int
    frame_rate: int = 50
    refined: Path | None = None
    """A folder with codes (K, T) of every file, as `refined_path` names them."""

    @classmethod
    def find(cls, patterns: Mapping[str, Sequence[str]], **rates: int) -> Clips:
        """The files that match each track's patterns. Raises `FileError` if a track has none."""
        files = {}
        for track, globs in patterns.items():
            # Patterns may be absolute, which Path.glob refuses.
            names = {name for each in globs for name in glob.glob(each, recursive=True)}  # noqa: PTH207
            found = sorted(map(Path, names))
            if not found:
                raise FileError(f"{track}: no file matches {', '.join(globs)}.")
            files[track] = tuple(found)
        return cls(files=files, **rates)  # type: ignore[arg-type]

    @property
    def tracks(self) -> tuple[str, ...]:
        """The names of the tracks."""
        return tuple(self.files)

    def batch(self, track: str, size: int, frames: int, seed: Sequence[int]) -> Batch:
        """`size` clips of `frames` frames, chosen by `seed` alone."""
        picked = [
            self._clip(track, frames, np.random.default_rng([*seed, i])) for i in range(size)
        ]
        waves, labels, codes = zip(*picked, strict=True)
        coarse = [soxr.resample(w, self.sample_rate, self.coarse_rate) for w in waves]
        stack = [torch.from_numpy(np.stack(each)) for each in (waves, coarse)]
        known = [
            torch.from_numpy(np.stack(each))
            for each in ([x.phones for x in labels], [x.pitch for x in labels])
        ]
        refined = None if self.refined is None else torch.from_numpy(np.stack(codes))
        return Batch(track, stack[0], stack[1], known[0], known[1], refined)

    def refined_path(self, track: str, path: Path) -> Path:
        """Where the codes of a file lie."""
        assert self.refined is not None
        place = hashlib.sha256(str(path).encode()).hexdigest()[:12]
        return self.refined / track / f"{path.stem}-{place}.npy"

    def coarse(self, path: Path) -> np.ndarray:
        """A whole file at the codec's rate (S,), whole frames."""
        frames = int(soundfile.info(str(path)).duration * self.frame_rate)
        wave = self._read(path, 0, frames)
        return soxr.resample(wave, self.sample_rate, self.coarse_rate)

    def _clip(
        self, track: str, frames: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, Labels, np.ndarray | None]:
        for _ in range(4):
            path = self.files[track][rng.integers(len(self.files[track]))]
            held = soundfile.info(str(path))
            last = int(held.frames / held.samplerate * self.frame_rate) - frames
            first = int(rng.integers(max(1, last + 1)))
            wave = self._read(path, first, frames)
            if float(np.sqrt(np.mean(wave**2))) >= QUIET:
                break
        codes = None
        if self.refined is not None:
            codes = _codes(self.refined_path(track, path), first, first + frames)
        return wave, labels_of(path, track, self.frame_rate).cut(first, first + frames), codes

    def _read(self, path: Path, first: int, frames: int) -> np.ndarray:
        """Frames of a file as mono float32 at `sample_rate`, zeros behind its end."""
        rate = soundfile.info(str(path)).samplerate
        start, count = (round(n * rate / self.frame_rate) for n in (first, frames))
        wave, _ = soundfile.read(
            str(path), start=start, frames=count, dtype="float32", always_2d=True, fill_value=0.0
        )
        mono = wave.mean(1)
        if rate != self.sample_rate:
            mono = soxr.resample(mono, rate, self.sample_rate)
        wanted = frames * self.sample_rate // self.frame_rate
        return np.pad(mono[:wanted], (0, max(0, wanted - len(mono)))).astype(np.float32)


def _codes(path: Path, first: int, last: int) -> np.ndarray:
    """Frames `first` to `last` of a file's codes (K, T); behind its end the last frame stays."""
    held: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    cut = np.array(held[:, first:last], np.int64)
    return np.pad(cut, ((0, 0), (0, last - first - cut.shape[1])), mode="edge")


@functools.lru_cache(maxsize=4096)
def labels_of(path: Path, track: str, frame_rate: int) -> Labels:
    """The labels that lie beside a file of the songbook; unknown for any other file.

    An accompaniment has neither phones nor one pitch: its labels are unknown too.
    """
    beside = path.with_name(path.name.split(".")[0] + ".json")
    seconds = soundfile.info(str(path)).duration
    frames = int(seconds * frame_rate)
    if track != "vocals" or not beside.is_file():
        return Labels.unknown(frames)
    song = read_json(beside)
    if not isinstance(song, dict) or "songbook" not in song:
        return Labels.unknown(frames)
    phones = np.full(frames, REST, np.int64)
    pitch = np.full(frames, UNPITCHED, np.int64)
    for start, end, midi, *_ in song["songbook"]["notes"]:
        cut = _frames(start, end, frame_rate)
        pitch[cut] = int(np.clip(round(midi) - LOWEST, 0, SEMITONES - 1))
    for phone in song["phones"]:
        cut = _frames(phone["start"], phone["end"], frame_rate)
        phones[cut] = PHONES.index(phone["symbol"].rstrip("012"))
        if phone["symbol"].rstrip("012") in VOICELESS:
            pitch[cut] = UNPITCHED
    pitch[phones == REST] = UNPITCHED
    return Labels(phones, pitch)


VOICELESS = frozenset("P T K F TH S SH CH HH".split())
"""Phones without a pitch."""


def _frames(start: float, end: float, frame_rate: int) -> slice:
    """The frames whose middle lies in a span of seconds."""
    return slice(round(start * frame_rate), round(end * frame_rate))
