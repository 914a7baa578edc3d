"""A row of training data as a pure function of seed, phase, step and its number in the batch.

A row packs a few draws; a draw is a task, then a song of those that fit it, taken in a keyed
order without repetition. There is nothing to save: resuming is setting the step, and the number
of ranks changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context

import numpy as np

from yue.data import tasks
from yue.data.excerpts import lines_of, parts_of
from yue.data.mixture import TASKS, Task
from yue.data.pointers import PhoneticTokenizer
from yue.data.records import Record, RecordError
from yue.data.tasks import Forms, TooLongError
from yue.errors import OptionError
from yue.options import unknown_option
from yue.train.config import PhaseOptions, TaskOptions
from yue.train.permute import generator, mix, permuted

SPARE = 2
"""Draws of a row beyond the mean number that fits, so that there is a choice."""
PROBES = 48
"""Draws from which the mean length of a phase's documents is taken."""
RETRIES = 200
"""Draws after which a row that is still empty is given up."""

CONCATENATED = "concat"


@dataclass(frozen=True, eq=False)
class Document:
    """A sequence that attention does not leave, the mixture's entry it came from, and its song."""

    sequence: tasks.Sequence
    label: str
    song: str

    def __len__(self) -> int:
        return len(self.sequence)


Row = tuple[Document, ...]


@dataclass(frozen=True)
class _Entry:
    """An entry of a mixture and the songs that it may draw."""

    label: str
    options: TaskOptions
    songs: np.ndarray

    @property
    def task(self) -> Task:
        """By name, so that an entry can be sent to another process."""
        return TASKS[self.options.task]


class Sampler:
    """All rows of a run over one set of songs."""

    def __init__(
        self,
        songs: Sequence[Record],
        forms: Forms,
        phases: Sequence[PhaseOptions],
        seed: int,
        *,
        partial: bool = False,
    ) -> None:
        """`partial` leaves out entries of the mixtures that no song fits, where others remain, as
        validation may; else they raise `OptionError`.
        """
        self.songs, self.forms, self.phases, self.seed = songs, forms, phases, seed
        self.left_out: Counter[str] = Counter()
        """Draws that did not fit, by their reason's first words."""
        self._entries = [_entries(phase, songs, partial) for phase in phases]
        self._slots = [self._draws_per_row(index) for index in range(len(phases))]

    def row(self, phase: int, step: int, index: int) -> Row:
        """Row `index` of a step of a phase."""
        options = self.phases[phase]
        first = (step * options.rows + index) * self._slots[phase]
        if options.packer == CONCATENATED:
            return self._concatenated(phase, first)
        draws = [self._draw(phase, first + slot) for slot in range(self._slots[phase])]
        draws = [draw for draw in draws if draw] or [self._any(phase, first)]
        # The first draw always stays: else short songs would be preferred.
        kept = [draws[0]]
        room = options.context - _length(draws[0])
        for draw in sorted(draws[1:], key=_length, reverse=True):
            if _length(draw) <= room:
                kept.append(draw)
                room -= _length(draw)
        return tuple(document for draw in kept for document in draw)

    def _any(self, phase: int, first: int) -> Row:
        """A draw where none of a row's own fits."""
        for retry in range(1, RETRIES):
            draw = self._draw(phase, mix(first, retry) >> 2)
            if draw:
                return draw
        told = "; ".join(f"{count} x {why}" for why, count in self.left_out.most_common(3))
        raise OptionError(
            f"phase {self.phases[phase].name}: no song fits its context of "
            f"{self.phases[phase].context} ({told}): raise it, or draw fewer parts."
        )

    def _draw(self, phase: int, number: int) -> Row:
        """Draw `number` of a phase: documents that stay together, or none."""
        options = self.phases[phase]
        rng = generator(self.seed, phase, number)
        entries = self._entries[phase]
        weights = np.array([entry.options.weight for entry in entries])
        which = int(rng.choice(len(entries), p=weights / weights.sum()))
        entry = entries[which]
        turn, place = divmod(number, len(entry.songs))
        at = permuted(place, len(entry.songs), mix(self.seed, phase, which, turn))
        record = _shown(self.songs[entry.songs[at]], options.tags)
        try:
            record = self._excerpt(record, entry.options, rng)
            pieces = entry.task.pieces(record, self.forms, rng, options.context)
        except TooLongError:
            self.left_out["longer than the context"] += 1
            return ()
        except RecordError as error:
            self.left_out[str(error)] += 1
            return ()
        if not pieces:
            self.left_out["nothing to learn from"] += 1
            return ()
        chosen = [pieces[int(rng.integers(len(pieces)))]]
        if rng.random() < entry.options.dropout:
            chosen = tasks.unprompted(chosen[0])
        return tuple(Document(sequence, entry.label, record.id) for sequence in chosen)

    def _excerpt(
        self, record: Record, options: TaskOptions, rng: np.random.Generator
    ) -> Record:
        if options.lines and isinstance(self.forms.tokenizer, PhoneticTokenizer):
            return lines_of(record, rng, options.lines, self.forms.tokenizer)
        if 0 < options.parts < len(record.parts):
            first = int(rng.integers(len(record.parts) - options.parts + 1))
            return parts_of(record, first, options.parts)
        return record

    def _concatenated(self, phase: int, first: int) -> Row:
        """A window of an endless stream of songs, cut anywhere, as upstream trains."""
        size = self.phases[phase].context + 1
        rng = generator(self.seed, phase, first, size)
        stream: list[tasks.Sequence] = []
        names: list[str] = []
        number = first
        while sum(map(len, stream)) < size:
            draw = self._draw(phase, number) or self._any(phase, number)
            if not stream:
                begin = int(rng.integers(len(draw[0])))
                draw = (replace(draw[0], sequence=draw[0].sequence[begin:]),)
            stream += [document.sequence for document in draw]
            names += [document.song for document in draw]
            number += 1
        whole = tasks.join(stream)[:size]
        whole = replace(whole, back=np.zeros_like(whole.back))
        return (Document(whole, CONCATENATED, ", ".join(names)),)

    def _draws_per_row(self, phase: int) -> int:
        """How many draws a row makes: as many as fit on average, and a few to choose from."""
        drawn = [self._draw(phase, (1 << 62) + probe) for probe in range(PROBES)]
        lengths = [_length(draw) for draw in drawn if draw]
        if not lengths:
            self._any(phase, 1 << 62)
        mean = max(1.0, float(np.mean(lengths or [self.phases[phase].context])))
        return int(np.ceil(self.phases[phase].context / mean)) + SPARE


