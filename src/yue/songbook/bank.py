"""The notes of the band: every instrument's notes, rendered once by fluidsynth and kept as files.

One file per General MIDI program, rendered in a fixed order by a fresh synthesiser that is drained
after each note, so a note never depends on what was played before. Mono, 44.1 kHz, no effects.
"""

from __future__ import annotations

import ctypes
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from yue.errors import ModelError
from yue.files import write_bytes
from yue.songbook.arrange import BASS_LOW, CHORD_LOW, SOLO_LOW
from yue.songbook.genres import DRUMS, GENRES

RATE = 44_100
VERSION = 1
"""Changes when the notes do: files of other versions are not read."""

VELOCITY = 96
"""All notes are rendered this loud; others are scaled."""

NOTE_SECONDS, DRUM_SECONDS, DRAIN_SECONDS = 3.3, 1.2, 2.0
SILENCE = 1e-4
FADE = 512
"""Samples over which a note that is cut off fades."""

GAIN = 0.6
FONTS = (
    "/usr/share/sounds/sf2/FluidR3_GM.sf2", "/usr/share/soundfonts/FluidR3_GM.sf2",
    "/usr/local/share/sounds/sf2/FluidR3_GM.sf2",
)
LIBRARIES = ("libfluidsynth.so.3", "libfluidsynth.so.2")
DRUM_KIT = -1
"""Stands for the drum kit where a program is asked for."""

_DRUM_BANK, _DRUM_CHANNEL = 128, 9


@dataclass(eq=False)
class Bank:
    """Notes of all programs, read from `folder` when first needed, rendered if not yet there."""

    folder: Path
    _programs: dict[int, dict[int, np.ndarray]] = field(default_factory=dict)

    def note(self, program: int, key: int) -> np.ndarray:
        """The samples (n,) int16 of a note; `DRUM_KIT` as program for drums."""
        if program not in self._programs:
            self._programs[program] = _read(self.file(program))
        return self._programs[program][key]

    def file(self, program: int) -> Path:
        """The file of a program, rendered if it is not yet there."""
        name = "drums" if program == DRUM_KIT else f"{program:03d}"
        path = self.folder / f"v{VERSION}-{name}.npz"
        if not path.is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_bytes(path, _render(program))
        return path

    def prepare(self, genres: Iterable[str] = tuple(GENRES)) -> None:
        """Render whatever is not yet there of what some genres play."""
        layers = [layer for name in genres for layer in GENRES[name].layers]
        for program in (DRUM_KIT, *sorted({layer.program for layer in layers})):
            self.file(program)


def keys_of_programs() -> dict[int, tuple[int, ...]]:
    """The keys that the genres' patterns can ask of each program."""
    found: dict[int, set[int]] = {}
    for genre in GENRES.values():
        for layer in genre.layers:
            low = BASS_LOW + 12 * layer.octave if layer.low else CHORD_LOW
            keys = set(range(low, low + 24))
            if "?" in layer.soft:
                keys = set(range(SOLO_LOW, SOLO_LOW + 12))
            found.setdefault(layer.program, set()).update(keys)
    return {program: tuple(sorted(keys)) for program, keys in found.items()}


def find_font() -> Path:
    """The sound font. Raises `ModelError` that names the package if there is none."""
    named = os.environ.get("YUE_SOUND_FONT")
    for place in (named, *FONTS) if named else FONTS:
        if Path(place).is_file():
            return Path(place)
    raise ModelError(
        f"no sound font found (looked for {', '.join(FONTS)}): the songbook's band plays from one. "
        "Install it, on Debian and Ubuntu with `apt-get install fluid-soundfont-gm`, or set "
        "YUE_SOUND_FONT to FluidR3_GM.sf2."
    )


def _read(path: Path) -> dict[int, np.ndarray]:
    with np.load(path) as stored:
        samples, keys, ends = stored["samples"], stored["keys"], stored["ends"]
    return dict(zip(keys.tolist(), np.split(samples, ends[:-1]), strict=True))


def _render(program: int) -> bytes:
    """All notes of a program as the bytes of its file."""
    keys = DRUMS if program == DRUM_KIT else keys_of_programs()[program]
    notes = list(_notes(program, keys))
    buffer = io.BytesIO()
    np.savez(
        buffer, samples=np.concatenate(notes), keys=np.array(keys),
        ends=np.cumsum([len(note) for note in notes]),
    )
    return buffer.getvalue()


