"""What a voice sings, as phones with times: an English phone loop, offline, no weights to fetch.

In goes a vocal track, `Audio` of any rate and number of channels; out come phones, ARPAbet without
stress (`AA`, `B`, ...), with start and end in seconds. No lyrics go in: nothing is forced onto the
sound. The recogniser is pocketsphinx (BSD) with its own acoustic and phone language model; it is
not robust to accompaniment, inserts phones on long vowels, and hears about three phones of ten
wrongly in plain speech: compare its rates within one setting, never with those of another.

Each piece of at most `LONGEST` seconds is heard by itself: brought to one peak, with silence around
it. A longer track is cut where it is quietest. The same sound gives the same phones.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np

from yue.audio import Audio
from yue.evaluate.needs import need

VERSION = 1
RATE = 16_000
FRAMES = 100
"""Frames of the recogniser per second."""
PEAK = 0.5
PADDING = 0.2
"""Seconds of silence before and after a piece."""
LONGEST = 15.0
SHORTEST = 5.0
"""Seconds: a long track is cut at its quietest place between these two."""
WINDOWING = f"pieces of {SHORTEST:g} to {LONGEST:g} s, cut where quietest"
QUIET = 1e-3
"""Peak below which a piece is silence and not worth hearing."""
BEAM = 1e-20
LM_WEIGHT = 2.0
_BLOCK = 400
"""Samples (25 ms) over which loudness is taken to find a quiet place."""


class Heard(NamedTuple):
    """A phone (or a word) that was heard, with its start and end in seconds."""

    symbol: str
    start: float
    end: float


def phones_of(audio: Audio) -> list[Heard]:
    """The phones heard in a vocal track, in order. Silence gives none.

    Raises `OptionError` if pocketsphinx is not installed.
    """
    samples = audio.mono().resample(RATE).samples[0]
    decoder = _decoder()
    heard: list[Heard] = []
    for first, last in pieces(samples):
        piece = samples[first:last]
        if np.abs(piece).max(initial=0.0) >= QUIET:
            heard += [
                Heard(symbol, start + first / RATE, end + first / RATE)
                for symbol, start, end in _heard(decoder, piece)
            ]
    return heard


def symbols_of(audio: Audio) -> list[str]:
    """`phones_of` without the times."""
    return [phone.symbol for phone in phones_of(audio)]


def pieces(samples: np.ndarray) -> list[tuple[int, int]]:
    """Where to cut `(n,)` samples at 16 kHz: first and last of each piece, nothing left out."""
    cuts, total = [0], len(samples)
    while total - cuts[-1] > LONGEST * RATE:
        low, high = (cuts[-1] + round(seconds * RATE) for seconds in (SHORTEST, LONGEST))
        blocks = samples[low:high].reshape(-1, _BLOCK).astype(np.float64)
        quietest = int(np.square(blocks).mean(axis=1).argmin())
        cuts.append(low + quietest * _BLOCK + _BLOCK // 2)
    return list(zip(cuts, [*cuts[1:], total], strict=True))


def describe() -> dict[str, Any]:
    """What decides the result, for the record of a measurement."""
    return {
        "extractor": "pocketsphinx phone loop", "extractor_version": version("pocketsphinx"),
        "version": VERSION,
        "windowing": WINDOWING,
        "beam": BEAM, "lm_weight": LM_WEIGHT, "peak": PEAK, "padding": PADDING, "seed": None,
    }


def _decoder() -> Any:
    """A phone loop over the English phone language model."""
    sphinx = need("pocketsphinx")
    return sphinx.Decoder(
        lm=None, dict=None, allphone=sphinx.get_model_path("en-us/en-us-phone.lm.bin"),
        beam=BEAM, pbeam=BEAM, lw=LM_WEIGHT, loglevel="FATAL",
    )


def _heard(decoder: Any, piece: np.ndarray) -> list[Heard]:
    """The phones of one piece `(n,)`, which is not silent; times from its start."""
    loud = np.pad(piece * (PEAK / np.abs(piece).max()), round(PADDING * RATE))
    decoder.start_utt()
    decoder.process_raw((loud * 32767).astype("<i2").tobytes(), full_utt=True)
    decoder.end_utt()
    end = len(piece) / RATE
    found = [
        Heard(
            part.word,
            min(max(part.start_frame / FRAMES - PADDING, 0.0), end),
            min(max((part.end_frame + 1) / FRAMES - PADDING, 0.0), end),
        )
        for part in decoder.seg()
    ]
    return [phone for phone in found if phone.symbol.isalpha() and phone.symbol != "SIL"]
