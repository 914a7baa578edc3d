"""`yue marble`: probe a frozen model on MARBLE's tasks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from cyclopts import Parameter

from yue.cli.console import bars, print_json, say
from yue.cli.flags import AsJson, flags_of, group
from yue.errors import OptionError
from yue.evaluate.options import ProbeOptions

if TYPE_CHECKING:
    from yue.evaluate.hidden import Layered

    ProbeFlags: TypeAlias = Any
else:
    ProbeFlags = Annotated[flags_of(ProbeOptions), Parameter(name="*")]


def marble(
    task: Annotated[str, Parameter(help="GTZAN, GS, MTGTop50 or EMO.")],
    folder: Annotated[Path, Parameter(help="Folder with the task's official splits and sound.")],
    *,
    model: Annotated[str | None, Parameter(
        name=["--model", "-m"],
        help="A YuE model whose Stage 1 listens: preset, directory or hub id.",
    )] = None,
    embedder: Annotated[str | None, Parameter(
        help="Another listener, instead of --model: clap, mert, clamp3 or ast."
    )] = None,
    weights: Annotated[str | None, Parameter(
        help="Its weights: hub id or folder; by default the published ones."
    )] = None,
    layers: Annotated[str | None, Parameter(
        help="Layers to probe, such as 0,15,30; by default all."
    )] = None,
    mixture: Annotated[bool, Parameter(
        negative="", help="Also probe a learned mixture of the layers."
    )] = False,
    half: Annotated[bool, Parameter(
        negative="", help="Run --model in bf16, as published."
    )] = False,
    cache: Annotated[Path | None, Parameter(
        help="Folder that keeps features, so that a stopped run goes on."
    )] = None,
    any_split: Annotated[bool, Parameter(
        negative="", help="Go on with splits that are not the official ones."
    )] = False,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="Result (JSON).")] = Path(
        "marble.json"
    ),
    json: AsJson = False,
    probe: ProbeFlags = None,
) -> None:
    """Measure what a frozen model knows of genre, key, tags or emotion, layer by layer."""
    from yue.evaluate.marble import run_marble
    from yue.evaluate.marble_tasks import find_task
    from yue.files import write_json

    options = group(ProbeOptions, probe)
    find_task(task)
    chosen = None if layers is None else _numbers(layers)
    listener = _listener(model, embedder, weights, options.device, half)
    say(f"weights: {listener.describe().get('licence', 'see the model card')}")
    with bars() as progress:
        found = run_marble(
            task, folder, listener, options=options, layers=chosen, cache=cache,
            strict=not any_split, mixture=mixture, progress=progress,
        )
    for name, reason in found["skipped"].items():
        say(f"{name} is left out: {reason}")
    best = found["chosen"]
    scores = ", ".join(f"{name} {100 * value:.1f}" for name, value in best["test"].items())
    say(f"layer {best['layer']}, rate {best['rate']:g}: {scores} (test)")
    path = write_json(output, found)
    if json:
        print_json(found)
    else:
        sys.stdout.write(f"{path}\n")


def _listener(
    model: str | None, embedder: str | None, weights: str | None, device: str, half: bool
) -> Layered:
    """Who listens. Raises `OptionError` unless exactly one is asked for."""
    if (model is None) == (embedder is None):
        raise OptionError("give --model or --embedder: who listens?")
    import torch

    from yue.evaluate.against import load_embedder
    from yue.evaluate.hidden import OneLayer, Stage1Features

    if embedder is not None:
        return OneLayer(load_embedder(embedder, weights, device=device))
    assert model is not None
    dtype = torch.bfloat16 if half else torch.float32
    return Stage1Features.load(model, device=device, dtype=dtype)


def _numbers(layers: str) -> list[int]:
    """`0,15,30` as numbers."""
    try:
        return [int(number) for number in layers.split(",")]
    except ValueError as error:
        raise OptionError(f"--layers {layers}: expected numbers such as 0,15,30.") from error
