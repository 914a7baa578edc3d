"""Whose turn it is, and whether a vote is allowed: the listening test without the web.

A desk knows `test.json` and the journal; it never sees the key, so it cannot give a system away.
A rater is known by a token; sessions go on where they stopped, after a restart of the server too.
Safe for many threads.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from yue.errors import FileError, YueError
from yue.evaluate.listen import votes
from yue.evaluate.listen.aspects import ANSWERS
from yue.evaluate.listen.folder import AUDIO, VOTES, read_test

RELEASE = 6 * 3600.0
"""Seconds after which a place that was taken, but from which no vote came, is free again."""
SLACK = 1.0
"""Seconds that a song may be heard short of what is demanded: fades, clocks, the last buffer."""
LONGEST_COMMENT = 1_000


class RefusedError(YueError):
    """A request that is not granted; `status` is HTTP's number for why."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class Desk:
    """The state of one test folder.

    `heard` is the share of each song that must be heard before the vote, 0 to 1; `invited` keeps
    out whoever has no token yet.
    """

    def __init__(
        self, folder: Path, *, heard: float = 1.0, invited: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.test = _checked_test(folder)
        self.heard, self.invited = heard, invited
        self.audio = {name: folder / AUDIO / name for name in self.test["files"]}
        self._journal, self._clock, self._lock = folder / VOTES, clock, threading.Lock()
        self._raters = {rater["token"]: n for n, rater in enumerate(self.test["raters"])}
        self._joined: dict[int, float] = {}
        self._opened: dict[tuple[int, str], float] = {}
        self._voted: dict[tuple[int, str], dict[str, str]] = {}
        journal = votes.read(self._journal)
        self.damaged = journal.damaged
        for record in journal.records:
            self._remember(record)

    @property
    def tokens(self) -> list[str]:
        """The tokens of all raters, in the order of their sessions."""
        return list(self._raters)

    def about(self) -> dict[str, Any]:
        """What the page shows before anyone has begun."""
        sessions = self.test["raters"]
        seconds = sum(
            self._seconds(trial, side)
            for session in sessions for trial in session["trials"] for side in ("a", "b")
        )
        return {
            "test": self.test["test"],
            "title": self.test["title"],
            "pairs": len(sessions[0]["trials"]),
            "minutes": math.ceil(seconds / len(sessions) / 60),
            "aspects": self.test["aspects"],
            "heard": self.heard,
            "slack": SLACK,
            "open": not self.invited,
        }

    def join(self) -> str:
        """A place for a new rater: the token of the first session that nobody has begun, or of one
        that was begun long ago without a single vote.
        """
        with self._lock:
            if self.invited:
                raise RefusedError(HTTPStatus.FORBIDDEN, "By invitation only: use your link.")
            voted, late = {rater for rater, _ in self._voted}, self._clock() - RELEASE
            untaken = [rater for rater in self._raters.values() if rater not in self._joined]
            left = sorted(r for r, time in self._joined.items() if r not in voted and time <= late)
            for rater in (*untaken, *left):
                self._write({"kind": "join", "rater": rater})
                return self.tokens[rater]
        raise RefusedError(HTTPStatus.CONFLICT, "All places in this test are taken. Thank you!")

    def session(self, token: str) -> dict[str, Any]:
        """How far a rater is, and the pair that comes next (`trial`, `None` at the end)."""
        with self._lock:
            return self._view(self._rater(token))

    def vote(self, token: str, vote: Mapping[str, Any]) -> dict[str, Any]:
        """Keep a vote and return the session after it.

        `vote`: `trial`, `answers` (aspect -> A, = or B), `heard` (seconds of A and of B that were
        audible), and perhaps a `comment`. The same vote again changes nothing.
        """
        with self._lock:
            rater = self._rater(token)
            trial = self._trial_of(rater, vote.get("trial"))
            answers = self._answers(vote.get("answers"))
            before = self._voted.get((rater, trial["id"]))
            if before is None:
                record = {
                    "kind": "vote", "rater": rater, "trial": trial["id"], "answers": answers,
                    "heard": self._heard(rater, trial, vote.get("heard")),
                    "comment": _comment(vote.get("comment", "")),
                    "seconds": round(self._waited(rater, trial), 1),
                }
                self._write(record)
            elif before != answers:
                raise RefusedError(HTTPStatus.CONFLICT, "You have voted on this pair already.")
            return self._view(rater)

    def _view(self, rater: int) -> dict[str, Any]:
        trials = self.test["raters"][rater]["trials"]
        left = [trial for trial in trials if (rater, trial["id"]) not in self._voted]
        done = len(trials) - len(left)
        view: dict[str, Any] = {"done": done, "total": len(trials), "trial": None}
        if left:
            if (rater, left[0]["id"]) not in self._opened:
                self._write({"kind": "open", "rater": rater, "trial": left[0]["id"]})
            view["trial"] = {
                "id": left[0]["id"],
                "songs": [
                    {"url": f"audio/{left[0][side]}", "seconds": self._seconds(left[0], side)}
                    for side in ("a", "b")
                ],
                "prompt": self.test["prompts"][left[0]["prompt"]],
            }
        return view

    def _rater(self, token: str) -> int:
        if token not in self._raters:
            raise RefusedError(HTTPStatus.FORBIDDEN, "This link is not known. Is it complete?")
        return self._raters[token]

    def _trial_of(self, rater: int, trial_id: Any) -> dict[str, Any]:
        """The trial of that id, if this rater has reached it."""
        for trial in self.test["raters"][rater]["trials"]:
            if trial["id"] == trial_id and (rater, trial_id) in self._opened:
                found: dict[str, Any] = trial
                return found
        raise RefusedError(HTTPStatus.CONFLICT, "This is another pair: load the page anew.")

    def _answers(self, answers: Any) -> dict[str, str]:
        """One answer per aspect of the test."""
        keys = [aspect["key"] for aspect in self.test["aspects"]]
        if not isinstance(answers, dict) or set(answers) != set(keys):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "Every question needs one answer.")
        if not all(isinstance(answer, str) and answer in ANSWERS for answer in answers.values()):
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"Answers are {', '.join(ANSWERS)}.")
        return {key: answers[key] for key in keys}

    def _heard(self, rater: int, trial: Mapping[str, Any], heard: Any) -> list[float]:
        """The seconds heard, if they are enough and there was time for them since the opening."""
        if not isinstance(heard, list) or len(heard) != 2 or not all(map(_is_seconds, heard)):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "heard: seconds of A and of B are expected.")
        wanted = [
            max(0.0, self.heard * self._seconds(trial, side) - SLACK) for side in ("a", "b")
        ]
        enough = all(seconds >= least for seconds, least in zip(heard, wanted, strict=True))
        if not enough or self._waited(rater, trial) < sum(wanted):
            raise RefusedError(HTTPStatus.CONFLICT, "Hear both songs to the end, then vote.")
        return [round(float(seconds), 1) for seconds in heard]

    def _seconds(self, trial: Mapping[str, Any], side: str) -> float:
        return float(self.test["files"][trial[side]])

    def _waited(self, rater: int, trial: Mapping[str, Any]) -> float:
        """Seconds since a pair was handed out; the journal's times are rounded, so at least 0."""
        return max(0.0, self._clock() - self._opened[rater, trial["id"]])

    def _write(self, record: dict[str, Any]) -> None:
        record = {**record, "time": round(self._clock(), 3)}
        votes.append(self._journal, record)
        self._remember(record)

    def _remember(self, record: Mapping[str, Any]) -> None:
        """Take over a record that is on the disk; the first vote on a pair stands."""
        rater = record["rater"]
        self._joined[rater] = float(record.get("time", 0.0))
        if record["kind"] == "open":
            self._opened.setdefault((rater, record["trial"]), float(record.get("time", 0.0)))
        if record["kind"] == "vote":
            self._opened.setdefault((rater, record["trial"]), 0.0)
            self._voted.setdefault((rater, record["trial"]), record["answers"])


def _checked_test(folder: Path) -> dict[str, Any]:
    """The public part of a test whose songs are all there."""
    test = read_test(folder)
    missing = [name for name in test["files"] if not (folder / AUDIO / name).is_file()]
    if missing:
        raise FileError(f"{folder / AUDIO} lacks {len(missing)} songs, the first {missing[0]}.")
    return test


def _is_seconds(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e6


def _comment(value: Any) -> str:
    """A comment of bounded length."""
    if not isinstance(value, str):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "comment: text is expected.")
    told = value.encode("utf-8", "replace").decode()  # half of a pair of surrogates is no text
    return told.strip()[:LONGEST_COMMENT]
