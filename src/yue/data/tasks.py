"""One song -> training sequences: each task a pure function of a record and a random generator.

A `Sequence` is token ids with a role per token, so that a loss mask is a matter of choice and never
found again by searching for ids; with the track of each code, so that losses can be told apart;
with the way back to the phone that is sung, and the chord that is played, where these are known.
The token formats come from `yue.prompt`, the same that sing. Formats section 12; the last five
tasks are this project's own, spelled with plain-text delimiters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from yue.data.harmony import chord_steps
from yue.data.pointers import phone_positions, phone_positions_in_all
from yue.data.records import MIX, PERTURBED, Part, Record, RecordError
from yue.instructions import (
    ACCOMPANY,
    ADD_VOCALS,
    CONVERT,
    DUAL_MUSIC,
    INSTRUCTION,
    MUSIC,
    SEPARATE,
    SPEECH,
    VOCALS_ONLY,
)
from yue.lyrics import clean
from yue.prompt import Prompt, build_prompt, clean_genres, delimited
from yue.tokenizer import Tokenizer
from yue.vocab import TRACKS, YUE_V1, Vocabulary

TEXT, AUDIO, TARGET = 0, 1, 2
"""Roles: text and marks; codes and EOA of references and sources; codes and EOA to be produced."""

KINDS = ("text", *TRACKS, MIX, "residual")
"""What a token is, by the numbers in `Sequence.kinds`: no code, or a code of which track."""

Mask = Literal["all", "audio", "target"]
Mode = Literal["dual", "vocals", "accompaniment", "mix"]

REFERENCE_MEAN, REFERENCE_VARIANCE = 30.0, 3.0
REFERENCE_RANGE = (20, 40)
REFERENCE_TRIES = 5
MIN_VARIETY = 0.1
"""A reference with fewer distinct codes per frame than this is drawn anew (silence, mostly)."""

MIN_WINDOW_VARIETY = 25
"""A Stage-2 window with fewer distinct first codes than this is left out."""


def _zeros(dtype: type) -> np.ndarray:
    return np.zeros(0, dtype)


@dataclass(frozen=True, eq=False)
class Sequence:
    """Token ids (n,) int32, and per token its role, kind, way back to its phone, and chord."""

    ids: np.ndarray
    roles: np.ndarray
    kinds: np.ndarray = field(default_factory=lambda: _zeros(np.int8))
    """Numbers (n,) int8 into `KINDS`; by default no codes at all."""
    back: np.ndarray = field(default_factory=lambda: _zeros(np.int32))
    """(n,) int32: how far before a vocal code its phone stands in the text; 0: not known."""
    harmony: np.ndarray = field(default_factory=lambda: _zeros(np.int16))
    """(n,) int16: of a code, 1 + chord and step as in `yue.data.harmony`; 0: not known."""

    def __post_init__(self) -> None:
        for name in ("kinds", "back", "harmony"):
            array = getattr(self, name)
            if not len(array):
                object.__setattr__(self, name, np.zeros(len(self.ids), array.dtype))

    def __len__(self) -> int:
        return len(self.ids)

    def __add__(self, other: Sequence) -> Sequence:
        """One after the other."""
        return join([self, other])

    def __getitem__(self, cut: slice) -> Sequence:
        """A stretch of it. The ways back are kept: they must not lead out of it."""
        return Sequence(*(array[cut] for array in vars(self).values()))

    def mask(self, mode: Mask) -> np.ndarray:
        """Which tokens count in the loss (n,) bool: all of them, all audio, or what is produced.

        The position counts that *predicts* such a token; shifting is the loss's business.
        """
        least = {"all": TEXT, "audio": AUDIO, "target": TARGET}[mode]
        return self.roles >= least


@dataclass(frozen=True, kw_only=True)
class Forms:
    """What turns words and codes into ids."""

    tokenizer: Tokenizer
    vocabulary: Vocabulary = YUE_V1

    def text(self, text: str) -> Sequence:
        """One call of the tokenizer."""
        return _plain(self.tokenizer.encode(text))

    def audio(self, ids: np.ndarray, *tracks: str) -> Sequence:
        """`SOA <xcodec> ids EOA`, to be produced; `tracks` take turns in the ids."""
        v = self.vocabulary
        kinds = np.resize([KINDS.index(track) for track in tracks], len(ids))
        codes = _codes(ids, TARGET, kinds)
        return join([_plain([v.soa, v.xcodec]), codes, _codes([v.eoa], TARGET)])

    def given(self, what: str, ids: np.ndarray) -> Sequence:
        """A delimited block that is given: `reference` or `source`."""
        block = delimited(what, ids.tolist(), self.tokenizer, self.vocabulary)
        mark = len(self.tokenizer.encode(f"[start_of_{what}]")) + 2
        roles = np.zeros(len(block), np.int8)
        roles[mark : mark + len(ids) + 1] = AUDIO
        return Sequence(np.array(block, np.int32), roles)

    @property
    def end(self) -> Sequence:
        """End of the document."""
        return _plain([self.vocabulary.eod])


def _plain(ids: Iterable[int]) -> Sequence:
    array = np.array(list(ids), np.int32)
    return Sequence(array, np.zeros(len(array), np.int8))


def _codes(ids: Iterable[int], role: int, kinds: np.ndarray | int = 0) -> Sequence:
    array = np.array(ids if isinstance(ids, np.ndarray) else list(ids), np.int32)
    n = len(array)
    return Sequence(array, np.full(n, role, np.int8), np.full(n, kinds, np.int8))


def join(parts: Iterable[Sequence]) -> Sequence:
    """All parts in a row."""
    kept = list(parts) or [_plain([])]
    arrays = zip(*(vars(part).values() for part in kept), strict=True)
    return Sequence(*map(np.concatenate, arrays))


# What a section produces ---------------------------------------------------------------------

Producer = Callable[[Record, Part, Forms], Sequence]
"""From a record and one of its parts: the audio behind the section's text."""


