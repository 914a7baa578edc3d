"""Trained parts in one directory: it sings, it is small, its defaults count, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import yue
from yue.errors import FileError, OptionError
from yue.rehearsal import write_random_model
from yue.train.bundle import PARTS, bundle

LYRICS = "[verse]\nCome home\n"
DEFAULTS = {"max_new_tokens": 60, "min_new_tokens": 20, "repetition_penalty": 1.0, "top_k": 7}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = write_random_model(tmp_path_factory.mktemp("models") / "random")
    return {part: made / part for part in PARTS}


def test_a_bundle_sings_with_its_own_defaults(parts: dict[str, Path], tmp_path: Path) -> None:
    out = bundle(tmp_path / "small", parts, name="small", references=True, compose=DEFAULTS)
    whole = bundle(tmp_path / "whole", parts, name="whole", references=True, half=False)
    sizes = [sum(f.stat().st_size for f in d.rglob("*") if f.is_file()) for d in (out, whole)]
    assert sizes[0] < 0.55 * sizes[1]
    model = yue.load(out, device="cpu")
    draft = model.compose(LYRICS, "pop", seed=1)
    assert draft.frames <= 30
    told = draft.made_by["options"]
    assert told["top_k"] == 7 and told["repetition_penalty"] == 1.0
    asked = model.compose(LYRICS, "pop", seed=1, top_k=9, max_new_tokens=40)
    assert asked.made_by["options"]["top_k"] == 9 and asked.frames <= 20
    plain = model.compose(LYRICS, "pop", options=yue.ComposeOptions(max_new_tokens=100))
    assert plain.made_by["options"]["top_k"] == yue.ComposeOptions().top_k
    song = model.render(model.refine(draft))
    assert song.mix.rate == 44_100 and np.isfinite(song.mix.samples).all()


def test_what_is_refused(parts: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="did you mean 'guidance'"):
        bundle(tmp_path / "a", parts, name="a", references=False, compose={"guidence": 2})
    with pytest.raises(FileError, match=r"codec: .* holds no config"):
        bundle(tmp_path / "a", {**parts, "codec": tmp_path}, name="a", references=False)
    assert not (tmp_path / "a").exists()
    (tmp_path / "b").mkdir()
    with pytest.raises(FileError, match="exists"):
        bundle(tmp_path / "b", parts, name="b", references=False)
