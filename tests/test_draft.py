"""Drafts and codes: saving, slicing, joining, and files that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yue.draft import Codes, Draft, Sung
from yue.errors import FileError, ModelError
from yue.lyrics import Section


def make(*frames: int) -> Draft:
    codes = np.random.default_rng(sum(frames)).integers(0, 1024, (2, sum(frames)))
    sections = tuple(
        Sung("verse", f"words {i}", n, truncated=i == 1) for i, n in enumerate(frames)
    )
    return Draft(codes=codes, sections=sections, genres="pop", seed=9, reference=(1, 2, 3))


def same(a: Draft | Codes, b: Draft | Codes) -> bool:
    return (a.codes == b.codes).all() and a.history == b.history


def test_save_and_load(tmp_path: Path) -> None:
    draft = make(10, 4)
    assert same(Draft.load(draft.save(tmp_path / "x.npz")), draft)
    codes = Codes.of(draft, np.repeat(draft.codes[:, None], 8, axis=1))
    loaded = Codes.load(codes.save(tmp_path / "y.npz"))
    assert same(loaded, codes) and same(loaded.draft, draft)


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), max_size=5), st.integers(0, 6), st.integers(0, 6))
def test_slices_join_back(frames: list[int], i: int, j: int) -> None:
    draft = make(*frames)
    i, j = sorted((min(i, len(draft)), min(j, len(draft))))
    parts = draft[:i] + draft[i:j] + draft[j:]
    assert same(parts, draft)
    assert len(draft[i:j]) == j - i and draft[i:j].frames == sum(frames[i:j])
    assert draft[:i].plan == draft.plan


def test_index_takes_one_section() -> None:
    draft = make(3, 5, 2)
    assert draft[-1].frames == 2 and draft[1].sections[0].text == "words 1"
    with pytest.raises(IndexError):
        draft[3]
    with pytest.raises(ValueError, match="in order"):
        draft[::2]


def test_joining_what_does_not_follow_makes_a_new_plan() -> None:
    draft = make(3, 5)
    joined = draft[1:] + draft[:1]
    assert joined.first == 0 and joined.plan == (
        Section("verse", "words 1"), Section("verse", "words 0"),
    )


def test_complete_means_the_whole_plan() -> None:
    draft = make(3, 5)
    assert draft.complete and not draft[:1].complete and not draft[1:].complete


def test_shapes_are_checked() -> None:
    with pytest.raises(ModelError, match="2 tracks"):
        Draft(codes=np.zeros((3, 4)), sections=(Sung("verse", "", 4),))
    with pytest.raises(ModelError, match="4 frames"):
        Draft(codes=np.zeros((2, 5)), sections=(Sung("verse", "", 4),))


def test_a_draft_is_no_codes(tmp_path: Path) -> None:
    path = make(4).save(tmp_path / "x.npz")
    with pytest.raises(FileError, match="is a draft"):
        Codes.load(path)


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "pickle"])
def test_damaged_files_are_named(tmp_path: Path, damage: str) -> None:
    path = make(40).save(tmp_path / "x.npz")
    if damage == "pickle":
        np.savez(path, codes=np.array([{"a": 1}], dtype=object))
    else:
        data = path.read_bytes()
        path.write_bytes({"cut": data[: len(data) // 2], "text": b"hello", "empty": b""}[damage])
    with pytest.raises(FileError, match="not a draft file"):
        Draft.load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such file"):
        Draft.load(tmp_path / "none.npz")
