"""Metrics and human judgement from files to a folder of results: JSON, tables, plots.

Metrics come as a tidy CSV (system, song, metric, value). Human judgement comes as scores of systems
(CSV: system, score), as votes on pairs of songs, or as both; without scores, the win rates of the
votes are the scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yue.errors import OptionError
from yue.evaluate import agreement, agreement_plots, preference
from yue.evaluate.listen.report import to_csv
from yue.evaluate.preference import Values, Vote
from yue.files import PathLike, write_bytes, write_json

VERSION = 1


def compare(
    metrics: Mapping[str, Values], *, scores: Mapping[str, float] | None = None,
    votes: Sequence[Vote] = (), control: str | None = None, seed: int = 0,
) -> dict[str, Any]:
    """System level (`systems`) and, with votes, song level (`songs`), of all metrics.

    `control` names a metric, such as the voiced seconds, whose share is taken off: `partial` beside
    each coefficient. Raises `OptionError` if there is nothing to compare with.
    """
    if scores is None and not votes:
        raise OptionError("neither scores nor votes: with what should the metrics agree?")
    human = preference.win_rates(votes) if scores is None else scores
    means = {name: preference.system_means(values) for name, values in metrics.items()}
    found = agreement.evaluate(means, human, seed=seed)
    if control is not None:
        _take_off(found, means, human, control)
    return {
        "metric": "agreement", "version": VERSION, "scores": dict(human),
        "means": {name: means[name] for name in found["metrics"]},
        "scored_by": "win rates of the votes" if scores is None else "scores given",
        "control": control, "systems": found,
        "songs": preference.evaluate(metrics, votes, seed=seed) if votes else None,
    }


def write(found: Mapping[str, Any], folder: PathLike) -> dict[str, Path]:
    """Write agreement.json, systems.csv, songs.csv and the plots (SVG); their paths by name."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        "scatter": agreement_plots.scatter(found["means"], found["scores"], found["systems"]),
        "coefficients": agreement_plots.forest(found["systems"]),
    }
    tables = {"systems": system_rows(found)}
    if found["songs"]:
        figures["accuracy"] = agreement_plots.accuracies(found["songs"])
        tables["songs"] = song_rows(found)
    return {
        "json": write_json(folder / "agreement.json", found),
        **{name: write_bytes(folder / f"{name}.csv", to_csv(rows).encode())
           for name, rows in tables.items()},
        **{name: agreement_plots.save(figure, folder / f"{name}.svg")
           for name, figure in figures.items()},
    }


def system_rows(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per metric and coefficient, with all that says how far to believe it."""
    rows = []
    for name, row in found["systems"]["metrics"].items():
        for kind in agreement.KINDS:
            held = row[kind]
            left = [value for value in held["leave_one_out"] if value is not None]
            low, high = held["bootstrap"]
            rows.append({
                "metric": name, "coefficient": kind, "n": row["n"], "value": held["value"],
                "p": held["p"], "p_holm": held["p_holm"],
                "without_one_low": min(left, default=None),
                "without_one_high": max(left, default=None),
                "bootstrap_low": low, "bootstrap_high": high,
                "fisher_low": held.get("fisher", (None, None))[0],
                "fisher_high": held.get("fisher", (None, None))[1],
                "partial": held.get("partial"),
            })
    return rows


def song_rows(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per metric: how well it foretells votes."""
    rows = []
    for name, row in found["songs"]["metrics"].items():
        within = row["within"] or {}
        rows.append({
            "metric": name, "votes": row["n"], "prompts": row["prompts"], "raters": row["raters"],
            "accuracy": row["accuracy"], "accuracy_low": row["accuracy_interval"][0],
            "accuracy_high": row["accuracy_interval"][1], "auc": row["auc"], "p": row["p"],
            "p_holm": row["p_holm"], "auc_within": within.get("auc"),
            "p_within": within.get("p"), "p_within_holm": within.get("p_holm"),
        })
    return rows


def table(found: Mapping[str, Any]) -> str:
    """The main figures as text: Pearson's r of each metric, and the votes it foretells."""
    lines = ["metric            n       r       p  p Holm    without one  votes  foretold"]
    for name, row in found["systems"]["metrics"].items():
        r = row["pearson"]
        left = [value for value in r["leave_one_out"] if value is not None]
        span = f"{min(left):5.2f} to {max(left):5.2f}" if left else "-"
        song = found["songs"]["metrics"][name] if found["songs"] else None
        votes = f"{song['n']:7}  {100 * song['accuracy']:6.1f} %" if song else ""
        lines.append(
            f"{name:15} {row['n']:3}  {r['value']:6.3f}  {r['p']:6.3f}  {r['p_holm']:6.3f}  "
            f"{span:>14}{votes}".rstrip()
        )
    lines += [f"left out: {why}" for why in found["systems"]["failed"].values()]
    return "\n".join(lines) + "\n"


def read_scores(path: PathLike) -> dict[str, float]:
    """A CSV of columns system, score. Raises `FileError` that names the line."""
    return preference.read_numbers(path, "system", "score")


def _take_off(
    found: dict[str, Any], means: Mapping[str, Mapping[str, float]], human: Mapping[str, float],
    control: str,
) -> None:
    """Add `partial` to Pearson and Spearman of all metrics but the control itself."""
    if control not in means:
        raise OptionError(f"control {control!r}: the metrics are {', '.join(means)}.")
    for name, row in found["metrics"].items():
        systems = [system for system in row["systems"] if system in means[control]]
        if name == control or len(systems) < agreement.FEWEST + 1:
            continue
        x, y, z = ([each[s] for s in systems] for each in (means[name], human, means[control]))
        for kind in ("pearson", "spearman"):
            row[kind]["partial"] = preference.partial(kind, x, y, z)
