"""Figures of a listening test as words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def findings(figures: Mapping[str, Any]) -> list[str]:
    """What a reader must know before believing the figures, one sentence each."""
    raters = figures["raters"]
    said = [
        f"{figures['votes']} votes on pairs of systems by "
        f"{sum(not row['left_out'] for row in raters)} raters ({figures['sessions']} invited)."
    ]
    for row in raters:
        name = f"Rater {row['rater']}"
        if row["favours"]:
            said.append(
                f"{name} favours the {row['favours']} song: {row['left_answers']} answers for the "
                f"left, {row['right_answers']} for the right (p {p_value(row['side_p_holm'])})."
            )
        if row["always"] == "equal":
            said.append(f"{name} answered every time that both are equal.")
        if row["failed"]:
            said.append(
                f"{name} failed {row['failed']} of {row['identical'] + row['lowpass']} anchors"
                + (", and is left out." if row["left_out"] else ".")
            )
    if figures["damaged_lines"]:
        lines = ", ".join(map(str, figures["damaged_lines"]))
        said.append(f"Line {lines} of the votes file is damaged and was skipped.")
    if figures["strange_votes"]:
        said.append(f"{figures['strange_votes']} votes fit no trial of this test; skipped.")
    return said


def number(value: float | None, digits: int = 2) -> str:
    """A figure for a reader; a dash for none."""
    return "-" if value is None else f"{value:.{digits}f}"


def percent(share: float | None) -> str:
    """A share in percent."""
    return "-" if share is None else f"{100 * share:.1f} %"


def span(interval: Sequence[float] | None) -> str:
    """An interval of a share in percent."""
    return "-" if interval is None else f"{100 * interval[0]:.0f} - {100 * interval[1]:.0f} %"


def p_value(value: float | None) -> str:
    """A p-value to three places."""
    return "-" if value is None else "< .001" if value < 0.001 else f"{value:.3f}".lstrip("0")
