"""The command line: `yue sing | compose | refine | render | doctor | models`.

Progress and findings go to stderr, the path of the result (or, with --json, one JSON object) to
stdout. A user's mistake is one sentence and exit code 1. Flags are drawn from `options.py`; torch
is imported inside the verbs, so that `--help` is quick.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar, get_type_hints

from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError

from yue.errors import FileError, Interrupted, LyricsError, OptionError, YueError
from yue.files import read_json
from yue.options import ComposeOptions, LoadOptions, Options, RefineOptions, RenderOptions

if TYPE_CHECKING:
    from yue.draft import Codes, Draft
    from yue.lyrics import Lyrics
    from yue.pipeline import Yue
    from yue.reference import Reference
    from yue.song import Song

DRAFT_SUFFIX = ".draft.npz"
DONE_SUFFIX = ".json"
NPZ = ".npz"
STDIN = "<stdin>"
"""What stands for `-` inside: the parser of flags would take it for one."""

app = App(
    name="yue",
    help="Lyrics and genre tags to a whole song with stems.",
    help_format="plaintext",
    version_flags=["--version"],
)
models = App(name="models", help="List, fetch and measure models.", help_format="plaintext")
app.command(models)

T = TypeVar("T", bound=Options)


def _flags(group: type[Options]) -> Any:
    """A dataclass of command-line flags from an option group: the same names, help and defaults."""
    hints = get_type_hints(group)
    fields: list[tuple[str, Any, Any]] = []
    for entry in dataclasses.fields(group):
        off = None if entry.default is True else ""
        note = Parameter(help=entry.metadata["help"], negative=off)
        fields.append((entry.name, Annotated[hints[entry.name], note], entry.default))
    made = dataclasses.make_dataclass(f"{group.__name__}Flags", fields, frozen=True, kw_only=True)
    # Else it passes for a class of the standard library, and those are given no flags.
    made.__module__ = __name__
    return made


if TYPE_CHECKING:
    ComposeFlags: TypeAlias = Any
    RefineFlags: TypeAlias = Any
    RenderFlags: TypeAlias = Any
    LoadFlags: TypeAlias = Any
else:
    _FLAT = Parameter(name="*")
    ComposeFlags = Annotated[_flags(ComposeOptions), _FLAT]
    RefineFlags = Annotated[_flags(RefineOptions), _FLAT]
    RenderFlags = Annotated[_flags(RenderOptions), _FLAT]
    LoadFlags = Annotated[_flags(LoadOptions), _FLAT]

Model = Annotated[str | None, Parameter(
    name=["--model", "-m"], help="Preset (see `yue models`), directory, or hub id."
)]
AsJson = Annotated[bool, Parameter(
    name="--json", negative="",
    help="Print one JSON object instead of a path; writes the stems too.",
)]
Stems = Annotated[bool, Parameter(negative="", help="Write the stems beside the mix.")]
Lrc = Annotated[bool, Parameter(negative="", help="Write the lyrics with times (.lrc).")]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RequestFlags:
    """What to sing like, and what to go on from."""

    genres: Annotated[str | None, Parameter(
        name=["--genres", "-g"], help="Tags separated by spaces: genre, instrument, mood, voice."
    )] = None
    like: Annotated[Path | None, Parameter(
        help="A recording to sing like (checkpoints with -icl)."
    )] = None
    vocals: Annotated[Path | None, Parameter(
        help="Its vocal stem; with --accompaniment, instead of --like."
    )] = None
    accompaniment: Annotated[Path | None, Parameter(help="Its accompaniment stem.")] = None
    start: Annotated[float, Parameter(help="Where the reference begins, in seconds.")] = 0.0
    end: Annotated[float | None, Parameter(
        help="Where it ends; by default 30 s later."
    )] = None
    after: Annotated[Path | None, Parameter(help="A draft to go on from (.npz).")] = None
    keep: Annotated[int | None, Parameter(help="Keep only this many sections of it.")] = None

    def request(self, lyrics: str | None) -> _Request:
        """The lyrics and files behind the flags, read and checked."""
        if lyrics is not None and not self.genres:
            _say("no tags given: the model is steered by tags such as -g 'folk warm male vocal'.")
        return _Request(_lyrics(lyrics), self.genres, self._reference(), self._draft())

    @property
    def recordings(self) -> tuple[Path | None, Path | None, Path | None]:
        """The files to sing like."""
        return self.like, self.vocals, self.accompaniment

    def _reference(self) -> Reference | None:
        if not any(self.recordings):
            if self.start or self.end is not None:
                raise OptionError("--start and --end cut a reference: give --like, or both stems.")
            return None
        if self.like is None and not all(self.recordings[1:]):
            raise OptionError("--vocals needs --accompaniment, and the reverse; or use --like.")
        from yue.audio import Audio
        from yue.reference import Reference

        # Read now: a mistake should not wait for the model to load.
        read = [None if path is None else Audio.read(path) for path in self.recordings]
        reference = Reference(
            read[0], start=self.start, end=self.end, vocals=read[1], accompaniment=read[2]
        )
        for audio in filter(None, read):
            audio.cut(self.start, self.end)
        return reference

    def _draft(self) -> Draft | None:
        if self.after is None:
            return None
        from yue.draft import Draft

        return Draft.load(self.after)[: self.keep]


What = Annotated[RequestFlags, Parameter(name="*")]


@app.command
def sing(
    lyrics: Annotated[str | None, Parameter(help="Text file with lyrics; - reads stdin.")] = None,
    *,
    what: What = RequestFlags(),
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
        _chosen(compose), _group(RefineOptions, refine), _group(RenderOptions, render)
    )
    from yue.audio import FORMATS

    if batch is None and lyrics is None and what.after is None:
        raise OptionError("give one file of lyrics, or --batch with a JSONL file.")
    if batch is not None:
        if lyrics is not None or what.after is not None:
            raise OptionError("--batch brings its own lyrics: leave out LYRICS and --after.")
        if output.suffix:
            raise OptionError(f"--output {output}: with --batch give a folder.")
        items, common = list(_read_batch(batch)), what.request(None)
        _sing_batch(
            _load(model, load), items, batch.parent, common, output, options, stems or json, lrc,
            json,
        )
        return
    _check_output(output, FORMATS)
    _refuse_overwriting(output, what.recordings)
    request = what.request(lyrics)
    draft_path = output.with_suffix(DRAFT_SUFFIX)
    results = _sing_one(
        _load(model, load, request.after), request, output, options, stems=stems or json, lrc=lrc,
        keep_draft=what.after is not None and what.after.resolve() == draft_path.resolve(),
    )
    _print_results(results, json)


@app.command
def compose(
    lyrics: Annotated[str | None, Parameter(help="Text file with lyrics; - reads stdin.")] = None,
    *,
    what: What = RequestFlags(),
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
    chosen = _chosen(options)
    _check_output(output, (NPZ,))
    request = what.request(lyrics)
    drafts = _compose(
        _load(model, load, request.after), request, output, chosen,
        lambda path: f"yue compose --after {path} -o {path}",
    )
    _print_tracks(drafts, json)


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
    singer = _load(model, load, held)
    with _bars() as progress:
        codes = singer.refine(held, options=_group(RefineOptions, options), progress=progress)
    _print_tracks([(codes, codes.save(output))], json)


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
    held = _load_tracks(tracks)
    singer = _load(model, load, held)
    song = _finish(
        singer, held, _group(RefineOptions, refine), _group(RenderOptions, options),
        preview=preview,
    )
    _print_results([_write(song, output, stems=stems or json, lrc=lrc)], json)


@app.command
def doctor(*, json: AsJson = False) -> None:
    """What this machine can do, and what to mend."""
    from yue.doctor import examine

    report = examine()
    if json:
        _out(report)
        return
    for name, value in report.items():
        sys.stdout.write(f"{name:16} {value}\n")


@models.default
def list_models(*, json: AsJson = False) -> None:
    """List the models known by name."""
    from yue.hub import PRESETS

    if json:
        _out({name: dataclasses.asdict(spec) for name, spec in PRESETS.items()})
        return
    for name, spec in PRESETS.items():
        note = "tiny, sings noise" if name == "random" else spec.stage1
        with_audio = "with reference audio" if spec.references else ""
        sys.stdout.write(f"{name:10} {note:40} {with_audio}".rstrip() + "\n")


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
    from yue.pipeline import load as load_model

    forced = _group(LoadOptions, load).replace(force=True)
    singer = load_model(name, **forced.as_dict())
    sys.stdout.write(f"{singer.plan(_group(ComposeOptions, compose))}\n")


# What the verbs share ---------------------------------------------------------------------------


def _group(kind: type[T], flags: Any) -> T:
    """Checked options from parsed flags."""
    return kind.make({} if flags is None else dataclasses.asdict(flags))


def _chosen(flags: Any) -> dict[str, Any]:
    """The compose options that differ from the defaults: the others are a resumed song's own."""
    given = _group(ComposeOptions, flags)
    default = ComposeOptions().as_dict()
    return {name: value for name, value in given.as_dict().items() if value != default[name]}


