"""Checkpoints of a run: written aside, renamed when whole, read by any number of processes.

    step_000500/    distributed checkpoint of weights and moments, and `state.json`
    latest, best    names of one of them

A folder that is named so is complete; what a crash left ends in `.tmp` and is swept away.
"""

from __future__ import annotations

import io
import os
import pickle
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter, Metadata
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.optim import Optimizer

from yue.errors import FileError
from yue.files import PathLike, read_json, write_bytes, write_json
from yue.train.distributed import World

LATEST, BEST = "latest", "best"
STATE = "state.json"
_OPTIONS = StateDictOptions(ignore_frozen_params=True)


def save(
    folder: Path, step: int, module: nn.Module, optimisers: Sequence[Optimizer],
    state: dict[str, Any], world: World,
) -> Path:
    """Write the checkpoint of a step; all processes take part.

    Raises `FileError` if there is no room; older checkpoints are then untouched.
    """
    final = folder / f"step_{step:08d}"
    if (final / STATE).is_file():
        return final
    part = final.with_suffix(".tmp")
    if world.first:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
    world.wait()
    try:
        with _quiet():
            dcp.save(
                _tensors(module, optimisers), storage_writer=FileSystemWriter(part),
                no_dist=world.size == 1,
            )
        if world.first:
            write_json(part / STATE, {"step": step, **state})
    except (OSError, dcp.CheckpointException) as error:
        if world.first:
            shutil.rmtree(part, ignore_errors=True)
        raise FileError(
            f"could not write the checkpoint {final} ({_reason(error)}): free some space and run "
            "again with --resume; the last checkpoint is whole."
        ) from error
    world.wait()
    if world.first:
        _sync(part)
        shutil.rmtree(final, ignore_errors=True)  # a damaged one, or save would have returned
        part.rename(final)
        _sync(folder)
        point(folder, LATEST, final)
    world.wait()
    return final


@contextmanager
def _quiet() -> Iterator[None]:
    """torch warns a process that is alone, also when told that it is."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is .*single process", UserWarning)
        yield


def _reason(error: BaseException) -> str:
    """The system's words, from under what distributed checkpointing wraps around them."""
    failures = getattr(error, "failures", None)
    if failures:
        error = next(iter(failures.values()))[0]
    told = str(getattr(error, "strerror", None) or error) or type(error).__name__
    return told.splitlines()[0]


def _tensors(module: nn.Module, optimisers: Sequence[Optimizer]) -> dict[str, Any]:
    return {
        "model": get_model_state_dict(module, options=_OPTIONS),
        "optimiser": get_optimizer_state_dict(module, list(optimisers), options=_OPTIONS),
    }


def load(path: Path, module: nn.Module, optimisers: Sequence[Optimizer], world: World) -> Any:
    """Read a checkpoint into a module and its optimisers; returns its `state.json`.

    Raises `FileError` if it is not whole or belongs to another model.
    """
    state = read_json(path / STATE)
    tensors = _tensors(module, optimisers)
    _read(path, tensors, world.size == 1)
    set_model_state_dict(
        module, tensors["model"],
        options=StateDictOptions(ignore_frozen_params=True, strict=False),
    )
    set_optimizer_state_dict(module, list(optimisers), tensors["optimiser"], options=_OPTIONS)
    return state


def load_weights(path: Path, module: nn.Module) -> None:
    """Read only the weights of a checkpoint into a module, in one process."""
    tensors = {"model": get_model_state_dict(module, options=_OPTIONS)}
    _read(path, tensors, alone=True)
    set_model_state_dict(
        module, tensors["model"],
        options=StateDictOptions(ignore_frozen_params=True, strict=False),
    )


def _read(path: Path, tensors: dict[str, Any], alone: bool) -> None:
    try:
        with _quiet():
            dcp.load(tensors, storage_reader=_Reader(path), no_dist=alone)
    except (OSError, dcp.CheckpointException, RuntimeError, pickle.UnpicklingError) as error:
        raise FileError(
            f"{path} cannot be read into this model ({_reason(error)}): was the config changed, "
            "or a file damaged? Another checkpoint of the run may do."
        ) from error


class _Reader(FileSystemReader):
    """torch's reader, but for the table of contents, which it would unpickle without limits."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        data = (Path(self.path) / ".metadata").read_bytes()
        metadata: Metadata = _Unpickler(io.BytesIO(data)).load()
        return metadata


_MODULES = ("torch.distributed.checkpoint.metadata", "torch.distributed.checkpoint.filesystem")
_NAMES = frozenset({
    ("torch", "Size"), ("torch.serialization", "_get_layout"), ("pathlib", "PosixPath"),
    ("collections", "OrderedDict"), ("builtins", "set"), ("builtins", "slice"),
})
"""What a table of contents is made of, dtypes aside."""


class _Unpickler(pickle.Unpickler):
    """Finds nothing else than that."""

    def find_class(self, module: str, name: str) -> Any:
        dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if dtype or module in _MODULES or (module, name) in _NAMES:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} does not belong into a checkpoint")


def _sync(path: Path) -> None:
    """Make the names in a folder survive a loss of power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def point(folder: Path, name: str, target: Path) -> None:
    """Let `latest` or `best` name a checkpoint."""
    write_bytes(folder / name, f"{target.name}\n".encode())


def named(folder: PathLike, name: str) -> Path | None:
    """The checkpoint that `latest` or `best` names, if it is there."""
    file = Path(folder) / name
    if not file.is_file():
        return None
    path = Path(folder) / file.read_text().strip()
    return path if (path / STATE).is_file() else None


def newest(folder: Path) -> Path | None:
    """The checkpoint to go on from: `latest`, or if that is gone the newest whole one; None where
    none was ever finished. Raises `FileError` if there were some and none is left.
    """
    found = named(folder, LATEST)
    if found is None and (folder / LATEST).is_file():
        whole = sorted(path.parent for path in folder.glob(f"step_*/{STATE}")
                       if path.parent.suffix != ".tmp")
        if not whole:
            raise FileError(f"{folder} has no whole checkpoint left: train in another folder.")
        found = whole[-1]
    return found


def sweep(folder: Path, keep: int) -> None:
    """Remove all checkpoints but the newest `keep` and the best, and what a crash left."""
    whole = sorted(path for path in folder.glob("step_*") if path.suffix != ".tmp")
    best = named(folder, BEST)
    for path in [*whole[:-keep], *folder.glob("step_*.tmp")]:
        if path != best:
            shutil.rmtree(path, ignore_errors=True)
