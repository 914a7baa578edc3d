"""What the folder of a listening test holds: names of its files, and reading them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from yue.errors import FileError
from yue.files import read_json

FORMAT = 1
TEST, KEY, AUDIO, VOTES = "test.json", "key.json", "audio", "votes.jsonl"
PAIR, LOWPASS, IDENTICAL = "pair", "lowpass", "identical"
"""Kinds of trials: two systems, and the two anchors."""


def read_test(folder: Path) -> dict[str, Any]:
    """What the server may know: questions, prompts, files, sessions. Raises `FileError`."""
    return _read(folder / TEST, ("aspects", "files", "prompts", "raters", "test", "title"))


def read_key(folder: Path) -> dict[str, Any]:
    """Which file is whose. Raises `FileError`."""
    return _read(folder / KEY, ("systems", "trials"))


def _read(path: Path, fields: tuple[str, ...]) -> dict[str, Any]:
    """A file of the test in the format of this version, with all its fields."""
    if not path.is_file():
        raise FileError(f"there is no {path}: make a listening test with `yue listen make`.")
    held: Any = read_json(path)
    if not isinstance(held, dict):
        raise FileError(f"{path} is no part of a listening test: a JSON object is expected.")
    if held.get("format") != FORMAT:
        raise FileError(
            f"{path} has format {held.get('format')!r}, this version reads {FORMAT}: make the test "
            "anew."
        )
    if missing := [name for name in fields if name not in held]:
        raise FileError(f"{path} lacks {', '.join(missing)}: make the test anew.")
    return held
