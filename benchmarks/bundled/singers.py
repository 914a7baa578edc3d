"""Who sings: the model, or the songbook itself; every song is made once and kept in a folder.

A song is known by a key of everything that decides it: the singer's own weights or source, words,
tags, seed, knobs. Its files have the layout that `yue evaluate` reads; the manifest is written
last, so a song that has one is whole. What a recogniser hears in it and its f0 are kept beside it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

import yue
from bundled.lyrics import Lyric
from yue import songbook, stage1
from yue.audio import Audio
from yue.evaluate import f0
from yue.evaluate.recognise import Heard, phones_of
from yue.files import read_json, write_json
from yue.lm.decode import Decoder
from yue.lm.llama import Llama
from yue.lyrics import Lyrics
from yue.options import ComposeOptions
from yue.pipeline import Yue
from yue.prompt import build_prompt
from yue.song import TimedSection
from yue.songbook.compose import compose
from yue.songbook.make import Studio
from yue.songbook.perform import perform
from yue.songbook.profile import Profile

VOICES = {"male": "m1", "female": "f1", "child": "f1"}
"""The songbook's voice for a gender, fixed before anything was measured."""
_TRACKS = ("vocals", "accompaniment")


@dataclass(frozen=True)
class Take:
    """A song that was sung, in its files."""

    path: Path
    """Of the manifest, NAME.json."""

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What is written down about it."""
        return dict(read_json(self.path))

    @property
    def sections(self) -> list[TimedSection]:
        """Its sections with times in seconds."""
        return [TimedSection(**each) for each in self.manifest["sections"]]

    @property
    def seconds(self) -> float:
        """Its length."""
        return float(self.manifest["seconds"])

    def track(self, name: str) -> Audio:
        """One stem: vocals or accompaniment."""
        return Audio.read(self.path.with_suffix(f".{name}.flac"))

    @cached_property
    def heard(self) -> list[Heard]:
        """The phones heard in the vocals."""
        path = self.path.with_suffix(".heard")
        if not path.is_file():
            write_json(path, phones_of(self.track("vocals")))
        return [Heard(*each) for each in read_json(path)]

    @property
    def symbols(self) -> list[str]:
        """Those without their times."""
        return [phone.symbol for phone in self.heard]

    @cached_property
    def pitch(self) -> np.ndarray:
        """F0 of the vocals, Hz per 10 ms, 0 for unvoiced."""
        path = self.path.with_suffix(".pitch")
        if not path.is_file():
            write_json(path, f0.track(self.track("vocals")).round(3).tolist())
        return np.asarray(read_json(path), dtype=np.float64)

    @property
    def median_note(self) -> float:
        """The middle pitch of the vocals, MIDI; NaN if nothing is voiced."""
        voiced = self.pitch[self.pitch > 0]
        return float(69 + 12 * np.log2(np.median(voiced) / 440)) if voiced.size else float("nan")


class Singer(Protocol):
    """Sings a lyric; the same arguments give the same take."""

    name: str
    identity: str
    references: bool

    def sing(self, lyric: Lyric, *, seed: int, **knobs: Any) -> Take:
        """The song, made now or kept from before."""
        ...


@dataclass(eq=False)
class ModelSinger:
    """A model directory, loaded when first needed."""

    source: str
    folder: Path
    threads: int | None = None
    name: str = "generated"
    _loaded: Yue | None = field(default=None, repr=False)

    @property
    def model(self) -> Yue:
        """The model on the CPU."""
        if self._loaded is None:
            self._loaded = yue.load(self.source, device="cpu", threads=self.threads)
        return self._loaded

    @cached_property
    def identity(self) -> str:
        """A hash of all its files and of its own options."""
        roots = {Path(part["path"]) for part in _parts(self.model)}
        options = json.dumps(dict(self.model.spec.compose), sort_keys=True)
        return digest_of((path for root in roots for path in files_in(root)), options)

    @property
    def references(self) -> bool:
        """Whether it takes reference audio."""
        return self.model.spec.references is not False

    def sing(
        self, lyric: Lyric, *, seed: int, like: Take | None = None, **knobs: Any
    ) -> Take:
        """Compose, refine and render with the model's own defaults under `knobs`.

        A knob that only says what the model does anyway makes no other song.
        """
        own = self.model.spec.compose
        knobs = {name: value for name, value in knobs.items() if own.get(name) != value}
        told = {"text": lyric.text, "tags": lyric.tags, "seed": seed, "knobs": knobs,
                "like": like.path.stem if like else None}

        def make(path: Path) -> None:
            reference = None if like is None else yue.Reference(
                vocals=like.track("vocals"), accompaniment=like.track("accompaniment")
            )
            song = self.song(lyric, seed, reference, knobs)
            song.save(path.with_suffix(".flac"), stems=True)
            write_json(path, {**song.manifest, "asked": told})

        return kept(self.folder / f"{self.name}-{self.identity}", lyric.name, told, make)

    def song(
        self, lyric: Lyric, seed: int, like: yue.Reference | None, knobs: dict[str, Any]
    ) -> yue.Song:
        """Section by section, as models are trained to."""
        return self.model.sing(
            Lyrics(lyric.sections), lyric.tags, seed=seed, like=like, **knobs
        )


@dataclass(eq=False)
class AllFirstSinger(ModelSinger):
    """A model that was trained with all lyrics first: one head, then the song's codes at once."""

    @cached_property
    def decoder(self) -> Decoder:
        """Stage 1 on the CPU."""
        return stage1.decoder_of(Llama.load(self.model.parts.stage1.path), ComposeOptions())

    def song(
        self, lyric: Lyric, seed: int, like: yue.Reference | None, knobs: dict[str, Any]
    ) -> yue.Song:
        """The words stand in the head alone; `knobs` must leave room for a whole song."""
        vocabulary = self.decoder.config.vocabulary
        usual = build_prompt(
            lyric.sections, lyric.tags, self.model.tokenizer, vocabulary=vocabulary
        )
        prompt = replace(usual, openings=((vocabulary.soa, vocabulary.xcodec),))
        options = ComposeOptions.make({**self.model.spec.compose, **knobs, "seed": seed})
        plan = Lyrics(lyric.sections).sections[:1]
        *_, (draft,) = stage1.compose(self.decoder, prompt, plan, options)
        return self.model.render(self.model.refine(draft) if self.model.refines else draft)


