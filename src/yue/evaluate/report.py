"""An evaluation -> one HTML page that needs nothing else: table, plots, players, spectrograms.

No scripts, nothing loaded; every name is escaped. Players are for a look at what the numbers say,
not a listening test: the first `PLAYERS` songs, at most `SECONDS` each, attenuated (never raised)
to `LOUDNESS`, as MP3 in the page.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from typing import Any

from yue.audio import Audio
from yue.errors import YueError
from yue.evaluate import plots
from yue.evaluate.folder import SongFiles, read_song
from yue.evaluate.listen.report_page import STYLE
from yue.evaluate.run import Evaluation
from yue.evaluate.sound import loudness
from yue.evaluate.table import Row, cells, columns, head, numbers, short, span, table

PLAYERS = 12
SECONDS = 60.0
LOUDNESS = -20.0
"""LUFS."""
VIOLINS = {
    "pitch.range": "vocal range (semitones)",
    "pitch.equal_range": "vocal range at equal voiced length (semitones)",
    "phones.rate": "phone error rate", "words.rate": "word error rate",
    "music.tempo": "tempo (bpm)", "music.beat_f": "beats on a steady grid (F)",
    "music.on_scale": "sung time on the scale (share)",
    "sound.loudness": "loudness (LUFS)", "sound.vocal_ratio": "voice over accompaniment (LU)",
}
HOW = (
    "Means over songs with 95 % bootstrap intervals; a star marks a difference from the reference "
    "whose interval leaves out 0 (not corrected for the number of rows). Error rates depend on the "
    "recogniser, vocal ranges on the f0 extractor and on length: compare within one report only."
)


def page(
    found: Evaluation, against: Evaluation | None = None,
    far: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """The report as one HTML page; `far`: distances by embedder, from `against.compare`."""
    reference = against.songs if against else None
    rows = table(found.songs, reference, seed=found.options["seed"])
    parts = [
        _section("All songs", _summary(found, against) + _table(rows)),
        *([_section("Distances", _distances(far))] if far else []),
        _section("Spread", _violins(found, against)),
        *(_song(name, found) for name in list(found.songs)[:PLAYERS]),
    ]
    if len(found.songs) > PLAYERS:
        parts.append(_section("Further songs", _further(found)))
    parts.append(_section("How to read this", f"<p class='soft'>{_e(HOW)}</p>" + _made(found)))
    title = f"Evaluation of {found.folder}"
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{_e(title)}</title><style>{STYLE}img{{max-width:100%}}audio{{width:100%}}</style>"
        f"</head><body><main><h1>{_e(title)}</h1>{''.join(parts)}</main></body></html>\n"
    )


def excerpt(audio: Audio) -> Audio:
    """The first seconds of a song, no louder than `LOUDNESS`; quieter ones stay as they are."""
    cut = audio.cut(0.0, min(SECONDS, audio.seconds))
    level = loudness(cut)
    gain = 1.0 if level is None else min(1.0, 10 ** ((LOUDNESS - level) / 20))
    peak = cut.peak * gain
    return Audio(cut.samples * gain / max(1.0, peak), cut.rate)


def _summary(found: Evaluation, against: Evaluation | None) -> str:
    """How many songs there are, and which failed."""
    told = f"<p>{len(found.songs)} songs measured"
    if against:
        told += f", against {len(against.songs)} of {_e(against.folder)}"
    told += ".</p>"
    for one in filter(None, (found, against)):
        for name, reason in one.failed.items():
            told += f"<p class='bad'>{_e(name)} was left out: {_e(reason)}</p>"
    return told


def _table(rows: Sequence[Row]) -> str:
    """The table of all values."""
    compared = any(row.reference is not None for row in rows)
    return _cells(head(compared), [cells(row, compared) for row in rows])


def _distances(far: Mapping[str, Mapping[str, Any]]) -> str:
    """FAD, KAD and KL per embedder, and what was left out."""
    names = ["embedder", "FAD", "95 %", "FAD at infinity", "KAD", "95 %", "KL", "windows", ""]
    rows, skipped = [], ""
    for name, told in far.items():
        infinity = told["fad_infinity"] or {}
        rows.append([
            name, short(told["fad"]["value"]), span(told["fad"]["interval"]),
            short(infinity.get("value")), short(told["kad"]["value"]),
            span(told["kad"]["interval"]), short(told["kl_ast"]),
            f"{told['windows']['songs']} / {told['windows']['reference']}",
            doubt(told),
        ])
        for song, reason in told["skipped"].items():
            skipped += f"<p class='bad'>{_e(song)} was left out of {_e(name)}: {_e(reason)}</p>"
    return _cells(names, rows) + skipped


def doubt(far: Mapping[str, Any]) -> str:
    """Why a Fréchet distance is not to be believed; empty if it may be."""
    if far["determined"]:
        return ""
    return (
        f"fewer windows than twice the {far['dimensions']} dimensions: FAD and FAD at infinity say "
        "little, KAD holds"
    )


def _violins(found: Evaluation, against: Evaluation | None) -> str:
    """Violins of the values that say most, beside those of the reference."""
    mine, other = columns(found.songs), columns(against.songs) if against else {}
    drawn = []
    for name, label in VIOLINS.items():
        groups = {"songs": list(mine.get(name, {}).values())}
        if against:
            groups["reference"] = list(other.get(name, {}).values())
        if any(groups.values()):
            drawn.append(_image(plots.violins(groups, label), label))
    return "".join(drawn)


def _song(name: str, found: Evaluation) -> str:
    """Player, spectrogram, sections and values of one song."""
    records = found.songs[name]
    told = _heard(found.files[name])
    for metric in ("phones", "words"):
        if metric in records:
            values = records[metric]["values"]
            told += _image(plots.over_time(values["over_time"], "error rate"), "errors over time")
            told += _sections(values)
    values = "".join(f"<tr><td>{_e(k)}</td><td>{short(v)}</td></tr>" for k, v in numbers(records))
    told += f"<details><summary>All values</summary><table>{values}</table></details>"
    return _section(name, told)


def _heard(files: SongFiles) -> str:
    """Spectrogram and player, or why there are none: the files may have gone since."""
    try:
        mix = read_song(files).mix
        sound = base64.b64encode(excerpt(mix).encode(".mp3")).decode()
    except YueError as error:
        return f"<p class='bad'>{_e(str(error))}</p>"
    player = f"<audio controls preload='none' src='data:audio/mpeg;base64,{sound}'></audio>"
    return _image(plots.spectrogram(mix), "spectrogram") + player


def _sections(values: Mapping[str, Any]) -> str:
    """Which sections were sung, when, and how well."""
    rows = [
        [str(place), str(section["state"] or "too short"), short(section.get("start")),
         short(section.get("end")), short(section.get("rate"))]
        for place, section in enumerate(values["sections"], 1)
    ]
    return _cells(["section", "state", "from (s)", "to (s)", "error rate"], rows)


def _further(found: Evaluation) -> str:
    """Songs without a player: their most telling values."""
    names = [name for name in VIOLINS if name in columns(found.songs)]
    rows = [
        [song, *(short(dict(numbers(records)).get(name)) for name in names)]
        for song, records in list(found.songs.items())[PLAYERS:]
    ]
    return _cells(["song", *names], rows)


def _made(found: Evaluation) -> str:
    """What measured it."""
    options = ", ".join(f"{name} = {value}" for name, value in found.options.items())
    return f"<p class='soft'>{_e('; '.join(found.packages))}; {_e(options)}</p>"


def _cells(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table."""
    top = "".join(f"<th>{_e(cell)}</th>" for cell in head)
    lines = ("".join(f"<td>{_e(cell)}</td>" for cell in row) for row in rows)
    return f"<table><tr>{top}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _image(data: bytes, label: str) -> str:
    """A PNG in the page."""
    return f"<img alt='{_e(label)}' src='data:image/png;base64,{base64.b64encode(data).decode()}'>"


def _section(title: str, body: str) -> str:
    return f"<section><h2>{_e(title)}</h2>{body}</section>"


def _e(text: str) -> str:
    return html.escape(text, quote=True)
