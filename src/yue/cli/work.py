"""What the verbs share: composing with drafts kept on disk, finishing, writing, telling."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yue.cli.console import bars, print_json, say
from yue.cli.flags import Request
from yue.errors import Interrupted
from yue.options import RefineOptions, RenderOptions

if TYPE_CHECKING:
    from yue.draft import Codes, Draft
    from yue.pipeline import Yue
    from yue.song import Song

DRAFT_SUFFIX = ".draft.npz"

Groups = tuple[dict[str, Any], RefineOptions, RenderOptions]
"""Options of the three stages; of the first only those that were given."""


def numbered(path: Path, take: int, takes: int) -> Path:
    """The file of one of several takes: `song.2.flac`; of a single one, `song.flac`."""
    return path if takes == 1 else path.with_name(f"{path.stem}.{take + 1}{path.suffix}")


def compose_drafts(
    singer: Yue, request: Request, output: Path, options: dict[str, Any],
    go_on: Callable[[Path], str],
) -> list[tuple[Draft, Path]]:
    """Compose, saving the drafts after every section; Ctrl-C keeps them and says how to go on."""
    drafts: tuple[Draft, ...] = ()
    paths: list[Path] = []
    if unknown := singer.tokenizer.unknown_tags(request.genres or ""):
        say(f"tags that this model does not know, and leaves out: {', '.join(unknown)}.")
    try:
        with bars() as progress:
            for drafts in singer.composing(
                request.lyrics, request.genres, like=request.like, after=request.after,
                progress=progress, **options,
            ):
                paths = [
                    draft.save(numbered(output, take, len(drafts)))
                    for take, draft in enumerate(drafts)
                ]
    except KeyboardInterrupt as error:
        if not paths:
            say("interrupted before the first section was finished; nothing is kept.")
        else:
            say(f"interrupted; {len(drafts[0])} of {len(drafts[0].plan)} sections are kept.")
        for path in paths:
            say(f"go on with: {go_on(path)}")
        raise Interrupted(drafts) from error
    say(f"seed: {drafts[0].seed}")
    return list(zip(drafts, paths, strict=True))


def finish(
    singer: Yue, tracks: Draft | Codes, refine: RefineOptions, render: RenderOptions,
    *, preview: bool = False,
) -> Song:
    """Refine (unless it is a preview, done already, or would not be heard) and render."""
    from yue.draft import Draft

    with bars() as progress:
        if isinstance(tracks, Draft) and singer.refines and not preview:
            tracks = singer.refine(tracks, options=refine, progress=progress)
        return singer.render(tracks, options=render, progress=progress)


def sing_one(
    singer: Yue, request: Request, output: Path, options: Groups, *, stems: bool, lrc: bool,
    keep_draft: bool = False,
) -> list[dict[str, Any]]:
    """One request, one result per take. The drafts are kept on disk until the songs are."""
    composing, refining, rendering = options
    drafts = compose_drafts(
        singer, request, output.with_suffix(DRAFT_SUFFIX), composing,
        lambda path: f"yue sing --after {path} -o {output}",
    )
    results = []
    try:
        for take, (draft, _) in enumerate(drafts):
            song = finish(singer, draft, refining, rendering)
            path = numbered(output, take, len(drafts))
            results.append(write_song(song, path, stems=stems, lrc=lrc))
    except BaseException:
        for _, saved in drafts[len(results) :]:
            say(f"the composed draft is kept: yue render {saved} -o {output}")
        raise
    if not keep_draft:
        for _, saved in drafts:
            saved.unlink(missing_ok=True)
    return results


def write_song(song: Song, path: Path, *, stems: bool, lrc: bool) -> dict[str, Any]:
    """Save a song; the JSON result that describes it."""
    from yue.vocab import TRACKS

    older = [path.with_suffix(f".{track}{path.suffix}") for track in TRACKS]
    if not stems and any(stem.is_file() for stem in older):
        say(f"{older[0].name} and the like are of an earlier song; --stems renews them.")
    written = song.save(path, stems=stems, lrc=lrc, manifest=True)
    manifest = song.manifest
    for section in song.sections:
        if section.truncated:
            say(
                f"[{section.label}] at {section.start:.1f} s was cut off at the limit of tokens "
                "(--max-new-tokens)."
            )
    return {
        "paths": {name: str(file) for name, file in written.items()},
        "seed": manifest["seed"],
        "seconds": song.seconds,
        "sections": [
            {key: value for key, value in vars(section).items() if key != "text"}
            for section in song.sections
        ],
        "timings": manifest.get("timings", {}),
        "findings": manifest.get("findings", []),
    }


def load_tracks(path: Path) -> Draft | Codes:
    """A draft or codes, whichever the file holds."""
    from yue.draft import Codes, Draft, kind_of

    return Codes.load(path) if kind_of(path) == Codes.kind else Draft.load(path)


def print_tracks(saved: list[tuple[Any, Path]], as_json: bool) -> None:
    """Paths of saved drafts or codes, or a JSON object each."""
    for tracks, path in saved:
        if as_json:
            print_json({
                "paths": {tracks.kind: str(path)}, "seed": tracks.seed, "take": tracks.take,
                "seconds": tracks.seconds, "complete": tracks.complete,
                "sections": [
                    {"label": s.label, "frames": s.frames, "truncated": s.truncated}
                    for s in tracks.sections
                ],
                "timings": tracks.made_by.get("timings", {}),
                "findings": tracks.made_by.get("findings", []),
            })
        else:
            sys.stdout.write(f"{path}\n")


def print_results(results: list[dict[str, Any]], as_json: bool) -> None:
    """Paths of the mixes, or one JSON object (of several takes: `{"takes": [...]}`)."""
    if as_json:
        print_json(results[0] if len(results) == 1 else {"takes": results})
    else:
        for result in results:
            sys.stdout.write(f"{result['paths']['mix']}\n")
