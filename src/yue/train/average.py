"""Models that came from one another -> their mean, which is often better than each.

What was trained on from a model at a high rate has learned something new and forgotten something
old; as long as both lie in one valley of the loss, their mean has both (Wortsman et al. 2022,
"Robust fine-tuning of zero-shot models").
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from yue.errors import FileError, ModelError, OptionError
from yue.files import PathLike
from yue.lm.llama import Llama
from yue.tokenizer import load_tokenizer
from yue.train.model import save_tokenizer


def average(models: Sequence[PathLike], out: PathLike) -> Path:
    """Write the mean of language models' weights, in fp32, with the first one's tokenizer.

    Raises `OptionError` for fewer than two, `ModelError` if their sizes differ, `FileError` if
    `out` exists.
    """
    out = Path(out)
    if len(models) < 2:
        raise OptionError(f"{len(models)} models: a mean needs at least 2.")
    if out.exists():
        raise FileError(f"{out} exists: choose another folder.")
    first = Llama.load(models[0])
    total: dict[str, Tensor] = {name: t.clone() for name, t in first.state_dict().items()}
    for other in models[1:]:
        llama = Llama.load(other)
        if _sizes(llama) != _sizes(first):
            raise ModelError(f"{other} has other sizes than {models[0]}: they have no mean.")
        for name, tensor in llama.state_dict().items():
            total[name] += tensor
    first.load_state_dict({name: tensor / len(models) for name, tensor in total.items()})
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    first.save(part)
    save_tokenizer(load_tokenizer(models[0]), part)
    part.rename(out)
    return out


def _sizes(llama: Llama) -> dict[str, object]:
    """Everything of a config that a mean must agree on: sizes, angles, token numbers."""
    plain = {k: v for k, v in asdict(llama.config).items() if k != "raw"}
    return {**plain, "vocabulary": llama.config.vocabulary}
