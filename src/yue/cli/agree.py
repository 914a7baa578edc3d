"""`yue agree`: whether metrics agree with what people said."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from yue.cli.console import print_json
from yue.cli.flags import AsJson


def agree(
    metrics: Annotated[Path, Parameter(help="CSV of columns system, song, metric, value.")],
    *,
    scores: Annotated[Path | None, Parameter(
        help="CSV of columns system, score; by default the win rates of the votes."
    )] = None,
    votes: Annotated[Path | None, Parameter(
        help="votes.csv of `yue listen report`: then single songs are compared, too."
    )] = None,
    aspect: Annotated[str, Parameter(help="The aspect voted on.")] = "musicality",
    control: Annotated[str | None, Parameter(
        help="A metric whose share is taken off, such as voiced_seconds."
    )] = None,
    seed: Annotated[int, Parameter(help="Seed of what is drawn at random.")] = 0,
    output: Annotated[Path, Parameter(
        name=["--output", "-o"], help="Folder for JSON, tables and plots."
    )] = Path("agreement"),
    json: AsJson = False,
) -> None:
    """Hold metrics against human scores and votes: correlations, and how far to believe them."""
    from yue.evaluate.agreement_report import compare, read_scores, table, write
    from yue.evaluate.preference import read_metrics, read_votes

    found = compare(
        read_metrics(metrics), scores=None if scores is None else read_scores(scores),
        votes=[] if votes is None else read_votes(votes, aspect), control=control, seed=seed,
    )
    write(found, output)
    sys.stderr.write(table(found))
    if json:
        print_json(found)
    else:
        sys.stdout.write(f"{output}\n")
