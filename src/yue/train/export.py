"""A run -> a directory in the published layout: config, safetensors, tokenizer.

`transformers` reads it, and so does `yue.load` as the `stage1` or `stage2` part of a model.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from yue.errors import FileError
from yue.files import PathLike, read_json
from yue.train import checkpoint, model
from yue.train.config import GuideOptions, RunOptions
from yue.train.objective import Objective

CONFIG = "config.json"
CHECKPOINTS = "checkpoints"


def export(run: PathLike, out: PathLike, *, replace: bool = False, best: bool = False) -> Path:
    """Write the newest (or best) weights of a run to `out`; returns it.

    Raises `FileError` if the run has no checkpoint or `out` exists.
    """
    run, out = Path(run), Path(out)
    if not (run / CONFIG).is_file():
        raise FileError(f"{run} is no run folder: it has no {CONFIG}.")
    options = RunOptions.make(read_json(run / CONFIG))
    kind = checkpoint.BEST if best else checkpoint.LATEST
    path = checkpoint.named(run / CHECKPOINTS, kind)
    if path is None:
        raise FileError(f"{run} has no {kind} checkpoint yet: nothing can be exported.")
    if out.exists() and not replace:
        raise FileError(f"{out} exists: choose another folder.")
    start = model.build(options)
    checkpoint.load_weights(path, Objective(start.llama, GuideOptions(), groups=1))
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    start.llama.save(part)
    model.save_tokenizer(start.forms.tokenizer, part)
    if replace:
        shutil.rmtree(out, ignore_errors=True)
    part.rename(out)
    return out
