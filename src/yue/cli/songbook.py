"""The verb `yue songbook`: make songs with exact alignments; show one that would be made."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from yue.cli.console import bars, print_json, say

Seed = Annotated[int, Parameter(help="The book: the same seed gives the same songs.")]
ProfileName = Annotated[str, Parameter(help="full, or simple: what a small model learns first.")]

LOG_SECONDS = 30.0

app = App(
    name="songbook", help="Songs made from a seed, with exact alignments.", help_format="plaintext"
)


class Log:
    """Progress as lines on stderr, for a run without a terminal: what is there, speed, time left.
    """

    def __init__(self) -> None:
        self.began = self.told = time.monotonic()
        self.first: float | None = None

    def __call__(self, verb: str, done: float, total: float) -> None:
        """Tell how many of the hours are there, at most twice a minute."""
        self.first = done if self.first is None else self.first
        now = time.monotonic()
        made = done - self.first
        if (now - self.told < LOG_SECONDS and done < total) or not made:
            return
        self.told = now
        speed = made * 3600 / (now - self.began)
        left = (total - done) * 60 / speed
        say(f"{verb}: {done:.2f} of {total:.2f} h, {speed:.0f} x real time, {left:.0f} min left")


@app.command
def make(
    folder: Annotated[Path, Parameter(help="Where to put them; run again to go on.")],
    *,
    hours: Annotated[float, Parameter(help="How much to make.")] = 1.0,
    seed: Seed = 1,
    profile: ProfileName = "full",
    processes: Annotated[int | None, Parameter(help="By default one per core.")] = None,
    audio: Annotated[bool, Parameter(help="Write FLAC files of both tracks.")] = True,
    rate: Annotated[int, Parameter(help="Of the audio, Hz.")] = 44_100,
    codec: Annotated[str | None, Parameter(
        help="A codec directory: write records with codes (Parquet)."
    )] = None,
    mix: Annotated[bool, Parameter(negative="", help="Encode the mix too.")] = False,
) -> None:
    """Make songs into a folder, in shards, on several cores."""
    import os

    from yue.songbook.make import Order
    from yue.songbook.make import make as make_songs
    from yue.songbook.profile import find_profile

    order = Order(
        profile=find_profile(profile), seed=seed, rate=rate, audio=audio, codec=codec, mix=mix
    )
    with bars() as progress:
        made = make_songs(
            folder, hours, order, processes=processes or os.cpu_count() or 1,
            report=progress or Log(),
        )
    print_json({"folder": str(made)})


@app.command
def show(
    index: Annotated[int, Parameter(help="Which song.")] = 0,
    *,
    seed: Seed = 1,
    profile: ProfileName = "full",
    genre: Annotated[str | None, Parameter(help="Another genre than the one drawn.")] = None,
    voice: Annotated[str | None, Parameter(help="Another voice than the one drawn.")] = None,
    json: Annotated[bool, Parameter(negative="", help="Everything, as JSON.")] = False,
) -> None:
    """Print a song as composed: tags, tempo, chords, words."""
    from yue.songbook.compose import compose
    from yue.songbook.profile import find_profile
    from yue.songbook.sheet import text_of

    score = compose(seed, index, find_profile(profile), genre=genre, voice=voice)
    if json:
        print_json(score.as_dict())
        return
    sys.stdout.write(text_of(score))


