"""Prompt -> Draft: the sections of a song, one after the other, as codebook 0 of both tracks.

Each token is drawn from the guided mix of two contexts: everything so far, and the section alone.
Only codes of codebook 0 are possible, and EOA where a vocal code would stand, so tracks always
pair. Several takes run in one batch, each with its own random stream; a section may be sung again
where it does not follow its words or, as far as a judge can tell, its band. Knows no files, no
audio.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from yue.draft import Draft, Sung
from yue.errors import CapacityError
from yue.lm.cache import KVCache
from yue.lm.decode import Decoder, Loop
from yue.lm.llama import Llama
from yue.lm.sampling import draw, guide, penalise, rank, uniforms
from yue.lyrics import Section
from yue.options import ComposeOptions
from yue.prompt import Prompt
from yue.vocab import TRACKS, Vocabulary

POLL_CUDA = 32
"""Steps between two looks at whether all takes have ended: each look stops the device."""

Judge = Callable[[np.ndarray], float]
"""Codes (2, T) of a section -> how well its voice goes with its band, 0 to 1; NaN: no voice."""

Progress = Callable[[int, int, int], None]
"""Called with (section, tokens of it so far, most tokens it may get)."""


def allowed_ids(vocabulary: Vocabulary) -> list[int]:
    """What Stage 1 may draw: codebook 0, then EOA."""
    return [*vocabulary.codebook(0), vocabulary.eoa]


def decoder_of(model: Llama, options: ComposeOptions, *, exact: bool = False) -> Decoder:
    """A decoder with the output rows that Stage 1 needs under these options."""
    full = range(model.config.vocab_size)
    head = full if options.scores == "full" else allowed_ids(model.config.vocabulary)
    return Decoder(model, [head], exact=exact)


@dataclass
class _Scorer:
    """Logits -> scores over the allowed ids, in the released order of steps."""

    vocabulary: Vocabulary
    options: ComposeOptions
    device: torch.device
    full: bool

    def __post_init__(self) -> None:
        self.ids = torch.tensor(allowed_ids(self.vocabulary), device=self.device)
        self.columns = {token: column for column, token in enumerate(self.ids.tolist())}

    def seen(self, contexts: Sequence[Sequence[int]]) -> Tensor:
        """Which allowed ids occur in each context: bool (N, A)."""
        seen = torch.zeros(len(contexts), len(self.ids), dtype=torch.bool)
        for row, context in enumerate(contexts):
            found = [self.columns[token] for token in set(context) if token in self.columns]
            seen[row, found] = True
        return seen.to(self.device)

    def end_bias(self, steps: int) -> Tensor:
        """Per step 0 where EOA may come, else minus infinity: never early, never after an odd
        number of tokens."""
        n = torch.arange(steps, device=self.device)
        barred = (n % len(TRACKS) != 0) | (n < self.options.min_new_tokens)
        return torch.zeros(steps, device=self.device).masked_fill(barred, -torch.inf)

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Logits (R, A) or, in full mode, (R, V) -> log-probabilities (R, A) of the allowed."""
        if self.full:
            return logits.log_softmax(-1)[:, self.ids]
        return logits.log_softmax(-1)

    def __call__(
        self, known: Tensor, scale: float | Tensor | None, seen: Tensor, end_bias: Tensor
    ) -> Tensor:
        """Scores (N, A) from log-probabilities: (N, A), or with a scale (2 N, A), the conditional
        rows and then the unconditional ones."""
        scores = known
        if scale is not None:
            conditional, unconditional = known.chunk(2)
            scores = guide(conditional, unconditional, scale)
        scores = penalise(scores, seen, self.options.repetition_penalty)
        return torch.cat([scores[:, :-1], scores[:, -1:] + end_bias], dim=-1)

    def rank(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities and columns, likeliest first."""
        o = self.options
        return rank(scores, temperature=o.temperature, top_k=o.top_k, top_p=o.top_p)


@dataclass
class _Transcript:
    """What one take has been told and has sung: blocks of finished sections behind a preamble."""

    preamble: tuple[int, ...]
    blocks: list[list[int]] = field(default_factory=list)
    dropped: int = 0

    def context(self, opening: Sequence[int]) -> list[int]:
        """The ids before the codes of the next section."""
        kept = [token for block in self.blocks[self.dropped :] for token in block]
        return [*self.preamble, *kept, *opening]

    def fit(self, opening: Sequence[int], room: int, limit: int) -> int:
        """Drop the oldest sections until `room` more tokens fit; returns the room there is.

        Positions restart after a drop. The last section is kept as long as half of the room is
        left beside it (formats, section 5).
        """
        def left() -> int:
            return limit - len(self.context(opening))

        while left() < room and self.dropped < len(self.blocks) - 1:
            self.dropped += 1
        if left() < room // 2 and self.dropped < len(self.blocks):
            self.dropped += 1
        return min(room, left())


def check_fits(prompt: Prompt, options: ComposeOptions, limit: int) -> None:
    """Raise `CapacityError` if head, reference and one section leave no room to sing."""
    longest = len(prompt.preamble) + max(map(len, prompt.openings))
    least = max(options.min_new_tokens, len(TRACKS)) + 1  # and EOA
    if longest + least > limit:
        raise CapacityError(
            f"lyrics, tags and reference take {longest:,} of the model's {limit:,} positions "
            f"(reference: {len(prompt.reference):,}); at least {least:,} are needed to sing. "
            "Shorten the lyrics, the tags or the reference, or lower min_new_tokens."
        )


def nothing_yet(frame_rate: int) -> Draft:
    """A draft without a section."""
    return Draft(codes=np.zeros((len(TRACKS), 0)), sections=(), frame_rate=frame_rate)


@torch.inference_mode()
def compose(
    decoder: Decoder,
    prompt: Prompt,
    plan: Sequence[Section],
    options: ComposeOptions,
    *,
    after: Sequence[Draft] = (),
    judge: Judge | None = None,
    graphs: bool = True,
    progress: Progress | None = None,
) -> Iterator[tuple[Draft, ...]]:
    """Sing the sections of `plan`; yields the drafts, one per take, after each section.

    `after` are drafts to go on from, one per take; they hold the plan's first sections. Options
    must name a seed, and where they ask for consonance there must be a judge. Raises
    `CapacityError` before the first token if the lyrics do not fit.
    """
    assert options.seed is not None, "the caller draws the seed, so that it can be reported"
    vocabulary = decoder.config.vocabulary
    limit = decoder.config.max_position_embeddings
    check_fits(prompt, options, limit)
    empty = replace(nothing_yet(vocabulary.frame_rate), plan=tuple(plan), seed=options.seed)
    drafts = tuple(after) or tuple(replace(empty, take=take) for take in range(options.takes))
    transcripts = [_recall(prompt, draft, vocabulary) for draft in drafts]
    singer = _Singer(decoder, options, judge, takes=len(drafts), graphs=graphs)
    first = len(drafts[0])
    for index in range(first, len(plan)):
        opening = prompt.openings[index]
        rooms = [t.fit(opening, options.max_new_tokens + 1, limit) - 1 for t in transcripts]
        contexts = [transcript.context(opening) for transcript in transcripts]
        report = None if progress is None else _of_section(progress, index)
        takes = [draft.take for draft in drafts]
        # Where there are no words to follow, the first try is as good as any.
        o = options if plan[index].text.strip() else options.replace(tries=1)
        parts = _best_tries(singer, contexts, rooms, takes, index, o, report)
        for transcript, part in zip(transcripts, parts, strict=True):
            transcript.blocks.append([*opening, *part.tokens, vocabulary.eoa, *prompt.closing])
        drafts = tuple(
            draft + _section_draft(draft, plan[index], part, vocabulary)
            for draft, part in zip(drafts, parts, strict=True)
        )
        yield drafts


def _best_tries(
    singer: _Singer,
    contexts: Sequence[Sequence[int]],
    rooms: Sequence[int],
    takes: Sequence[int],
    section: int,
    options: ComposeOptions,
    progress: Callable[[int, int], None] | None,
) -> list[_Part]:
    """One section of each take: sung until it is good enough, or as often as may be; of the tries
    the best one."""
    assert options.seed is not None
    best: list[_Part | None] = [None] * len(takes)
    for attempt in range(options.tries):
        wanted = [
            row for row, part in enumerate(best)
            if part is None or options.again(part.follows, part.consonance)
        ]
        if not wanted:
            break
        streams = [
            uniforms(room, options.seed, take, section, *([attempt] if attempt else []))
            for room, take in zip(rooms, takes, strict=True)
        ]
        sung = singer.sing(contexts, streams, options.guidance_at(section), wanted, progress)
        for row in wanted:
            best[row] = max(
                filter(None, (best[row], sung[row])),
                key=lambda part: options.worth(part.follows, part.consonance),
            )
    return [part for part in best if part is not None]


def _of_section(progress: Progress, index: int) -> Callable[[int, int], None]:
    return lambda done, most: progress(index, done, most)


def _recall(prompt: Prompt, draft: Draft, vocabulary: Vocabulary) -> _Transcript:
    """The transcript of a draft that was sung before."""
    transcript = _Transcript(prompt.preamble)
    for index in range(len(draft)):
        codes = vocabulary.interleave(draft[index].codes).tolist()
        opening = prompt.openings[index]
        transcript.blocks.append([*opening, *codes, vocabulary.eoa, *prompt.closing])
    return transcript


@dataclass(frozen=True)
class _Part:
    """One section of one take: its codes as ids, in pairs, and whether it hit the cap."""

    tokens: list[int]
    truncated: bool
    follows: float
    """Nats by which a vocal code is likelier with all that was told than with the section's own
    codes alone, on average; NaN where that was not compared."""
    consonance: float
    """What the judge says; NaN where it was not asked."""


def _section_draft(draft: Draft, section: Section, part: _Part, vocabulary: Vocabulary) -> Draft:
    """One section's tokens as a draft that goes on where `draft` ends."""
    codes = vocabulary.deinterleave(part.tokens)
    known = [None if math.isnan(x) else round(x, 3) for x in (part.follows, part.consonance)]
    sung = Sung(section.label, section.text, codes.shape[1], part.truncated, *known)
    history = {**draft.history, "sections": (sung,), "first": draft.first + len(draft)}
    return Draft(codes=codes, **history)


class _Singer:
    """The token loop of all takes; its caches live as long as the song is composed."""

    def __init__(
        self, decoder: Decoder, options: ComposeOptions, judge: Judge | None, *, takes: int,
        graphs: bool,
    ) -> None:
        self.decoder, self.takes, self.tries = decoder, takes, options.tries
        self.judge = judge
        device = decoder.device
        full = options.scores == "full"
        self.scorer = _Scorer(decoder.config.vocabulary, options, device, full)
        limit = decoder.config.max_position_embeddings
        self.conditional = decoder.cache(takes, limit)
        self.unconditional: KVCache | None = None
        if options.compares:
            self.unconditional = decoder.cache(takes, min(options.max_new_tokens + 1, limit))
        self.held: list[list[int]] = [[] for _ in range(takes)]
        self.loop = Loop(device, graphs=graphs)
        self.poll = POLL_CUDA if device.type == "cuda" else 1
        steps = options.max_new_tokens
        # Everything below stays where it is, for the sake of captured graphs.
        self.ids = torch.zeros(takes, dtype=torch.long, device=device)
        self.n = torch.zeros(1, dtype=torch.long, device=device)
        self.drawn = torch.zeros(takes, steps, dtype=torch.long, device=device)
        self.uniform = torch.zeros(takes, steps, device=device)
        self.gains = torch.zeros(takes, steps, device=device)
        self.seen = torch.zeros(takes, len(self.scorer.ids), dtype=torch.bool, device=device)
        self.end_bias = self.scorer.end_bias(steps)
        self.scale = torch.ones((), device=device)

    def sing(
        self,
        contexts: Sequence[Sequence[int]],
        streams: Sequence[Tensor],
        scale: float,
        wanted: Sequence[int],
        progress: Callable[[int, int], None] | None,
    ) -> list[_Part]:
        """Draw one section per take; streams (room,) uniform numbers, each of its own length.

        Takes that are not `wanted` only keep the others company.
        """
        rooms = [len(stream) for stream in streams]
        steps = max(rooms[row] for row in wanted)
        compared = scale != 1 or self.tries > 1
        self._recall(contexts)
        self.ids.fill_(contexts[0][-1])
        self.n.zero_()
        self.scale.fill_(scale)
        self.gains.fill_(torch.nan)
        self.seen.copy_(self.scorer.seen(contexts))
        for row, stream in enumerate(streams):
            self.uniform[row, : len(stream)] = stream.to(self.uniform.device)
        caches = [self.conditional]
        if compared:
            assert self.unconditional is not None
            self.unconditional.clear()
            caches.append(self.unconditional)

        def body() -> None:
            ids = torch.cat([self.ids, self.ids]) if compared else self.ids
            logits = self.decoder.step(ids[:, None], caches)
            self._draw(logits, self.scale if compared else None)

        ran = steps
        for n in range(steps):
            if n in rooms:
                self._retire([row for row, room in enumerate(rooms) if room == n])
            self.loop.run(compared, body, caches)
            if (n + 1) % self.poll == 0:
                if progress is not None:
                    progress(n + 1, steps)
                if self._all_ended(n + 1, wanted):
                    ran = n + 1
                    break
        return self._harvest(contexts, [min(ran, room) for room in rooms], wanted)

    def _draw(self, logits: Tensor, scale: Tensor | None) -> None:
        """One drawn id per take, written where the next step looks for it."""
        known = self.scorer.log_probabilities(logits)
        scores = self.scorer(known, scale, self.seen, self.end_bias[self.n])
        columns = draw(*self.scorer.rank(scores), self.uniform.index_select(1, self.n)[:, 0])
        self.seen.scatter_(1, columns[:, None], True)
        self.ids.copy_(self.scorer.ids[columns])
        self.drawn.index_copy_(1, self.n, self.ids[:, None])
        if scale is not None:
            conditional, unconditional = known.chunk(2)
            gains = (conditional - unconditional).gather(1, columns[:, None])
            self.gains.index_copy_(1, self.n, gains)
        self.n += 1

    def _retire(self, rows: Sequence[int]) -> None:
        """Let rows whose context is full idle at its beginning, beside those that sing on."""
        for row in rows:
            self.conditional.set_length(row, 0)
            self.held[row] = []

    def _all_ended(self, n: int, wanted: Sequence[int]) -> bool:
        eoa = self.decoder.config.vocabulary.eoa
        recent = self.ids[:, None] if self.takes == 1 and self.poll == 1 else self.drawn[:, :n]
        return bool((recent == eoa).any(dim=1)[wanted].all())

    def _recall(self, contexts: Sequence[Sequence[int]]) -> None:
        """Bring the cache to each context but its last token, feeding only what is new."""
        for row, context in enumerate(contexts):
            wanted = list(context[:-1])
            known = _common_start(self.held[row], wanted)
            self.conditional.set_length(row, known)
            twin = next((r for r in range(row) if contexts[r] == context), None)
            if twin is not None and not known:
                self.conditional.copy_row(twin, row)
            else:
                self.decoder.prefill(wanted[known:], self.conditional, row)
            self.held[row] = wanted

    def _harvest(
        self, contexts: Sequence[Sequence[int]], ran: Sequence[int], wanted: Sequence[int]
    ) -> list[_Part]:
        """Each take's codes, cut at its EOA or else to whole pairs; note what the cache holds.

        Only those that are wanted are judged.
        """
        eoa = self.decoder.config.vocabulary.eoa
        results = []
        for row, steps in enumerate(ran):
            drawn = self.drawn[row, :steps].tolist()
            ended = eoa in drawn
            tokens = drawn[: drawn.index(eoa)] if ended else drawn[: steps // 2 * 2]
            gains = self.gains[row, : len(tokens) : len(TRACKS)]
            judged = self._judged(tokens) if row in wanted else math.nan
            results.append(_Part(tokens, not ended, float(gains.mean()), judged))
            if self.held[row]:
                # The last drawn token was not fed; tokens behind a take's own end do not count.
                self.held[row] = [*contexts[row], *tokens[: steps - 1]]
        return results

    def _judged(self, tokens: Sequence[int]) -> float:
        if self.judge is None:
            return math.nan
        return self.judge(self.decoder.config.vocabulary.deinterleave(tokens))


def _common_start(one: Sequence[int], other: Sequence[int]) -> int:
    """How many ids two contexts have in common before they part."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))


def trace(
    model: Llama,
    segments: Sequence[Sequence[int]],
    tokens: Sequence[Sequence[int]],
    options: ComposeOptions | Mapping[str, Any],
) -> list[list[tuple[list[int], list[float]]]]:
    """The distributions that `tokens` were drawn from, teacher-forced.

    segments: `Prompt.segments`; tokens: per section the ids drawn after it, EOA included if it was
    drawn. Returns per section, per step `(ids, probabilities)` of what could be drawn, likeliest
    first. Runs the same step as `compose`, in the weights' own precision.
    """
    o = ComposeOptions.make(options)
    decoder = decoder_of(model, o, exact=True)
    scorer = _Scorer(decoder.config.vocabulary, o, decoder.device, o.scores == "full")
    limit, eoa = decoder.config.max_position_embeddings, decoder.config.vocabulary.eoa
    context: list[int] = []
    result = []
    for index, (segment, new) in enumerate(zip(segments, tokens, strict=False)):
        context += segment
        scale = o.guidance_at(index)
        traced = _trace_section(decoder, scorer, context, new, scale, limit) if new else []
        result.append(traced)
        context += new
        if not new or new[-1] != eoa:
            context.append(eoa)
    return result


@torch.inference_mode()
def _trace_section(
    decoder: Decoder,
    scorer: _Scorer,
    context: Sequence[int],
    new: Sequence[int],
    scale: float,
    limit: int,
) -> list[tuple[list[int], list[float]]]:
    length = min(len(context) + len(new), limit)
    conditional, unconditional = decoder.cache(1, length), decoder.cache(1, len(new) + 1)
    decoder.prefill(context[:-1], conditional)
    seen, end_bias = scorer.seen([context]), scorer.end_bias(len(new))
    guided = scale != 1
    steps = []
    for n, token in enumerate([context[-1], *new[:-1]]):
        if n:
            seen[0, scorer.columns[token]] = True
        ids = torch.full((2 if guided else 1, 1), token, device=decoder.device)
        caches = [conditional, unconditional] if guided else [conditional]
        known = scorer.log_probabilities(decoder.step(ids, caches))
        scores = scorer(known, scale if guided else None, seen, end_bias[n])
        probabilities, columns = (ranked[0] for ranked in scorer.rank(scores))
        kept = int((probabilities > 0).sum())
        steps.append((scorer.ids[columns[:kept]].tolist(), probabilities[:kept].tolist()))
    return steps
