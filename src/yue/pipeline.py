"""The whole way: `load` a model, then compose, refine, render, or sing, which is the three.

The only module that knows all stages. It holds no knowledge of its own: it resolves names, loads
each stage when it is first needed, passes values on, and writes down what was done.
"""

from __future__ import annotations

import platform
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import metadata
from typing import Any, Literal, overload

import torch

from yue import render as rendering
from yue import stage1, stage2
from yue.codec.consonance import consonance_of
from yue.codec.source_filter import SourceFilter
from yue.codec.tones import Tones
from yue.codec.upsamplers import Upsampler, load_upsamplers, read_sizes
from yue.codec.xcodec import XCodec, XCodecConfig
from yue.draft import Codes, Draft
from yue.errors import Interrupted, LyricsError, ModelError, OptionError
from yue.files import PathLike, read_json
from yue.hub import ModelSpec, fetch
from yue.lm.decode import Decoder
from yue.lm.llama import Llama, LlamaConfig
from yue.lm.lora import merge
from yue.lyrics import Finding, Lyrics, parse
from yue.memory import MemoryPlan, available, plan
from yue.options import ComposeOptions, LoadOptions, RefineOptions, RenderOptions
from yue.prompt import build_prompt
from yue.reference import Reference
from yue.song import Song, TimedSection
from yue.tokenizer import Tokenizer, load_tokenizer
from yue.vocab import TRACKS

DEFAULT_MODEL = "tiny"
"""What `load()` loads: the small model that ships with the package."""

Progress = Callable[[str, float, float], None]
"""Called with the verb's name (compose, refine, render), what is done and what there is."""

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
_MAX_SEED = 2**31


def load(model: str | PathLike | ModelSpec = DEFAULT_MODEL, **options: Any) -> Yue:
    """A model by name (`en`, `en-icl`, `zh`, ...), hub id, directory or `ModelSpec`.

    Options are those of `LoadOptions`. Parts are found, or fetched, now, and checked; weights are
    read when a stage first needs them. Raises `ModelError` if a part is missing or damaged,
    `CapacityError` if the machine is too small.
    """
    return Yue(ModelSpec.make(model), LoadOptions.make(options))


