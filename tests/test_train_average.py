"""The mean of models that came from one another."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from songs import run_values, song, write
from yue.cli import verbs
from yue.errors import FileError, ModelError, OptionError
from yue.lm.llama import Llama
from yue.tokenizer import load_tokenizer
from yue.train.average import average
from yue.train.config import RunOptions
from yue.train.loop import train


def trained(folder: Path, records: Path, **changes: object) -> Path:
    return train(RunOptions.make(run_values(folder, records, **changes))) / "model"


def test_the_mean_of_two(tmp_path: Path) -> None:
    records = write(tmp_path / "records", [song(n) for n in range(3)])
    before = trained(tmp_path / "before", records)
    after = trained(tmp_path / "after", records, model={"start": str(before)}, seed=4)
    verbs.app(["average", str(tmp_path / "mean"), str(before), str(after)],
              result_action="return_value")
    one, two, mean = (Llama.load(path).state_dict() for path in (before, after, tmp_path / "mean"))
    for name, tensor in mean.items():
        torch.testing.assert_close(tensor, (one[name] + two[name]) / 2)
        assert not torch.equal(one[name], two[name])
    words = "[verse]\nhello"
    assert load_tokenizer(tmp_path / "mean").encode(words) == load_tokenizer(before).encode(words)
    with pytest.raises(FileError, match="exists"):
        average([before, after], tmp_path / "mean")
    with pytest.raises(OptionError, match="1 models"):
        average([before], tmp_path / "other")
    wider = trained(tmp_path / "wide", records, model={"hidden_size": 64})
    with pytest.raises(ModelError, match="has other sizes"):
        average([before, wider], tmp_path / "other")
    assert not (tmp_path / "other").exists()
