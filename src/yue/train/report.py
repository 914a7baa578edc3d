"""What a run tells: lines of metrics, TensorBoard if wished, a plot of the losses.

`metrics.jsonl` is the truth; the others are drawn from the same values. A resumed run drops the
lines behind its checkpoint first, so that every step is told once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from yue.data.tasks import KINDS
from yue.errors import OptionError
from yue.files import write_bytes

METRICS = "metrics.jsonl"
PLOT = "losses.png"


def by_group(
    sums: torch.Tensor, counts: torch.Tensor, labels: Mapping[str, int]
) -> dict[str, dict[str, float]]:
    """Mean loss per entry of the mixture and per kind of token; what did not occur is left out."""
    table: dict[str, dict[str, float]] = {}
    for label, number in labels.items():
        for kind, name in enumerate(KINDS):
            at = number * len(KINDS) + kind
            if counts[at]:
                table.setdefault(label, {})[name] = float(sums[at] / counts[at])
    return table


class Metrics:
    """The metrics of one run folder."""

    def __init__(self, folder: Path, *, after: int, tensorboard: bool) -> None:
        """`after`: steps that are kept of an earlier attempt."""
        self.path = folder / METRICS
        keep(folder, lambda line: bool(line["step"] <= after))
        self._board = _board(folder, after) if tensorboard else None

    def write(self, line: Mapping[str, Any]) -> None:
        """Append one line; it holds `step`."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self._board is not None:
            for name, value in _flat(line).items():
                self._board.add_scalar(name, value, line["step"])

    def close(self) -> None:
        """Nothing more comes."""
        if self._board is not None:
            self._board.close()


def keep(folder: Path, wanted: Callable[[dict[str, Any]], bool]) -> None:
    """Leave only the lines that are `wanted`: steps behind the last checkpoint come again."""
    text = "".join(json.dumps(line) + "\n" for line in read(folder) if wanted(line))
    write_bytes(folder / METRICS, text.encode())


def read(folder: Path) -> list[dict[str, Any]]:
    """The lines so far; a last one that was cut off by a crash is left out."""
    path = folder / METRICS
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text("utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


def _board(folder: Path, after: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise OptionError("loop.tensorboard needs tensorboard: pip install tensorboard.") from error
    return SummaryWriter(str(folder / "tensorboard"), purge_step=after + 1)


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, float]:
    flat: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{before}{name}/")
        elif isinstance(value, int | float) and name != "step":
            flat[before + name] = value
    return flat


def plot(folder: Path) -> Path | None:
    """Losses per entry of the mixture and kind over the steps; None without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    for name, points in _curves(read(folder)).items():
        style = "o--" if name.startswith("valid") else "-"
        axes.plot(*zip(*points, strict=True), style, label=name, linewidth=1, markersize=3)
    axes.set(xlabel="step", ylabel="nats per token", title=folder.name)
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(fontsize="small")
    path = folder / PLOT
    part = path.with_suffix(".part.png")
    figure.savefig(part, dpi=120)
    part.replace(path)
    return path


def _curves(lines: list[dict[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    curves: dict[str, list[tuple[int, float]]] = {}
    for line in lines:
        kept = ("losses", "guide", "valid")
        told: dict[str, Any] = {name: line[name] for name in kept if name in line}
        for name, value in _flat(told).items():
            curves.setdefault(name.removeprefix("losses/"), []).append((line["step"], value))
    return curves