@dataclass(eq=False)
class SongbookSinger:
    """The songbook, singing given words: genre and voice as the tags say."""

    profile: Profile
    folder: Path
    name: str = "songbook"
    references: bool = True

    @cached_property
    def studio(self) -> Studio:
        """Words, speakers and band."""
        return Studio.open()

    @cached_property
    def identity(self) -> str:
        """A hash of the songbook's source and the profile."""
        return digest_of(files_in(Path(songbook.__file__).parent), repr(self.profile))

    def sing(
        self, lyric: Lyric, *, seed: int, tempi: tuple[float, ...] = (), **_: Any
    ) -> Take:
        """A song with those words; knobs of a model do not matter here."""
        profile = self.profile.replace(tempi=tempi) if tempi else self.profile
        told = {"text": lyric.text, "genre": lyric.genre, "voice": VOICES[lyric.gender],
                "seed": seed, "tempi": tempi}

        def make(path: Path) -> None:
            score = compose(
                seed, 0, profile, lyrics=Lyrics(lyric.sections), genre=lyric.genre,
                voice=VOICES[lyric.gender], vocabulary=self.studio.vocabulary,
            )
            made = perform(
                score, self.studio.speakers, self.studio.bank, effects=profile.effects
            )
            for name in _TRACKS:
                Audio(getattr(made, name), made.rate).save(path.with_suffix(f".{name}.flac"))
            starts = [score.bars[part.first].start for part in score.sections]
            ends = [*starts[1:], made.seconds]
            write_json(path, {
                "seconds": made.seconds, "asked": told, "tempo": score.tempo,
                "sections": [
                    vars(TimedSection(part.label, part.text, start, end))
                    for part, start, end in zip(score.sections, starts, ends, strict=True)
                ],
            })

        return kept(self.folder / f"{self.name}-{self.identity}", lyric.name, told, make)


def kept(
    folder: Path, name: str, told: dict[str, Any], make: Callable[[Path], None]
) -> Take:
    """The take of that key, made if it is not there yet."""
    key = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:10]
    path = folder / f"{name}-{key}.json"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        make(path)
    return Take(path)


def files_in(root: Path) -> list[Path]:
    """All files below a folder, sorted; compiled Python left out."""
    return sorted(path for path in root.rglob("*") if path.is_file() and path.suffix != ".pyc")


def digest_of(paths: Iterable[Path], *more: str) -> str:
    """A short hash of what files hold."""
    total = hashlib.sha256("\n".join(more).encode())
    for path in sorted(set(paths)):
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:10]


def _parts(model: Yue) -> list[dict[str, Any]]:
    """Where the parts of a model are."""
    parts = model.parts
    named = (parts.stage1, parts.stage2, parts.codec, parts.upsampler, parts.tokenizer)
    return [{"path": part.path} for part in named]
