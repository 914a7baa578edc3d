"""The size of a listening test. Imports nothing heavy: the command line draws its flags here."""

from __future__ import annotations

from dataclasses import dataclass

from yue.options import Options, knob


@dataclass(frozen=True, kw_only=True)
class ListenOptions(Options):
    """The size of a listening test."""

    raters: int = knob(20, "Sessions to prepare, one per rater.", low=1, high=10_000)
    pairs: int = knob(
        12, "Pairs per session, without anchors; two songs of 3 minutes make 6 minutes.",
        low=1, high=1_000,
    )
    anchors: int = knob(
        1, "Low-pass anchors, and identical pairs, that each rater hears besides.", low=0, high=20
    )
    seconds: float | None = knob(
        None, "Use only the first seconds of each song; by default all.", low=1.0, high=3600.0
    )
    seed: int = knob(0, "Who hears what, in which order.", low=0, high=2**63 - 1)
    title: str = knob("Listening test", "Heading of the page; it must not name a system.")