def pick_device(name: str) -> torch.device:
    """`auto` is CUDA if there is one, else the CPU. Raises `OptionError` for what is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().split("\n")[0]
        raise OptionError(
            f"device {name!r} cannot be used ({reason}). Use auto, cpu, or see `yue doctor`."
        ) from error
    return device


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """`auto` is bf16 on a GPU and fp32 on a CPU (packed to 16 bits when decoding)."""
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    return _DTYPES[name]


@dataclass
class _Stages:
    """Loaded stages; any of them may be dropped and loaded anew."""

    composer: tuple[str, Decoder] | None = None
    refiner: Decoder | None = None
    codec: XCodec | None = None
    upsamplers: dict[str, Upsampler] | None = None


class Yue:
    """A model, ready to sing. Made by `load`."""

    def __init__(self, spec: ModelSpec, options: LoadOptions) -> None:
        self.spec, self.options = spec, options
        self.device = pick_device(options.device)
        self.dtype = pick_dtype(options.dtype, self.device)
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        self.parts = fetch(spec)
        self._stages = _Stages()
        # Asked once: later the stages that are loaded would count as lost.
        self._free = available(self.device)
        self.plan().check(force=options.force)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The text tokenizer."""
        return load_tokenizer(self.parts.tokenizer.path)

    @cached_property
    def _configs(self) -> tuple[LlamaConfig, LlamaConfig]:
        paths = self.parts.stage1.path, self.parts.stage2.path
        for path in paths:
            if not (path / "config.json").is_file():
                raise ModelError(f"{path} holds no config.json: is it a model directory?")
        first, second = (LlamaConfig.from_dict(read_json(path / "config.json")) for path in paths)
        if first.vocabulary != second.vocabulary:
            raise ModelError(
                f"Stage 1 ({self.parts.stage1.source}) and Stage 2 ({self.parts.stage2.source}) "
                "speak different vocabularies: they do not belong together."
            )
        return first, second

    @cached_property
    def refines(self) -> bool:
        """Whether a song needs Stage 2: not where nobody listens beyond codebook 0."""
        sizes = XCodecConfig.read(self.parts.codec.path), read_sizes(self.parts.upsampler.path)
        return rendering.codebooks_heard(sizes[0], sizes[1].values()) > 1

    def plan(self, options: ComposeOptions | Mapping[str, Any] | None = None) -> MemoryPlan:
        """What a song needs in memory; options as in `compose`, over the model's own."""
        return plan(
            self.parts.stage1.path, self.parts.stage2.path, self.parts.codec.path,
            self.parts.upsampler.path, configs=self._configs, device=self.device,
            dtype=self.dtype, options=_asked(self.spec.compose, options, {}), free=self._free,
        )

    # Stages, loaded when first needed -----------------------------------------------------------

    def _composer(self, options: ComposeOptions) -> Decoder:
        held = self._stages.composer
        if held is None or held[0] != options.scores:
            self._stages.composer = held = None
            self._make_room()
            model = Llama.load(self.parts.stage1.path, self.dtype, self.device)
            for adapter in self.parts.adapters:
                merge(model, adapter.path)
            decoder = stage1.decoder_of(model, options, exact=self.options.exact)
            self._stages.composer = held = (options.scores, decoder)
        return held[1]

    @property
    def _refiner(self) -> Decoder:
        if self._stages.refiner is None:
            self._make_room()
            model = Llama.load(self.parts.stage2.path, self.dtype, self.device)
            self._stages.refiner = stage2.decoder_of(model, exact=self.options.exact)
        return self._stages.refiner

    @property
    def _codec(self) -> XCodec:
        if self._stages.codec is None:
            self._make_room()
            self._stages.codec = XCodec.load(self.parts.codec.path, device=self.device)
        return self._stages.codec

    @property
    def _upsamplers(self) -> dict[str, Upsampler]:
        if self._stages.upsamplers is None:
            path = self.parts.upsampler.path
            self._stages.upsamplers = load_upsamplers(path, device=self.device)
        return self._stages.upsamplers

    @property
    def _judge(self) -> stage1.Judge:
        """How well a section's voice goes with its band, by what the upsamplers make of it."""
        codec, (voice, band) = self._codec, (self._upsamplers[track] for track in TRACKS)
        if not (isinstance(voice, SourceFilter) and isinstance(band, Tones)):
            raise OptionError(
                f"consonance: the upsamplers of {self.spec.name} do not tell which notes are sung "
                "and played; leave it out."
            )
        return lambda codes: consonance_of(codes, codec, voice, band)

    def _make_room(self) -> None:
        """Where not all stages fit at once, drop the others."""
        if self.plan().at_once:
            return
        self._stages = _Stages()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    # The verbs ------------------------------------------------------------------------------------

    @overload
    def compose(
        self, lyrics: str | Lyrics | None = ..., genres: str | None = ..., *,
        takes: Literal[1] = ..., like: Reference | None = ..., after: Draft | None = ...,
        options: ComposeOptions | Mapping[str, Any] | None = ..., progress: Progress | None = ...,
        **knobs: Any,
    ) -> Draft: ...

    @overload
    def compose(
        self, lyrics: str | Lyrics | None = ..., genres: str | None = ..., *,
        takes: int, like: Reference | None = ..., after: Draft | None = ...,
        options: ComposeOptions | Mapping[str, Any] | None = ..., progress: Progress | None = ...,
        **knobs: Any,
    ) -> list[Draft]: ...

    def compose(
        self,
        lyrics: str | Lyrics | None = None,
        genres: str | None = None,
        *,
        like: Reference | None = None,
        after: Draft | None = None,
        options: ComposeOptions | Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        **knobs: Any,
    ) -> Draft | list[Draft]:
        """Stage 1: lyrics and tags -> a draft; with `takes` above 1, a list of them.

        `like` is a recording to sing like. `after` keeps the sections of a draft and sings on from
        there: with lyrics, as a new attempt; without, as the same song, with the draft's lyrics,
        tags, seed and options, so that an interrupted song ends as it would have. Other knobs are
        those of `ComposeOptions`. Ctrl-C raises `Interrupted`, which holds the finished sections.
        """
        done: tuple[Draft, ...] = () if after is None else (after,)
        try:
            for done in self.composing(  # noqa: B007 - the last one counts
                lyrics, genres, like=like, after=after, options=options, progress=progress, **knobs
            ):
                pass
        except KeyboardInterrupt as error:
            raise Interrupted(done) from error
        return list(done) if len(done) > 1 else done[0]

    def composing(
        self,
        lyrics: str | Lyrics | None = None,
        genres: str | None = None,
        *,
        like: Reference | None = None,
        after: Draft | None = None,
        options: ComposeOptions | Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        **knobs: Any,
    ) -> Iterator[tuple[Draft, ...]]:
        """Like `compose`, but yields the drafts (one per take) after each section."""
        if after is not None and after.first != 0:
            raise OptionError("after: a draft must hold its song's first section; use draft[:k].")
        o = _asked(self.spec.compose, _resumed(lyrics, after, options), knobs)
        if o.seed is None:
            o = o.replace(seed=secrets.randbelow(_MAX_SEED))
        song = _song(lyrics, after)
        tags = genres if genres is not None else (after.genres if after is not None else "")
        if after is not None and len(after) == len(song.sections):
            yield (after,)
            return
        self.plan(o).check(force=self.options.force)
        reference = self._reference(like, after)
        prompt = build_prompt(
            song, tags, self.tokenizer, reference, vocabulary=self._configs[0].vocabulary
        )
        findings = (*_more_findings(song, after), *self._strange(tags))
        starts = self._starts(song, tags, reference, o, after, findings)
        started = time.perf_counter()
        tell = None if progress is None else _sections_done(progress, len(song.sections))
        for drafts in stage1.compose(
            self._composer(o), prompt, song.sections, o, after=starts,
            judge=None if o.consonance is None else self._judge,
            graphs=self.options.graphs, progress=tell,
        ):
            seconds = round(time.perf_counter() - started, 3)
            yield tuple(_noted(draft, compose_seconds=seconds) for draft in drafts)

    def refine(
        self,
        draft: Draft,
        *,
        options: RefineOptions | Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        **knobs: Any,
    ) -> Codes:
        """Stage 2: a draft -> all codebooks. Greedy: the same draft gives the same codes."""
        o = RefineOptions.make(options, **knobs)
        self._check_rate(draft)
        decoder = self._refiner
        started = time.perf_counter()
        count = len(stage2.windows(draft, decoder.config.vocabulary))
        codes = stage2.refine(
            decoder, draft, rows=o.rows or self.plan().rows(max(1, count)),
            silence=XCodecConfig.read(self.parts.codec.path).silence,
            graphs=self.options.graphs,
            progress=None if progress is None else _of(progress, "refine"),
        )
        return _noted(codes, refine_seconds=round(time.perf_counter() - started, 3))

    def render(
        self,
        codes: Codes | Draft,
        *,
        options: RenderOptions | Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        **knobs: Any,
    ) -> Song:
        """Codes -> a song with stems. A draft renders too: a rough preview of codebook 0 alone."""
        o = RenderOptions.make(options, **knobs)
        self._check_rate(codes)
        if isinstance(codes, Draft):
            codes = Codes.of(codes, codes.codes[:, None])
        started = time.perf_counter()
        sounds, report = rendering.render(
            codes, self._codec, self._upsamplers, o,
            progress=None if progress is None else _of(progress, "render"),
        )
        sections, at = [], 0
        for sung in codes.sections:
            start, at = at, at + sung.frames
            times = start / codes.frame_rate, at / codes.frame_rate
            sections.append(
                TimedSection(
                    sung.label, sung.text, *times, sung.truncated, sung.follows, sung.consonance
                )
            )
        noted = _noted(codes, render_seconds=round(time.perf_counter() - started, 3)).made_by
        manifest = {
            **noted, "seed": codes.seed, "take": codes.take, "genres": codes.genres,
            "seconds": codes.seconds, "render": {**o.as_dict(), **report},
            "sections": [vars(section) for section in sections],
        }
        return Song(**sounds, sections=tuple(sections), manifest=manifest)

    @overload
    def sing(
        self, lyrics: str | Lyrics, genres: str = ..., *, takes: Literal[1] = ...,
        like: Reference | None = ..., render: RenderOptions | Mapping[str, Any] | None = ...,
        progress: Progress | None = ..., **knobs: Any,
    ) -> Song: ...

    @overload
    def sing(
        self, lyrics: str | Lyrics, genres: str = ..., *, takes: int,
        like: Reference | None = ..., render: RenderOptions | Mapping[str, Any] | None = ...,
        progress: Progress | None = ..., **knobs: Any,
    ) -> list[Song]: ...

    def sing(
        self,
        lyrics: str | Lyrics,
        genres: str = "",
        *,
        like: Reference | None = None,
        render: RenderOptions | Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        **knobs: Any,
    ) -> Song | list[Song]:
        """Lyrics and tags -> a song: compose, refine (where that is heard) and render in a row."""
        drafts = self.compose(lyrics, genres, like=like, progress=progress, **knobs)
        # Stage by stage, not take by take: where memory is short, each stage is loaded once.
        made = drafts if isinstance(drafts, list) else [drafts]
        codes = [self.refine(draft, progress=progress) if self.refines else draft for draft in made]
        songs = [self.render(each, options=render, progress=progress) for each in codes]
        return songs if isinstance(drafts, list) else songs[0]

    # Pieces -----------------------------------------------------------------------------------

    def _reference(self, like: Reference | None, after: Draft | None) -> tuple[int, ...]:
        if like is None:
            return after.reference if after is not None else ()
        if self.spec.references is False and not self.options.force:
            raise ModelError(
                f"{self.spec.name} was not trained with reference audio: use "
                f"{self.spec.name}-icl, or load with force."
            )
        codec = XCodec.load(self.parts.codec.path, decode_only=False, device=self.device)
        return like.encode(codec, self._configs[0].vocabulary)

    def _starts(
        self, song: Lyrics, genres: str, reference: tuple[int, ...], options: ComposeOptions,
        after: Draft | None, findings: tuple[Finding, ...],
    ) -> tuple[Draft, ...]:
        """One draft per take to begin from: what `after` holds, or nothing yet."""
        frame_rate = self._configs[0].vocabulary.frame_rate
        kept = after if after is not None else stage1.nothing_yet(frame_rate)
        self._check_rate(kept)
        assert options.seed is not None
        made_by: dict[str, Any] = {
            "yue": metadata.version("yue-music"),
            "model": self.spec.name,
            "parts": self.parts.as_dict(),
            "load": self.options.as_dict(),
            "device": str(self.device),
            "dtype": str(self.dtype).removeprefix("torch."),
            "options": options.as_dict(),
            "versions": {"python": platform.python_version(), "torch": torch.__version__},
            "findings": [{"line": f.line, "message": f.message} for f in findings],
        }
        if after is not None and len(after):
            told = {key: after.made_by.get(key) for key in ("model", "options", "timings")}
            made_by["kept"] = {"sections": len(after), "seed": after.seed, **told}
        return tuple(
            replace(
                kept, plan=song.sections, genres=genres, reference=reference, seed=options.seed,
                take=take if options.takes > 1 else kept.take, made_by=made_by,
            )
            for take in range(options.takes)
        )

    def _strange(self, genres: str) -> Iterator[Finding]:
        """A finding about tags that the model was not trained on."""
        unknown = self.tokenizer.unknown_tags(genres)
        if unknown:
            yield Finding(0, f"tags that this model does not know: {', '.join(unknown)}.")

    def _check_rate(self, tracks: Draft | Codes) -> None:
        rate = self._configs[0].vocabulary.frame_rate
        if tracks.frame_rate != rate:
            raise ModelError(
                f"this {tracks.kind} has {tracks.frame_rate} frames/s, the model {rate}: it was "
                "made with another model."
            )


