"""Training a codec and its upsampler from audio: phases, losses, steps. `yue train-codec run.toml`.

    teacher     the semantic model learns phones, pitch and pitch classes (songs with labels)
    codec       encoders, quantiser and decoders learn to give the sound back; the first codebook is
                guided to what the teacher knows
    upsampler   the decoders of each track learn on, on frozen codes, against an adversary

Each phase is the same loop with other parts switched on. A step is a function of the seed, the
phase and the step's number, so a run that is cut off goes on exactly as it would have.
"""

from __future__ import annotations

import io
import json
import math
import time
import tomllib
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from yue.codec.layers import SemanticDecoder
from yue.codec.upsamplers import save_upsamplers
from yue.codec.vocos import Vocos, VocosConfig
from yue.codec.xcodec import XCodec, XCodecConfig
from yue.errors import FileError, OptionError, YueError
from yue.files import PathLike, write_bytes
from yue.lm.decode import Decoder
from yue.lm.llama import Llama
from yue.options import Options, knob, unknown_option
from yue.stage2 import decoder_of, refine_track
from yue.train import report
from yue.train.adversary import Adversary, deceive_loss, match_loss, unmask_loss
from yue.train.clips import Batch, Clips
from yue.train.schedule import warmed_cosine
from yue.train.spectral import mel_distance, stft_distance
from yue.train.teacher import Readers, freeze_regularisers, heard_in

PARTS = ("teacher", "codec", "upsampler")
STATE = "state.pt"
CONFIG = "config.toml"
REFINED = 32
"""Windows that Stage 2 works on at a time."""
FINAL_SHARE = 0.05
"""The learning rate at the end of a phase, as a share of its height."""

Losses = dict[str, Tensor]
Tell = Callable[[str, Mapping[str, float]], None]


class TrainingError(YueError, RuntimeError):
    """A training that cannot go on, and why."""


@dataclass(frozen=True, kw_only=True)
class Phase(Options):
    """One phase of a codec's training."""

    train: str = knob("codec", "Which part learns.", choices=PARTS)
    track: str | None = knob(None, "Learn from this track alone; by default from all.")
    steps: int = knob(1000, "Optimiser steps.", low=1, high=10**8)
    batch: int = knob(8, "Clips per step and track.", low=1, high=4096)
    sounded: int | None = knob(
        None, "Clips among them whose sound is compared; the others teach quantiser and guide.",
        low=1, high=4096,
    )
    frames: int = knob(50, "Frames per clip; 50 are a second.", low=10, high=3000)
    rate: float = knob(1e-3, "Height of the learning rate.", low=1e-7, high=1.0)
    warmup: int = knob(50, "Steps of linear warm-up.", low=0, high=10**7)
    clip: float = knob(1.0, "Largest norm of the gradient.", low=1e-3, high=1e6)
    mel: float = knob(1.0, "Weight of the mel distance.", low=0.0, high=1e3)
    stft: float = knob(0.3, "Weight of the STFT distance.", low=0.0, high=1e3)
    commit: float = knob(0.25, "Weight of the quantiser's commitment.", low=0.0, high=1e3)
    semantic: float = knob(1.0, "Weight of the teacher's features, given back.", low=0.0, high=1e3)
    guide: float = knob(
        0.5, "Weight of phones, pitch and pitch classes read off the first codebook.",
        low=0.0, high=1e3,
    )
    only_first: float = knob(
        0.25, "Share of steps in which the first codebook stands alone.", low=0.0, high=1.0
    )
    dropout: float = knob(
        0.0, "Share of the upsampler's steps with fewer codebooks.", low=0.0, high=1.0
    )
    noise: float = knob(0.0, "Noise on quantised features, in their spread.", low=0.0, high=1.0)
    adversary: float = knob(0.0, "Weight of the adversarial losses; 0 is off.", low=0.0, high=1e3)
    match: float = knob(2.0, "Weight of the adversary's layers beside it.", low=0.0, high=1e3)


