"""Form of songs whose sections are known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from yue.errors import FileError
from yue.evaluate import structure
from yue.evaluate.harmony import HOP, RATE, Chroma
from yue.evaluate.structure import Part


def song(form: str, seconds: float = 16.0, noise: float = 0.0) -> tuple[Chroma, list[Part]]:
    """Each letter is a section with chords of its own, two seconds each."""
    frames = round(seconds * RATE / HOP)
    parts, energy = [], []
    for place, letter in enumerate(form):
        chords = np.random.default_rng(ord(letter)).random((round(seconds / 2), 12)) ** 4
        energy.append(np.repeat(chords, -(-frames // len(chords)), axis=0)[:frames])
        label = "chorus" if letter == "c" else letter
        parts.append(Part(label, place * frames * HOP / RATE, (place + 1) * frames * HOP / RATE))
    whole = np.concatenate(energy)
    whole = whole + noise * np.random.default_rng(0).random(whole.shape)
    return Chroma(whole, np.arange(len(whole)) * HOP / RATE, 0.0), parts


def test_choruses_return_and_verses_do_not() -> None:
    found = structure.returns(*song("acbcd", noise=0.3))
    assert found["chorus"] == found["same"] and (found["same"] or 0) > 0.9
    assert (found["other"] or 1) < 0.4 and (found["gain"] or 0) > 0.5
    alone = structure.returns(*song("abd"))
    assert alone["same"] is None and alone["chorus"] is None and alone["gain"] is None


def test_a_late_return_is_found() -> None:
    chroma, parts = song("cac")
    parts = [*parts[:2], Part("chorus", parts[2].start + 1, parts[2].end)]
    assert (structure.returns(chroma, parts)["same"] or 0) > 0.9


@pytest.mark.parametrize(("form", "share"), [("acbc", 0.5), ("cc", 1.0), ("abd", 0.0)])
def test_repetition_is_the_share_that_returns(form: str, share: float) -> None:
    chroma, parts = song(form)
    assert structure.repetition(chroma, parts[-1].end) == pytest.approx(share, abs=0.07)


def test_what_is_too_short_has_no_repetition() -> None:
    chroma, _ = song("a", 5)
    assert structure.repetition(chroma, 5) is None
    silent = Chroma(np.zeros((400, 12)), np.arange(400) * HOP / RATE, 0.0)
    assert structure.repetition(silent, 400 * HOP / RATE) == 0.0


def test_lengths_against_the_request() -> None:
    parts = [Part("verse", 0, 30), Part("chorus", 30, 50), Part("outro", 50, 55)]
    assert structure.lengths(parts) == {"seconds": [30, 20, 5]}
    told = structure.lengths(parts, {"verse": 30, "chorus": 25})
    assert told["error"] == pytest.approx(0.1)
    assert structure.lengths(parts, {"bridge": 10})["error"] is None


def test_orders_and_boundaries() -> None:
    assert structure.order_error(["verse", "chorus"], ["verse", "verse", "chorus"]) == 1 / 3
    assert structure.order_error(["verse"], []) is None
    true = [Part("a", 0, 10), Part("b", 10, 20), Part("a", 20, 30)]
    found = [Part("a", 0, 10.4), Part("b", 10.4, 15), Part("c", 15, 21), Part("a", 21, 30)]
    assert structure.boundary_hits(found, true) == pytest.approx(
        {"precision": 1 / 3, "recall": 1 / 2, "f": 0.4}
    )
    assert structure.boundary_hits(found, true, 3)["recall"] == 1
    assert structure.boundary_hits(true[:1], true[:1])["f"] == 0


def test_a_request_without_times_decides_the_order() -> None:
    chroma, parts = song("ac")
    cut = [parts[0]._replace(truncated=True), parts[1]._replace(truncated=False)]
    labels = [part.label for part in parts]
    told = structure.evaluate(chroma, parts[-1].end, cut, labels=[*labels, "outro"])["values"]
    assert told["order_error"] == pytest.approx(1 / 3) and told["truncated"] == 1
    assert "length_error" not in told
    told = structure.evaluate(chroma, parts[-1].end, parts, parts, labels=["outro"])["values"]
    assert told["order_error"] == 0 and told["length_error"] == 0 and "truncated" not in told


def test_sections_from_files(tmp_path: Path) -> None:
    told = [{"label": "verse", "start": 0, "end": 3.5, "text": "la"}]
    for number, value in enumerate((told, {"sections": told}, {"segments": told})):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(value))
        assert structure.load(path) == [Part("verse", 0, 3.5)]
    for wrong in ({}, [{"label": "a", "start": 3, "end": 1}], [{"start": 0}], [3], "la"):
        (tmp_path / "bad.json").write_text(json.dumps(wrong))
        with pytest.raises(FileError, match="section"):
            structure.load(tmp_path / "bad.json")
