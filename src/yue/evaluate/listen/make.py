"""Folders of songs -> a listening test: who hears what, files under opaque names, a private key.

One folder per system, in each one song per prompt under the same name; formats may differ. All
songs of a prompt are turned down to the quietest of them, cut to the same part if asked, and
written anew without tags. Names of files and raters are drawn by the system's own random source,
so they cannot be worked out from the seed. A prompt that some system lacks, or whose song cannot
be read or is silent, is left out and named.
"""

from __future__ import annotations

import random
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yue.errors import FileError, OptionError
from yue.evaluate.listen import statistics
from yue.evaluate.listen.aspects import Aspect, chosen
from yue.evaluate.listen.design import Comparison, blocks
from yue.evaluate.listen.folder import AUDIO, FORMAT, IDENTICAL, KEY, LOWPASS, PAIR, TEST, VOTES
from yue.evaluate.listen.options import ListenOptions
from yue.evaluate.listen.stimuli import Progress, Stimuli, find, measure
from yue.files import write_json

PREFERENCES = (0.6, 0.55)
"""Preferences for which the plan says how many votes would show them."""


def plan(systems: int, prompts: int, options: ListenOptions) -> dict[str, Any]:
    """What the test can show: votes per pair of systems, and raters needed for a preference."""
    pairs = systems * (systems - 1) // 2
    votes = options.raters * options.pairs // pairs
    needed = {share: statistics.pairs_needed(share) for share in PREFERENCES}
    return {
        "systems": systems,
        "prompts": prompts,
        "pairs_of_systems": pairs,
        "votes_per_pair": votes,
        "raters_per_song_pair": options.raters * options.pairs / (pairs * prompts),
        "power": {str(share): statistics.power_of(votes, share) for share in PREFERENCES},
        "votes_needed": {str(share): count for share, count in needed.items()},
        "raters_needed": {
            str(share): -(-count * pairs // options.pairs) for share, count in needed.items()
        },
    }


def make(
    folders: Sequence[Path],
    output: Path,
    *,
    options: ListenOptions | None = None,
    prompts: Mapping[str, Mapping[str, str]] | None = None,
    aspects: Sequence[str] | None = None,
    progress: Progress = None,
) -> dict[str, Any]:
    """Write a test into the folder `output` and return its private key.

    `prompts` gives `genres` and `lyrics` per song name, shown to the raters. Raises what `find`,
    `blocks` and `chosen` raise, `FileError` if `output` holds a test already, `OptionError` if the
    title names a system.
    """
    options = options or ListenOptions()
    if (output / TEST).exists() or (output / VOTES).exists():
        raise FileError(f"{output} holds a listening test already: choose another folder.")
    asked = chosen(aspects, prompts=prompts is not None)
    songs = find(folders)
    _refuse_names(options.title, songs.systems)
    if prompts is not None and (unknown := [name for name in songs.prompts if name not in prompts]):
        raise OptionError(f"--prompts lacks {', '.join(unknown)}: each song needs its prompt.")
    blocks(len(songs.systems), len(songs.prompts), options.raters, options.pairs)
    levels, songs = measure(songs, options.seconds, progress, anchors=bool(options.anchors))
    sessions = blocks(
        len(songs.systems), len(songs.prompts), options.raters, options.pairs, seed=options.seed
    )
    (output / AUDIO).mkdir(parents=True, exist_ok=True)
    stimuli = Stimuli(songs, levels, output / AUDIO, options.seconds)
    trials = _sessions(stimuli, sessions, options, progress)
    key = {
        "format": FORMAT,
        "systems": list(songs.systems),
        "prompts": list(songs.prompts),
        "options": options.as_dict(),
        "left_out": dict(songs.left_out),
        "plan": plan(len(songs.systems), len(songs.prompts), options),
        "files": stimuli.files,
        "trials": {trial["id"]: trial["truth"] for session in trials for trial in session},
    }
    write_json(output / KEY, key).chmod(0o600)
    write_json(output / TEST, _public(options.title, asked, trials, stimuli, prompts))
    return key


def _refuse_names(title: str, systems: Sequence[str]) -> None:
    """Raise `OptionError` if the heading of the page gives a system away."""
    for name in systems:
        if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", title, re.IGNORECASE):
            raise OptionError(f"--title {title!r} names the system {name}: raters would read it.")


def _sessions(
    stimuli: Stimuli, sessions: list[list[Comparison]], options: ListenOptions, progress: Progress
) -> list[list[dict[str, Any]]]:
    """The trials of every rater, anchors mixed in anywhere but first."""
    generator = random.Random(options.seed)
    made = []
    for rater, session in enumerate(sessions):
        trials = [_pair(stimuli, comparison) for comparison in session]
        for turn in range(options.anchors):
            for kind in (LOWPASS, IDENTICAL):
                number = rater * options.anchors + turn
                place = generator.randint(1, len(trials))
                trials.insert(place, _anchor(stimuli, kind, number))
        made.append(trials)
        if progress:
            progress("sessions", rater + 1, len(sessions))
    return made


def _pair(stimuli: Stimuli, comparison: Comparison) -> dict[str, Any]:
    """A trial of two systems."""
    songs = stimuli.songs
    prompt = songs.prompts[comparison.prompt]
    left, right = songs.systems[comparison.left], songs.systems[comparison.right]
    files = stimuli.song(left, prompt), stimuli.song(right, prompt)
    return _trial(files, PAIR, prompt, left, right)


def _anchor(stimuli: Stimuli, kind: str, number: int) -> dict[str, Any]:
    """The `number`-th anchor of a kind: one song per system, then again, sides turn about."""
    songs = stimuli.songs
    turn = number % len(songs.systems)
    system, prompt = songs.systems[turn], songs.prompts[turn % len(songs.prompts)]
    files = stimuli.anchor(kind, system, prompt)
    # An even number of systems would give each always the same side.
    shift = 0 if len(songs.systems) % 2 else number // len(songs.systems)
    swapped = (number + shift) % 2 == 1
    trial = _trial(files[::-1] if swapped else files, kind, prompt, system, system)
    if kind == LOWPASS:
        trial["truth"]["worse"] = "A" if swapped else "B"
    return trial


def _trial(
    files: tuple[str, str], kind: str, prompt: str, left: str, right: str
) -> dict[str, Any]:
    """What the page is told, and under `truth` what only the key knows."""
    truth = {"kind": kind, "prompt": prompt, "left": left, "right": right}
    return {
        "id": secrets.token_hex(8), "a": files[0], "b": files[1], "prompt": prompt, "truth": truth,
    }


def _public(
    title: str, asked: list[Aspect], trials: list[list[dict[str, Any]]], stimuli: Stimuli,
    prompts: Mapping[str, Mapping[str, str]] | None,
) -> dict[str, Any]:
    """The test as the server may know it: no system, no name of a song."""
    numbers = {prompt: number for number, prompt in enumerate(stimuli.songs.prompts)}
    shown = [
        {key: (prompts or {}).get(prompt, {}).get(key, "") for key in ("genres", "lyrics")}
        for prompt in numbers
    ]
    return {
        "format": FORMAT,
        "test": secrets.token_hex(8),
        "title": title,
        "aspects": [
            {"key": aspect.key, "title": aspect.title, "definition": aspect.definition}
            for aspect in asked
        ],
        "prompts": shown,
        "files": stimuli.lengths,
        "raters": [
            {
                "token": secrets.token_urlsafe(16),
                "trials": [
                    {
                        "id": trial["id"], "a": trial["a"], "b": trial["b"],
                        "prompt": numbers[trial["prompt"]],
                    }
                    for trial in session
                ],
            }
            for session in trials
        ],
    }