@dataclass(frozen=True, kw_only=True)
class CodecRun:
    """Everything that a run is made of; one TOML file."""

    data: Mapping[str, tuple[str, ...]]
    """File patterns per track."""
    codec: XCodecConfig
    upsampler: VocosConfig
    phases: tuple[Phase, ...]
    seed: int = 1
    adversary_sizes: tuple[int, ...] = (256, 512, 1024)
    adversary_channels: int = 16
    adversary_top: float = 22_050.0
    """Highest frequency in Hz that the adversary hears: less costs less."""
    start: str = ""
    """A codec directory to go on from."""
    teacher: str = ""
    """A directory with a HuBERT in transformers' layout, for a codec with a semantic model."""
    stage2: str = ""
    """A Stage-2 directory: upsamplers then learn from what it makes of the first codebook, which is
    what they will be given when a song is sung."""
    save_every: int = 200
    raw: str = field(default="", compare=False, repr=False)

    @classmethod
    def read(cls, path: PathLike) -> CodecRun:
        """Read a TOML file. Raises `FileError` or `OptionError` that names what does not fit."""
        try:
            text = Path(path).read_text("utf-8")
            values = tomllib.loads(text)
        except OSError as error:
            raise FileError(f"could not read {path}: {error.strerror or error}.") from error
        except tomllib.TOMLDecodeError as error:
            raise FileError(f"{path} is not valid TOML ({error}).") from error
        return cls.make(values, raw=text)

    @classmethod
    def make(cls, values: Mapping[str, Any], raw: str = "") -> CodecRun:
        """From plain values. Raises `OptionError` on an unknown key."""
        known = tuple(name for name in cls.__dataclass_fields__ if name != "raw")
        for name in values:
            if name not in known:
                raise unknown_option(name, known)
        for name in ("data", "codec", "phases"):
            if not values.get(name):
                raise OptionError(f"{name}: missing; a codec's run needs data, codec and phases.")
        _check_types(values)
        phases = tuple(Phase.make(each) for each in values["phases"])
        for number, phase in enumerate(phases):
            if phase.track is not None and phase.track not in values["data"]:
                tracks = ", ".join(values["data"])
                raise OptionError(f"phases.{number}.track = {phase.track!r}: data has {tracks}.")
        codec = XCodecConfig.from_dict(values["codec"])
        sizes = {"input_channels": codec.width, **values.get("upsampler", {})}
        own = ("data", "codec", "upsampler", "phases")
        rest: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items() if name not in own
        }
        return cls(
            data={track: tuple(globs) for track, globs in values["data"].items()},
            codec=codec, upsampler=VocosConfig.from_dict(sizes),
            phases=phases, raw=raw, **rest,
        )

    def clips(self) -> Clips:
        """The recordings. Raises `FileError` if there are none."""
        return Clips.find(
            self.data, sample_rate=self.upsampler.sample_rate,
            coarse_rate=self.codec.sample_rate, frame_rate=self.codec.frame_rate,
        )


_KINDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "seed": (lambda value: type(value) is int, "a whole number"),
    "save_every": (lambda value: type(value) is int and value > 0, "a whole number from 1 up"),
    "adversary_channels": (lambda v: type(v) is int and v > 0, "a whole number from 1 up"),
    "adversary_top": (lambda v: type(v) in (int, float) and v > 0, "a frequency in Hz"),
    "adversary_sizes": (
        lambda value: isinstance(value, list | tuple) and all(type(n) is int for n in value),
        "a list of whole numbers",
    ),
    **{
        name: (lambda value: isinstance(value, str), "a path")
        for name in ("start", "teacher", "stage2")
    },
}


def _check_types(values: Mapping[str, Any]) -> None:
    """Raise `OptionError` for a value of another kind than its key's."""
    for name, (fits, told) in _KINDS.items():
        if name in values and not fits(values[name]):
            raise OptionError(f"{name} = {values[name]!r}: allowed is {told}.")
    for name in ("data", "codec", "upsampler"):
        if not isinstance(values.get(name, {}), Mapping):
            raise OptionError(f"{name} must be written as a table, [{name}].")
    if not isinstance(values["phases"], list | tuple):
        raise OptionError("phases must be written as [[phases]], one table per phase.")
    for track, globs in values["data"].items():
        if not isinstance(globs, list | tuple):
            raise OptionError(
                f"data.{track} = {globs!r}: allowed is a list of file patterns, ['songs/*.flac']."
            )