def both_tracks(record: Record, part: Part, forms: Forms) -> Sequence:
    """Vocals and accompaniment interleaved."""
    ids = forms.vocabulary.interleave(record.dual[:, part.start : part.end])
    return forms.audio(ids, *TRACKS)


def one_track(track: str, given: str | None = None) -> Producer:
    """A single track; with `given`, behind that other track as a reference."""
    def produce(record: Record, part: Part, forms: Forms) -> Sequence:
        cut = slice(part.start, part.end)
        target = forms.audio(forms.vocabulary.ids(record.first(track)[cut]), track)
        if given is None:
            return target
        block = forms.given("reference", forms.vocabulary.ids(record.first(given)[cut]))
        return block + target

    return produce


def sections(
    record: Record, forms: Forms, produce: Producer, prompt: Prompt, parts: Iterable[int]
) -> list[Sequence]:
    """`S_i E` of some parts: start mark, text, audio, end mark."""
    blocks = []
    for index in parts:
        # The opening ends in SOA <xcodec>; what is produced brings its own.
        opening = _plain(prompt.openings[index][:-2])
        audio = produce(record, record.parts[index], forms)
        block = join([opening, audio, _plain(prompt.closing)])
        block = _harmonised(block, record, record.parts[index])
        blocks.append(_pointed(block, opening, record, index, forms))
    return blocks


def _harmonised(block: Sequence, record: Record, part: Part) -> Sequence:
    """The block with the chord of each code that is to be produced, if known."""
    steps = chord_steps(record, part)
    harmony = np.zeros(len(block), np.int16)
    for track in (*TRACKS, MIX):
        at = np.flatnonzero((block.kinds == KINDS.index(track)) & (block.roles == TARGET))
        harmony[at] = steps[: len(at)]
    return replace(block, harmony=harmony)


def _pointed(
    block: Sequence, opening: Sequence, record: Record, index: int, forms: Forms
) -> Sequence:
    """The block with the way from each vocal code back to the phone that is sung, if known."""
    phones = phone_positions(record, index, opening.ids, forms.tokenizer)
    if phones is None:
        return block
    vocal = (block.kinds == KINDS.index(TRACKS[0])) & (block.roles == TARGET)
    at = np.flatnonzero(vocal)[: len(phones)]
    back = np.zeros(len(block), np.int32)
    back[at] = at - phones[: len(at)]
    return replace(block, back=back)


def _pointed_from(
    head: Sequence, audio: Sequence, record: Record, forms: Forms
) -> Sequence:
    """The head and the whole song's audio, with the way back to the phones in the head's lyrics."""
    found = phone_positions_in_all(record, head.ids, forms.tokenizer)
    whole = head + audio
    if found is None:
        return whole
    vocal = (whole.kinds == KINDS.index(TRACKS[0])) & (whole.roles == TARGET)
    at = np.flatnonzero(vocal)
    back = np.zeros(len(whole), np.int32)
    back[at] = at - found
    return replace(whole, back=back)


