"""Speech -> spectral envelopes on a 5-ms grid, and back to a wave with a pitch of one's choice.

WORLD (pyworld) does both. Aperiodicity is not analysed: it is one fixed curve per class of phone,
which is as good and far quicker. Envelopes are natural logs of power, (frames, 257) at 16 kHz.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from types import ModuleType

import numpy as np

from yue.data.perturb import load_world
from yue.songbook.flite import RATE, Flite, Speech, flite_phone
from yue.songbook.timing import STEP_SECONDS

STEP_MS = 1000 * STEP_SECONDS
FFT = 512
BINS = FFT // 2 + 1
PITCH_FLOOR, PITCH_CEILING = 70.0, 350.0
ENVELOPE_FLOOR = 97.0
"""Lowest F0 in Hz for which an FFT of 512 holds CheapTrick's window."""

SMOOTHING = {"slt": 9, "awb": 5, "rms": 3}
"""Frames over which the envelopes of held sounds are averaged, per speaker: the ripple within
flite's frames would become a tremor of 30 Hz once stretched."""

KINDS = {
    "vowel": "aa ae ah ao aw ax ay eh er ey ih iy ow oy uh uw",
    "nasal": "m n ng",
    "glide": "l r w y",
    "buzz": "v z zh dh",
    "voiced stop": "b d g jh",
    "voiceless": "p t k f th s sh ch hh pau",
}
_CURVES = {
    "vowel": (0.01, 4800, 0.55), "nasal": (0.01, 3500, 0.6), "glide": (0.01, 4300, 0.55),
    "buzz": (0.05, 2500, 0.97), "voiced stop": (0.05, 2500, 0.8), "voiceless": (0.999, 1, 0.999),
}
"""Aperiodicity: amplitude share of noise below a corner, the corner in Hz, the share above."""

_CORNER_WIDTH = 900.0
SMOOTHED = ("vowel", "nasal", "glide")


def frequencies() -> np.ndarray:
    """Frequency of each bin in Hz (257,)."""
    return np.linspace(0, RATE / 2, BINS)


def kind_of(phone: str) -> str:
    """The class of a phone, in either spelling."""
    name = flite_phone(phone)
    return next(kind for kind, members in KINDS.items() if name in members.split())


def aperiodicity_curves() -> dict[str, np.ndarray]:
    """The fixed curve of each class of phone (257,)."""
    return {
        kind: np.clip(
            low + (high - low) / (1 + np.exp(-(frequencies() - corner) / _CORNER_WIDTH)),
            1e-3, 0.999,
        )
        for kind, (low, corner, high) in _CURVES.items()
    }


@dataclass(frozen=True, eq=False)
class Spoken:
    """An analysed line: log envelopes (frames, 257) float32, and frames of each phone."""

    envelope: np.ndarray
    spans: tuple[tuple[int, int], ...]

    @property
    def lengths(self) -> list[int]:
        """Frames of each phone."""
        return [end - start for start, end in self.spans]


@dataclass(eq=False)
class Speakers:
    """Flite and WORLD together, with the latest analyses at hand (choruses come again)."""

    flite: Flite = field(default_factory=Flite)
    world: ModuleType = field(default_factory=lambda: load_world("songbook"))
    keep: int = 64
    _recent: OrderedDict[tuple[str, tuple[str, ...]], Spoken] = field(default_factory=OrderedDict)

    def analyse(self, phones: Sequence[str], speaker: str) -> Spoken:
        """Speak phones and analyse them."""
        key = (speaker, tuple(map(flite_phone, phones)))
        if key not in self._recent:
            self._recent[key] = _analyse(self.world, self.flite.speak(phones, speaker), speaker)
        self._recent.move_to_end(key)
        while len(self._recent) > self.keep:
            self._recent.popitem(last=False)
        return self._recent[key]

    def synthesise(
        self, pitch: np.ndarray, envelope: np.ndarray, aperiodicity: np.ndarray
    ) -> np.ndarray:
        """F0 in Hz (T,), 0 where unvoiced; log envelope and aperiodicity (T, 257) -> wave (n,)."""
        power = np.exp(envelope.astype(np.float64))
        inputs = (np.ascontiguousarray(a, dtype=np.float64) for a in (pitch, power, aperiodicity))
        return np.asarray(self.world.synthesize(*inputs, RATE, STEP_MS))


def _analyse(world: ModuleType, speech: Speech, speaker: str) -> Spoken:
    pitch, times = world.dio(
        speech.wave, RATE, f0_floor=PITCH_FLOOR, f0_ceil=PITCH_CEILING, frame_period=STEP_MS,
        speed=4,
    )
    borders = [0, *(round(end / STEP_SECONDS) for end in speech.ends)]
    spans = _spans(borders, len(pitch))
    filled = _fill_pitch(pitch, spans, speech.phones)
    power = world.cheaptrick(
        speech.wave, filled, times, RATE, f0_floor=ENVELOPE_FLOOR, fft_size=FFT
    )
    envelope = np.log(np.maximum(power, 1e-12)).astype(np.float32)
    _smooth(envelope, spans, speech.phones, SMOOTHING[speaker])
    return Spoken(envelope, tuple(spans[1:-1]))


def _spans(borders: Sequence[int], frames: int) -> list[tuple[int, int]]:
    return [
        (min(start, frames - 1), min(max(end, start + 1), frames))
        for start, end in pairwise(borders)
    ]


def _fill_pitch(
    pitch: np.ndarray, spans: Sequence[tuple[int, int]], phones: Sequence[str]
) -> np.ndarray:
    """F0 in every voiced frame, also where DIO found none; 0 in voiceless phones."""
    voiced = np.flatnonzero(pitch > 0)
    filled = (
        np.interp(np.arange(len(pitch)), voiced, pitch[voiced])
        if len(voiced) else np.full(len(pitch), ENVELOPE_FLOOR + 20)
    )
    filled = np.maximum(filled, ENVELOPE_FLOOR + 1)
    for (start, end), phone in zip(spans, phones, strict=True):
        if kind_of(phone) == "voiceless":
            filled[start:end] = 0.0
    return filled


def _smooth(
    envelope: np.ndarray, spans: Sequence[tuple[int, int]], phones: Sequence[str], width: int
) -> None:
    """Average the held sounds over time, in place, but for the frames at their borders."""
    window = np.hanning(width + 2)[1:-1]
    window = (window / window.sum()).astype(np.float32)
    half = width // 2
    padded = np.pad(envelope, ((half, half), (0, 0)), mode="edge")
    smooth = sum(w * padded[k : k + len(envelope)] for k, w in enumerate(window))
    for (start, end), phone in zip(spans, phones, strict=True):
        if kind_of(phone) in SMOOTHED:
            edge = 1 if end - start > 4 else 0
            envelope[start + edge : end - edge] = smooth[start + edge : end - edge]
