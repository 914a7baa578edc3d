"""Token numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from yue.errors import ModelError
from yue.rehearsal import VOCABULARY
from yue.vocab import YUE_V1, Vocabulary

tracks = st.integers(0, 40).flatmap(
    lambda frames: arrays(np.int64, (2, frames), elements=st.integers(0, 1023))
)


def test_published_numbers() -> None:
    starts = [YUE_V1.codebook(k).start for k in range(8)]
    assert starts == [45334, 46358, 47382, 48406, 49430, 50454, 51478, 52502]
    assert YUE_V1.codec_end == 53526
    assert YUE_V1.window_frames == 300 and YUE_V1.tokens_per_second == 100


@pytest.mark.parametrize("vocabulary", [YUE_V1, VOCABULARY])
@given(codes=tracks)
def test_interleaving_round_trip(vocabulary: Vocabulary, codes: np.ndarray) -> None:
    ids = vocabulary.interleave(codes)
    assert len(ids) == 2 * codes.shape[1]
    np.testing.assert_array_equal(vocabulary.deinterleave(ids), codes)
    np.testing.assert_array_equal(vocabulary.codes(ids[::2]), codes[0])


def test_an_unpaired_last_token_is_dropped() -> None:
    assert YUE_V1.deinterleave(YUE_V1.ids([1, 2, 3])).tolist() == [[1], [2]]


@pytest.mark.parametrize("codes", [[-1], [1024], [5, 2000]])
def test_what_is_no_code_is_refused(codes: list[int]) -> None:
    with pytest.raises(ModelError, match=r"allowed is 0\.\.1023"):
        YUE_V1.ids(codes)


def test_ids_of_another_codebook_are_refused() -> None:
    with pytest.raises(ModelError, match="not of codebook 1"):
        YUE_V1.codes([45334], k=1)


def test_config_round_trip() -> None:
    config = {"yue": {"vocabulary": VOCABULARY.as_dict()}}
    assert Vocabulary.from_config(config) == VOCABULARY
    assert Vocabulary.from_config({}) == YUE_V1


@pytest.mark.parametrize(
    "change", [{"soa": 32002}, {"eoa": 45400}, {"silence": 1024}, {"codebooks": 0}, {"eod": 5}]
)
def test_impossible_vocabularies_are_refused(change: dict) -> None:
    with pytest.raises(ModelError):
        replace(YUE_V1, **change)


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(ModelError, match="frame_rat"):
        Vocabulary.from_config({"yue": {"vocabulary": {**YUE_V1.as_dict(), "frame_rat": 50}}})
