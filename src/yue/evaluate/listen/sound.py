"""What is done to a song before it is heard: its loudness measured, and a 3.5-kHz low-pass.

Loudness is `yue.evaluate.sound`'s, in LUFS. Gains are in dB, 0 or below:
a song is only ever turned down, so nothing is clipped or limited.
"""

from __future__ import annotations

import math

import numpy as np

from yue.audio import Audio
from yue.errors import AudioError
from yue.evaluate.needs import need
from yue.evaluate.sound import GATE
from yue.evaluate.sound import loudness as integrated

LOWPASS = 3500.0
"""Hz up to which an anchor is left whole, as in ITU-R BS.1534; half a kHz above, 40 dB are gone."""
LOWPASS_WIDTH = 500.0
LOWPASS_DEPTH = 60.0


def loudness(audio: Audio) -> float:
    """Integrated loudness in LUFS. Raises `AudioError` for silence and for less than 0.4 s."""
    if audio.seconds < GATE:
        raise AudioError(f"{audio.seconds:.2f} s: loudness needs at least {GATE} s.")
    value = integrated(audio)
    if value is None:
        raise AudioError("it is silent: there is nothing to compare.")
    return value


def loudest(audio: Audio) -> float:
    """The loudness in LUFS at which it has no sample beyond full scale; never above its own."""
    return loudness(audio) - max(0.0, 20 * math.log10(max(audio.peak, 1.0)))


def turned_down(audio: Audio, gain: float) -> Audio:
    """The same sound by `gain` dB quieter (0 or below)."""
    assert gain <= 0, gain
    return Audio(audio.samples * np.float32(10 ** (gain / 20)), audio.rate)


def check_rate(audio: Audio) -> None:
    """Raise `AudioError` where a low-pass would leave everything."""
    if audio.rate <= 2 * (LOWPASS + LOWPASS_WIDTH):
        raise AudioError(
            f"{audio.rate} Hz: a 3.5-kHz low-pass would change nothing to speak of (anchors = 0 "
            "needs none)."
        )


def low_passed(audio: Audio) -> Audio:
    """The sound up to 3.5 kHz: a linear-phase filter, aligned with the original to the sample."""
    signal = need("scipy.signal")
    check_rate(audio)
    taps, beta = signal.kaiserord(LOWPASS_DEPTH, LOWPASS_WIDTH / (audio.rate / 2))
    cutoff = LOWPASS + LOWPASS_WIDTH / 2
    kernel = signal.firwin(taps | 1, cutoff, window=("kaiser", beta), fs=audio.rate)
    samples = signal.oaconvolve(audio.samples, kernel[None], mode="full", axes=1)
    start = len(kernel) // 2
    return Audio(samples[:, start : start + audio.samples.shape[1]], audio.rate)