def _length(draw: Row) -> int:
    return sum(map(len, draw))


def _entries(phase: PhaseOptions, songs: Sequence[Record], partial: bool) -> list[_Entry]:
    entries = []
    why = ""
    for label, options in phase.tasks.items():
        if not options.weight:
            continue
        if options.task not in TASKS:
            raise unknown_option(options.task, tuple(TASKS))
        task = TASKS[options.task]
        fit = np.array([
            index for index, song in enumerate(songs)
            if task.takes(song) and (song.phones or not options.lines)
        ])
        if len(fit):
            entries.append(_Entry(label, options, fit))
            continue
        why = (
            f"phase {phase.name}: no song{' for validation' if partial else ''} has what {label} "
            f"needs (tracks {task.tracks}, at least {task.parts} sections"
            f"{', a transcript' if task.transcript else ''}"
            f"{', known phones' if options.lines else ''})."
        )
        if not partial:
            raise OptionError(why)
    if not entries:
        raise OptionError(why)
    return entries


def _shown(record: Record, allowed: tuple[str, ...]) -> Record:
    """The record with only the tags that a phase shows."""
    if not allowed:
        return record
    return replace(record, tags=tuple(tag for tag in record.tags if tag in allowed))


class Feeder:
    """Rows built ahead, in the order of the steps; the order of building cannot matter.

    Threads are enough where a step takes longer than its rows. `processes` above 0 build them
    beside the interpreter that drives a fast GPU; each holds all songs.
    """

    def __init__(
        self, sampler: Sampler, plan: Iterator[list[tuple[int, int, int]]], *, threads: int,
        ahead: int, processes: int = 0,
    ) -> None:
        """`plan` names, step by step, the (phase, step, index) of this rank's rows."""
        self._plan, self._ahead = plan, ahead
        self._queue: list[list[Future[Row]]] = []
        self._pool: Executor
        if processes:
            self._pool = ProcessPoolExecutor(
                processes, mp_context=get_context("spawn"), initializer=_adopt, initargs=(sampler,)
            )
            self._row: Callable[..., Row] = _adopted_row
        else:
            self._pool = ThreadPoolExecutor(threads, thread_name_prefix="rows")
            self._row = sampler.row

    def __iter__(self) -> Generator[list[Row], None, None]:
        try:
            while True:
                while len(self._queue) < self._ahead and (places := next(self._plan, None)):
                    self._queue.append([self._pool.submit(self._row, *place) for place in places])
                if not self._queue:
                    return
                yield [future.result() for future in self._queue.pop(0)]
        finally:
            self._pool.shutdown(cancel_futures=True)


_adopted: list[Sampler] = []
"""The sampler of a process that does nothing but build rows."""


def _adopt(sampler: Sampler) -> None:
    _adopted[:] = [sampler]


def _adopted_row(phase: int, step: int, index: int) -> Row:
    return _adopted[0].row(phase, step, index)
