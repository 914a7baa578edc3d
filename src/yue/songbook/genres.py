"""Thirteen genres as data: tempo, harmony, instruments, and what each of them plays in a bar.

A pattern is written as hits, `at:length:tones[:level]`: a sixteenth of the bar, a length in
sixteenths, what sounds, and a change of velocity. Tones are `c` (the whole chord), `0 1 2` (a tone
of it), `8` (its lowest tone an octave up), and for low instruments `r` (root), `f` (fifth), `s`
(seventh), `t` (third), `o` (octave), joined by `+`; `?` is a free choice among the chord's tones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Hit:
    """One stroke of a pattern."""

    at: float
    length: float
    tones: str
    level: int = 0


@dataclass(frozen=True, kw_only=True)
class Layer:
    """An instrument of a band and its part: General MIDI program, pattern when soft and loud."""

    program: int
    tag: str
    """What one calls the instrument."""
    soft: str
    loud: str = ""
    """As soft, if not given."""
    low: bool = False
    """It plays the bass register."""
    octave: int = 0
    level: int = 0
    from_intensity: float = 0.0
    """It rests in bars that are softer."""
    odd_bars: bool = False
    """It rests in every other bar."""


@dataclass(frozen=True, kw_only=True)
class Kit:
    """A drum part: sixteenths at which each General MIDI drum key is struck, and its level."""

    tag: str
    hits: dict[int, tuple[int, ...]]
    levels: dict[int, int]
    always: bool = False
    """It also plays in intro and outro."""
    fills: bool = True


@dataclass(frozen=True, kw_only=True)
class Genre:
    """How songs of a genre are made."""

    tempo: tuple[int, int]
    minor: float
    """Share of songs in minor."""
    progressions: tuple[tuple[int, ...], ...]
    """Degrees of the scale, one per bar."""
    layers: tuple[Layer, ...]
    kit: Kit | None
    swing: float = 0.0
    """How late offbeat eighths come, in eighths."""
    seventh: bool = False
    vibrato: float = 0.28
    """Semitones."""
    scoop: float = 0.25
    """Semitones from below a note is begun."""
    rap: bool = False


@cache
def hits(pattern: str) -> tuple[Hit, ...]:
    """Read a pattern's notation."""
    found = []
    for stroke in pattern.split():
        at, length, tones, *level = stroke.split(":")
        found.append(Hit(float(at), float(length), tones, int(level[0]) if level else 0))
    return tuple(found)


def _every(step: int, length: float, tones: str, *, accent: int = 0, start: int = 0) -> str:
    """The same stroke all through the bar; off the beat it is softer by `accent`."""
    return " ".join(
        f"{at}:{length}:{tones}:{-accent if at % 4 else 0}" for at in range(start, 16, step)
    )


EIGHTHS, SIXTEENTH_NOTES, QUARTERS = (tuple(range(0, 16, step)) for step in (2, 1, 4))
KICK, STICK, SNARE, CLAP, CLOSED, PEDAL, RIDE, CRASH = 36, 37, 38, 39, 42, 44, 51, 49
TOMS = (45, 41)
SHAKER = 70
DRUMS = (KICK, STICK, SNARE, CLAP, CLOSED, PEDAL, RIDE, CRASH, *TOMS, SHAKER)
"""Every drum key that is ever struck."""

PAD = "0:15.8:c"
_ROOTS = "0:6:r 6:2:r:-8 8:7:r"
_ARPEGGIO = "0:4:0 2:4:1 4:4:2 6:4:8 8:4:2 10:4:1 12:4:2 14:4:1"
_COMP = "0:5:c 6:2:c 10:4:c"
_FUNK = "2:.7:c:-6 3:.7:c:-6 6:.7:c:-6 10:.7:c:-6 11:.7:c:-6 14:.7:c:-6"
_POWER = "r+f+o"


def _bass(program: int, soft: str, loud: str = "", tag: str = "bass") -> Layer:
    return Layer(program=program, tag=tag, soft=soft, loud=loud, low=True, level=14)


def _kit(
    tag: str = "drums", *, always: bool = False, fills: bool = True, **parts: tuple[int, ...]
) -> Kit:
    keys = {"kick": KICK, "snare": SNARE, "stick": STICK, "clap": CLAP, "hat": CLOSED,
            "ride": RIDE, "pedal": PEDAL, "shaker": SHAKER}
    levels = {KICK: 0, SNARE: -4, STICK: -4, CLAP: -4, CLOSED: -26, RIDE: -26, PEDAL: -24,
              SHAKER: -22}
    found = {keys[name]: at for name, at in parts.items()}
    return Kit(tag=tag, hits=found, levels=levels, always=always, fills=fills)