def _load(model: str | None, flags: Any, held: Draft | Codes | None = None) -> Yue:
    """The model asked for, else the one that made what is held, else the default."""
    from yue.pipeline import DEFAULT_MODEL
    from yue.pipeline import load as load_model
    from yue.rehearsal import RANDOM

    model = model or (held.made_by.get("model") if held is not None else None) or DEFAULT_MODEL
    singer = load_model(model, **_group(LoadOptions, flags).as_dict())
    if singer.spec.name == RANDOM:
        _say(
            "model: random. It has learned nothing and sings noise; it shows that everything "
            "runs. `yue models` lists real ones."
        )
    return singer


def _lyrics(source: str | None) -> Lyrics | None:
    """Parsed lyrics of a file or standard input; findings are told at once."""
    if source is None:
        return None
    return _parsed(_read_text(source))


def _parsed(text: str) -> Lyrics:
    from yue.lyrics import parse

    lyrics = parse(text)
    for finding in lyrics.findings:
        _say(f"lyrics: {finding}")
    return lyrics


def _read_text(source: str) -> str:
    from yue.lyrics import decode

    if source == STDIN:
        return decode(sys.stdin.buffer.read(), "standard input")
    path = Path(source)
    try:
        return decode(path.read_bytes(), str(path))
    except OSError as error:
        raise LyricsError(f"{path} could not be read: {error.strerror}.") from error


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