class Workshop(nn.Module):
    """The codec, its upsamplers, and what only training needs of them."""

    def __init__(self, run: CodecRun, tracks: tuple[str, ...]) -> None:
        super().__init__()
        width = run.codec.width
        self.sample_rate = run.upsampler.sample_rate
        self.codec = XCodec(_trainable(run.codec))
        self.upsamplers = nn.ModuleDict({track: Vocos(run.upsampler) for track in tracks})
        self.first = Readers(width)
        if run.codec.mel is not None:
            nn.init.eye_(self.codec.fc_prior.weight)
            nn.init.zeros_(self.codec.fc_prior.bias)
        if run.codec.semantic_size:
            self.taught = Readers(run.codec.semantic_size)
        if run.codec.semantic is not None:
            self.fc_post1 = nn.Linear(width, run.codec.semantic_size)
            self.decoder_semantic = SemanticDecoder(run.codec.semantic_size)
        heard = min(1.0, 2 * run.adversary_top / self.sample_rate)
        self.adversaries = nn.ModuleDict({
            track: Adversary(run.adversary_sizes, run.adversary_channels, heard)
            for track in tracks
        })

    def learning(self, part: str) -> list[nn.Module]:
        """The modules that learn in a phase."""
        codec = self.codec
        if part == "teacher":
            if not codec.config.semantic_size:
                raise OptionError("train = 'teacher': this codec has no semantic branch.")
            return [codec.semantic_model, self.taught]
        if part == "upsampler":
            return [self.upsamplers]
        modules: list[nn.Module] = [codec.encoder, codec.fc_prior, self.upsamplers, self.first]
        if codec.config.decoder_channels:
            modules += [codec.fc_post2, codec.decoder_2]
        if codec.config.semantic is not None:
            modules += [codec.encoder_semantic, self.fc_post1, self.decoder_semantic]
        return modules

    def pass_on(self) -> None:
        """Let the first codebook's readers begin with what the teacher's have learned.

        Mel features come out of `fc_prior` as they are at first, the teacher's behind the others.
        """
        for name, taught in self.taught.named_children():
            first = getattr(self.first, name)
            with torch.no_grad():
                first.weight.zero_()
                first.weight[:, self.codec.config.latent :] = taught.weight
                first.bias.copy_(taught.bias)

    def given_back(self, quantised: Tensor) -> Tensor:
        """The teacher's features (B, C, T), from quantised ones (B, D, T)."""
        return self.decoder_semantic(self.fc_post1(quantised.transpose(1, 2)).transpose(1, 2))


def _trainable(config: XCodecConfig) -> XCodecConfig:
    if config.semantic is None:
        return config
    return XCodecConfig(**{**asdict(config), "semantic": freeze_regularisers(config.semantic)})


# Losses of a step ---------------------------------------------------------------------------------

def teacher_losses(shop: Workshop, batch: Batch) -> Losses:
    """What the teacher reads off one track's clips."""
    return shop.taught.losses(shop.codec.semantic(batch.coarse), batch, heard_in(batch, shop.codec))


