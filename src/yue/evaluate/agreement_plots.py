"""Agreement in pictures: metrics over scores, coefficients with their doubt, song-level accuracy.

In go the results of `agreement.evaluate` and `preference.evaluate`, out come matplotlib figures,
which `save` writes in the format that the suffix names (.svg, .png, .pdf).
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yue.errors import OptionError
from yue.evaluate.needs import need
from yue.files import PathLike, write_bytes

FORMATS = (".svg", ".png", ".pdf")
COLUMNS = 3
INK, DOUBT, CHANCE = "#1f4e79", "#9db8d2", "#b03a2e"


def scatter(
    metrics: Mapping[str, Mapping[str, float]], scores: Mapping[str, float],
    found: Mapping[str, Any],
) -> Any:
    """One panel per metric: its value over the human score, a named point per system."""
    rows = math.ceil(len(metrics) / COLUMNS)
    columns = min(COLUMNS, len(metrics))
    figure = _figure(3.4 * columns, 2.9 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, name in zip(panels, metrics, strict=False):
        row = found["metrics"][name]
        x = [scores[system] for system in row["systems"]]
        y = [metrics[name][system] for system in row["systems"]]
        panel.scatter(x, y, color=INK, s=18)
        for system, *place in zip(row["systems"], x, y, strict=True):
            panel.annotate(system, place, xytext=(3, 3), textcoords="offset points", fontsize=7)
        r = row["pearson"]
        panel.set_title(
            f"{name}: r = {r['value']:.3f}, p = {r['p']:.3f}, n = {row['n']}", fontsize=9
        )
        panel.margins(0.2)
        panel.tick_params(labelsize=7)
    for panel in panels[len(metrics):]:
        panel.set_visible(False)
    figure.supxlabel("human score", fontsize=9)
    return figure


def forest(found: Mapping[str, Any]) -> Any:
    """Pearson's r of each metric, Fisher's interval (thin), the range without one point (thick)."""
    rows = found["metrics"]
    figure = _figure(6.5, 1.2 + 0.32 * len(rows))
    axes = figure.subplots()
    for place, row in enumerate(rows.values()):
        r = row["pearson"]
        axes.plot(r["fisher"], [place, place], color=DOUBT, linewidth=1)
        left = [value for value in r["leave_one_out"] if value is not None]
        if left:
            axes.plot([min(left), max(left)], [place, place], color=DOUBT, linewidth=5)
        axes.plot(r["value"], place, "o", color=INK, markersize=5)
    _name_rows(axes, rows, "Pearson's r with human scores", middle=0.0)
    axes.set_xlim(-1.02, 1.02)
    return figure


def accuracies(found: Mapping[str, Any]) -> Any:
    """Per metric the share of votes foretold with its interval; a ring: within pairs of systems."""
    rows = found["metrics"]
    figure = _figure(6.5, 1.2 + 0.32 * len(rows))
    axes = figure.subplots()
    for place, row in enumerate(rows.values()):
        axes.plot(row["accuracy_interval"], [place, place], color=DOUBT, linewidth=2)
        axes.plot(row["accuracy"], place, "o", color=INK, markersize=5)
        if row["within"]:
            axes.plot(row["within"]["auc"], place, "o", color=INK, fillstyle="none", markersize=7)
    _name_rows(axes, rows, "votes foretold (ring: AUC within pairs of systems)", middle=0.5)
    return figure


def save(figure: Any, path: PathLike) -> Path:
    """Write a figure. Raises `OptionError` for another suffix than .svg, .png, .pdf."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise OptionError(f"{path}: the suffix must be one of {', '.join(FORMATS)}.")
    buffer = io.BytesIO()
    # Without a date and with one salt, the same figures make the same file.
    metadata = {"Date": None} if suffix == ".svg" else {}
    with need("matplotlib").rc_context({"svg.hashsalt": "yue", "svg.fonttype": "none"}):
        figure.savefig(buffer, format=suffix[1:], dpi=130, metadata=metadata)
    return write_bytes(path, buffer.getvalue())


def _figure(width: float, height: float) -> Any:
    """A figure of so many inches, without the state of pyplot."""
    return need("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")


def _name_rows(axes: Any, rows: Mapping[str, Any], label: str, *, middle: float) -> None:
    """Names of metrics at the left, the first on top, and a line where nothing is known."""
    axes.axvline(middle, color=CHANCE, linewidth=0.8, linestyle="--")
    axes.set_yticks(range(len(rows)), list(rows), fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(label, fontsize=9)
    axes.tick_params(axis="x", labelsize=8)