_BACKBEAT = (4, 12)

GENRES = {
    "pop": Genre(
        tempo=(96, 120), minor=0.2,
        progressions=((0, 4, 5, 3), (5, 3, 0, 4), (0, 5, 3, 4), (3, 4, 5, 0)),
        layers=(
            _bass(33, _ROOTS, _every(2, 1.8, "r")),
            Layer(program=0, tag="piano", soft=_every(4, 3.6, "c"),
                  loud=_every(2, 1.8, "c", accent=6)),
            Layer(program=89, tag="synthesizer", soft=PAD, level=-14),
            Layer(program=27, tag="electric guitar", soft=_ARPEGGIO, from_intensity=0.45),
        ),
        kit=_kit(kick=(0, 6, 8), snare=_BACKBEAT, hat=EIGHTHS),
    ),
    "rock": Genre(
        tempo=(108, 140), minor=0.3, scoop=0.6,
        progressions=((0, 3, 4, 3), (0, 6, 3, 0), (5, 3, 0, 4), (0, 4, 3, 3)),
        layers=(
            _bass(34, _ROOTS, _every(2, 1.8, "r")),
            Layer(program=29, tag="electric guitar", soft=_every(2, 1.5, "r+f"), low=True,
                  octave=1, loud=" ".join(f"{at}:2.4:{_POWER}:-8" for at in (0, 3, 6, 8, 11, 14))),
            Layer(program=30, tag="electric guitar", soft=f"0:15.5:{_POWER}:-10", low=True,
                  octave=1, from_intensity=0.55),
        ),
        kit=_kit(kick=(0, 2, 8, 10), snare=_BACKBEAT, hat=EIGHTHS, always=True),
    ),
    "ballad": Genre(
        tempo=(66, 80), minor=0.25, vibrato=0.4,
        progressions=((0, 4, 5, 3), (0, 5, 1, 4), (0, 2, 3, 4)),
        layers=(
            _bass(32, _ROOTS),
            Layer(program=0, tag="piano", soft=_ARPEGGIO),
            Layer(program=48, tag="strings", soft=PAD, level=-14),
        ),
        kit=_kit(kick=(0, 10), stick=(8,), hat=QUARTERS, fills=False),
    ),
    "electronic": Genre(
        tempo=(120, 128), minor=0.6,
        progressions=((5, 3, 0, 4), (5, 4, 3, 4), (5, 0, 3, 4)),
        layers=(
            _bass(38, _every(4, 1.8, "r", start=2), tag="synth bass"),
            Layer(program=81, tag="synthesizer", soft=_every(4, 1.6, "c", start=2), level=-12),
            Layer(program=90, tag="synthesizer", soft=PAD, level=-14),
            Layer(program=80, tag="synthesizer", level=-14, from_intensity=0.45,
                  soft=" ".join(f"{at}:.9:{'0128'[at % 4]}" for at in range(16))),
        ),
        kit=_kit("drum machine", kick=QUARTERS, clap=_BACKBEAT, hat=(2, 6, 10, 14), always=True),
    ),
    "jazz": Genre(
        tempo=(100, 132), minor=0.2, swing=0.3, seventh=True, vibrato=0.4, scoop=0.6,
        progressions=((1, 4, 0, 5), (0, 5, 1, 4), (2, 5, 1, 4)),
        layers=(
            _bass(32, "0:3.6:r 4:3.6:t 8:3.6:f 12:3.6:o"),
            Layer(program=0, tag="piano", soft=_COMP, loud="2:3:c 6:2:c 12:3:c"),
            Layer(program=65, tag="saxophone", soft="8:2:? 10:2:? 12:2:? 14:2:?", level=-14,
                  from_intensity=0.45, odd_bars=True),
        ),
        kit=_kit(kick=(0,), ride=(0, 4, 6, 8, 12, 14), pedal=_BACKBEAT, fills=False),
    ),
    "folk": Genre(
        tempo=(88, 112), minor=0.2,
        progressions=((0, 3, 0, 4), (0, 4, 3, 0), (0, 5, 3, 4)),
        layers=(
            Layer(program=25, tag="acoustic guitar",
                  soft="0:5:0:6 2:5:1 4:5:2 6:5:1 8:5:0:6 10:5:1 12:5:2 14:5:8"),
            Layer(program=40, tag="fiddle", soft="0:4:? 6:4:? 8:4:? 12:4:?", level=-14,
                  from_intensity=0.45, odd_bars=True),
        ),
        kit=_kit("percussion", shaker=EIGHTHS, fills=False),
    ),
    "hip-hop": Genre(
        tempo=(80, 96), minor=0.8, swing=0.12, rap=True, vibrato=0.0, scoop=0.0,
        progressions=((5, 3, 5, 4), (5, 5, 3, 4), (0, 2, 3, 4)),
        layers=(
            _bass(39, _ROOTS, tag="808 bass"),
            Layer(program=4, tag="keyboard", soft="0:3:c 6:3:c 11:3:c"),
        ),
        kit=_kit("beats", kick=(0, 7, 10), snare=_BACKBEAT, hat=EIGHTHS, always=True),
    ),
    "country": Genre(
        tempo=(100, 126), minor=0.05, swing=0.1, scoop=0.6,
        progressions=((0, 3, 4, 0), (0, 0, 3, 4), (0, 4, 5, 3)),
        layers=(
            _bass(33, "0:3.5:r 8:3.5:f"),
            Layer(program=25, tag="acoustic guitar",
                  soft="4:2.5:c 6:1.5:1+2:-14 12:2.5:c 14:1.5:1+2:-14"),
            Layer(program=105, tag="banjo", soft=_ARPEGGIO, from_intensity=0.45),
        ),
        kit=_kit(kick=(0, 8), snare=(4, 12), hat=(2, 6, 10, 14)),
    ),
    "reggae": Genre(
        tempo=(72, 90), minor=0.3, swing=0.1,
        progressions=((0, 3, 4, 3), (0, 4, 5, 3), (5, 1, 5, 4)),
        layers=(
            _bass(33, "0:2.4:r 3:2.4:r 6:2.4:f 8:2.4:o 12:2.4:f"),
            Layer(program=27, tag="guitar", soft="4:1.2:c:-4 12:1.2:c:-4"),
            Layer(program=16, tag="organ", soft=_every(4, 1.2, "c", start=2), level=-16),
        ),
        kit=_kit(kick=(8,), stick=(8,), hat=EIGHTHS, fills=False),
    ),
    "r&b": Genre(
        tempo=(70, 92), minor=0.5, swing=0.15, seventh=True, vibrato=0.4, scoop=0.6,
        progressions=((3, 4, 2, 5), (1, 4, 0, 5), (3, 2, 1, 0)),
        layers=(
            _bass(39, _ROOTS, tag="synth bass"),
            Layer(program=4, tag="electric piano", soft=_COMP, loud="2:3:c 6:2:c 12:3:c"),
            Layer(program=89, tag="synthesizer", soft=PAD, level=-14),
        ),
        kit=_kit(kick=(0, 7, 10), snare=_BACKBEAT, hat=EIGHTHS),
    ),
    "metal": Genre(
        tempo=(120, 160), minor=0.95,
        progressions=((5, 3, 5, 4), (5, 6, 5, 3), (5, 5, 6, 3)),
        layers=(
            _bass(34, _ROOTS, _every(2, 1.8, "r")),
            Layer(program=30, tag="electric guitar", low=True,
                  soft=" ".join(f"{at}:{.8 if at % 4 else 1.2}:r+f:-4" for at in range(16)),
                  loud=" ".join(
                      f"{at}:{.8 if at % 4 else 1.2}:r+f:-4" for at in range(16) if at % 4 != 3
                  )),
        ),
        kit=_kit(kick=EIGHTHS, snare=_BACKBEAT, hat=QUARTERS, always=True),
    ),
    "funk": Genre(
        tempo=(98, 114), minor=0.4, swing=0.1, seventh=True,
        progressions=((1, 4, 1, 4), (0, 3, 0, 3)),
        layers=(
            _bass(36, "0:1.5:r 3:1.5:o 6:1.5:s 8:1.5:r 11:1.5:f 14:1.5:s"),
            Layer(program=27, tag="guitar", soft=_FUNK),
            Layer(program=61, tag="brass", soft="10:1:c:-8 12:1:c:-8", odd_bars=True,
                  from_intensity=0.45),
        ),
        kit=_kit(kick=(0, 3, 10), snare=(4, 7, 12, 15), hat=SIXTEENTH_NOTES),
    ),
    "disco": Genre(
        tempo=(112, 124), minor=0.4,
        progressions=((5, 1, 4, 0), (5, 3, 4, 0)),
        layers=(
            _bass(33, " ".join(f"{at}:1.7:{'ro'[at // 2 % 2]}" for at in EIGHTHS)),
            Layer(program=27, tag="guitar", soft=_FUNK),
            Layer(program=48, tag="strings", soft=PAD, level=-14),
        ),
        kit=_kit(kick=QUARTERS, clap=_BACKBEAT, hat=(2, 6, 10, 14)),
    ),
}