def _resumed(
    lyrics: str | Lyrics | None,
    after: Draft | None,
    options: ComposeOptions | Mapping[str, Any] | None,
) -> ComposeOptions | Mapping[str, Any] | None:
    """The options to start from: without new lyrics, those of the song that goes on."""
    if lyrics is not None or after is None or options is not None:
        return options
    return {**after.made_by.get("options", {}), "seed": after.seed, "takes": 1}


def _asked(
    own: Mapping[str, Any],
    options: ComposeOptions | Mapping[str, Any] | None,
    knobs: Mapping[str, Any],
) -> ComposeOptions:
    """What is asked for, over the model's own defaults; whole `ComposeOptions` leave no gap."""
    if isinstance(options, ComposeOptions):
        return options.replace(**knobs)
    return ComposeOptions.make({**own, **(options or {})}, **knobs)


def _song(lyrics: str | Lyrics | None, after: Draft | None) -> Lyrics:
    """The sections to sing, in all."""
    if lyrics is None:
        if after is None:
            raise LyricsError("no lyrics: give lyrics, or a draft to go on from.")
        return Lyrics(after.plan)
    song = parse(lyrics) if isinstance(lyrics, str) else lyrics
    if after is not None and len(after) > len(song.sections):
        raise LyricsError(
            f"the draft holds {len(after)} sections, the lyrics only {len(song.sections)}: keep "
            "fewer of it (draft[:k], --keep k)."
        )
    if after is None:
        return song
    sung = tuple(entry.section for entry in after.sections)
    return replace(song, sections=sung + song.sections[len(sung) :])


def _more_findings(song: Lyrics, after: Draft | None) -> tuple[Finding, ...]:
    """The lyrics' findings, and which sections were kept as they had been sung."""
    if after is None or not len(after):
        return song.findings
    first = "first section is" if len(after) == 1 else f"first {len(after)} sections are"
    kept = f"the {first} kept as sung before."
    return (*song.findings, Finding(0, kept))


def _sections_done(progress: Progress, total: int) -> stage1.Progress:
    return lambda index, done, most: progress("compose", index + done / most, total)


def _of(progress: Progress, verb: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(verb, done, total)


@overload
def _noted(tracks: Draft, **timings: float) -> Draft: ...
@overload
def _noted(tracks: Codes, **timings: float) -> Codes: ...
def _noted(tracks: Draft | Codes, **timings: float) -> Draft | Codes:
    """The same tracks with timings written down."""
    known = tracks.made_by.get("timings", {})
    return replace(tracks, made_by={**tracks.made_by, "timings": {**known, **timings}})


__all__ = ["DEFAULT_MODEL", "Progress", "Yue", "load"]
