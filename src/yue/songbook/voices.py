"""The singers: which synthesised speaker, with what throat, how high, and what one hears in it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Voice:
    """A singer: a speaker of flite whose spectrum is scaled and tilted."""

    speaker: str
    """A voice of flite: rms and awb are men, slt is a woman."""
    gender: str
    centre: int
    """MIDI pitch around which it sings."""
    timbres: tuple[str, str]
    """Tags that describe it."""
    formants: float = 1.0
    """Frequencies of the spectrum are multiplied by this: above 1 a smaller throat."""
    tilt: float = 0.0
    """dB per octave around 1 kHz."""
    breath: float = 0.0
    """How much noise is mixed into what is voiced, 0 to 1."""
    vibrato: float = 1.0
    """Depth, as a share of the genre's."""


VOICES = {
    "m1": Voice(
        speaker="rms", gender="male", centre=53, timbres=("deep vocal", "baritone vocal")
    ),
    "m2": Voice(speaker="awb", gender="male", centre=56, timbres=("clear vocal", "full vocal")),
    "m3": Voice(
        speaker="rms", gender="male", centre=57, timbres=("bright vocal", "tenor vocal"),
        formants=1.07, tilt=1.5,
    ),
    "m4": Voice(
        speaker="rms", gender="male", centre=57, timbres=("soft vocal", "airy vocal"),
        formants=1.12, breath=0.3,
    ),
    "m5": Voice(
        speaker="awb", gender="male", centre=51, timbres=("dark vocal", "bass vocal"),
        formants=0.93, tilt=-1.5,
    ),
    "f1": Voice(
        speaker="rms", gender="female", centre=62, timbres=("clear vocal", "bright vocal"),
        formants=1.15,
    ),
    "f2": Voice(
        speaker="rms", gender="female", centre=66, timbres=("high-pitched vocal", "airy vocal"),
        formants=1.25, breath=0.35,
    ),
    "f3": Voice(
        speaker="slt", gender="female", centre=59, timbres=("mellow vocal", "warm vocal"),
        tilt=-1.5,
    ),
    "f4": Voice(
        speaker="awb", gender="female", centre=62, timbres=("full vocal", "rich vocal"),
        formants=1.18,
    ),
    "f5": Voice(
        speaker="rms", gender="female", centre=61, timbres=("mellow vocal", "smooth vocal"),
        formants=1.12, tilt=-1.5,
    ),
    "c1": Voice(
        speaker="rms", gender="child", centre=68, timbres=("thin vocal", "youthful vocal"),
        formants=1.33, vibrato=0.4,
    ),
}
