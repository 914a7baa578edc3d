"""`yue bundle`: trained parts to one directory that `yue.load` sings with."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def bundle(
    out: Annotated[Path, Parameter(help="The directory to write.")],
    *,
    stage1: Annotated[Path, Parameter(help="From `yue export`.")],
    stage2: Annotated[Path, Parameter(help="From `yue export`.")],
    codec: Annotated[Path, Parameter(help="From `yue train-codec`.")],
    upsampler: Annotated[Path, Parameter(help="From `yue train-codec`.")],
    name: Annotated[str, Parameter(help="What results say of the model.")] = "bundle",
    references: Annotated[bool, Parameter(help="Was Stage 1 trained with references?")] = False,
    half: Annotated[bool, Parameter(help="Weights in fp16.")] = True,
    option: Annotated[tuple[str, ...], Parameter(
        help="The model's own default of a compose option: guidance=2."
    )] = (),
) -> None:
    """Put Stage 1, Stage 2, codec and upsampler into one directory."""
    import tomllib

    from yue.errors import OptionError
    from yue.train.bundle import bundle as write

    try:
        compose = tomllib.loads("\n".join(option))
    except tomllib.TOMLDecodeError as error:
        raise OptionError(f"--option {' '.join(option)}: {error}; write name=number.") from error
    parts = {"stage1": stage1, "stage2": stage2, "codec": codec, "upsampler": upsampler}
    made = write(out, parts, name=name, references=references, compose=compose, half=half)
    sys.stdout.write(f"{made}\n")
