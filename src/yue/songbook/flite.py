"""libflite: phones -> a spoken wave with the exact time of every phone. 16 kHz, three speakers.

Flite draws its noise from the C library's `rand`, so it is seeded before every call; that is state
of the whole process, and flite itself is not thread-safe: one thread per process may speak.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from yue.errors import ModelError

RATE = 16_000
SPEAKERS = ("rms", "awb", "slt")
PAUSE = "pau"
_LIBRARIES = ("libflite.so.1", "libflite_usenglish.so.1", "libflite_cmulex.so.1")
_NOISE_SEED = 1


class _Wave(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_char_p), ("rate", ctypes.c_int), ("count", ctypes.c_int),
        ("channels", ctypes.c_int), ("samples", ctypes.POINTER(ctypes.c_short)),
    )


_SIGNATURES = {
    "flite_init": (ctypes.c_int, []),
    "flite_synth_phones": (ctypes.c_void_p, [ctypes.c_char_p, ctypes.c_void_p]),
    "utt_wave": (ctypes.POINTER(_Wave), [ctypes.c_void_p]),
    "delete_utterance": (None, [ctypes.c_void_p]),
    "utt_relation": (ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_char_p]),
    "relation_head": (ctypes.c_void_p, [ctypes.c_void_p]),
    "item_next": (ctypes.c_void_p, [ctypes.c_void_p]),
    "item_feat_string": (ctypes.c_char_p, [ctypes.c_void_p, ctypes.c_char_p]),
    "item_feat_float": (ctypes.c_float, [ctypes.c_void_p, ctypes.c_char_p]),
}


@dataclass(frozen=True, eq=False)
class Speech:
    """A spoken wave (n,) float64, full scale 1.0, and its phones with their end times in s."""

    wave: np.ndarray
    phones: tuple[str, ...]
    ends: tuple[float, ...]


class Flite:
    """The library with its speakers. Raises `ModelError` that names the package if it is missing.
    """

    def __init__(self) -> None:
        self._library, *_ = [_load(name) for name in _LIBRARIES]
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(self._library, name)
            function.restype, function.argtypes = result, arguments
        self._random = ctypes.CDLL(None)
        self._library.flite_init()
        self._speakers = {name: _speaker(name) for name in SPEAKERS}

    def speak(self, phones: Sequence[str], speaker: str) -> Speech:
        """Say ARPAbet phones (stress digits allowed) between two pauses.

        The pauses are in the result.
        """
        spelled = " ".join([PAUSE, *map(flite_phone, phones), PAUSE])
        self._random.srand(_NOISE_SEED)
        utterance = self._library.flite_synth_phones(spelled.encode(), self._speakers[speaker])
        try:
            wave = self._library.utt_wave(utterance).contents
            samples = np.ctypeslib.as_array(wave.samples, (wave.count,)) / 32768.0
            segments = list(self._segments(utterance))
        finally:
            self._library.delete_utterance(utterance)
        return Speech(samples, tuple(n for n, _ in segments), tuple(e for _, e in segments))

    def _segments(self, utterance: int) -> list[tuple[str, float]]:
        found = []
        item = self._library.relation_head(self._library.utt_relation(utterance, b"Segment"))
        while item:
            name = self._library.item_feat_string(item, b"name").decode()
            found.append((name, float(self._library.item_feat_float(item, b"end"))))
            item = self._library.item_next(item)
        return found


def flite_phone(phone: str) -> str:
    """A phone of the front end as flite spells it: lower case, unstressed AH is its schwa."""
    return "ax" if phone == "AH0" else phone.rstrip("012").lower()


def _speaker(name: str) -> int:
    register = getattr(_load(f"libflite_cmu_us_{name}.so.1"), f"register_cmu_us_{name}")
    register.restype, register.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
    return int(register(None))


def _load(name: str) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise ModelError(
            f"{name} could not be loaded ({error}): the songbook sings with flite. Install it, "
            "on Debian and Ubuntu with `apt-get install libflite1`."
        ) from error
