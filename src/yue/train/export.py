"""A run -> a directory in the published layout: config, safetensors, tokenizer.

`transformers` reads it, and so does `yue.load` as the `stage1` or `stage2` part of a model. A run
of adapters gives peft's layout, which `yue.load` takes among its adapters.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from yue.errors import FileError
from yue.files import PathLike, read_json
from yue.lm import lora
from yue.lm.llama import Llama
from yue.train import adapt, checkpoint, model
from yue.train.config import GuideOptions, RunOptions
from yue.train.objective import Objective

CONFIG = "config.json"
CHECKPOINTS = "checkpoints"


def export(
    run: PathLike, out: PathLike, *, best: bool = False, merge: bool = False, replace: bool = False
) -> Path:
    """Write the newest (or best) weights of a run to `out`; returns it.

    A run of adapters gives an adapter in peft's layout, or, with `merge`, the whole model. Raises
    `FileError` if the run has no checkpoint or `out` exists.
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
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    _write(options, path, part, merge)
    if replace:
        shutil.rmtree(out, ignore_errors=True)
    part.rename(out)
    return out


def _write(options: RunOptions, saved: Path, out: Path, merge: bool) -> None:
    """A checkpoint's model, adapter or merged model into a folder."""
    start = model.build(options)
    checkpoint.load_weights(saved, Objective(start.llama, GuideOptions(), groups=1))
    llama = start.llama
    if options.lora.rank:
        assert options.model.start is not None, "adapters have a model that they adapt"
        adapt.save_adapter(llama, options.lora, out, options.model.start)
        if not merge:
            return
        # In fp32, whatever the base was trained in: merging in 16 bits moves the logits.
        llama = Llama.load(model.begin(options.model))
        lora.merge(llama, out)
        shutil.rmtree(out)
    llama.save(out)
    model.save_tokenizer(start.forms.tokenizer, out)