def _numbered(path: Path, take: int, takes: int) -> Path:
    return path if takes == 1 else path.with_name(f"{path.stem}.{take + 1}{path.suffix}")


@dataclasses.dataclass(frozen=True)
class _Request:
    """What to sing."""

    lyrics: Lyrics | None
    genres: str | None
    like: Reference | None = None
    after: Draft | None = None


def _compose(
    singer: Yue, request: _Request, output: Path, options: dict[str, Any],
    go_on: Callable[[Path], str],
) -> list[tuple[Draft, Path]]:
    """Compose, saving the drafts after every section; Ctrl-C keeps them and says how to go on."""
    drafts: tuple[Draft, ...] = ()
    paths: list[Path] = []
    try:
        with _bars() as progress:
            for drafts in singer.composing(
                request.lyrics, request.genres, like=request.like, after=request.after,
                progress=progress, **options,
            ):
                paths = [
                    draft.save(_numbered(output, take, len(drafts)))
                    for take, draft in enumerate(drafts)
                ]
    except KeyboardInterrupt as error:
        if not paths:
            _say("interrupted before the first section was finished; nothing is kept.")
        else:
            _say(f"interrupted; {len(drafts[0])} of {len(drafts[0].plan)} sections are kept.")
        for path in paths:
            _say(f"go on with: {go_on(path)}")
        raise Interrupted(drafts) from error
    _say(f"seed: {drafts[0].seed}")
    return list(zip(drafts, paths, strict=True))


