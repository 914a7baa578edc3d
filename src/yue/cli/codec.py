"""`yue train-codec`: a codec and its upsampler from a folder of audio."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from yue.cli.console import say

EVERY = 20
"""Steps between two lines on stderr."""


def train_codec(
    config: Annotated[Path, Parameter(help="TOML: data, codec, upsampler, phases.")],
    run: Annotated[Path, Parameter(help="Folder of the run: state, metrics, the codec made.")],
    *,
    resume: Annotated[bool, Parameter(
        negative="", help="Go on with the run in that folder."
    )] = False,
    minutes: Annotated[float | None, Parameter(
        help="Stop after this long; --resume goes on."
    )] = None,
    device: Annotated[str, Parameter(help="cpu, or cuda where there is a GPU.")] = "cpu",
    threads: Annotated[int | None, Parameter(
        help="CPU threads; by default torch's choice."
    )] = None,
) -> None:
    """Train a codec and its upsampler; the directories `codec` and `upsampler` come out."""
    import torch

    from yue.train.codec import CodecRun, Trainer
    from yue.train.loop import interrupts

    if threads is not None:
        torch.set_num_threads(threads)
    trainer = Trainer(CodecRun.read(config), run, resume=resume, device=device)

    def tell(what: str, figures: Mapping[str, float]) -> None:
        if trainer.at.step % EVERY == 0:
            told = " ".join(f"{name} {value:.3f}" for name, value in figures.items())
            say(f"{what}  {told}")

    with interrupts() as interrupted:
        done = trainer.train(minutes=minutes, tell=tell, stop=interrupted)
    if not done:
        why = "interrupted" if interrupted() else "time is up"
        say(f"yue: {why}; go on with: yue train-codec {config} {run} --resume")
    if interrupted():
        raise KeyboardInterrupt
    sys.stdout.write(f"{trainer.export(run / 'model')}\n")
