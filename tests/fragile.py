"""A worker for `executors.processes` that some songs kill. In a file of its own: it is pickled."""

from __future__ import annotations

import os
import signal
from typing import Any

from yue.data.executors import Outcome, Task, blank


class Fragile:
    """Fails as the song's id says: `dies` always."""

    def __call__(self, task: Task) -> Outcome:
        """The outcome, if the process survives."""
        if task["id"].startswith("dies"):
            os.kill(os.getpid(), signal.SIGKILL)
        outcome: dict[str, Any] = {**blank(task), "report": {"seconds": 1.0}}
        return outcome
