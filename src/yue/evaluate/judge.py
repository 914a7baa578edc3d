"""What published models say of every song of an evaluation, as records beside the other metrics.

`clap` and `clamp3` tell how well a mix fits its tags (cosine, -1 to 1); `audiobox` gives the four
scores of Audiobox Aesthetics (1 to 10). In go a folder's songs; out come records that stand in the
table and report of its `Evaluation`. A song that one cannot judge is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from yue.errors import OptionError
from yue.evaluate.against import TEXT_EMBEDDERS, Progress, aesthetics, load_embedder, score_texts
from yue.evaluate.folder import MIX, SongFiles, tags_of
from yue.evaluate.record import record
from yue.evaluate.run import Evaluation

AUDIOBOX = "audiobox"
JUDGES = (*TEXT_EMBEDDERS, AUDIOBOX)
VERSION = 1


@dataclass(frozen=True)
class Verdict:
    """A judge's name, its record of each song, and why songs have none."""

    judge: str
    records: Mapping[str, dict[str, Any]]
    left_out: Mapping[str, str]
    licence: str


def judge(
    songs: Sequence[SongFiles], name: str, weights: str | None = None, *, cache: Path | None = None,
    progress: Progress | None = None,
) -> Verdict:
    """One judge's records, by its published weights or those of a hub id or folder.

    Raises `OptionError` for another name, `ModelError` if its weights are not to be had.
    """
    if name not in JUDGES:
        raise OptionError(f"judge {name!r}: allowed are {', '.join(JUDGES)}.")
    mixes = {song.name: song.sounds[MIX] for song in songs if MIX in song.sounds}
    left_out = {song.name: "it has no mix." for song in songs if MIX not in song.sounds}
    if name == AUDIOBOX:
        told = aesthetics(mixes, weights, cache=cache, progress=progress)
        values = told["songs"]
    else:
        tags = {song.name: text for song in songs if (text := tags_of(song))}
        left_out |= {song: "no tags are known of it." for song in mixes if song not in tags}
        model = load_embedder(name, weights)
        told = score_texts(mixes, tags, model, cache=cache, progress=progress)  # type: ignore[arg-type]
        values = {song: {"fit": fit} for song, fit in told["songs"].items()}
    made_by = told["embedder"]
    records = {
        song: record(
            name, VERSION, each, extractor=made_by["extractor"], windowing=made_by["windowing"],
            seed=made_by["seed"], embedder=made_by,
        )
        for song, each in values.items()
    }
    return Verdict(name, records, {**left_out, **told["skipped"]}, made_by["licence"])


def joined(found: Evaluation, verdicts: Sequence[Verdict]) -> Evaluation:
    """The evaluation with the judges' records among its songs'."""
    return replace(found, songs={
        song: {**records, **{
            each.judge: each.records[song] for each in verdicts if song in each.records
        }}
        for song, records in found.songs.items()
    })