def _finish(
    singer: Yue, tracks: Draft | Codes, refine: RefineOptions, render: RenderOptions,
    *, preview: bool = False,
) -> Song:
    from yue.draft import Draft

    with _bars() as progress:
        if isinstance(tracks, Draft) and not preview:
            tracks = singer.refine(tracks, options=refine, progress=progress)
        return singer.render(tracks, options=render, progress=progress)


Groups = tuple[dict[str, Any], RefineOptions, RenderOptions]


def _sing_one(
    singer: Yue, request: _Request, output: Path, options: Groups, *, stems: bool, lrc: bool,
    keep_draft: bool = False,
) -> list[dict[str, Any]]:
    """One request, one result per take. The drafts are kept on disk until the songs are."""
    composing, refining, rendering = options
    drafts = _compose(
        singer, request, output.with_suffix(DRAFT_SUFFIX), composing,
        lambda path: f"yue sing --after {path} -o {output}",
    )
    results = []
    try:
        for take, (draft, _) in enumerate(drafts):
            song = _finish(singer, draft, refining, rendering)
            path = _numbered(output, take, len(drafts))
            results.append(_write(song, path, stems=stems, lrc=lrc))
    except BaseException:
        for _, saved in drafts[len(results) :]:
            _say(f"the composed draft is kept: yue render {saved} -o {output}")
        raise
    if not keep_draft:
        for _, saved in drafts:
            saved.unlink(missing_ok=True)
    return results


