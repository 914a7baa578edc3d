"""Draft -> Codes: the residual codebooks, greedily, window by window.

    SOA <stage_1>  c_1 ... c_300  <stage_2>  then per frame:  c_t (known)  r_1 ... r_7 (predicted)

Windows of 6 s of either track are independent rows of one batch. Seven forwards per frame are
enough: a frame's last residual and the next frame's first code are both known by then, so they go
in together. Slot k can only take a code of codebook k.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch

from yue.draft import Codes, Draft
from yue.lm.decode import Decoder, Loop
from yue.lm.llama import Llama
from yue.vocab import TRACKS, Vocabulary

Progress = Callable[[int, int], None]
"""Called with (frames done, frames in all), padding and both tracks counted."""


def decoder_of(model: Llama, *, exact: bool = False) -> Decoder:
    """A decoder with one output head per residual codebook."""
    vocabulary = model.config.vocabulary
    books = [vocabulary.codebook(k) for k in range(1, vocabulary.codebooks)]
    return Decoder(model, books, exact=exact)


def refine_codes(model: Llama, codes: np.ndarray) -> np.ndarray:
    """Codebook 0 `(B, T)`, one window per row, any T -> all codebooks `(B, K, T)`, greedy.

    No padding: the window is what it is given. Runs in the weights' own precision.
    """
    return refine_windows(decoder_of(model, exact=True), np.asarray(codes))


def windows(draft: Draft, vocabulary: Vocabulary, silence: int | None = None) -> np.ndarray:
    """Both tracks `(2, T)` as windows `(2 * W, window)`, the last ones padded with silence.

    `silence` is the codec's own code for it, where known; else the vocabulary's.
    """
    size = vocabulary.window_frames
    short = -draft.frames % size
    code = vocabulary.silence if silence is None else silence
    padded = np.pad(draft.codes, ((0, 0), (0, short)), constant_values=code)
    return padded.reshape(-1, size)


def refine_track(decoder: Decoder, codes: np.ndarray, *, rows: int) -> np.ndarray:
    """Codebook 0 of one track `(T,)` -> all its codebooks `(K, T)`, `rows` windows at a time.

    The last window is padded with its last code.
    """
    v = decoder.config.vocabulary
    blocks = np.pad(codes, (0, -len(codes) % v.window_frames), mode="edge")
    blocks = blocks.reshape(-1, v.window_frames)
    batches = (blocks[first : first + rows] for first in range(0, len(blocks), rows))
    done = [refine_windows(decoder, batch) for batch in batches]
    joined = np.concatenate(done).transpose(1, 0, 2).reshape(v.codebooks, -1)
    return joined[:, : len(codes)]


def refine(
    decoder: Decoder,
    draft: Draft,
    *,
    rows: int,
    silence: int | None = None,
    graphs: bool = True,
    progress: Progress | None = None,
) -> Codes:
    """All codebooks of a draft, at most `rows` windows at a time."""
    vocabulary = decoder.config.vocabulary
    blocks = windows(draft, vocabulary, silence)
    done = []
    for first in range(0, len(blocks), rows):
        report = None if progress is None else _from(progress, first, blocks.shape)
        part = blocks[first : first + rows]
        done.append(refine_windows(decoder, part, graphs=graphs, progress=report))
    if not done:
        empty = np.zeros((len(TRACKS), vocabulary.codebooks, 0))
        return Codes.of(draft, empty)
    joined = np.concatenate(done).reshape(len(TRACKS), -1, vocabulary.codebooks, blocks.shape[1])
    tracks = joined.transpose(0, 2, 1, 3).reshape(len(TRACKS), vocabulary.codebooks, -1)
    return Codes.of(draft, tracks[..., : draft.frames])


def _from(progress: Progress, first: int, shape: tuple[int, ...]) -> Progress:
    """Progress of one batch as progress of all: frames before it count as done."""
    rows, size = shape
    return lambda done, _: progress(first * size + done, rows * size)


@torch.inference_mode()
def refine_windows(
    decoder: Decoder,
    codes: np.ndarray,
    *,
    graphs: bool = True,
    progress: Progress | None = None,
) -> np.ndarray:
    """Codebook 0 `(B, T)` -> all codebooks `(B, K, T)`, int64, in one batch."""
    v = decoder.config.vocabulary
    B, T = codes.shape
    K = v.codebooks
    if T == 0 or B == 0 or K == 1:
        return np.repeat(np.asarray(codes, dtype=np.int64)[:, None], K, axis=1)
    first = torch.from_numpy(v.ids(codes)).to(decoder.device)
    cache = decoder.cache(B, context_length(v, T))
    out = torch.zeros(T, K - 1, B, dtype=torch.long, device=decoder.device)
    ids = torch.zeros(B, dtype=torch.long, device=decoder.device)
    t = torch.zeros(1, dtype=torch.long, device=decoder.device)
    for row, frames in enumerate(first.tolist()):
        decoder.prefill([v.soa, v.stage1, *frames, v.stage2], cache, row)
    ids.copy_(first[:, 0])

    def body(k: int, joined: bool) -> None:
        """Predict residual k (0-based). Fed is what came before it: one token, or r_7 with c_t."""
        fed = ids[:, None]
        if joined:
            fed = torch.cat([fed, first.index_select(1, t)], dim=1)
        best = decoder.step(fed, [cache], head=k).argmax(-1)
        out[:, k].index_copy_(0, t, best[None])
        ids.copy_(best + v.codebook(k + 1).start)
        if k == K - 2:
            t.add_(1)

    loop = Loop(decoder.device, graphs=graphs)
    for frame in range(T):
        for k in range(K - 1):
            joined = k == 0 and frame > 0
            loop.run((k, joined), functools.partial(body, k, joined), [cache], 1 + joined)
        if progress is not None:
            progress((frame + 1) * B, T * B)
    residuals = out.permute(2, 1, 0).cpu().numpy()
    return np.concatenate([np.asarray(codes, dtype=np.int64)[:, None], residuals], axis=1)


def context_length(vocabulary: Vocabulary, frames: int) -> int:
    """Tokens of one row: the codes twice over, residuals, and three control tokens."""
    return 3 + frames * (1 + vocabulary.codebooks)