def codec_losses(
    shop: Workshop, batch: Batch, phase: Phase, rng: np.random.Generator
) -> tuple[Losses, Tensor]:
    """Weighted losses of the codec on one track's clips, and what it made of them (B, S)."""
    codec = shop.codec
    features = codec.features(batch.coarse)
    count = 1 if rng.random() < phase.only_first else codec.config.codebooks
    quantised, codes, commitment = codec.quantizer(features, count)
    losses = {"commit": phase.commit * commitment}
    if phase.guide:
        first = codec.embed(codes[:, :1])
        # Straight through: the features feel what is missing in their first codebook.
        first = features + (first - features).detach()
        read = shop.first.losses(first, batch, heard_in(batch, codec))
        losses |= {name: phase.guide * loss for name, loss in read.items()}
    if phase.semantic and codec.config.semantic is not None:
        with torch.no_grad():
            wanted = codec.semantic(batch.coarse)
        spread = wanted.var().clamp_min(1e-6)
        missed = F.mse_loss(shop.given_back(quantised), wanted) / spread
        losses["semantic"] = phase.semantic * missed
    sounded = quantised[: phase.sounded]
    made = shop.upsamplers[batch.track](sounded)
    losses |= sound_losses(made, batch.wave[: len(made)], shop.sample_rate, phase)
    if codec.config.decoder_channels:
        own, rate = codec.decode_features(sounded), codec.config.sample_rate
        sound = sound_losses(own, batch.coarse[: len(own)], rate, phase)
        losses |= {f"codec_{name}": loss for name, loss in sound.items()}
    return losses, made


def upsampler_losses(
    shop: Workshop, batch: Batch, phase: Phase, rng: np.random.Generator
) -> tuple[Losses, Tensor]:
    """Weighted losses of the upsampler on frozen codes, and what it made of them (B, S)."""
    codec = shop.codec
    count = codec.config.codebooks
    if rng.random() < phase.dropout:
        count = int(rng.integers(1, count + 1))
    with torch.no_grad():
        codes = codec.encode(batch.coarse, count) if batch.codes is None else batch.codes
        features = codec.embed(codes[:, :count])
        if phase.noise:
            features = features + phase.noise * features.std() * torch.randn_like(features)
    made = shop.upsamplers[batch.track](features)
    return sound_losses(made, batch.wave, shop.sample_rate, phase), made


def sound_losses(made: Tensor, wave: Tensor, rate: int, phase: Phase) -> Losses:
    """Weighted distances of a waveform from the one it should be."""
    losses = {}
    if phase.mel:
        losses["mel"] = phase.mel * mel_distance(made, wave, rate)
    if phase.stft:
        losses["stft"] = phase.stft * stft_distance(made, wave)
    return losses


# The loop -----------------------------------------------------------------------------------------

@dataclass
class Progress:
    """How far a run is: the phase, and steps done in it."""

    phase: int = 0
    step: int = 0


