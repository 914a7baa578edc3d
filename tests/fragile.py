"""Workers that some songs kill. In a file of its own: they are pickled."""

from __future__ import annotations

import os
import signal
from typing import Any

from yue.data.executors import Outcome, Task, Worker, blank


class Fragile:
    """Fails as the song's id says: `dies` always."""

    def __call__(self, task: Task) -> Outcome:
        """The outcome, if the process survives."""
        _die_of(task)
        outcome: dict[str, Any] = {**blank(task), "report": {"seconds": 1.0}}
        return outcome


class Mortal(Worker):
    """A real worker that such songs kill."""

    def __call__(self, task: Task) -> Outcome:
        """The outcome, if the process survives."""
        _die_of(task)
        return super().__call__(task)


def _die_of(task: Task) -> None:
    if task["id"].startswith("dies"):
        os.kill(os.getpid(), signal.SIGKILL)
