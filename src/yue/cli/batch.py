"""Many songs from a JSONL file: finished ones are skipped, failed ones reported."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yue.cli.console import print_json, say
from yue.cli.flags import Request, parse_lyrics, read_text
from yue.cli.work import DRAFT_SUFFIX, Groups, numbered, print_results, sing_one
from yue.errors import FileError, OptionError, YueError
from yue.files import read_json
from yue.options import ComposeOptions

if TYPE_CHECKING:
    from yue.pipeline import Yue

DONE_SUFFIX = ".json"


def read_batch(path: Path) -> Iterator[dict[str, Any]]:
    """The items of a JSONL file. Raises `OptionError` that names the line."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"--batch {path} could not be read: {error}.") from error
    seen: set[str] = set()
    known = {"id", "lyrics", "lyrics_file", "genres", "options"}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        try:
            item = json.loads(line)
        except ValueError as error:
            raise OptionError(f"{where} is not JSON ({error}).") from error
        if not isinstance(item, dict) or ("lyrics" in item) == ("lyrics_file" in item):
            raise OptionError(f"{where}: an object with lyrics or lyrics_file is expected.")
        texts = (item.get(key, "") for key in ("lyrics", "lyrics_file", "genres"))
        if not all(isinstance(text, str) for text in texts):
            raise OptionError(f"{where}: lyrics, lyrics_file and genres must be text.")
        if not isinstance(item.get("options", {}), dict):
            raise OptionError(f"{where}: options must be an object.")
        if unknown := set(item) - known:
            raise OptionError(
                f"{where}: unknown {', '.join(sorted(unknown))}; known are "
                f"{', '.join(sorted(known))}."
            )
        name = str(item.setdefault("id", f"{number:04d}"))
        item["id"] = name
        if name in seen or not name or not all(c.isalnum() or c in "._-" for c in name):
            raise OptionError(
                f"{where}: id {name!r} must be unique, of letters, digits, '.', '_' and '-'."
            )
        seen.add(name)
        yield item


def sing_batch(
    singer: Yue, items: list[dict[str, Any]], beside: Path, common: Request, folder: Path,
    options: Groups, stems: bool, lrc: bool, as_json: bool,
) -> None:
    """Every song of a batch; what is finished is skipped, what fails is reported."""
    folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    for number, item in enumerate(items, 1):
        name = item["id"]
        say(f"{number}/{len(items)} {name}")
        try:
            given = {**options[0], **item.get("options", {})}
            chosen = ComposeOptions.make(given)
            path = folder / f"{name}.flac"
            done = [numbered(path, take, chosen.takes) for take in range(chosen.takes)]
            text = item.get("lyrics")
            if text is None:
                text = read_text(str(beside / item["lyrics_file"]))
            request = dataclasses.replace(
                common, lyrics=parse_lyrics(text), genres=item.get("genres", common.genres)
            )
            manifests = [each.with_suffix(DONE_SUFFIX) for each in done]
            if all(manifest.is_file() for manifest in manifests):
                if not _changed(request, manifests[0]):
                    say("finished before, skipped.")
                    continue
                say("its words or tags have changed since it was sung: sung again.")
            half = path.with_suffix(DRAFT_SUFFIX)
            if half.is_file() and chosen.takes == 1:
                request = _resumed(request, half)
            results = sing_one(
                singer, request, path, (given, *options[1:]), stems=stems, lrc=lrc
            )
            for result in results:
                print_results([{"id": name, **result}], as_json)
        except YueError as error:
            failed += 1
            say(f"{name}: {error}")
            if as_json:
                print_json({"id": name, "error": str(error)})
    if failed:
        raise YueError(f"{failed} of {len(items)} songs failed; run the same command to retry.")


def _changed(request: Request, manifest: Path) -> bool:
    """Whether a finished song was sung to other words or tags than are asked for now."""
    sung = read_json(manifest)
    assert request.lyrics is not None
    wanted = [[section.label, section.text] for section in request.lyrics.sections]
    had = [[section["label"], section["text"]] for section in sung["sections"]]
    return had != wanted or sung["genres"] != (request.genres or "")


def _resumed(request: Request, half: Path) -> Request:
    """The request to finish a half-composed song, or the same one if that was another song."""
    from yue.draft import Draft

    draft = Draft.load(half)
    assert request.lyrics is not None
    if draft.plan != request.lyrics.sections:
        return request
    return dataclasses.replace(request, lyrics=None, genres=None, after=draft)
