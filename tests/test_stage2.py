"""Refining: windows, padding, batching."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from yue import stage2
from yue.draft import Draft, Sung
from yue.rehearsal import VOCABULARY as V
from yue.rehearsal import random_llama


@pytest.fixture(scope="module")
def model():
    return random_llama(V, seed=3, context=4096)


def draft_of(frames: int) -> Draft:
    codes = np.random.default_rng(frames).integers(0, 1024, (2, frames))
    return Draft(codes=codes, sections=(Sung("verse", "", frames),))


def test_greedy_codes_equal_full_recomputation(model) -> None:
    """Seven forwards a frame against a whole forward for every token."""
    codes = np.random.default_rng(0).integers(0, 1024, (2, 9))
    fast = stage2.refine_codes(model, codes)
    for row, frames in enumerate(codes):
        ids = [V.soa, V.stage1, *V.ids(frames).tolist(), V.stage2]
        for t, code in enumerate(frames):
            ids.append(int(V.ids([code])[0]))
            for k in range(1, V.codebooks):
                with torch.no_grad():
                    logits = model(torch.tensor([ids]))[0, -1]
                book = V.codebook(k)
                best = int(logits[book.start : book.stop].argmax())
                assert best == fast[row, k, t]
                ids.append(book.start + best)


@pytest.mark.parametrize("frames", [1, 299, 300, 301, 650])
def test_any_length_keeps_its_frames_and_first_codebook(model, frames: int) -> None:
    draft = draft_of(frames)
    codes = stage2.refine(stage2.decoder_of(model, exact=True), draft, rows=8)
    assert codes.codes.shape == (2, V.codebooks, frames)
    np.testing.assert_array_equal(codes.codes[:, 0], draft.codes)
    assert codes.sections == draft.sections


def test_windows_are_padded_with_silence_and_independent(model) -> None:
    draft = draft_of(310)
    blocks = stage2.windows(draft, V)
    assert blocks.shape == (4, 300)
    assert (blocks[1, 10:] == V.silence).all() and (blocks[3, 10:] == V.silence).all()
    np.testing.assert_array_equal(blocks[2], draft.codes[1, :300])
    decoder = stage2.decoder_of(model, exact=True)
    whole = stage2.refine(decoder, draft, rows=4)
    alone = stage2.refine(decoder, draft_of(310), rows=1)
    np.testing.assert_array_equal(whole.codes, alone.codes)


@pytest.mark.parametrize("frames", [40, 300, 430])
def test_a_track_alone_is_refined_as_in_a_draft(model, frames: int) -> None:
    draft, decoder = draft_of(frames), stage2.decoder_of(model, exact=True)
    alone = stage2.refine_track(decoder, draft.codes[1], rows=1)
    whole = stage2.refine(decoder, draft, rows=4, silence=int(draft.codes[1, -1]))
    np.testing.assert_array_equal(alone, whole.codes[1])


def test_nothing_to_refine(model) -> None:
    codes = stage2.refine(stage2.decoder_of(model), draft_of(0), rows=4)
    assert codes.codes.shape == (2, V.codebooks, 0)


def test_progress_counts_every_frame_once(model) -> None:
    seen: list[tuple[int, int]] = []
    stage2.refine(
        stage2.decoder_of(model), draft_of(20), rows=1, progress=lambda *x: seen.append(x)
    )
    assert seen[-1] == (600, 600) and seen == sorted(seen)


def test_published_lengths() -> None:
    from yue.vocab import YUE_V1

    assert stage2.context_length(YUE_V1, YUE_V1.window_frames) == 2703
