"""F0 of a vocal track: `Audio` to Hz per 10 ms, by swift-f0 (MIT, weights inside its wheel).

The track begins at 0 s, one value per `pitch.STEP` seconds, 0 where nothing is voiced: what
`pitch.py` takes. A neural extractor, since the others make octave errors that double a vocal range;
the paper's numbers are of another one (RMVPE), so they compare with these only roughly. By itself
it is up to 13 cents off on steady tones, so each frame is refined: the peak of its autocorrelation
at several periods, near what was found. An f0 file of any other extractor may stand in for all of
it: `load` reads one song's `.npy` or `.csv`.
"""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from yue.audio import Audio
from yue.errors import FileError, OptionError
from yue.evaluate.needs import need
from yue.evaluate.pitch import STEP, to_grid, validate
from yue.evaluate.spectrum import BLOCK, finite, frames_of
from yue.files import PathLike

VERSION = 1
EXTRACTOR = "swift-f0"
RATE = 16_000
HOP = 256 / RATE
"""Seconds per frame of the extractor."""
VOICED = 0.5
"""Confidence from which a frame counts as voiced."""
LEAST = 0.1
"""Seconds below which there is nothing to track."""
QUIET = 1e-4
"""Peak below which a track is silent."""
CHUNK = 60.0
"""Seconds tracked at once: bounds the memory."""
FRAME = 1_024
"""Samples (64 ms) whose autocorrelation refines a frame."""
SPAN = 0.025
"""Seconds of lag at which it is read: as many periods as fit."""
REACH = 35.0
"""Cents by which a frame may be moved; what would move more stays."""
_MARGIN = 1.024
"""Seconds (64 frames) of context on either side of a chunk."""
_REACH = 12
"""Samples of lag on either side in which the peak is sought."""


def track(audio: Audio) -> np.ndarray:
    """F0 in Hz, 0 for unvoiced: float64 `(frames,)`, one per 10 ms, from 0 s to the end.

    Raises `AudioError` for samples that are not numbers, `OptionError` if swift-f0 is missing.
    """
    finite(audio.samples)
    frames = round(audio.seconds / STEP)
    if audio.seconds < LEAST or audio.peak < QUIET:
        return np.zeros(frames)
    samples = audio.mono().resample(RATE).samples[0]
    rough = np.concatenate([_chunk(samples, at) for at in _starts(samples)])
    found = to_grid(refined(rough, samples), HOP)
    return np.pad(found, (0, max(0, frames - len(found))))[:frames]


def load(path: PathLike) -> np.ndarray:
    """One song's f0 from `.npy` (Hz per 10 ms) or `.csv` (lines of seconds, Hz, evenly spaced).

    Raises `FileError` for anything else.
    """
    path = Path(path)
    try:
        if path.suffix == ".npy":
            return validate(np.load(path, allow_pickle=False))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # an empty file: told below
            seconds, hertz = np.loadtxt(path, delimiter=",", ndmin=2, comments="#").T
        return _even(seconds, hertz)
    except (OSError, ValueError, EOFError, OptionError) as error:
        raise FileError(
            f"{path} is no f0 file ({error}). Expected .npy with Hz per 10 ms, or .csv with lines "
            "of seconds and Hz."
        ) from error


def _even(seconds: np.ndarray, hertz: np.ndarray) -> np.ndarray:
    """Evenly spaced values on the 10-ms grid from 0 s. Raises `ValueError` if they are not."""
    steps = np.diff(seconds)
    if len(steps) == 0 or steps.min() <= 0 or steps.max() - steps.min() > STEP / 2:
        raise ValueError("the times are not evenly spaced")
    lead = np.zeros(round(seconds[0] / STEP))
    return np.concatenate([lead, to_grid(hertz, float(steps.mean()))])


def _starts(samples: np.ndarray) -> range:
    """The first sample of each chunk."""
    return range(0, len(samples), round(CHUNK * RATE))


def _chunk(samples: np.ndarray, at: int) -> np.ndarray:
    """F0 per `HOP` of the chunk that begins at sample `at`, 0 for unvoiced."""
    margin, size, hop = round(_MARGIN * RATE), round(CHUNK * RATE), round(HOP * RATE)
    before = min(at, margin)
    found = _detector().detect(samples[at - before : at + size + margin], RATE)
    hertz = np.where(found.confidence >= VOICED, found.pitch_hz, 0.0).astype(np.float64)
    first, frames = before // hop, -(-min(size, len(samples) - at) // hop)
    return hertz[first : first + frames]


def refined(hertz: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """F0 `(frames,)` per `HOP` of `samples` at 16 kHz, each voiced frame moved to the true peak."""
    voiced = np.flatnonzero(hertz)
    lags = RATE / hertz[voiced]
    periods = np.maximum(1, np.floor(SPAN * RATE / lags))
    similarity = _autocorrelation(samples, voiced)
    aim, reach = np.rint(periods * lags).astype(int), np.arange(-_REACH, _REACH + 1)
    near = np.take_along_axis(similarity, aim[:, None] + reach, axis=1)
    near[np.abs(reach) > np.maximum(1, 0.35 * lags)[:, None]] = -np.inf
    top = np.clip(near.argmax(axis=1), 1, len(reach) - 2)
    low, mid, high = (near[np.arange(len(top)), top + step] for step in (-1, 0, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        shift = (low - high) / (2 * (low - 2 * mid + high))
        finer = periods * RATE / (aim + reach[top] + shift)
        sound = (np.abs(shift) <= 1) & (np.abs(1200 * np.log2(finer / hertz[voiced])) <= REACH)
    moved = hertz.copy()
    moved[voiced[sound]] = finer[sound]
    return moved


def _autocorrelation(samples: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Of the frames of those numbers `(n,)`, each centred on its hop: `(n, FRAME // 2)`."""
    fft = need("scipy.fft")
    window = np.hanning(FRAME + 2)[1:-1].astype(np.float32)
    cut = frames_of(samples, FRAME, round(HOP * RATE))

    def correlated(blocks: np.ndarray) -> np.ndarray:
        power = np.abs(fft.rfft(blocks, 2 * FRAME, axis=-1)) ** 2
        return np.asarray(fft.irfft(power, axis=-1)[..., : FRAME // 2])

    starts = range(0, max(1, len(frames)), BLOCK)
    blocks = [correlated(cut[frames[at : at + BLOCK]] * window) for at in starts]
    return np.concatenate(blocks) / correlated(window)


@cache
def _detector() -> Any:
    """The extractor, loaded once per process."""
    return need("swift_f0").SwiftF0(threads=1)
