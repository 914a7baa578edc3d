"""Trained parts -> one directory that `yue.load` sings with, small enough to ship."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from yue.errors import FileError
from yue.files import PathLike, write_json
from yue.hub import MANIFEST
from yue.options import ComposeOptions
from yue.weights import read_tensors, write_tensors

PARTS = ("stage1", "stage2", "codec", "upsampler")
STATISTICS = ("cluster_size", "embed_avg", "inited")
"""A quantiser's running statistics: only training needs them."""


def bundle(
    out: PathLike, parts: Mapping[str, PathLike], *, name: str, references: bool,
    compose: Mapping[str, Any] | None = None, half: bool = True,
) -> Path:
    """Write `out` with a folder per part and the manifest; weights in fp16 unless `half` is off.

    `compose` are the model's own defaults of `ComposeOptions`. Raises `FileError` if a part is
    missing or `out` exists, `OptionError` for an option that does not.
    """
    out = Path(out)
    if out.exists():
        raise FileError(f"{out} exists: choose another folder.")
    ComposeOptions.make(compose)
    for part in PARTS:
        if not (Path(parts[part]) / "config.json").is_file():
            raise FileError(f"{part}: {parts[part]} holds no config.json: was it exported?")
    aside = out.with_name(f".{out.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    for part in PARTS:
        _copy(Path(parts[part]), aside / part, half)
    write_json(aside / MANIFEST, {
        **{part: part for part in PARTS}, "tokenizer": PARTS[0], "references": references,
        "name": name, "compose": dict(compose or {}),
    })
    aside.rename(out)
    return out


def _copy(source: Path, target: Path, half: bool) -> None:
    """A part's files; its weights without what only training needs."""
    target.mkdir(parents=True)
    for file in sorted(source.iterdir()):
        if file.suffix == ".safetensors":
            write_tensors(target / file.name, _lean(read_tensors(file, dtype=None), half))
        elif file.suffix in (".json", ".model"):
            shutil.copy(file, target / file.name)


def _lean(tensors: Mapping[str, Tensor], half: bool) -> dict[str, Tensor]:
    kept = {}
    for name, tensor in tensors.items():
        if name.endswith(STATISTICS):
            tensor = torch.zeros_like(tensor)
        kept[name] = tensor.half() if half and tensor.is_floating_point() else tensor
    return kept
