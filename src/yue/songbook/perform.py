"""Score -> Performance: both tracks at 44.1 kHz, levelled so that their sum is the mix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from yue.songbook.band import accompany
from yue.songbook.bank import RATE, Bank
from yue.songbook.score import Score
from yue.songbook.sing import Singing, SungPhone, sing
from yue.songbook.world import Speakers

VOCAL_LEVEL, BAND_LEVEL = 0.11, 0.075
"""RMS of what is not silence: about -20 and -23 LUFS."""

TRACK_PEAK, MIX_PEAK = 0.85, 0.98
RUMBLE = 85.0
"""Hz: the vocals hold nothing below."""

REVERB_SECONDS, REVERB_DELAY, REVERB_SHARE = 1.1, 0.01, 0.10
ACTIVE_WINDOW, ACTIVE_SHARE = 0.025, 0.05
"""Seconds; windows above this share of the loudest count as sounding."""

_REVERB_SEED = 7


@dataclass(frozen=True, eq=False)
class Performance:
    """A song in sound: vocals and accompaniment (n,) float32 at `rate` Hz, mix = their sum."""

    score: Score
    vocals: np.ndarray
    accompaniment: np.ndarray
    rate: int
    phones: tuple[SungPhone, ...]
    pitch: np.ndarray
    """F0 in Hz as written, per 5 ms, 0 where unvoiced."""

    @property
    def mix(self) -> np.ndarray:
        """Both together."""
        return self.vocals + self.accompaniment

    @property
    def seconds(self) -> float:
        """Length."""
        return len(self.vocals) / self.rate


def perform(
    score: Score, speakers: Speakers, bank: Bank, *, effects: bool = True, rate: int = RATE
) -> Performance:
    """Sing and accompany a score, at the rate asked for."""
    singing = sing(score, speakers, effects=effects)
    vocals = _resampled(_vocal_sound(singing, score, effects), singing.rate, rate)
    band = _resampled(accompany(score, bank), RATE, rate)
    count = round(score.seconds * rate)
    vocals, band = _fitted(vocals, count), _fitted(band, count)
    vocals = _limited(vocals * (VOCAL_LEVEL / active_rms(vocals, rate)))
    band = _limited(band * (BAND_LEVEL / active_rms(band, rate)))
    scale = min(1.0, MIX_PEAK / max(float(np.abs(vocals + band).max()), 1e-9))
    return Performance(
        score, (vocals * scale).astype(np.float32), (band * scale).astype(np.float32), rate,
        singing.phones, singing.pitch,
    )


def active_rms(wave: np.ndarray, rate: int) -> float:
    """Root mean square of the windows that are not silent; a tiny number for silence."""
    window = round(ACTIVE_WINDOW * rate)
    power = np.square(wave[: len(wave) // window * window].reshape(-1, window)).mean(axis=1)
    loud = power[power > max(power.max(initial=0.0) * ACTIVE_SHARE**2, 1e-10)]
    return float(np.sqrt(loud.mean())) if len(loud) else 1e-6


def _vocal_sound(singing: Singing, score: Score, effects: bool) -> np.ndarray:
    """The voice without rumble, in a room if it sings with effects."""
    wave = without_rumble(singing.wave, singing.rate)
    if effects and "rapping" not in score.tags:
        wave = wave + REVERB_SHARE * _convolved(wave, _room(singing.rate))
    return wave


def without_rumble(wave: np.ndarray, rate: int) -> np.ndarray:
    """Second-order slope below `RUMBLE`, without a shift in time."""
    size = _fast_size(len(wave))
    spectrum = np.fft.rfft(wave, size)
    return np.fft.irfft(spectrum * rumble_gain(np.fft.rfftfreq(size, 1 / rate)), size)[: len(wave)]


def rumble_gain(hertz: np.ndarray) -> np.ndarray:
    """What `without_rumble` leaves of the amplitude at a frequency, 0 to 1."""
    ratio = hertz / RUMBLE
    return np.asarray(ratio**2 / (1 + ratio**2))


def _room(rate: int) -> np.ndarray:
    """A decaying noise of unit energy: the answer of a room."""
    count = round(REVERB_SECONDS * rate)
    noise = np.random.default_rng(_REVERB_SEED).standard_normal(count)
    noise *= np.exp(-6.9 * np.arange(count) / count)
    noise[: round(REVERB_DELAY * rate)] = 0.0
    return noise / np.sqrt(np.square(noise).sum())


def _convolved(wave: np.ndarray, answer: np.ndarray) -> np.ndarray:
    size = _fast_size(len(wave) + len(answer))
    product = np.fft.rfft(wave, size) * np.fft.rfft(answer, size)
    return np.fft.irfft(product, size)[: len(wave)]


def _fast_size(least: int) -> int:
    """A length that the transform likes: a small multiple of a power of two."""
    power = 1 << max(0, (least - 1).bit_length() - 3)
    return power * -(-least // power)


def _resampled(wave: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    if rate == wanted:
        return wave
    import soxr

    return np.asarray(soxr.resample(wave, rate, wanted))


def _fitted(wave: np.ndarray, count: int) -> np.ndarray:
    """Exactly `count` samples: resampling may differ by one."""
    return np.pad(wave[:count], (0, max(0, count - len(wave))))


def _limited(wave: np.ndarray) -> np.ndarray:
    """Softly limited to `TRACK_PEAK` if it goes beyond."""
    if np.abs(wave).max(initial=0.0) <= TRACK_PEAK:
        return wave
    return np.tanh(wave / TRACK_PEAK * 0.9) * TRACK_PEAK
