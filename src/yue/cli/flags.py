"""Flags -> checked options, requests and models. Torch is imported only when a model is loaded."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar, get_type_hints

from cyclopts import Parameter

from yue.cli.console import say
from yue.errors import LyricsError, OptionError
from yue.options import ComposeOptions, LoadOptions, Options, RefineOptions, RenderOptions

if TYPE_CHECKING:
    from yue.draft import Codes, Draft
    from yue.lyrics import Lyrics
    from yue.pipeline import Yue
    from yue.reference import Reference

STDIN = "<stdin>"
"""What stands for `-` inside: the parser of flags would take it for one."""

T = TypeVar("T", bound=Options)


def flags_of(group: type[Options], *, over: str = "") -> Any:
    """A dataclass of command-line flags from an option group: the same names, help and defaults.

    `over` names what else has defaults, where a flag that is not given must be told from one that
    asks for the group's own: then all are None until they are given.
    """
    hints = get_type_hints(group)
    fields: list[tuple[str, Any, Any]] = []
    for entry in dataclasses.fields(group):
        kind, default, text = hints[entry.name], entry.default, entry.metadata["help"]
        off = None if default is True else ""
        if over and default is not None:
            text += f" By default {default}, or {over}."
            kind, default = kind | None, None
        fields.append((entry.name, Annotated[kind, Parameter(help=text, negative=off)], default))
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
    ComposeFlags = Annotated[flags_of(ComposeOptions, over="the model's own"), _FLAT]
    RefineFlags = Annotated[flags_of(RefineOptions), _FLAT]
    RenderFlags = Annotated[flags_of(RenderOptions), _FLAT]
    LoadFlags = Annotated[flags_of(LoadOptions), _FLAT]

Model = Annotated[str | None, Parameter(
    name=["--model", "-m"], help="Preset (see `yue models`), directory, or hub id."
)]

AsJson = Annotated[bool, Parameter(
    name="--json", negative="",
    help="Print one JSON object instead of a path; writes the stems too.",
)]

Stems = Annotated[bool, Parameter(negative="", help="Write the stems beside the mix.")]

Lrc = Annotated[bool, Parameter(negative="", help="Write the lyrics with times (.lrc).")]


@dataclasses.dataclass(frozen=True)
class Request:
    """What to sing."""

    lyrics: Lyrics | None
    genres: str | None
    like: Reference | None = None
    after: Draft | None = None


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

    def request(self, lyrics: str | None) -> Request:
        """The lyrics and files behind the flags, read and checked."""
        if lyrics is not None and not self.genres:
            say("no tags given: the model is steered by tags such as -g 'folk warm male vocal'.")
        return Request(read_lyrics(lyrics), self.genres, self._reference(), self._draft())

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
NOTHING = RequestFlags()


def group(kind: type[T], flags: Any) -> T:
    """Checked options from parsed flags."""
    return kind.make({} if flags is None else dataclasses.asdict(flags))


def chosen_options(flags: Any) -> dict[str, Any]:
    """The compose options that were given: the others are the model's, or a resumed song's own."""
    flagged = {} if flags is None else dataclasses.asdict(flags)
    given = {name: value for name, value in flagged.items() if value is not None}
    checked = ComposeOptions.make(given).as_dict()
    return {name: checked[name] for name in given}


def load_model(model: str | None, flags: Any, held: Draft | Codes | None = None) -> Yue:
    """The model asked for, else the one that made what is held, else the default."""
    from yue.pipeline import DEFAULT_MODEL, load
    from yue.rehearsal import RANDOM

    model = model or (held.made_by.get("model") if held is not None else None) or DEFAULT_MODEL
    singer = load(model, **group(LoadOptions, flags).as_dict())
    if singer.spec.name == RANDOM:
        say(
            "model: random. It has learned nothing and sings noise; it shows that everything "
            "runs. `yue models` lists real ones."
        )
    return singer


def read_lyrics(source: str | None) -> Lyrics | None:
    """Parsed lyrics of a file or standard input; findings are told at once."""
    if source is None:
        return None
    return parse_lyrics(read_text(source))


def parse_lyrics(text: str) -> Lyrics:
    """Parse lyrics and tell what was found."""
    from yue.lyrics import parse

    lyrics = parse(text)
    for finding in lyrics.findings:
        say(f"lyrics: {finding}")
    return lyrics


def read_text(source: str) -> str:
    """The text of a file or of standard input. Raises `LyricsError` if there is none."""
    from yue.lyrics import decode

    if source == STDIN:
        return decode(sys.stdin.buffer.read(), "standard input")
    path = Path(source)
    try:
        return decode(path.read_bytes(), str(path))
    except OSError as error:
        raise LyricsError(f"{path} could not be read: {error.strerror}.") from error
