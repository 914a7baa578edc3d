"""What the tests of listening tests share: folders of short songs, and raters who vote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from yue.audio import Audio
from yue.evaluate.listen.desk import Desk

RATE = 44_100


def song(pitch: float, level: float, seconds: float = 1.0) -> Audio:
    """A tone over noise, in two channels."""
    time = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(round(pitch)).normal(size=time.size)
    tone = level * (np.sin(2 * np.pi * pitch * time) + 0.3 * noise)
    return Audio(np.stack([tone, tone]), RATE)


def folders(
    root: Path, names: tuple[str, ...] = ("ours", "theirs", "others"), prompts: int = 4,
    seconds: float = 0.5,
) -> list[Path]:
    """One folder per system, each louder than the one before."""
    made = []
    for number, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for prompt in range(prompts):
            audio = song(220 * (number + 1) + 20 * prompt, 0.02 * 2**number, seconds)
            audio.save(root / name / f"{prompt:02d}.flac")
        made.append(root / name)
    return made


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def vote_all(
    desk: Desk, token: str, answer: Callable[[dict[str, Any], str], str], most: int = 10**6
) -> int:
    """Vote on all that is left (or `most`), each aspect as `answer(trial, aspect)` says."""
    view, cast = desk.session(token), 0
    while view["trial"] and cast < most:
        trial = view["trial"]
        answers = {
            aspect["key"]: answer(trial, aspect["key"]) for aspect in desk.about()["aspects"]
        }
        heard = [one["seconds"] for one in trial["songs"]]
        view = desk.vote(token, {"trial": trial["id"], "answers": answers, "heard": heard})
        cast += 1
    return cast