def _write(song: Song, path: Path, *, stems: bool, lrc: bool) -> dict[str, Any]:
    """Save a song; the JSON result that describes it."""
    older = [path.with_suffix(f".{track}{path.suffix}") for track in ("vocals", "accompaniment")]
    if not stems and any(stem.is_file() for stem in older):
        _say(f"{older[0].name} and the like are of an earlier song; --stems renews them.")
    written = song.save(path, stems=stems, lrc=lrc, manifest=True)
    manifest = song.manifest
    for section in song.sections:
        if section.truncated:
            _say(
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


def _sing_batch(
    singer: Yue, items: list[dict[str, Any]], beside: Path, common: _Request, folder: Path,
    options: Groups, stems: bool, lrc: bool, as_json: bool,
) -> None:
    """Every song of a batch; what is finished is skipped, what fails is reported."""
    folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    for number, item in enumerate(items, 1):
        name = item["id"]
        _say(f"{number}/{len(items)} {name}")
        try:
            chosen = ComposeOptions.make({**options[0], **item.get("options", {})})
            path = folder / f"{name}.flac"
            done = [_numbered(path, take, chosen.takes) for take in range(chosen.takes)]
            text = item.get("lyrics")
            if text is None:
                text = _read_text(str(beside / item["lyrics_file"]))
            request = dataclasses.replace(
                common, lyrics=_parsed(text), genres=item.get("genres", common.genres)
            )
            manifests = [each.with_suffix(DONE_SUFFIX) for each in done]
            if all(manifest.is_file() for manifest in manifests):
                if not _changed(request, manifests[0]):
                    _say("finished before, skipped.")
                    continue
                _say("its words or tags have changed since it was sung: sung again.")
            half = path.with_suffix(DRAFT_SUFFIX)
            if half.is_file() and chosen.takes == 1:
                request = _resumed(request, half)
            results = _sing_one(
                singer, request, path, ({**options[0], **item.get("options", {})}, *options[1:]),
                stems=stems, lrc=lrc,
            )
            for result in results:
                _print_results([{"id": name, **result}], as_json)
        except YueError as error:
            failed += 1
            _say(f"{name}: {error}")
            if as_json:
                _out({"id": name, "error": str(error)})
    if failed:
        raise YueError(f"{failed} of {len(items)} songs failed; run the same command to retry.")


def _changed(request: _Request, manifest: Path) -> bool:
    """Whether a finished song was sung to other words or tags than are asked for now."""
    sung = read_json(manifest)
    assert request.lyrics is not None
    wanted = [[section.label, section.text] for section in request.lyrics.sections]
    had = [[section["label"], section["text"]] for section in sung["sections"]]
    return had != wanted or sung["genres"] != (request.genres or "")


def _resumed(request: _Request, half: Path) -> _Request:
    """The request to finish a half-composed song, or the same one if that was another song."""
    from yue.draft import Draft

    draft = Draft.load(half)
    assert request.lyrics is not None
    same = [(s.label, s.text) for s in draft.plan] == [
        (s.label, s.text) for s in request.lyrics.sections
    ]
    return dataclasses.replace(request, lyrics=None, genres=None, after=draft) if same else request


def _read_batch(path: Path) -> Iterator[dict[str, Any]]:
    """The items of a JSONL file. Raises `OptionError` that names the line."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"--batch {path} could not be read: {error}.") from error
    seen: set[str] = set()
    known = {"id", "lyrics", "lyrics_file", "genres", "options"}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        try:
            item = json.loads(line)
        except ValueError as error:
            raise OptionError(f"{where} is not JSON ({error}).") from error
        if not isinstance(item, dict) or ("lyrics" in item) == ("lyrics_file" in item):
            raise OptionError(f"{where}: an object with lyrics or lyrics_file is expected.")
        texts = (item.get(key, "") for key in ("lyrics", "lyrics_file", "genres"))
        if not all(isinstance(text, str) for text in texts):
            raise OptionError(f"{where}: lyrics, lyrics_file and genres must be text.")
        if not isinstance(item.get("options", {}), dict):
            raise OptionError(f"{where}: options must be an object.")
        if unknown := set(item) - known:
            raise OptionError(
                f"{where}: unknown {', '.join(sorted(unknown))}; known are "
                f"{', '.join(sorted(known))}."
            )
        name = str(item.setdefault("id", f"{number:04d}"))
        item["id"] = name
        if name in seen or not name or not all(c.isalnum() or c in "._-" for c in name):
            raise OptionError(
                f"{where}: id {name!r} must be unique, of letters, digits, '.', '_' and '-'."
            )
        seen.add(name)
        yield item


def _load_tracks(path: Path) -> Draft | Codes:
    """A draft or codes, whichever the file holds."""
    from yue.draft import Codes, Draft

    try:
        return Draft.load(path)
    except FileError as error:
        if "is a codes" in str(error):
            return Codes.load(path)
        raise


def _print_tracks(saved: list[tuple[Any, Path]], as_json: bool) -> None:
    for tracks, path in saved:
        if as_json:
            _out({
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


def _print_results(results: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        _out(results[0] if len(results) == 1 else {"takes": results})
    else:
        for result in results:
            sys.stdout.write(f"{result['paths']['mix']}\n")


def _out(value: Any) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


@contextlib.contextmanager
def _bars() -> Iterator[Callable[[str, float, float], None] | None]:
    """Progress bars with the time left, on stderr, while it is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as Left

    columns = (
        TextColumn("{task.description:8}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(), TextColumn("left"), Left(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def progress(verb: str, done: float, total: float) -> None:
            if verb not in tasks:
                tasks[verb] = bars.add_task(verb, total=total)
            bars.update(tasks[verb], completed=done, total=total)

        yield progress


def main() -> None:
    """Run the command line; exit code 1 on a user's error, 130 when interrupted."""
    tokens = [STDIN if token == "-" else token for token in sys.argv[1:]]
    try:
        app(tokens, exit_on_error=False, print_error=False)
    except UnusedCliTokensError as error:
        unused = " ".join(error.unused_tokens or ())
        _say(f"yue: {unused} is one argument too many; put tags into quotes, -g 'pop rock'.")
        sys.exit(1)
    except (YueError, CycloptsError) as error:
        _say(f"yue: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