# Tasks of the paper -------------------------------------------------------------------------------

def lyrics_to_song(record: Record, forms: Forms, rng: np.random.Generator) -> Sequence:
    """Structural progressive conditioning: head, then per section its words and both tracks."""
    return song(record, forms, rng).whole


def in_context(mode: Mode) -> Callable[[Record, Forms, np.random.Generator], Sequence]:
    """The same with a reference behind the head: dual, vocals, accompaniment, or mix."""
    def build(record: Record, forms: Forms, rng: np.random.Generator) -> Sequence:
        return song_in_context(mode)(record, forms, rng).whole

    return build


def lyrics_first(record: Record, forms: Forms, rng: np.random.Generator) -> Sequence:
    """All words once, then the whole song: what progressive conditioning is measured against.

    The paper's baseline that puts the text in front (section 5.3). Parts must join end to end.
    """
    prompt = _prompt(record, forms, rng)
    for before, part in pairwise(record.parts):
        if before.end != part.start:
            raise RecordError(
                f"record {record.id}: a part ends at {before.end}, the next starts at {part.start}."
            )
    sung = slice(record.parts[0].start, record.parts[-1].end)
    audio = forms.audio(forms.vocabulary.interleave(record.dual[:, sung]), *TRACKS)
    audio = _harmonised(audio, record, Part("", "", sung.start, sung.stop))
    return _pointed_from(_plain(prompt.head), audio, record, forms) + forms.end


@dataclass(frozen=True, eq=False)
class SungSong:
    """What all song tasks have in common: a head, then blocks that begin and end on their own."""

    id: str
    head: Sequence
    blocks: tuple[Sequence, ...]
    """`S_i E`; the last with the end of the document."""

    @property
    def whole(self) -> Sequence:
        """The song as one sequence."""
        return join([self.head, *self.blocks])

    def pieces(self, limit: int) -> list[Sequence]:
        """Cut at section borders so that none exceeds `limit` ids, the head repeated in each.

        Only the last ends with EOD. Raises `TooLongError` if a section does not fit with its head.
        """
        pieces: list[list[Sequence]] = [[]]
        for index, block in enumerate(self.blocks):
            least = len(self.head) + len(block)
            if least > limit:
                raise TooLongError(
                    f"record {self.id}: parts[{index}] takes {least} ids with its head; the "
                    f"context is {limit}."
                )
            if least + sum(map(len, pieces[-1])) > limit:
                pieces.append([])
            pieces[-1].append(block)
        return [join([self.head, *piece]) for piece in pieces]


class TooLongError(RecordError):
    """A section with its head that exceeds the context: it can only be left out."""


def song(
    record: Record,
    forms: Forms,
    rng: np.random.Generator,
    produce: Producer = both_tracks,
    *,
    instruction: str = INSTRUCTION,
    between: Sequence | None = None,
) -> SungSong:
    """A song of sections; `between` stands behind the head."""
    prompt = _prompt(record, forms, rng, instruction)
    blocks = sections(record, forms, produce, prompt, range(len(record.parts)))
    blocks[-1] = blocks[-1] + forms.end
    head = join([_plain(prompt.head), *([between] if between else [])])
    return SungSong(record.id, head, tuple(blocks))


def song_in_context(mode: Mode) -> Callable[[Record, Forms, np.random.Generator], SungSong]:
    """`song` with a reference of this kind behind the head."""
    def build(record: Record, forms: Forms, rng: np.random.Generator) -> SungSong:
        block = forms.given("reference", draw_reference(record, mode, forms.vocabulary, rng))
        return song(record, forms, rng, between=block)

    return build


def _prompt(
    record: Record, forms: Forms, rng: np.random.Generator, instruction: str = INSTRUCTION
) -> Prompt:
    """The song's prompt. Raises `RecordError` for a song without sections."""
    if not record.parts:
        raise RecordError(f"record {record.id}: parts is empty, nothing can be sung.")
    return build_prompt(
        [part.section for part in record.parts], shuffled_tags(record, rng), forms.tokenizer,
        vocabulary=forms.vocabulary, instruction=instruction,
    )


def shuffled_tags(record: Record, rng: np.random.Generator) -> str:
    """The tags in random order, separated by spaces."""
    return " ".join(np.array(record.tags, dtype=object)[rng.permutation(len(record.tags))])


