"""`yue train` and `yue export`: a TOML file to a trained model, a run to a model directory."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from yue.cli.console import bars, print_json, say

GO_ON = "the same command with --resume goes on."


def train(
    config: Annotated[Path, Parameter(help="TOML file: data, model, phases; see recipes/.")],
    *,
    changes: Annotated[tuple[str, ...], Parameter(
        name="--set", negative="", help="Change a setting: lora.rank=32, phases.0.rate=1e-3."
    )] = (),
    resume: Annotated[bool, Parameter(
        negative="", help="Go on from the run's last checkpoint, if there is one."
    )] = False,
    dry_run: Annotated[bool, Parameter(
        negative="", help="Print tokens per task, steps, memory and time; train nothing."
    )] = False,
    minutes: Annotated[float | None, Parameter(
        help="Stop cleanly, with a checkpoint, after this many minutes."
    )] = None,
    threads: Annotated[int | None, Parameter(help="CPU threads.")] = None,
) -> None:
    """Train a model as a TOML file says. Under torchrun, with as many processes as it starts."""
    import torch

    from yue.train.config import RunOptions
    from yue.train.loop import MODEL
    from yue.train.loop import train as run

    if threads is not None:
        torch.set_num_threads(threads)
    options = RunOptions.load(config, changes)
    if dry_run:
        from yue.train.plan import plan

        print_json(plan(options))
        return
    first, at = os.environ.get("RANK", "0") == "0", (0, options.steps)
    with bars() as progress:
        def tell(done: int, total: int, words: str) -> None:
            nonlocal at
            at = done, total
            if progress is not None:
                progress("train", done, total)
            elif done % options.loop.log_every == 0 or done == total:
                say(f"step {done} of {total}: {words}")

        try:
            folder = run(options, resume=resume, minutes=minutes, tell=tell)
        except KeyboardInterrupt:
            if first:
                say(f"interrupted after step {at[0]} of {at[1]}; {GO_ON}")
            raise
    if first and not (folder / MODEL).is_dir():
        say(f"time is up after step {at[0]} of {at[1]}; {GO_ON}")
    sys.stdout.write(f"{folder}\n")


def export(
    run: Annotated[Path, Parameter(help="Folder of a run.")],
    out: Annotated[Path, Parameter(help="Model directory to write.")],
    *,
    best: Annotated[bool, Parameter(
        negative="", help="The checkpoint of least validation loss, not the newest."
    )] = False,
    merge: Annotated[bool, Parameter(
        negative="", help="Merge the run's adapters into their base model."
    )] = False,
) -> None:
    """Write a run's model as Hugging Face safetensors, for `transformers` and `yue.load`."""
    from yue.train.export import export as write

    sys.stdout.write(f"{write(run, out, best=best, merge=merge)}\n")


def average(
    out: Annotated[Path, Parameter(help="Model directory to write.")],
    *models: Annotated[Path, Parameter(
        help="Two or more model directories of the same sizes, trained from one another."
    )],
) -> None:
    """Write the mean of language models' weights: the old skill beside the new one."""
    from yue.train.average import average as write

    sys.stdout.write(f"{write(models, out)}\n")
