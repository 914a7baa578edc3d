"""Every knob once: its default, its range, and one sentence about it.

Options are frozen keyword-only dataclasses, checked when made and changed by `replace`. The
command line, and later the server's schema, are drawn from the fields here; nothing else says
what an option means. This module knows no torch, no model and no file.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from yue.errors import OptionError


def knob(
    default: Any,
    sentence: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A dataclass field that carries its own description and range (ends included)."""
    return dataclasses.field(
        default=default,
        metadata={"help": sentence, "low": low, "high": high, "choices": choices},
    )


def _checked(field: dataclasses.Field[Any], value: Any) -> Any:
    """The value in its field's type. Raises `OptionError` if it is not allowed there."""
    if value is None and field.default is None:
        return None
    choices, low, high = (field.metadata[key] for key in ("choices", "low", "high"))
    kind = next(kind for kind in ("bool", "int", "float", "str") if kind in str(field.type))
    allowed = {
        "bool": "true and false",
        "int": f"a whole number from {low} to {high}",
        "float": f"a number from {low} to {high}",
        "str": ", ".join(choices) or "some text",
    }[kind]
    refusal = OptionError(f"{field.name} = {value!r}: allowed is {allowed}.")
    if kind == "str":
        if not isinstance(value, str) or not value or (choices and value not in choices):
            raise refusal
        return value
    if kind == "bool" or isinstance(value, bool):
        if kind != "bool" or not isinstance(value, bool):
            raise refusal
        return value
    if not isinstance(value, int | float) or not math.isfinite(value) or not low <= value <= high:
        raise refusal
    if kind == "int" and value != int(value):
        raise refusal
    return int(value) if kind == "int" else float(value)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Base of all option groups: checked once, unknown names refused with the nearest known one."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if "choices" in field.metadata:  # a knob; groups of options have checked themselves
                object.__setattr__(self, field.name, _checked(field, getattr(self, field.name)))

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of all knobs of this group."""
        return tuple(field.name for field in dataclasses.fields(cls))

    @classmethod
    def make(cls, values: Options | Mapping[str, Any] | None = None, **changes: Any) -> Self:
        """Options from another set, a mapping, or nothing, with `changes` on top.

        Raises `OptionError` on an unknown name.
        """
        if isinstance(values, Options):
            values = values.as_dict()
        merged = {**(values or {}), **changes}
        for name in merged:
            if name not in cls.names():
                raise unknown_option(name, cls.names())
        return cls(**merged)

    def replace(self, **changes: Any) -> Self:
        """The same options with some changed, checked anew."""
        return self.make(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return dataclasses.asdict(self)


def unknown_option(name: str, known: tuple[str, ...]) -> OptionError:
    """The error for an option that does not exist, naming the nearest one that does."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}."
    return OptionError(f"unknown option {name!r}: {hint}")