def _notes(program: int, keys: tuple[int, ...]) -> Iterator[np.ndarray]:
    drums = program == DRUM_KIT
    synth = _Synth(find_font(), max(program, 0), drums=drums)
    try:
        for key in keys:
            yield _trimmed(synth.strike(key, DRUM_SECONDS if drums else NOTE_SECONDS))
    finally:
        synth.close()


def _trimmed(wave: np.ndarray) -> np.ndarray:
    """The note up to where it is silent, its end faded, as int16."""
    heard = np.flatnonzero(np.abs(wave) > SILENCE)
    wave = wave[: heard[-1] + 1 if len(heard) else 1].copy()
    fade = min(FADE, len(wave))
    wave[-fade:] *= np.linspace(1, 0, fade)
    return np.round(np.clip(wave, -1, 1) * 32767).astype(np.int16)


class _Synth:
    """fluidsynth with one program on one channel."""

    def __init__(self, font: Path, program: int, *, drums: bool) -> None:
        self.library = load_library()
        self.channel = _DRUM_CHANNEL if drums else 0
        self.settings = self.library.new_fluid_settings()
        for name, value in (("synth.sample-rate", float(RATE)), ("synth.gain", GAIN)):
            self.library.fluid_settings_setnum(self.settings, name.encode(), value)
        for name in ("synth.reverb.active", "synth.chorus.active"):
            self.library.fluid_settings_setint(self.settings, name.encode(), 0)
        self.library.fluid_settings_setint(self.settings, b"synth.dynamic-sample-loading", 1)
        self.synth = self.library.new_fluid_synth(self.settings)
        loaded = self.library.fluid_synth_sfload(self.synth, str(font).encode(), 1)
        bank = _DRUM_BANK if drums else 0
        if loaded < 0 or self.library.fluid_synth_program_select(
            self.synth, self.channel, loaded, bank, program
        ):
            raise ModelError(f"{font}: program {program} of bank {bank} could not be loaded.")

    def strike(self, key: int, seconds: float) -> np.ndarray:
        """One note (n,) float32, mono; the synthesiser is silent afterwards."""
        self.library.fluid_synth_noteon(self.synth, self.channel, key, VELOCITY)
        wave = self._take(seconds)
        self.library.fluid_synth_all_sounds_off(self.synth, self.channel)
        self._take(DRAIN_SECONDS)
        return wave

    def _take(self, seconds: float) -> np.ndarray:
        count = round(seconds * RATE)
        both = np.zeros((2, count), np.float32)
        left, right = (side.ctypes.data_as(ctypes.c_void_p) for side in both)
        self.library.fluid_synth_write_float(self.synth, count, left, 0, 1, right, 0, 1)
        return np.asarray(both.mean(axis=0))

    def close(self) -> None:
        self.library.delete_fluid_synth(self.synth)
        self.library.delete_fluid_settings(self.settings)


_POINTER, _TEXT, _INT = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
_SIGNATURES = {
    "new_fluid_settings": (_POINTER, []),
    "fluid_settings_setnum": (_INT, [_POINTER, _TEXT, ctypes.c_double]),
    "fluid_settings_setint": (_INT, [_POINTER, _TEXT, _INT]),
    "new_fluid_synth": (_POINTER, [_POINTER]),
    "fluid_synth_sfload": (_INT, [_POINTER, _TEXT, _INT]),
    "fluid_synth_program_select": (_INT, [_POINTER, _INT, _INT, _INT, _INT]),
    "fluid_synth_noteon": (_INT, [_POINTER, _INT, _INT, _INT]),
    "fluid_synth_all_sounds_off": (_INT, [_POINTER, _INT]),
    "fluid_synth_write_float": (
        _INT, [_POINTER, _INT, _POINTER, _INT, _INT, _POINTER, _INT, _INT]
    ),
    "delete_fluid_synth": (None, [_POINTER]),
    "delete_fluid_settings": (None, [_POINTER]),
}


def load_library() -> ctypes.CDLL:
    """libfluidsynth. Raises `ModelError` that names the package if it is missing."""
    library = _first_of(LIBRARIES)
    for function, (result, arguments) in _SIGNATURES.items():
        getattr(library, function).restype = result
        getattr(library, function).argtypes = arguments
    return library


def _first_of(names: tuple[str, ...]) -> ctypes.CDLL:
    reasons = []
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError as error:
            reasons.append(str(error))
    raise ModelError(
        f"libfluidsynth could not be loaded ({'; '.join(reasons)}): the songbook's band plays "
        "through it. Install it, on Debian and Ubuntu with `apt-get install libfluidsynth3`."
    )
