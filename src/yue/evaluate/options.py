"""Knobs of the models that evaluate, without the models: the command line reads them first."""

from __future__ import annotations

from dataclasses import dataclass

from yue.options import Options, knob

PHONES, NO_WORDS = "phones", "none"
"""Ways of judging words that need no model."""


@dataclass(frozen=True, kw_only=True)
class EmbedOptions(Options):
    """How an embedder runs."""

    batch: int = knob(
        8, "Windows that go through the model at once; the result does not change.",
        low=1, high=4096,
    )
    seed: int = knob(0, "Seed of what an extractor draws at random.", low=0, high=2**32 - 1)
    device: str = knob("cpu", "cpu, cuda, cuda:1, ...")


@dataclass(frozen=True, kw_only=True)
class ClapOptions(EmbedOptions):
    """How CLAP listens."""

    whole: bool = knob(
        False, "One embedding of the whole song, from a shrunk view and seeded chunks (fused)."
    )


@dataclass(frozen=True, kw_only=True)
class ProbeOptions(Options):
    """How the probes are trained; the defaults are MARBLE's."""

    hidden: int = knob(512, "Units of the hidden layer.", low=1, high=65536)
    dropout: float = knob(0.2, "Share of hidden units dropped in training.", low=0.0, high=0.9)
    batch: int = knob(64, "Tracks per step.", low=1, high=65536)
    epochs: int = knob(100, "At most so many passes over the training tracks.", low=1, high=10000)
    patience: int = knob(20, "Epochs without a better score before a probe stops.", low=1, high=999)
    plateau: int = knob(6, "Epochs without a better score before its rate is halved.", low=0,
                        high=999)
    seed: int = knob(1234, "Seed of weights, order and dropout.", low=0, high=2**31 - 1)
    device: str = knob("cpu", "cpu, cuda, cuda:1, ...")


@dataclass(frozen=True, kw_only=True)
class MeasureOptions(Options):
    """What is measured and how."""

    words: str = knob(
        PHONES, "How words are judged: phones (English, offline), none, or a speech recognition "
        "model of transformers (hub id or directory).",
    )
    language: str | None = knob(None, "Language of the lyrics, for recognisers that ask for one.")
    equal_seconds: float = knob(
        15.0, "Voiced seconds at which vocal ranges are compared, since range grows with length.",
        low=1, high=3600,
    )
    seed: int = knob(0, "Seed of everything that is drawn.", low=0, high=2**31 - 1)
