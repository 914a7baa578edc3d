"""`yue listen make | serve | report`: blind listening tests."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from cyclopts import App, Parameter

from yue.cli.batch import read_batch
from yue.cli.console import bars, print_json, say
from yue.cli.flags import flags_of, group, read_text
from yue.errors import OptionError
from yue.evaluate.listen.options import ListenOptions

app = App(
    name="listen",
    help="Blind A/B listening tests: make one, serve it to raters, report on the votes.",
    help_format="plaintext",
)

if TYPE_CHECKING:
    ListenFlags: TypeAlias = Any
else:
    ListenFlags = Annotated[flags_of(ListenOptions), Parameter(name="*")]

Test = Annotated[Path, Parameter(help="A folder of `yue listen make`.")]


@app.command
def make(
    *systems: Annotated[Path, Parameter(
        help="Two or more folders, one per system: one song per prompt, named alike in each."
    )],
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="Folder of the test.")] = Path(
        "listening-test"
    ),
    prompts: Annotated[Path | None, Parameter(
        help="JSONL as for `yue sing --batch`: id (the song's name), genres, lyrics. Shown to the "
        "raters, and needed to ask whether a song follows its prompt."
    )] = None,
    aspects: Annotated[str | None, Parameter(
        help="What to ask, separated by commas, such as musicality,vocals; by default all that "
        "can be judged."
    )] = None,
    options: ListenFlags = None,
) -> None:
    """Make a listening test from folders of songs."""
    from yue.evaluate.listen.make import make as make_test

    with bars() as progress:
        key = make_test(
            systems, output,
            options=group(ListenOptions, options),
            prompts=None if prompts is None else _read_prompts(prompts),
            aspects=None if aspects is None else [key.strip() for key in aspects.split(",")],
            progress=progress,
        )
    for prompt, reason in key["left_out"].items():
        say(f"{prompt} is left out: {reason}")
    _say_plan(key["plan"])
    say(f"Keep {output / 'key.json'} to yourself: it says which song is whose.")
    sys.stdout.write(f"{output}\n")


@app.command
def serve(
    test: Test,
    *,
    host: Annotated[str, Parameter(
        help="Address to listen on; 0.0.0.0 lets others in your network take part."
    )] = "127.0.0.1",
    port: Annotated[int, Parameter(help="Port; 0 takes any free one.")] = 8765,
    heard: Annotated[float, Parameter(
        help="Share of each song that must be heard before the vote, 0 to 1."
    )] = 1.0,
    invited: Annotated[bool, Parameter(
        negative="", help="Let in only raters who have their link; see --links."
    )] = False,
    links: Annotated[bool, Parameter(
        negative="", help="Print each rater's own link on stdout."
    )] = False,
    url: Annotated[str | None, Parameter(
        help="Address that raters use, for --links, if it differs (a proxy with https)."
    )] = None,
) -> None:
    """Serve a test until Ctrl-C; votes are kept in its folder, one line each."""
    from yue.evaluate.listen.desk import Desk
    from yue.evaluate.listen.serve import ListenServer

    if not 0 <= heard <= 1:
        raise OptionError(f"--heard {heard}: allowed is a share, 0 to 1.")
    desk = Desk(test, heard=heard, invited=invited)
    with ListenServer(desk, host, port) as server:
        if desk.damaged:
            say(f"line {', '.join(map(str, desk.damaged))} of the votes file is damaged: skipped.")
        if links:
            for link in server.links(url):
                sys.stdout.write(f"{link}\n")
            sys.stdout.flush()
        say(f"listening on {server.url} (Ctrl-C ends it)")
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


@app.command
def report(
    test: Test,
    *,
    output: Annotated[Path | None, Parameter(
        name=["--output", "-o"], help="Folder for report.html, report.json and CSV files; by "
        "default `report` in the test's folder."
    )] = None,
    most_failures: Annotated[int | None, Parameter(
        help="Leave out raters who failed more anchors than this; by default nobody."
    )] = None,
    resamples: Annotated[int, Parameter(help="Draws of the bootstrap, 100 or more.")] = 1000,
    seed: Annotated[int, Parameter(help="Of the bootstrap.")] = 0,
    json: Annotated[bool, Parameter(
        name="--json", negative="", help="Print all figures as JSON instead of a table."
    )] = False,
) -> None:
    """Report on the votes of a test: a table here, a page with plots, CSV files."""
    from yue.evaluate.listen.analysis import analyse
    from yue.evaluate.listen.ballots import load
    from yue.evaluate.listen.report import table, write

    held = load(test)
    figures = analyse(held, most_failures=most_failures, resamples=resamples, seed=seed)
    paths = write(held, figures, output or test / "report")
    if json:
        print_json(figures)
    else:
        sys.stdout.write(table(figures))
    say(f"written: {paths['html']}")


def _read_prompts(path: Path) -> dict[str, Mapping[str, str]]:
    """Genres and lyrics by the song's name."""
    found: dict[str, Mapping[str, str]] = {}
    for item in read_batch(path):
        lyrics = item.get("lyrics")
        if lyrics is None:
            lyrics = read_text(str(path.parent / item["lyrics_file"]))
        found[item["id"]] = {"genres": item.get("genres", ""), "lyrics": lyrics}
    return found


def _say_plan(plan: Mapping[str, Any]) -> None:
    """What the test can show, on stderr."""
    say(
        f"{plan['systems']} systems, {plan['prompts']} prompts: {plan['votes_per_pair']} votes for "
        "each two systems."
    )
    if plan["raters_per_song_pair"] < 2:
        say(
            f"Each two songs are heard by {plan['raters_per_song_pair']:.1f} raters on average: "
            "for agreement between raters take fewer prompts, or more raters or pairs."
        )
    for share, power in plan["power"].items():
        percent = round(100 * float(share))
        say(
            f"A {percent}:{100 - percent} preference would show in {100 * power:.0f} % of such "
            f"tests; for 80 % it takes {plan['votes_needed'][share]} votes without ties, "
            f"{plan['raters_needed'][share]} raters."
        )
