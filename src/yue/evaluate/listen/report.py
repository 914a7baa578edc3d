"""Figures of a listening test -> a table for the terminal, and the files of a report."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yue.evaluate.listen.ballots import Votes
from yue.evaluate.listen.report_page import page
from yue.evaluate.listen.words import findings, p_value, percent, span
from yue.files import write_bytes, write_json


def write(held: Votes, figures: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    """Write report.html, report.json and the CSV files into `folder`; their paths by name."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = {
        "pairs": pair_rows(figures), "systems": system_rows(figures),
        "raters": [_flat(row, ("left_interval",)) for row in figures["raters"]],
        "votes": vote_rows(held),
    }
    paths = {
        name: write_bytes(folder / f"{name}.csv", to_csv(rows).encode())
        for name, rows in tables.items()
    }
    paths["json"] = write_json(folder / "report.json", figures)
    paths["html"] = write_bytes(folder / "report.html", page(held, figures).encode())
    return paths


def table(figures: Mapping[str, Any]) -> str:
    """The main figures as text: per aspect each pair, then the raters that stand out."""
    head = ("aspect", "first", "second", "win", "tie", "loss", "rate", "95 % Wilson", "bootstrap",
            "p (Holm)")
    rows = [
        (row["aspect"], row["first"], row["second"], str(row["wins"]), str(row["ties"]),
         str(row["losses"]), percent(row["rate"]), span(row["wilson"]), span(row["bootstrap"]),
         p_value(row["p_holm"]))
        for row in pair_rows(figures, spans=True)
    ]
    return "\n".join([*_columns([head, *rows]), "", *findings(figures)]) + "\n"


def pair_rows(figures: Mapping[str, Any], *, spans: bool = False) -> list[dict[str, Any]]:
    """One row per aspect and pair of systems; intervals as two columns, or whole."""
    rows = []
    for key, aspect in figures["aspects"].items():
        for pair in aspect["pairs"]:
            row = {"aspect": key, **pair}
            rows.append(row if spans else _flat(row, ("wilson", "bootstrap")))
    return rows


def system_rows(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per aspect and system: win rate against all others, strength."""
    return [
        _flat({"aspect": key, **system}, ("wilson", "bootstrap", "strength_interval"))
        for key, aspect in figures["aspects"].items()
        for system in aspect["systems"]
    ]


def vote_rows(held: Votes) -> list[dict[str, Any]]:
    """Every vote, unblinded: one row per rater, trial and aspect."""
    return [
        {
            "rater": vote.rater + 1, "kind": vote.kind, "prompt": vote.prompt,
            "A": vote.left, "B": vote.right, "aspect": aspect, "answer": answer,
            "seconds": vote.seconds, "comment": vote.comment,
        }
        for vote in held.votes
        for aspect, answer in vote.answers.items()
    ]


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of the same keys as CSV. Text that a spreadsheet would take for a formula is quoted."""
    buffer = io.StringIO()
    if rows:
        writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _tame(value) for key, value in row.items()} for row in rows)
    return buffer.getvalue()


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of text in aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _flat(row: Mapping[str, Any], intervals: Sequence[str]) -> dict[str, Any]:
    """A row whose intervals are two columns each."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if key in intervals:
            flat[f"{key}_low"], flat[f"{key}_high"] = value or (None, None)
        else:
            flat[key] = value
    return flat


def _tame(value: Any) -> Any:
    """A cell that no spreadsheet runs; a vote for equal is `=` alone, which is harmless."""
    risky = isinstance(value, str) and len(value) > 1 and value[0] in "=+-@\t\r"
    return f"'{value}" if risky else value
