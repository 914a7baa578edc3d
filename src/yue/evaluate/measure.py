"""One song in, all offline measurements out. Arrays only: files are found by `folder.py`.

`measure_arrays(vocals, accompaniment, rate)` is the short way for whoever has stems in memory;
`measure(Work(...))` takes all that may be known of a song. Out comes one record per metric (see
`record.py`): sound, music, structure, and with a vocal track pitch and, with lyrics, phones or
words. What cannot be measured is left out or `None`; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from yue.audio import Audio
from yue.errors import AudioError
from yue.evaluate import completeness, f0, harmony, music, pitch, recognise, sound, structure
from yue.evaluate.options import NO_WORDS, PHONES, MeasureOptions
from yue.evaluate.record import named, record
from yue.evaluate.structure import Part
from yue.evaluate.transcribe import VERSION as TRANSCRIBE_VERSION
from yue.evaluate.transcribe import Transcriber
from yue.evaluate.words import is_latin

VERSIONS = {
    "sound": sound.VERSION, "music": music.VERSION, "structure": structure.VERSION,
    "pitch": pitch.VERSION, "f0": f0.VERSION, "phones": recognise.VERSION,
    "words": TRANSCRIBE_VERSION, "completeness": completeness.VERSION,
}
"""Raised whenever a result may change: cached results of older versions are not used."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Work:
    """What is known of one song; only the mix must be there."""

    mix: Audio
    vocals: Audio | None = None
    accompaniment: Audio | None = None
    texts: tuple[str, ...] = ()
    """The words asked for, per section."""
    labels: tuple[str, ...] = ()
    """The sections asked for, in order; empty if only the sung ones are known."""
    parts: tuple[Part, ...] = ()
    """Where the sections are."""
    asked: tuple[Part, ...] = ()
    """Where they should be."""
    f0: np.ndarray | None = None
    """Of the vocals, Hz per 10 ms, if it is known; else it is tracked."""


def measure_arrays(
    vocals: np.ndarray, accompaniment: np.ndarray, rate: int, *, texts: Sequence[str] = (),
    sections: Sequence[Mapping[str, Any]] = (), options: MeasureOptions | None = None,
) -> dict[str, dict[str, Any]]:
    """`measure` of two stems `(n,)` or `(channels, n)` of equal shape; their sum is the mix.

    `texts`: the words of each section; `sections`: objects with label, start and end in seconds.
    Raises `AudioError` if the shapes differ or hold no sound.
    """
    stems = Audio(vocals, rate), Audio(accompaniment, rate)
    if stems[0].samples.shape != stems[1].samples.shape:
        raise AudioError(
            f"stems of shapes {stems[0].samples.shape} and {stems[1].samples.shape}: expected two "
            "of equal shape."
        )
    mix = Audio(stems[0].samples + stems[1].samples, rate)
    work = Work(
        mix=mix, vocals=stems[0], accompaniment=stems[1], texts=tuple(texts),
        parts=tuple(structure.parts_of(sections)),
    )
    return measure(work, options)


def measure(work: Work, options: MeasureOptions | None = None) -> dict[str, dict[str, Any]]:
    """All records of one song, by metric. Raises `AudioError` for a song without samples."""
    options = options or MeasureOptions()
    if not work.mix.samples.size:
        raise AudioError("the song holds no samples.")
    played = work.accompaniment or work.mix
    chroma = harmony.chroma(played)
    line = _line(work)
    found = {
        "sound": sound.evaluate(work.mix, work.vocals, work.accompaniment),
        "music": music.evaluate(
            played, line, chroma=chroma, stray=work.accompaniment is not None, seed=options.seed
        ),
        "structure": structure.evaluate(
            chroma, work.mix.seconds, work.parts, work.asked, work.labels
        ),
    }
    if line is not None:
        found["pitch"] = _pitch(line, options, tracked=work.f0 is None)
    words = _words(work, options)
    return found if words is None else {**found, words["metric"]: words}


def _line(work: Work) -> np.ndarray | None:
    """The vocals' f0: given, or tracked; `None` without vocals."""
    if work.f0 is not None:
        return work.f0
    return None if work.vocals is None else f0.track(work.vocals)


def _pitch(line: np.ndarray, options: MeasureOptions, *, tracked: bool) -> dict[str, Any]:
    """Vocal range and notes."""
    return record(
        "pitch", pitch.VERSION, pitch.evaluate(line, equal_seconds=options.equal_seconds),
        extractor=f0.EXTRACTOR if tracked else "f0 file", windowing=f"{pitch.STEP} s",
        hold=pitch.HOLD, equal_seconds=options.equal_seconds,
    )


def _words(work: Work, options: MeasureOptions) -> dict[str, Any] | None:
    """Phones or words of the vocals against the lyrics; `None` where there is nothing to compare.

    The phone recogniser hears English: lyrics in another script are not judged by it.
    """
    if work.vocals is None or options.words == NO_WORDS or not any(map(str.strip, work.texts)):
        return None
    phones = options.words == PHONES
    if phones and not is_latin(" ".join(work.texts)):
        return None
    if phones:
        heard = recognise.phones_of(work.vocals)
        extractor = named("pocketsphinx")
    else:
        heard = _transcriber(options.words, options.language).words_of(work.vocals)
        extractor = f"{options.words} ({named('transformers')})"
    return completeness.evaluate(
        work.texts, heard, work.vocals.seconds, phones=phones, seed=options.seed,
        extractor=extractor, windowing=recognise.WINDOWING,
    )


@cache
def _transcriber(model: str, language: str | None) -> Transcriber:
    """A recogniser, loaded once per process."""
    return Transcriber(model, language=language)