@dataclass(frozen=True, kw_only=True)
class ComposeOptions(Options):
    """How Stage 1 samples (paper section 3, and the released sampler's order of steps)."""

    seed: int | None = knob(
        None, "Seed of the random streams; drawn and reported if not given.", low=0, high=2**63 - 1
    )
    takes: int = knob(1, "How many versions to compose at once.", low=1, high=64)
    tries: int = knob(
        1, "Sing a section up to so many times, until a try is good enough; the best is kept.",
        low=1, high=100,
    )
    enough: float | None = knob(
        None, "A try is good enough if its words explain this much of each vocal code, in nats; "
        "by default none is, and all are sung.", low=-100.0, high=100.0,
    )
    consonance: float | None = knob(
        None, "And if this share of it is sung on what the band plays loudest; of tries that have "
        "enough of their words the most consonant is kept. Not every model can tell.",
        low=0.0, high=1.0,
    )
    temperature: float = knob(
        1.0, "Above 1 more adventurous, below 1 more even.", low=0.01, high=10.0
    )
    top_k: int = knob(50, "Draw only among the k likeliest codes.", low=1, high=65536)
    top_p: float = knob(
        0.93, "Draw only among the likeliest codes that hold this much probability.",
        low=0.0, high=1.0,
    )
    repetition_penalty: float = knob(
        1.1, "Push down every code that was sung before; 1 is off.", low=0.1, high=10.0
    )
    guidance: float = knob(
        1.5, "How strongly the first section follows tags and lyrics; 1 is off.",
        low=1.0, high=20.0,
    )
    guidance_later: float = knob(
        1.2, "The same for all later sections.", low=1.0, high=20.0
    )
    min_new_tokens: int = knob(
        100, "A section may not end before this many tokens (100 tokens = 1 s).", low=0, high=10**6
    )
    max_new_tokens: int = knob(
        3000, "A section is cut off after this many tokens (100 tokens = 1 s).", low=2, high=10**6
    )
    scores: str = knob(
        "audio",
        "Normalise scores over the allowed codes (audio) or the whole vocabulary (full).",
        choices=("audio", "full"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_new_tokens > self.max_new_tokens:
            raise OptionError(
                f"min_new_tokens = {self.min_new_tokens} exceeds max_new_tokens = "
                f"{self.max_new_tokens}: lower the one or raise the other."
            )

    @property
    def compares(self) -> bool:
        """Whether each code is also scored without the words: for guidance, or to choose a try."""
        return self.tries > 1 or max(self.guidance, self.guidance_later) != 1

    def again(self, follows: float, consonance: float) -> bool:
        """Whether a try that follows its words (nats per vocal code) and is consonant (a share) so
        far is to be bettered; where that is not known (NaN) and counts, it is."""
        dull = self.consonance is not None and not consonance >= self.consonance
        return dull or not follows >= self._words_count

    def worth(self, follows: float, consonance: float) -> tuple[float, float]:
        """What tries are compared by: their words as far as they count, then their consonance."""
        follows, consonance = (-math.inf if math.isnan(x) else x for x in (follows, consonance))
        return min(follows, self._words_count), consonance

    @property
    def _words_count(self) -> float:
        """Up to how many nats: without a limit all, unless it is consonance alone that counts."""
        if self.enough is not None:
            return self.enough
        return math.inf if self.consonance is None else -math.inf

    def guidance_at(self, generated: int) -> float:
        """Guidance of the section sung after `generated` others: 1.5 first, then 1.2."""
        return self.guidance if generated == 0 else self.guidance_later


@dataclass(frozen=True, kw_only=True)
class RefineOptions(Options):
    """How Stage 2 runs. It is greedy: nothing here changes the song."""

    rows: int | None = knob(
        None, "6-second windows refined at once; by default as many as memory allows.",
        low=1, high=4096,
    )


@dataclass(frozen=True, kw_only=True)
class RenderOptions(Options):
    """How codes become sound."""

    mode: str = knob(
        "clean",
        "clean: flat crossover, stems that add up to the mix; upstream: the published "
        "post-process; upsampled: no low-band replacement; codec: 16 kHz only.",
        choices=("clean", "upstream", "upsampled", "codec"),
    )
    crossover: float = knob(
        5500.0, "Below this frequency in Hz the codec speaks, above it the upsampler.",
        low=200.0, high=7500.0,
    )
    peak: float = knob(
        0.99, "The mix is scaled down, never up, to this peak.", low=0.05, high=1.0
    )


@dataclass(frozen=True, kw_only=True)
class LoadOptions(Options):
    """Where and how a model runs."""

    device: str = knob("auto", "auto (CUDA if there is one), cpu, cuda, cuda:1, ...")
    dtype: str = knob(
        "auto", "Weights in bf16, fp16 or fp32; auto is bf16 on a GPU, fp32 on a CPU.",
        choices=("auto", "bf16", "fp16", "fp32"),
    )
    exact: bool = knob(
        False, "On a CPU, keep fp32 weights instead of packing them to 16 bits (slower)."
    )
    graphs: bool = knob(True, "On CUDA, capture each step as a graph.")
    threads: int | None = knob(None, "CPU threads; by default torch's choice.", low=1, high=1024)
    force: bool = knob(
        False, "Go on where yue would refuse: memory that looks too small, a reference for a "
        "checkpoint that was not trained with references."
    )
