"""The verbs: `yue sing | compose | refine | render | doctor | models`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError

from yue.cli import listen
from yue.cli import train as training
from yue.cli.agree import agree
from yue.cli.batch import read_batch, sing_batch
from yue.cli.bundle import bundle
from yue.cli.codec import train_codec
from yue.cli.console import bars, print_json, say
from yue.cli.data import app as data
from yue.cli.evaluate import evaluate
from yue.cli.flags import (
    NOTHING,
    STDIN,
    AsJson,
    ComposeFlags,
    LoadFlags,
    Lrc,
    Model,
    RefineFlags,
    RenderFlags,
    Stems,
    What,
    chosen_options,
    group,
    load_model,
)
from yue.cli.marble import marble
from yue.cli.songbook import app as songbook
from yue.cli.work import (
    DRAFT_SUFFIX,
    compose_drafts,
    finish,
    load_tracks,
    print_results,
    print_tracks,
    sing_one,
    write_song,
)
from yue.errors import FileError, OptionError, YueError
from yue.options import LoadOptions, RefineOptions, RenderOptions

if TYPE_CHECKING:
    from yue.hub import ModelSpec

NPZ = ".npz"

app = App(
    name="yue",
    help="Lyrics and genre tags to a whole song with stems.",
    help_format="plaintext",
    version_flags=["--version"],
)

models = App(name="models", help="List, fetch and measure models.", help_format="plaintext")

app.command(models)
app.command(songbook)
app.command(data)
app.command(training.train)
app.command(training.export)
app.command(training.average)
app.command(train_codec)
app.command(bundle)
app.command(listen.app)
app.command(marble)
app.command(evaluate)
app.command(agree)


@app.command
def sing(
    lyrics: Annotated[str | None, Parameter(help="Text file with lyrics; - reads stdin.")] = None,
    *,
    what: What = NOTHING,
    model: Model = None,
    output: Annotated[Path, Parameter(
        name=["--output", "-o"], help="wav, flac, mp3 or ogg; with --batch a folder."
    )] = Path("song.flac"),
    stems: Stems = False,
    lrc: Lrc = False,
    json: AsJson = False,
    batch: Annotated[Path | None, Parameter(
        help="JSONL file of songs: id, lyrics or lyrics_file, genres, options. Finished ones are "
        "skipped, failed ones reported."
    )] = None,
    compose: ComposeFlags = None,
    refine: RefineFlags = None,
    render: RenderFlags = None,
    load: LoadFlags = None,
) -> None:
    """Sing lyrics: a song with a vocal and an accompaniment track, and their mix."""
    options = (
        chosen_options(compose), group(RefineOptions, refine), group(RenderOptions, render)
    )
    from yue.audio import FORMATS

    if batch is None and lyrics is None and what.after is None:
        raise OptionError("give one file of lyrics, or --batch with a JSONL file.")
    if batch is not None:
        if lyrics is not None or what.after is not None:
            raise OptionError("--batch brings its own lyrics: leave out LYRICS and --after.")
        if output.suffix:
            raise OptionError(f"--output {output}: with --batch give a folder.")
        items, common = list(read_batch(batch)), what.request(None)
        singer = load_model(model, load)
        sing_batch(
            singer, items, batch.parent, common, output, options, stems or json, lrc, json
        )
        return
    _check_output(output, FORMATS)
    _refuse_overwriting(output, what.recordings)
    request = what.request(lyrics)
    draft_path = output.with_suffix(DRAFT_SUFFIX)
    singer = load_model(model, load, request.after)
    results = sing_one(
        singer, request, output, options, stems=stems or json, lrc=lrc,
        keep_draft=what.after is not None and what.after.resolve() == draft_path.resolve(),
    )
    print_results(results, json)


@app.command
def compose(
    lyrics: Annotated[str | None, Parameter(help="Text file with lyrics; - reads stdin.")] = None,
    *,
    what: What = NOTHING,
    model: Model = None,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="A draft (.npz).")] = Path(
        "draft.npz"
    ),
    json: AsJson = False,
    options: ComposeFlags = None,
    load: LoadFlags = None,
) -> None:
    """Stage 1 alone: lyrics to a draft, saved after every section."""
    if lyrics is None and what.after is None:
        raise OptionError("give a file of lyrics, or --after with a draft to go on from.")
    chosen = chosen_options(options)
    _check_output(output, (NPZ,))
    request = what.request(lyrics)
    drafts = compose_drafts(
        load_model(model, load, request.after), request, output, chosen,
        lambda path: f"yue compose --after {path} -o {path}",
    )
    print_tracks(drafts, json)


@app.command
def refine(
    draft: Annotated[Path, Parameter(help="A draft written by `yue compose`.")],
    *,
    model: Model = None,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="Codes (.npz).")] = Path(
        "codes.npz"
    ),
    json: AsJson = False,
    options: RefineFlags = None,
    load: LoadFlags = None,
) -> None:
    """Stage 2 alone: a draft to all codebooks."""
    from yue.draft import Draft

    _check_output(output, (NPZ,))
    held = Draft.load(draft)
    singer = load_model(model, load, held)
    with bars() as progress:
        codes = singer.refine(held, options=group(RefineOptions, options), progress=progress)
    print_tracks([(codes, codes.save(output))], json)


@app.command
def render(
    tracks: Annotated[Path, Parameter(help="Codes, or a draft (refined first).")],
    *,
    model: Model = None,
    output: Annotated[Path, Parameter(
        name=["--output", "-o"], help="wav, flac, mp3 or ogg."
    )] = Path("song.flac"),
    stems: Stems = False,
    lrc: Lrc = False,
    preview: Annotated[bool, Parameter(
        negative="", help="Render a draft without refining it: rough, but quick."
    )] = False,
    json: AsJson = False,
    options: RenderFlags = None,
    refine: RefineFlags = None,
    load: LoadFlags = None,
) -> None:
    """Codes or a draft to sound."""
    from yue.audio import FORMATS

    _check_output(output, FORMATS)
    held = load_tracks(tracks)
    singer = load_model(model, load, held)
    song = finish(
        singer, held, group(RefineOptions, refine), group(RenderOptions, options),
        preview=preview,
    )
    print_results([write_song(song, output, stems=stems or json, lrc=lrc)], json)


@app.command
def doctor(*, json: AsJson = False) -> None:
    """What this machine can do, and what to mend."""
    from yue.doctor import examine

    report = examine()
    if json:
        print_json(report)
        return
    for name, value in report.items():
        sys.stdout.write(f"{name:16} {value}\n")


@models.default
def list_models(*, json: AsJson = False) -> None:
    """List the models known by name."""
    from yue.hub import PRESETS

    if json:
        print_json({name: dataclasses.asdict(spec) for name, spec in PRESETS.items()})
        return
    for name, spec in PRESETS.items():
        note = _note(name, spec)
        with_audio = "with reference audio" if spec.references else ""
        sys.stdout.write(f"{name:10} {note:40} {with_audio}".rstrip() + "\n")


def _note(name: str, spec: ModelSpec) -> str:
    if name == "random":
        return "no weights learned: sings noise"
    return "ships with yue: small, English" if Path(spec.stage1).is_absolute() else spec.stage1


@models.command
def fetch(name: Annotated[str, Parameter(help="Preset, hub id or directory.")]) -> None:
    """Download and convert every part of a model; run again to resume."""
    from yue.hub import ModelSpec
    from yue.hub import fetch as fetch_parts

    parts = fetch_parts(ModelSpec.make(name))
    for part, told in parts.as_dict().items():
        if part != "adapters":
            sys.stdout.write(f"{part:10} {told['source']} {told['revision'] or ''}".rstrip() + "\n")


@models.command
def plan(
    name: Annotated[str, Parameter(help="Preset, hub id or directory; must be on this machine.")],
    *,
    compose: ComposeFlags = None,
    load: LoadFlags = None,
) -> None:
    """What a song with this model needs in memory, and what there is."""
    from yue.pipeline import load as load_by_name

    forced = group(LoadOptions, load).replace(force=True)
    singer = load_by_name(name, **forced.as_dict())
    sys.stdout.write(f"{singer.plan(chosen_options(compose))}\n")


def _check_output(output: Path, suffixes: Iterable[str]) -> None:
    """Refuse an output that cannot be written before an hour is spent on it."""
    if output.suffix.lower() not in suffixes:
        raise OptionError(f"--output {output}: the suffix must be one of {', '.join(suffixes)}.")
    if not output.resolve().parent.is_dir():
        raise FileError(f"--output {output}: there is no folder {output.parent}.")


def _refuse_overwriting(output: Path, recordings: Iterable[Path | None]) -> None:
    """Refuse to write the song over the recording that it should be like."""
    if output.resolve() in {path.resolve() for path in recordings if path is not None}:
        raise OptionError(f"--output {output} is the reference itself: choose another name.")


def main() -> None:
    """Run the command line; exit code 1 on a user's error, 130 when interrupted."""
    tokens = [STDIN if token == "-" else token for token in sys.argv[1:]]
    try:
        app(tokens, exit_on_error=False, print_error=False)
    except UnusedCliTokensError as error:
        unused = " ".join(error.unused_tokens or ())
        say(f"yue: {unused} is one argument too many; put tags into quotes, -g 'pop rock'.")
        sys.exit(1)
    except (YueError, CycloptsError) as error:
        say(f"yue: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