def text_to_speech(record: Record, forms: Forms, rng: np.random.Generator) -> Sequence:
    """A transcript, then its speech; the instruction is left out half of the time."""
    instruction = f"{SPEECH}\n" if rng.random() < 0.5 else ""
    transcript = clean(record.transcript)[0].strip()
    if not transcript:
        raise RecordError(f"record {record.id}: transcript is empty.")
    speech = forms.vocabulary.ids(record.first(MIX))
    return join([
        forms.text(f"{instruction}{transcript}\n"), forms.audio(speech, MIX), forms.end
    ])


def music_from_tags(dual: bool) -> Callable[[Record, Forms, np.random.Generator], Sequence]:
    """Tags, then music: the mix, or both tracks interleaved."""
    def build(record: Record, forms: Forms, rng: np.random.Generator) -> Sequence:
        v = forms.vocabulary
        instruction = DUAL_MUSIC if dual else MUSIC
        ids = v.interleave(record.dual) if dual else v.ids(record.first(MIX))
        tags = clean_genres(shuffled_tags(record, rng))
        text = forms.text(f"{instruction}\n[Genre] {tags}\n")
        tracks = TRACKS if dual else (MIX,)
        return join([text, forms.audio(ids, *tracks), forms.end])

    return build


def draw_reference(
    record: Record, mode: Mode, vocabulary: Vocabulary, rng: np.random.Generator
) -> np.ndarray:
    """Reference ids as the released data were drawn, but for an even start.

    About 30 s from inside a chorus if one is long enough, else from the range that has lyrics;
    half the song if it is shorter than that; drawn anew while it holds hardly any distinct codes.
    """
    tracks = record.dual if mode == "dual" else record.first(mode)[None]
    for _ in range(REFERENCE_TRIES + 1):
        start, length = _reference_cut(record, vocabulary.frame_rate, rng)
        cut = tracks[:, start : start + length]
        if len(np.unique(cut)) >= MIN_VARIETY * cut.size:
            break
    return vocabulary.interleave(cut) if mode == "dual" else vocabulary.ids(cut[0])


