"""How a song sounds as a signal: loudness, peaks, clipping, silence, bandwidth, stems.

In goes `Audio`: the mix, and the stems if there are any. Out come numbers; what does not exist is
`None` (the loudness of silence, the leakage of stems that are not there).

Conventions. Loudness: integrated, ITU-R BS.1770-4, LUFS (pyloudnorm), of what two speakers play: a
mono file is on both, so it is 3 LU louder than in one channel of two; of more than five channels,
their mean is. True peak: dB of full scale after fourfold oversampling. Clipped: samples in runs of
at least three at the digital ceiling, as a share of all: the tops of a low tone at full scale
count, what was clipped and then turned down does not. Silence: 50-ms frames below -60 dB of full
scale. Bandwidth: the highest frequency at which the mean spectrum is within 80 dB of its maximum.
Leakage of one stem into another: the share of the other's energy that is a linear, time-invariant
copy of the first (magnitude-squared coherence, less its bias), in dB; stems that play the same
notes are not told from stems that leak, so it is an upper bound.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from yue.audio import Audio
from yue.evaluate.needs import need
from yue.evaluate.record import record
from yue.evaluate.spectrum import decibels, finite, stft

VERSION = 2
GATE = 0.4
"""Seconds of the loudness gate: shorter sound has no loudness."""
MOST_CHANNELS = 5
"""Of those that BS.1770 has weights for."""
OVERSAMPLING = 4
CEILING = 1 - 2 / 2**15
"""The two highest levels of 16 bits count as the ceiling."""
RUN = 3
FRAME = 0.05
SILENCE_DB = -60.0
DEPTH_DB = 80.0
LEAK_RATE, LEAK_SIZE = 16_000, 2_048
LEAK_FLOOR_DB = -60.0
LEAST_FRAMES = 32
"""About two seconds: in less there is too little to compare."""
_BLOCK, _MARGIN = 8_192, 64
"""Samples oversampled at once, and what is added at either end and thrown away."""


def validate(audio: Audio) -> Audio:
    """The audio as it is. Raises `AudioError` if it holds samples that are not numbers."""
    finite(audio.samples)
    return audio


def loudness(audio: Audio) -> float | None:
    """Integrated loudness in LUFS; `None` for silence and for less than .4 s."""
    if audio.seconds < GATE or audio.peak == 0:
        return None
    meter = need("pyloudnorm").Meter(audio.rate)
    with np.errstate(divide="ignore"):
        found = float(meter.integrated_loudness(_played(audio).T.astype(np.float64)))
    return found if np.isfinite(found) else None


def _played(audio: Audio) -> np.ndarray:
    """What speakers play, `(channels, n)`: mono on two of them has twice the power of one."""
    if 2 <= len(audio.samples) <= MOST_CHANNELS:
        return audio.samples
    return audio.mono().samples * np.float32(2**0.5)


def true_peak(audio: Audio) -> float | None:
    """The peak between the samples, in dB of full scale; `None` for silence."""
    top = audio.peak
    if top == 0:
        return None
    signal = need("scipy.signal")
    peak = top
    for first in range(0, audio.samples.shape[1], _BLOCK):
        before = min(first, _MARGIN)
        block = audio.samples[:, first - before : first + _BLOCK + _MARGIN]
        # Overs of more than 6 dB do not occur in music: what is quieter cannot hold the peak.
        if np.abs(block).max() >= top / 2:
            finer = signal.resample_poly(block, OVERSAMPLING, 1, axis=1, window=("kaiser", 8.0))
            inner = finer[:, OVERSAMPLING * before : OVERSAMPLING * (before + _BLOCK)]
            peak = max(peak, float(np.abs(inner).max()))
    return 20 * float(np.log10(peak))


def clipped(audio: Audio) -> float:
    """Share of the samples that stand in runs at the ceiling, 0 to 1."""
    high = np.abs(audio.samples) >= CEILING
    if not high.any():
        return 0.0
    return sum(_in_runs(channel) for channel in high) / high.size


def silence(audio: Audio) -> dict[str, float]:
    """`silent` (share of the frames), `lead`, `tail` and the `longest_gap` between, in seconds."""
    quiet = _silent_frames(audio)
    loud, total = np.flatnonzero(~quiet), len(quiet)
    if not loud.size:
        return {"silent": 1.0, "lead": audio.seconds, "tail": 0.0, "longest_gap": 0.0}
    gaps = np.diff(loud) - 1
    return {
        "silent": 1 - len(loud) / total,
        "lead": float(loud[0]) * FRAME,
        "tail": float(total - 1 - loud[-1]) * FRAME,
        "longest_gap": float(gaps.max(initial=0)) * FRAME,
    }


def bandwidth(audio: Audio) -> float | None:
    """The highest frequency in Hz that is really there; `None` for silence."""
    mono = audio.mono().samples[0]
    if audio.peak == 0 or not np.any(mono):
        return None
    signal = need("scipy.signal")
    hertz, power = signal.welch(mono, audio.rate, nperseg=min(4_096, len(mono)), noverlap=0)
    there = np.flatnonzero(power >= power.max() * 10 ** (-DEPTH_DB / 10))
    return float(hertz[there[-1]])


def leakage(source: Audio, other: Audio) -> float | None:
    """How much of `source` is in `other`, in dB of the energy of `other`; never below -60 dB.

    `None` if one is silent or shorter than some seconds, in which there is too little to compare.
    """
    return leakages(source, other)[0]


def leakages(one: Audio, two: Audio) -> tuple[float | None, float | None]:
    """`leakage` of the first into the second, and of the second into the first."""
    first, second = _spectra(one), _spectra(two)
    frames = min(len(first), len(second))
    if frames < LEAST_FRAMES or not first.any() or not second.any():
        return None, None
    return _copied(first[:frames], second[:frames])


def vocal_ratio(vocals: Audio, accompaniment: Audio) -> float | None:
    """Loudness of the vocals less that of the accompaniment, in LU; `None` if one has none."""
    one, two = loudness(vocals), loudness(accompaniment)
    return None if one is None or two is None else one - two


def evaluate(
    mix: Audio, vocals: Audio | None = None, accompaniment: Audio | None = None
) -> dict[str, Any]:
    """What there is to say of one song; stems add the values about them."""
    validate(mix)
    gaps = silence(mix)
    values: dict[str, Any] = {
        "seconds": mix.seconds, "rate": mix.rate, "channels": len(mix.samples),
        "loudness": loudness(mix), "true_peak": true_peak(mix), "clipped": clipped(mix),
        "bandwidth": bandwidth(mix), **gaps,
    }
    if vocals is not None and accompaniment is not None:
        into, back = leakages(validate(vocals), validate(accompaniment))
        values |= {
            "vocal_ratio": vocal_ratio(vocals, accompaniment),
            "vocals_in_accompaniment": into, "accompaniment_in_vocals": back,
        }
    if vocals is not None:
        found = silence(vocals)
        values |= {"vocals_silent": found["silent"], "vocals_gap": found["longest_gap"]}
    return record(
        "sound", VERSION, values, extractor="pyloudnorm",
        windowing=f"loudness {GATE} s, silence {FRAME} s, leakage {LEAK_SIZE / LEAK_RATE:.3f} s",
    )


def _copied(one: np.ndarray, two: np.ndarray) -> tuple[float, float]:
    """Of spectra `(frames, bins)`: the share of each that is a copy of the other, in dB.

    First what of `one` is in `two`, then the reverse.
    """
    frames = len(one)
    cross = np.abs((one.conj() * two).sum(axis=0)) ** 2
    power_one, power_two = ((np.abs(each) ** 2).sum(axis=0) for each in (one, two))
    coherence = cross / np.maximum(power_one * power_two, 1e-20)
    unbiased = (coherence - 1 / frames) / (1 - 1 / frames)
    shares = [(unbiased * power).sum() / power.sum() for power in (power_two, power_one)]
    into_two, into_one = decibels(np.array(shares), 10 ** (LEAK_FLOOR_DB / 10)).tolist()
    return into_two, into_one


def _in_runs(high: np.ndarray) -> int:
    """How many of the true values `(n,)` stand in runs of at least `RUN`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], high.view(np.int8), [0]])))
    lengths = edges[1::2] - edges[::2]
    return int(lengths[lengths >= RUN].sum())


def _silent_frames(audio: Audio) -> np.ndarray:
    """For each whole frame, whether it is silent: bool `(frames,)`; at least one frame."""
    power = np.einsum("cn,cn->n", audio.samples, audio.samples) / len(audio.samples)
    size = max(1, round(FRAME * audio.rate))
    whole = len(power) // size * size
    levels = power[:whole].reshape(-1, size) if whole else power[None]
    return levels.mean(axis=1) < 10 ** (SILENCE_DB / 10)


def _spectra(audio: Audio) -> np.ndarray:
    """Spectra `(frames, bins)` for the comparison of stems."""
    mono = audio.mono().resample(LEAK_RATE).samples[0]
    return stft(mono, LEAK_SIZE, LEAK_SIZE // 2)