class Trainer:
    """A run in its folder: made anew or resumed, then `train`ed."""

    def __init__(
        self, run: CodecRun, folder: PathLike, *, resume: bool = False,
        device: str | torch.device = "cpu",
    ) -> None:
        self.run, self.folder, self.device = run, Path(folder), torch.device(device)
        self._look(resume)
        self.clips = run.clips()
        torch.manual_seed(run.seed)
        self.shop = Workshop(run, self.clips.tracks)
        if run.start:
            self._start_from(run.start)
        if run.teacher:
            self.shop.codec.take_teacher(run.teacher)
        self.shop.to(self.device)
        self.at = Progress()
        self.optimisers: dict[str, torch.optim.Optimizer] = {}
        held = self.folder / STATE
        if resume and held.is_file():
            self._restore(torch.load(held, weights_only=True, map_location=self.device))
        self.folder.mkdir(parents=True, exist_ok=True)
        write_bytes(self.folder / CONFIG, self.run.raw.encode())

    def _look(self, resume: bool) -> None:
        """Refuse a folder that is taken, or whose run has other sizes."""
        config = self.folder / CONFIG
        if config.exists() and not resume:
            raise FileError(
                f"{self.folder} holds a run already: go on with --resume, or choose another folder."
            )
        if not (self.folder / STATE).is_file() or not config.exists() or not config.stat().st_size:
            return
        before = CodecRun.read(config)
        adversary = ("adversary_sizes", "adversary_channels", "adversary_top")
        for name in ("codec", "upsampler", *adversary):
            if getattr(before, name) != getattr(self.run, name):
                raise OptionError(
                    f"{config} has another {name}: a run cannot go on with it; take another folder."
                )

    def _start_from(self, directory: str) -> None:
        held = XCodec.load(directory, decode_only=False).state_dict()
        self.shop.codec.load_state_dict(held, strict=False)

    def train(
        self, *, minutes: float | None = None, tell: Tell | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Run what is left; False if time ran out or `stop` said so first. It is saved anyway."""
        end = math.inf if minutes is None else time.monotonic() + 60 * minutes

        def ended() -> bool:
            return stop() or time.monotonic() > end

        while self.at.phase < len(self.run.phases):
            if not self._run_phase(self.run.phases[self.at.phase], ended, tell):
                self.save()
                return False
            if self.run.phases[self.at.phase].train == "teacher" and self.run.codec.mel:
                self.shop.pass_on()
            self.at = Progress(self.at.phase + 1)
            self.optimisers = {}
            self.save()
        return True

    def _run_phase(self, phase: Phase, ended: Callable[[], bool], tell: Tell | None) -> bool:
        self._prepare(phase)
        if self.run.stage2 and phase.train == "upsampler":
            self._refine()
        with closing(self._batches(phase)) as batches:
            for batch in batches:
                if ended():
                    return False
                started = time.perf_counter()
                figures = self._step(phase, batch)
                self.at.step += 1
                figures["seconds"] = time.perf_counter() - started
                self._note(phase, figures, tell)
                if self.at.step % self.run.save_every == 0:
                    self.save()
        return True

    def _prepare(self, phase: Phase) -> None:
        """Switch the phase's parts on and all others off, and make its optimisers."""
        self.shop.requires_grad_(False).eval()
        learning = self.shop.learning(phase.train)
        for module in learning:
            module.requires_grad_(True).train()
        if phase.train == "codec":
            self.shop.codec.quantizer.train()
        if not self.optimisers:
            self.optimisers["main"] = _adam(learning, phase.rate)
            if phase.adversary:
                self.optimisers["adversary"] = _adam([self.shop.adversaries], phase.rate)
        self.shop.adversaries.requires_grad_(bool(phase.adversary)).train()

    def _refine(self) -> None:
        """Have Stage 2's codes of every file in the run's folder; what is there is kept."""
        self.clips = replace(self.clips, refined=self.folder / "refined")
        decoder: Decoder | None = None
        for track, path in [(t, p) for t in self.clips.tracks for p in self.clips.files[t]]:
            target = self.clips.refined_path(track, path)
            if target.is_file():
                continue
            decoder = decoder or decoder_of(Llama.load(self.run.stage2, device=self.device))
            wave = torch.from_numpy(self.clips.coarse(path))[None].to(self.device)
            with torch.inference_mode():
                first = self.shop.codec.encode(wave, 1)[0, 0].cpu().numpy()
            target.parent.mkdir(parents=True, exist_ok=True)
            buffer = io.BytesIO()
            np.save(buffer, refine_track(decoder, first, rows=REFINED).astype(np.int16))
            write_bytes(target, buffer.getvalue())

    def _batches(self, phase: Phase) -> Generator[list[Batch]]:
        """One batch per track and step, the next one made while this one is used."""
        def make(step: int) -> list[Batch]:
            return [
                self.clips.batch(
                    track, phase.batch, phase.frames, [self.run.seed, self.at.phase, step, k]
                )
                for k, track in enumerate(self.clips.tracks)
                if phase.track in (None, track)
            ]

        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(make, self.at.step)
            for step in range(self.at.step, phase.steps):
                batch = ahead.result()
                if step + 1 < phase.steps:
                    ahead = pool.submit(make, step + 1)
                yield batch

    def _step(self, phase: Phase, batches: list[Batch]) -> dict[str, float]:
        seed = [self.run.seed, self.at.phase, self.at.step]
        rng = np.random.default_rng(seed)
        torch.manual_seed(int(rng.integers(2**62)))
        self._set_rates(phase)
        for optimiser in self.optimisers.values():
            optimiser.zero_grad(set_to_none=True)
        figures: dict[str, float] = {}
        for batch in batches:
            losses = self._losses(phase, batch.to(self.device), rng)
            total = torch.stack(list(losses.values())).sum() / len(batches)
            if not bool(total.isfinite()):
                raise self._stopped("the loss", float(total.detach()), [batch])
            total.backward()
            figures |= {
                f"{batch.track}.{name}": float(loss.detach()) for name, loss in losses.items()
            }
        parameters = [p for g in self.optimisers["main"].param_groups for p in g["params"]]
        figures["norm"] = float(nn.utils.clip_grad_norm_(parameters, phase.clip))
        if not math.isfinite(figures["norm"]):
            raise self._stopped("the gradient's norm", figures["norm"], batches)
        for optimiser in self.optimisers.values():
            optimiser.step()
        return figures

    def _stopped(self, what: str, value: float, batches: list[Batch]) -> TrainingError:
        tracks = ", ".join(batch.track for batch in batches)
        return TrainingError(
            f"phase {self.at.phase}, step {self.at.step}, {tracks}: {what} is {value}. The last "
            f"good state is in {self.folder}; lower the rate."
        )

    def _losses(self, phase: Phase, batch: Batch, rng: np.random.Generator) -> Losses:
        shop = self.shop
        if phase.train == "teacher":
            return teacher_losses(shop, batch)
        make = codec_losses if phase.train == "codec" else upsampler_losses
        losses, made = make(shop, batch, phase, rng)
        if not phase.adversary:
            return losses
        judge, wave = shop.adversaries[batch.track], batch.wave[: len(made)]
        unmask = unmask_loss(judge(wave), judge(made.detach()))
        judge.requires_grad_(False)
        real, fake = judge(wave), judge(made)
        judge.requires_grad_(True)
        return losses | {
            "unmask": unmask,
            "deceive": phase.adversary * deceive_loss(fake),
            "match": phase.adversary * phase.match * match_loss(real, fake),
        }

    def _set_rates(self, phase: Phase) -> None:
        share = warmed_cosine(self.at.step, phase.steps, phase.warmup, FINAL_SHARE)
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = phase.rate * share

    def _note(self, phase: Phase, figures: Mapping[str, float], tell: Tell | None) -> None:
        row = {"phase": self.at.phase, "step": self.at.step, **figures}
        with (self.folder / report.METRICS).open("a") as file:
            file.write(json.dumps(row) + "\n")
        if tell is not None:
            tell(f"{phase.train} {self.at.step}/{phase.steps}", figures)

    def save(self) -> None:
        """Write the state, and the codec and upsamplers as directories that `yue.load` reads."""
        buffer = io.BytesIO()
        torch.save({
            "shop": self.shop.state_dict(), "phase": self.at.phase, "step": self.at.step,
            "optimisers": {name: each.state_dict() for name, each in self.optimisers.items()},
        }, buffer)
        write_bytes(self.folder / STATE, buffer.getvalue())

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.shop.load_state_dict(state["shop"])
        self.at = Progress(state["phase"], state["step"])
        done = self.at.phase, self.at.step
        report.keep(self.folder, lambda row: (row["phase"], row["step"]) <= done)
        if state["optimisers"]:
            self._prepare(self.run.phases[self.at.phase])
            for name, held in state["optimisers"].items():
                self.optimisers[name].load_state_dict(held)

    def export(self, target: PathLike) -> Path:
        """Write `codec` and `upsampler` directories; the code of silence is measured."""
        target = Path(target)
        codec = self.shop.eval().cpu().codec
        codec.config = XCodecConfig(**{**asdict(self.run.codec), "silence": codec.silence_code()})
        codec.save(target / "codec")
        save_upsamplers(
            target / "upsampler",
            dict(self.shop.upsamplers.items()),  # type: ignore[arg-type]
        )
        return target


def _adam(modules: list[nn.Module], rate: float) -> torch.optim.Optimizer:
    parameters = [p for module in modules for p in module.parameters()]
    return torch.optim.AdamW(parameters, rate, betas=(0.8, 0.99), weight_decay=0.0)
