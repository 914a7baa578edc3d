"""The exceptions of this package. Every message says the value, what is allowed, and the cure.

    YueError
    ├── OptionError      an option out of range or unknown
    ├── LyricsError      text that cannot be sung at all (empty, binary, too long)
    ├── AudioError       audio that cannot be read, cut or written
    ├── FileError        a draft, codes or result file that cannot be read or written
    ├── ModelError       a model name, directory, config or weight file that does not fit
    └── CapacityError    what was asked for does not fit into the context or the memory

    KeyboardInterrupt
    └── Interrupted      Ctrl-C while composing; carries what was finished
"""

from __future__ import annotations

from typing import Any


class YueError(Exception):
    """Base of everything that a user can cause and cure."""


class OptionError(YueError, ValueError):
    """An option is unknown or out of its range."""


class LyricsError(YueError, ValueError):
    """The lyrics cannot be sung: empty, not text, or too long for the model."""


class AudioError(YueError, ValueError):
    """Audio that cannot be read, cut, or is not what was asked for."""


class FileError(YueError, OSError):
    """A file of ours that cannot be read or written."""


class ModelError(YueError, ValueError):
    """A model that is unknown, incomplete, damaged, or of another shape than its config says."""


class CapacityError(YueError, ValueError):
    """A request that does not fit the model's context or the machine's memory."""


class Interrupted(KeyboardInterrupt):
    """Composing was interrupted; `drafts` holds the finished sections, one draft per take."""

    def __init__(self, drafts: tuple[Any, ...]) -> None:
        super().__init__("interrupted")
        self.drafts = drafts