def _reference_cut(
    record: Record, frame_rate: int, rng: np.random.Generator
) -> tuple[int, int]:
    """Start and length in frames; whole frames, so a dual reference begins with a vocal token."""
    seconds = round(rng.normal(REFERENCE_MEAN, REFERENCE_VARIANCE**0.5))
    length = int(np.clip(seconds, *REFERENCE_RANGE)) * frame_rate
    if length > record.frames:
        length = max(1, record.frames // 2)
    spans = [(p.start, p.end) for p in record.parts if p.label == "chorus"]
    spans = [span for span in spans if span[1] - span[0] >= length]
    if not spans and record.parts:
        spans = [(record.parts[0].start, record.parts[-1].end)]
    first, last = spans[rng.integers(len(spans))] if spans else (0, record.frames)
    latest = max(first, min(last, record.frames) - length)
    start = int(rng.integers(first, latest + 1))
    return min(start, record.frames - length), length


# Own tasks ------------------------------------------------------------------------------------

def instrumental(record: Record, forms: Forms, rng: np.random.Generator) -> Sequence:
    """Sections without words, and their accompaniment alone."""
    return song(without_words(record), forms, rng, one_track("accompaniment")).whole


def without_words(record: Record) -> Record:
    """The same song with nothing to sing."""
    silent = tuple(replace(part, text="") for part in record.parts)
    return replace(record, parts=silent, phones=())


def vocals_only(record: Record, forms: Forms, rng: np.random.Generator) -> Sequence:
    """Lyrics to the vocal track alone."""
    return song(record, forms, rng, one_track("vocals"), instruction=VOCALS_ONLY).whole


def accompaniment_from_vocals(
    record: Record, forms: Forms, rng: np.random.Generator
) -> Sequence:
    """Per section the vocals as a reference, then the accompaniment."""
    produce = one_track("accompaniment", given="vocals")
    return song(record, forms, rng, produce, instruction=ACCOMPANY).whole


def vocals_from_accompaniment(
    record: Record, forms: Forms, rng: np.random.Generator
) -> Sequence:
    """Per section the accompaniment as a reference, then the vocals."""
    produce = one_track("vocals", given="accompaniment")
    return song(record, forms, rng, produce, instruction=ADD_VOCALS).whole


def separation(record: Record, forms: Forms, rng: np.random.Generator) -> Sequence:
    """The mix as a reference, then both tracks: 150 ids per second."""
    mix = forms.given("reference", forms.vocabulary.ids(record.first(MIX)))
    both = forms.audio(forms.vocabulary.interleave(record.dual), *TRACKS)
    return join([forms.text(SEPARATE), mix, both, forms.end])


def voice_change(record: Record, forms: Forms, rng: np.random.Generator) -> Sequence:
    """Another section of the singer, the vocals in another voice, then the vocals."""
    v, vocals, perturbed = forms.vocabulary, record.first("vocals"), record.first(PERTURBED)
    parts = [part for part in record.parts if part.text.strip()]
    if len(parts) < 2:
        raise RecordError(
            f"record {record.id}: parts: two that are sung are needed for a change of voice."
        )
    sung, other = (parts[i] for i in rng.permutation(len(parts))[:2])
    return join([
        forms.text(CONVERT),
        forms.given("reference", v.ids(vocals[other.start : other.end])),
        forms.given("source", v.ids(perturbed[sung.start : sung.end])),
        forms.audio(v.ids(vocals[sung.start : sung.end]), TRACKS[0]),
        forms.end,
    ])


def continuation(record: Record, forms: Forms, rng: np.random.Generator) -> Sequence:
    """The song up to some section as a dual reference, then the sections behind it."""
    prompt = _prompt(record, forms, rng)
    if len(record.parts) < 2:
        raise RecordError(f"record {record.id}: parts: two are needed to go on from one.")
    first = int(rng.integers(1, len(record.parts)))
    before = record.dual[:, : record.parts[first].start]
    block = forms.given("reference", forms.vocabulary.interleave(before))
    blocks = sections(record, forms, both_tracks, prompt, range(first, len(record.parts)))
    return join([_plain(prompt.head), block, *blocks, forms.end])


# Songs longer than the context, and songs without a prompt ------------------------------------

def cut_song(
    record: Record, forms: Forms, rng: np.random.Generator, limit: int
) -> list[Sequence]:
    """`lyrics_to_song`, cut at section borders so that no sequence exceeds `limit` ids.

    The head is repeated in each; only the last ends with EOD. Raises `TooLongError` if one section
    with its head does not fit.
    """
    return song(record, forms, rng).pieces(limit)


def unprompted(sequence: Sequence) -> list[Sequence]:
    """Every stretch that is to be produced, as guidance's unconditional branch sees it.

    It begins with the last token of the prompt, `<xcodec>`, and ends with EOA (formats section 4).
    """
    wanted = np.concatenate([[0], sequence.roles == TARGET, [0]]).astype(np.int8)
    starts, ends = np.flatnonzero(np.diff(wanted) == 1), np.flatnonzero(np.diff(wanted) == -1)
    cuts = [sequence[max(0, start - 1) : end] for start, end in zip(starts, ends, strict=True)]
    return [replace(cut, back=np.zeros_like(cut.back)) for cut in cuts]


# Stage 2 ------------------------------------------------------------------------------------------

def residual_windows(codes: np.ndarray, vocabulary: Vocabulary = YUE_V1) -> list[Sequence]:
    """Codes (K, T) of one track -> a sequence per whole 6-s window (2,704 ids in YuE v1).

    `SOA <stage_1> c_1.. <stage_2>`, then all codebooks frame by frame, the first included, and
    EOA. A shorter last window and windows with hardly any distinct codes are left out. To be
    produced are the residuals and EOA: the first codebook is given, at inference too.
    """
    v, size = vocabulary, vocabulary.window_frames
    if codes.shape[0] < v.codebooks:
        raise RecordError(f"{codes.shape[0]} codebooks: Stage 2 learns from {v.codebooks}.")
    windows = []
    for first in range(0, codes.shape[1] - size + 1, size):
        block = codes[: v.codebooks, first : first + size]
        if len(np.unique(block[0])) < MIN_WINDOW_VARIETY:
            continue
        ids = np.stack([v.ids(block[k], k) for k in range(v.codebooks)])
        roles = np.full(ids.shape, TARGET, np.int8)
        roles[0] = AUDIO
        kinds = np.where(roles == TARGET, KINDS.index("residual"), 0).astype(np.int8)
        frames = Sequence(*(x.T.reshape(-1) for x in (ids.astype(np.int32), roles, kinds)))
        windows.append(join([
            _plain([v.soa, v.stage1]), _codes(ids[0], AUDIO), _plain([v.stage2]), frames,
            _codes([v.eoa], TARGET),
        ]))
    return windows
