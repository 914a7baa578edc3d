"""The journal and the key -> ballots: who voted what on which systems. Here the blinding ends."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from yue.evaluate.listen import votes
from yue.evaluate.listen.aspects import ANSWERS
from yue.evaluate.listen.folder import VOTES, read_key, read_test


@dataclass(frozen=True)
class Vote:
    """One rater's answers to one trial, unblinded."""

    rater: int
    kind: str
    prompt: str
    left: str
    right: str
    worse: str | None
    answers: Mapping[str, str]
    seconds: float
    comment: str


@dataclass(frozen=True)
class Votes:
    """All votes of a test, the lines that could not be read, and votes that fit no trial."""

    title: str
    systems: tuple[str, ...]
    aspects: Mapping[str, str]
    votes: tuple[Vote, ...]
    damaged: tuple[int, ...]
    strange: int
    sessions: int

    def without(self, raters: Sequence[int]) -> Votes:
        """The votes of all other raters."""
        return replace(self, votes=tuple(v for v in self.votes if v.rater not in raters))

    def of_kind(self, kind: str) -> list[Vote]:
        """Votes on pairs of systems, or on one kind of anchor."""
        return [vote for vote in self.votes if vote.kind == kind]


def load(folder: Path) -> Votes:
    """The votes of a test folder. Raises `FileError` if it is none."""
    test, key, journal = read_test(folder), read_key(folder), votes.read(folder / VOTES)
    aspects = {aspect["key"]: aspect["title"] for aspect in test["aspects"]}
    kept: dict[tuple[int, str], Vote] = {}
    strange = 0
    for record in journal.records:
        if record["kind"] != "vote":
            continue
        truth = key["trials"].get(record["trial"])
        if truth is None or not _fits(record["answers"], aspects):
            strange += 1
            continue
        kept.setdefault((record["rater"], record["trial"]), _vote(record, truth))
    return Votes(
        title=test["title"],
        systems=tuple(key["systems"]),
        aspects=aspects,
        votes=tuple(kept.values()),
        damaged=journal.damaged,
        strange=strange,
        sessions=len(test["raters"]),
    )


def _fits(answers: Mapping[str, Any], aspects: Mapping[str, str]) -> bool:
    """Whether there is one known answer for each aspect."""
    return set(answers) == set(aspects) and all(
        isinstance(answer, str) and answer in ANSWERS for answer in answers.values()
    )


def _vote(record: Mapping[str, Any], truth: Mapping[str, Any]) -> Vote:
    return Vote(
        record["rater"], truth["kind"], truth["prompt"], truth["left"], truth["right"],
        truth.get("worse"), record["answers"], float(record.get("seconds", math.nan)),
        str(record.get("comment", "")),
    )
