"""Figures of a listening test -> one self-contained page with plots.

No scripts, nothing loaded; every name and comment is escaped.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from yue.evaluate.listen.aspects import OVERALL
from yue.evaluate.listen.ballots import Votes
from yue.evaluate.listen.words import findings, number, p_value, percent, span

WIDTH, ROW = 560, 30
"""Plots in CSS pixels: the drawn part, and the height of a line."""

STYLE = """
:root{--page:#f5f6f8;--card:#fff;--ink:#1c2530;--soft:#5a6775;--line:#d9dee4;--win:#1f6fc4;
--tie:#b9c3cd;--loss:#d98032;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--page:#12171d;--card:#1b222a;--ink:#e8edf2;
--soft:#9fadba;--line:#313b46;--win:#5aa4ec;--tie:#566472;--loss:#e0954f;--bad:#ff9d94}}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);
font:16px/1.5 system-ui,"Segoe UI",Roboto,"Noto Sans",sans-serif}
main{max-width:60rem;margin:0 auto;padding:1.5rem 1rem 4rem}h1{font-size:1.5rem}
h2{font-size:1.15rem;margin:0 0 .6rem}section{background:var(--card);border:1px solid var(--line);
border-radius:14px;padding:1.2rem 1.4rem;margin:0 0 1rem;overflow-x:auto}
h3{font-size:1rem;margin:1.2rem 0 .4rem}p{margin:.3rem 0 .8rem}.soft{color:var(--soft)}
.bad{color:var(--bad);font-weight:600}table{border-collapse:collapse;font-size:.9rem}
th,td{padding:.3rem .8rem .3rem 0;text-align:right;border-bottom:1px solid var(--line);
font-variant-numeric:tabular-nums;white-space:nowrap}th:first-child,td:first-child{text-align:left}
th{color:var(--soft);font-weight:600}svg{max-width:100%;height:auto;display:block}
svg text{font:13px system-ui,sans-serif;fill:var(--ink)}svg .soft{fill:var(--soft)}
summary{cursor:pointer;font-weight:600}details{margin:.8rem 0}td.best{font-weight:700}
.key{display:inline-block;width:.8em;height:.8em;margin:0 .4em 0 0;border-radius:2px}
h3 .key:not(:first-child){margin-left:.8em}h3{font-weight:600}
"""


def page(held: Votes, figures: Mapping[str, Any]) -> str:
    """The report as one HTML page."""
    aspects = list(figures["aspects"])
    first = OVERALL.key if OVERALL.key in aspects else aspects[0]
    parts = [
        _section("What to know first", "".join(f"<p>{_e(said)}</p>" for said in findings(figures))),
        _section("Win rates", _overview(figures)),
        *(
            _aspect(figures["aspects"][key])
            for key in sorted(aspects, key=lambda key: key != first)
        ),
        _section("Raters", _raters(figures["raters"])),
        _section("Comments", _comments(held)),
        _section("How to read this", f"<p class='soft'>{_e(HOW)}</p>"),
    ]
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{_e(held.title)}: report</title><style>{STYLE}</style></head>"
        f"<body><main><h1>{_e(held.title)}</h1>{''.join(parts)}</main></body></html>\n"
    )


LEGEND = "".join(
    f"<span class='key' style='background:var(--{colour})'></span>{words} "
    for colour, words in (("win", "win of the left name"), ("tie", "tie"), ("loss", "loss"))
)

HOW = (
    "Rates count a tie as half a win. The thin line is the wider of two 95 % bootstrap intervals, "
    "over raters and over prompts. P-values are exact sign tests without ties, adjusted by Holm "
    "over the pairs of an aspect. Strengths are of Davidson's model with ties and a side term: "
    "they add up to 0, a difference of 1 means odds of 2.7 to 1. Agreement of 1 is perfect, 0 is "
    "chance. An anchor fails if a rater prefers one of two identical songs, or a low-passed song "
    "to the original."
)


def _overview(figures: Mapping[str, Any]) -> str:
    """The rate of every system against all others, by aspect; the best of each in bold."""
    head = ("", *figures["systems"])
    rows = []
    for aspect in figures["aspects"].values():
        rates = [row["rate"] for row in aspect["systems"]]
        best = max((rate for rate in rates if rate is not None), default=None)
        cells = (
            f"<td{' class=best' * (rate is not None and rate == best)}>{percent(rate)}</td>"
            for rate in rates
        )
        rows.append(f"<tr><td>{_e(aspect['title'])}</td>{''.join(cells)}</tr>")
    top = "".join(f"<th>{_e(cell)}</th>" for cell in head)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _aspect(aspect: Mapping[str, Any]) -> str:
    """One aspect: bars of wins, strengths, the table, agreement."""
    agreement, side = aspect["agreement"], aspect["side"]
    agree = "no two raters heard the same pair" if not agreement["units"] else (
        f"Krippendorff's alpha {number(agreement['alpha_nominal'])} (nominal), "
        f"{number(agreement['alpha_interval'])} (interval), Fleiss' kappa "
        f"{number(agreement['kappa'])}, on {agreement['units']} pairs heard by two or more"
    )
    bias = "" if side["value"] is None else (
        f" Side: {side['value']:+.2f} ± {1.96 * side['error']:.2f} towards the left song "
        f"(p {p_value(side['p'])})."
    )
    note = f"<p class='bad'>{_e(aspect['note'])}</p>" if aspect["note"] else ""
    body = (
        f"{note}<h3>{LEGEND}</h3>{_bars(aspect['pairs'])}"
        f"<h3>Strength</h3>{_dots(aspect['systems'])}"
        f"<details><summary>Figures</summary>{_pair_table(aspect['pairs'])}"
        f"{_system_table(aspect['systems'])}</details>"
        f"<p class='soft'>Agreement: {_e(agree)}.{_e(bias)}</p>"
    )
    return _section(aspect["title"], body)


def _bars(pairs: Sequence[Mapping[str, Any]]) -> str:
    """Stacked shares of win, tie, loss per pair, with the interval of the rate."""
    left, rows = 150, []
    for line, pair in enumerate(pairs):
        y, x = line * ROW + 4, float(left)
        rows.append(_text(left - 10, y + 15, pair["first"], "end"))
        rows.append(_text(left + WIDTH + 10, y + 15, pair["second"], "start"))
        if not pair["n"]:
            rows.append(_text(left + 8, y + 15, "never met", "start", "soft"))
            continue
        for name, colour in (("wins", "win"), ("ties", "tie"), ("losses", "loss")):
            width = WIDTH * pair[name] / pair["n"]
            title = f"<title>{pair[name]} {name}</title>"
            rows.append(
                f"<rect x='{x:.1f}' y='{y}' width='{width:.1f}' height='20' "
                f"fill='var(--{colour})'>{title}</rect>"
            )
            x += width
        low, high = (left + WIDTH * share for share in pair["bootstrap"])
        middle = left + WIDTH * pair["rate"]
        rows.append(_whisker(low, middle, high, y + 10))
    half = left + WIDTH / 2
    rows.append(
        f"<line x1='{half}' x2='{half}' y1='0' y2='{len(pairs) * ROW}' stroke='var(--ink)' "
        "stroke-dasharray='2 3' opacity='.6'/>"
    )
    return _svg(2 * left + WIDTH, len(pairs) * ROW, rows, "Wins, ties and losses of each pair")


def _dots(systems: Sequence[Mapping[str, Any]]) -> str:
    """Strengths with their intervals, the strongest first."""
    left = 150
    reach = max(
        0.5, *(abs(value) for row in systems for value in (*row["strength_interval"],
                                                           row["strength"]))
    )
    rows = []
    for line, row in enumerate(sorted(systems, key=lambda row: -row["strength"])):
        y = line * ROW + 14
        low, middle, high = (
            left + WIDTH * (0.5 + 0.48 * value / reach)
            for value in (row["strength_interval"][0], row["strength"],
                          row["strength_interval"][1])
        )
        rows.append(_text(left - 10, y + 5, row["system"], "end"))
        rows.append(_whisker(low, middle, high, y))
        rows.append(_text(left + WIDTH + 10, y + 5, f"{row['strength']:+.2f}", "start"))
    zero = left + WIDTH / 2
    rows.append(
        f"<line x1='{zero}' x2='{zero}' y1='0' y2='{len(systems) * ROW}' stroke='var(--soft)' "
        "stroke-dasharray='2 3'/>"
    )
    return _svg(2 * left + WIDTH, len(systems) * ROW, rows, "Strength of each system")


def _whisker(low: float, middle: float, high: float, y: float) -> str:
    """An interval with its value."""
    path = f"<path d='M{low:.1f} {y}H{high:.1f}'"
    return (
        f"{path} stroke='var(--card)' stroke-width='4' opacity='.6'/>"
        f"{path} stroke='var(--ink)' stroke-width='1.5'/>"
        f"<circle cx='{middle:.1f}' cy='{y}' r='4.5' fill='var(--ink)' "
        "stroke='var(--card)' stroke-width='1.5'/>"
    )


def _text(x: float, y: float, words: str, anchor: str, kind: str = "") -> str:
    return f"<text x='{x}' y='{y}' text-anchor='{anchor}' class='{kind}'>{_e(_short(words))}</text>"


def _short(words: str, most: int = 20) -> str:
    """A name that fits beside a plot."""
    return words if len(words) <= most else f"{words[: most - 1]}…"


def _svg(width: int, height: int, parts: Iterable[str], label: str) -> str:
    return (
        f"<svg viewBox='0 0 {width} {height}' width='{width}' role='img' aria-label='{_e(label)}'>"
        f"{''.join(parts)}</svg>"
    )


def _section(title: str, body: str) -> str:
    return f"<section><h2>{_e(title)}</h2>{body}</section>"


def _pair_table(pairs: Sequence[Mapping[str, Any]]) -> str:
    head = ("Pair", "Win", "Tie", "Loss", "Rate", "Wilson", "Bootstrap", "p", "p (Holm)")
    return _html_table(head, [
        (f"{row['first']} : {row['second']}", row["wins"], row["ties"], row["losses"],
         percent(row["rate"]), span(row["wilson"]), span(row["bootstrap"]), p_value(row["p"]),
         p_value(row["p_holm"]))
        for row in pairs
    ])


def _system_table(systems: Sequence[Mapping[str, Any]]) -> str:
    head = ("System", "Votes", "Rate", "Wilson", "Bootstrap", "Strength", "Error", "Bootstrap")
    return _html_table(head, [
        (row["system"], row["n"], percent(row["rate"]), span(row["wilson"]),
         span(row["bootstrap"]), f"{row['strength']:+.3f}", f"{row['strength_error']:.3f}",
         "{:+.2f} to {:+.2f}".format(*row["strength_interval"]))
        for row in systems
    ])


def _raters(raters: Sequence[Mapping[str, Any]]) -> str:
    head = ("Rater", "Votes", "Ties", "Left", "Right", "Left rate", "Wilson", "p (Holm)",
            "Identical failed", "Low-pass failed", "Median s", "")
    return _html_table(head, [
        (row["rater"], row["votes"], row["ties"], row["lefts"], row["rights"],
         percent(row["left_rate"]), span(row["left_interval"]), p_value(row["side_p_holm"]),
         f"{row['identical_failed']} of {row['identical']}",
         f"{row['lowpass_failed']} of {row['lowpass']}", number(row["median_seconds"], 0),
         " ".join([f"favours {row['favours']}"] * bool(row["favours"])
                  + ["left out"] * row["left_out"]))
        for row in raters
    ])


def _comments(held: Votes) -> str:
    """What raters wrote."""
    said = [vote for vote in held.votes if vote.comment]
    if not said:
        return "<p class='soft'>None.</p>"
    return "".join(
        f"<p><span class='soft'>Rater {vote.rater + 1}, {_e(vote.prompt)}, A {_e(vote.left)}, "
        f"B {_e(vote.right)}:</span> {_e(vote.comment)}</p>"
        for vote in said
    )


def _html_table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    top = "".join(f"<th>{_e(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{_e(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _e(text: str) -> str:
    return html.escape(text)
