"""Every task by its name: what it needs of a record, and how a record becomes documents.

A draw is a list of documents that belong together (mostly one). What a song lacks for a task is
found before a sequence is built, so that a mixture draws only from songs that fit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from yue.data import tasks
from yue.data.records import MIX, PERTURBED, Record
from yue.data.tasks import Forms, Sequence, SungSong, TooLongError
from yue.vocab import TRACKS

Whole = Callable[[Record, Forms, np.random.Generator], Sequence]
Song = Callable[[Record, Forms, np.random.Generator], SungSong]
Pieces = Callable[[Record, Forms, np.random.Generator, int], list[Sequence]]

VOCALS, ACCOMPANIMENT = TRACKS


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task and what it asks of a record."""

    pieces: Pieces
    """Record, forms, generator, longest document -> documents; the song's parts if it is long."""
    tracks: tuple[str, ...] = TRACKS
    parts: int = 1
    """Sections that a record must have at least."""
    transcript: bool = False

    def takes(self, record: Record) -> bool:
        """Whether a record has what the task needs."""
        return (
            all(track in record.codes for track in self.tracks)
            and len(record.parts) >= self.parts
            and bool(record.transcript.strip() or not self.transcript)
        )


def _whole(build: Whole) -> Pieces:
    """A task that cannot be cut."""
    def pieces(
        record: Record, forms: Forms, rng: np.random.Generator, limit: int
    ) -> list[Sequence]:
        made = build(record, forms, rng)
        if len(made) > limit:
            raise TooLongError(f"record {record.id}: {len(made)} ids; the context is {limit}.")
        return [made]

    return pieces


def _by_section(build: Song) -> Pieces:
    """A task that can be cut at section borders."""
    return lambda record, forms, rng, limit: build(record, forms, rng).pieces(limit)


def _song(
    track: str, given: str | None = None, instruction: str = tasks.INSTRUCTION
) -> Pieces:
    produce = tasks.one_track(track, given)
    return _by_section(
        lambda record, forms, rng: tasks.song(record, forms, rng, produce, instruction=instruction)
    )


def _instrumental(record: Record, forms: Forms, rng: np.random.Generator) -> SungSong:
    silent = tasks.without_words(record)
    return tasks.song(silent, forms, rng, tasks.one_track(ACCOMPANIMENT))


def _residual(
    record: Record, forms: Forms, rng: np.random.Generator, limit: int
) -> list[Sequence]:
    """One window of a track; none where the song is too short or the window says nothing."""
    v = forms.vocabulary
    tracks = [track for track in TRACKS if track in record.codes] or list(record.codes)
    track = tracks[rng.integers(len(tracks))]
    count = record.frames // v.window_frames
    if not count:
        return []
    first = int(rng.integers(count)) * v.window_frames
    made = tasks.residual_windows(record.codes[track][:, first : first + v.window_frames], v)
    if made and len(made[0]) > limit:
        size = len(made[0])
        raise TooLongError(f"record {record.id}: a window has {size} ids; the context is {limit}.")
    return made


TASKS = {
    "lyrics_to_song": Task(pieces=_by_section(tasks.song)),
    "lyrics_first": Task(pieces=_whole(tasks.lyrics_first)),
    "in_context_dual": Task(pieces=_by_section(tasks.song_in_context("dual"))),
    "in_context_vocals": Task(pieces=_by_section(tasks.song_in_context("vocals"))),
    "in_context_accompaniment": Task(pieces=_by_section(tasks.song_in_context("accompaniment"))),
    "in_context_mix": Task(
        pieces=_by_section(tasks.song_in_context("mix")), tracks=(*TRACKS, MIX)
    ),
    "text_to_speech": Task(
        pieces=_whole(tasks.text_to_speech), tracks=(MIX,), parts=0, transcript=True
    ),
    "music_from_tags": Task(pieces=_whole(tasks.music_from_tags(False)), tracks=(MIX,), parts=0),
    "dual_music_from_tags": Task(pieces=_whole(tasks.music_from_tags(True)), parts=0),
    "instrumental": Task(pieces=_by_section(_instrumental), tracks=(ACCOMPANIMENT,)),
    "vocals_only": Task(
        pieces=_song(VOCALS, instruction=tasks.VOCALS_ONLY), tracks=(VOCALS,)
    ),
    "mix_only": Task(pieces=_song(MIX), tracks=(MIX,)),
    "accompaniment_from_vocals": Task(
        pieces=_song(ACCOMPANIMENT, VOCALS, tasks.ACCOMPANY)
    ),
    "vocals_from_accompaniment": Task(
        pieces=_song(VOCALS, ACCOMPANIMENT, tasks.ADD_VOCALS)
    ),
    "separation": Task(pieces=_whole(tasks.separation), tracks=(*TRACKS, MIX), parts=0),
    "voice_change": Task(
        pieces=_whole(tasks.voice_change), tracks=(VOCALS, PERTURBED), parts=2
    ),
    "continuation": Task(pieces=_whole(tasks.continuation), parts=2),
    "residual": Task(pieces=_residual, tracks=(), parts=0),
}
"""All tasks that a mixture may name."""
