"""Vocals with another voice: pitch and formants moved apart from each other, words and time kept.

What a change of voice is learnt from: the perturbed vocals are the source, the true ones the target
(information perturbation, NANSY, arXiv 2110.14513 section 3). WORLD (pyworld) takes pitch, envelope
and noisiness apart and puts them together again.
"""

from __future__ import annotations

import hashlib
import warnings
from types import ModuleType

import numpy as np

from yue.errors import ModelError

VERSION = 1
STEP_MS = 5.0
PITCH_SEMITONES = 5.0
"""Largest shift of the pitch, up or down; at least half of it is always taken."""
FORMANT_RATIO = 1.25
"""Largest ratio by which formants move, up or down; at least its square root is always taken."""


def perturb(wave: np.ndarray, rate: int) -> np.ndarray:
    """Vocals (n,) -> the same singing (n,) float32 in another voice, always the same one for them.

    Raises `ModelError` if pyworld is missing.
    """
    shift, ratio = draw(wave)
    return shifted(wave, rate, 2 ** (shift / 12), ratio)


def draw(wave: np.ndarray) -> tuple[float, float]:
    """Semitones and formant ratio for a recording, from a hash of its samples."""
    digest = hashlib.sha256(np.ascontiguousarray(wave, np.float32).tobytes()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    amounts, signs = rng.uniform(0.5, 1.0, 2), rng.choice([-1, 1], 2)
    pitch, formant = amounts * signs
    return PITCH_SEMITONES * pitch, FORMANT_RATIO**formant


def shifted(wave: np.ndarray, rate: int, pitch: float, formant: float) -> np.ndarray:
    """The wave (n,) with its F0 times `pitch` and its formants times `formant`."""
    world = load_world()
    samples = np.ascontiguousarray(wave, np.float64)
    found, times = world.dio(samples, rate, frame_period=STEP_MS)
    f0 = world.stonemask(samples, found, times, rate)
    envelope = world.cheaptrick(samples, f0, times, rate)
    noisiness = world.d4c(samples, f0, times, rate)
    made = world.synthesize(
        f0 * pitch, stretched(envelope, formant), stretched(noisiness, formant), rate, STEP_MS
    )
    made = np.pad(made, (0, max(0, len(wave) - len(made))))[: len(wave)]
    return np.asarray(made, np.float32)


def stretched(spectra: np.ndarray, ratio: float) -> np.ndarray:
    """Spectra (T, bins) along frequency: what stood at bin k stands at bin k * ratio."""
    bins = spectra.shape[1]
    source = np.minimum(np.arange(bins) / ratio, bins - 1)
    low = source.astype(int)
    share = source - low
    high = np.minimum(low + 1, bins - 1)
    return np.ascontiguousarray(spectra[:, low] * (1 - share) + spectra[:, high] * share)


def load_world(extra: str = "prepare") -> ModuleType:
    """pyworld. Raises `ModelError` that names the package's extra that brings it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports the deprecated pkg_resources
        try:
            import pyworld
        except ImportError as error:
            raise ModelError(
                f"pyworld could not be imported ({error}): voices are taken apart with it. "
                f"Install it with `pip install 'yue-music[{extra}]'`."
            ) from error
    return pyworld
