"""The training loop, top to bottom: one for every stage, from one process to many.

A run is a folder: `config.json`, checkpoints, `metrics.jsonl`, `losses.png`, and in the end
`model/`, a directory in the published layout. Everything that a step does is a function of its
number, so a run that was stopped anywhere goes on as if it had not been.
"""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim import Optimizer

from yue.data.pointers import PhoneticTokenizer
from yue.data.tasks import KINDS
from yue.errors import OptionError, YueError
from yue.files import read_json, write_json
from yue.lm.llama import LlamaConfig
from yue.tokenizer import Tokenizer
from yue.train import checkpoint, corpus, distributed, model, optimise, report
from yue.train.adapt import trainable
from yue.train.batch import Batch, make_batch
from yue.train.config import RunOptions
from yue.train.distributed import World
from yue.train.export import export
from yue.train.objective import Losses, Objective
from yue.train.permute import mix
from yue.train.sampler import Feeder, Row, Sampler
from yue.train.schedule import rate
from yue.vocab import Vocabulary

CONFIG = "config.json"
CHECKPOINTS = "checkpoints"
MODEL = "model"

Tell = Callable[[int, int, str], None]
"""Called with (steps done, steps in all, a few words)."""


class TrainingError(YueError, RuntimeError):
    """The loss is no number any more; names what was being learnt from."""


@dataclass
class Progress:
    """What a checkpoint keeps beside weights and moments."""

    tokens: int = 0
    best: float = math.inf
    waited: int = 0
    """Validations since the best one."""
    phase: int = 0
    """Of the last validation: losses of other phases are not compared with it."""


def train(
    options: RunOptions,
    *,
    resume: bool = False,
    minutes: float | None = None,
    tell: Tell | None = None,
) -> Path:
    """Run a training to its end, or for some minutes; returns its folder.

    `resume` goes on from the last checkpoint if there is one. Ctrl-C and SIGTERM save one and
    raise `KeyboardInterrupt`. Raises `OptionError` for a folder that exists already,
    `TrainingError` for a loss that is no number.
    """
    world = distributed.start(options.loop.replicas)
    try:
        with interrupts() as interrupted:
            folder = Trainer(options, world, resume=resume).run(minutes, interrupted, tell)
            if interrupted():
                raise KeyboardInterrupt
            return folder
    finally:
        distributed.end(world)


@contextlib.contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C or SIGTERM came; a second Ctrl-C ends the program at once."""
    came: list[int] = []

    def note(number: int, _: Any) -> None:
        if came and number == signal.SIGINT:
            raise KeyboardInterrupt
        came.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass
class _Sums:
    """Losses gathered over steps."""

    codes: Tensor
    counts: Tensor
    guide: float = 0.0
    guided: int = 0
    harmony: float = 0.0
    played: int = 0
    tokens: int = 0
    since: float = field(default_factory=time.perf_counter)


class Trainer:
    """A run in one process of its world."""

    def __init__(self, options: RunOptions, world: World, *, resume: bool) -> None:
        # 1. The run's folder: refused if it is taken, known if it is resumed.
        self.options, self.world = options, world
        self.folder = Path(options.run)
        self.saved = look(options, resume=resume)

        # 2. Model, tokenizer, songs.
        start = model.build(options)
        self.forms = start.forms
        self.labels = labels_of(options)
        check_fits(options, start.llama.config, start.forms.tokenizer, world.size)
        codebooks = 1 if options.stage == 1 else self.forms.vocabulary.codebooks
        songs, valid = corpus.load_both(
            options.data, self.forms.vocabulary, codebooks=codebooks
        )
        self.sampler = Sampler(songs, self.forms, options.phases, options.seed)
        self.valid = (
            Sampler(valid, self.forms, options.phases, options.seed, partial=True)
            if valid else None
        )
        if options.loop.patience and self.valid is None:
            raise OptionError(
                f"loop.patience = {options.loop.patience}, and no song is there to validate with: "
                "name some in data.valid."
            )
        claim(options, world)

        # 3. Loss around the model, sharded over the world; optimisers over the shards.
        self.dtype = torch.bfloat16 if options.loop.dtype == "bf16" else torch.float32
        self.objective = objective_of(options, start).to(world.device)
        distributed.shard(self.objective, start.llama.model.layers, world, self.dtype)
        self.optimisers: list[Optimizer] = optimise.make(self.objective, options.optimiser)

        # 4. Where it stood.
        self.step, self.progress = 0, Progress()
        if self.saved is not None:
            state = checkpoint.load(self.saved, self.objective, self.optimisers, world)
            self.step = state.pop("step")
            self.progress = Progress(**{**state, "best": _number(state["best"])})
        self.metrics = None
        if world.first:
            self.metrics = report.Metrics(
                self.folder, after=self.step, tensorboard=options.loop.tensorboard
            )
        self.sums = self._nothing()

    def run(
        self, minutes: float | None, interrupted: Callable[[], bool], tell: Tell | None
    ) -> Path:
        """Steps until the end, the time is up, validation says so, or an interrupt."""
        options, loop = self.options, self.options.loop
        deadline = math.inf if minutes is None else time.monotonic() + 60 * minutes
        done = self._done()
        feeder = Feeder(
            self.sampler, self._plan(), threads=loop.threads, ahead=loop.ahead,
            processes=loop.processes,
        )
        with contextlib.closing(iter(feeder)) as steps:
            for rows in steps:
                if self._agree(interrupted() or time.monotonic() > deadline):
                    break
                loss = self._step(rows)
                self.step += 1
                done = self._done()
                if self.step % loop.log_every == 0 or done:
                    self._log()
                if loop.validate_every and (self.step % loop.validate_every == 0 or done):
                    self._validate()
                    done = self._done()
                if self.step % loop.save_every == 0 or done:
                    self._save()
                if tell is not None and self.world.first:
                    tell(self.step, options.steps, f"loss {loss:.3f}")
                if done:
                    break
        self._finish(done)
        return self.folder

    def _done(self) -> bool:
        return self.step >= self.options.steps or self._waited_enough()

    def _waited_enough(self) -> bool:
        patience = self.options.loop.patience
        return bool(patience) and self.progress.waited >= patience

    def _finish(self, done: bool) -> None:
        """The last checkpoint and the plot; of a run that is done, the model: the best one if
        validation stopped it."""
        self._save()
        if self.metrics is not None:
            self.metrics.close()
            report.plot(self.folder)
            if done:
                stopped = self._waited_enough()
                export(self.folder, self.folder / MODEL, best=stopped, replace=True)
        self.world.wait()

    def _plan(self) -> Iterator[list[tuple[int, int, int]]]:
        """Step by step, (phase, step of the phase, row) of this process."""
        last = self.step if self._waited_enough() else self.options.steps
        for step in range(self.step, last):
            phase, inner = self.options.phase_at(step)
            rows = range(self.world.rank, self.options.phases[phase].rows, self.world.size)
            yield [(phase, inner, row) for row in rows]

    def _agree(self, stop: bool) -> bool:
        """Whether any process wants to stop: all must, or none."""
        flag = torch.tensor(float(stop), device=self.world.device)
        return bool(self.world.total(flag))

    # One step ---------------------------------------------------------------------------------

    def _step(self, rows: list[Row]) -> float:
        """Forward, backward, update; returns the mean loss over all processes."""
        phase = self.options.phases[self.options.phase_at(self.step)[0]]
        batches = [
            make_batch(row, phase.mask, self.labels).to(self.world.device)  # type: ignore[arg-type]
            for row in rows
        ]
        # 1. How much there is to learn in this step, everywhere.
        targets, guided, played, tokens = self._counted(batches)
        # 2. Gradients: sums over micro-steps and ranks, divided once by what is counted. Sharding
        #    takes means over ranks, hence the size of the world.
        options = self.options
        share = self.world.size / targets
        guide_share = options.guide.weight * self.world.size / guided
        harmony_share = options.harmony.weight * self.world.size / played
        here = torch.zeros(3 + 2 * self.objective.groups, device=self.world.device)
        for number, batch in enumerate(batches):
            distributed.synchronise(self.objective, self.world, number == len(batches) - 1)
            losses = self._forward(batch, number)
            loss = losses.codes * share
            if losses.guide.requires_grad:  # one tensor with `harmony`
                loss = loss + losses.guide * guide_share + losses.harmony * harmony_share
            loss.backward()
            here += torch.cat([
                torch.stack(losses[:3]).detach(),
                losses.sums, losses.counts,
            ])
        # 3. Update, unless the loss or the gradient is no number.
        self.world.total(here)
        norm = self._clip()
        mean = float(here[0]) / targets
        if not math.isfinite(mean) or not math.isfinite(norm):
            raise TrainingError(self._told_broken(batches, mean, norm))
        optimise.set_rate(self.optimisers, self._rate())
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        # 4. What is told later.
        groups = self.objective.groups
        self.sums.codes += here[3 : 3 + groups]
        self.sums.counts += here[3 + groups :]
        self.sums.guide += float(here[1])
        self.sums.guided += guided
        self.sums.harmony += float(here[2])
        self.sums.played += played
        self.sums.tokens += tokens
        self.progress.tokens += tokens
        self.norm = norm
        return mean

    def _counted(self, batches: list[Batch]) -> tuple[int, int, int, int]:
        """Targets, guided positions, those with a chord, and tokens of the step, over all
        processes; 1 at least."""
        here = torch.tensor(
            [[len(b.at), len(b.queries), len(b.played), len(b.ids)] for b in batches],
            dtype=torch.float64, device=self.world.device,
        ).sum(0)
        targets, guided, played, tokens = (max(1, int(n)) for n in self.world.total(here).tolist())
        return targets, guided, played, tokens

    def _forward(self, batch: Batch, number: int) -> Losses:
        """Losses of a batch; dropout is a function of the step and the row."""
        row = self.world.rank + number * self.world.size
        torch.manual_seed(mix(self.options.seed, self.step, row) >> 1)
        with torch.autocast(
            self.world.device.type, self.dtype, enabled=self.dtype != torch.float32
        ):
            losses: Losses = self.objective(batch)
        return losses

    def _clip(self) -> float:
        """The norm of the gradient, which is cut to `clip`."""
        limit = self.options.optimiser.clip or math.inf
        norm = torch.nn.utils.clip_grad_norm_(trainable(self.objective), limit)
        whole = getattr(norm, "full_tensor", None)
        return float(norm if whole is None else whole())

    def _rate(self) -> float:
        phase, inner = self.options.phase_at(self.step)
        return rate(self.options.phases[phase], inner)

    def _told_broken(self, batches: list[Batch], mean: float, norm: float) -> str:
        songs = sorted({song for batch in batches for song in batch.songs})
        if self.world.mesh is not None:
            gathered: list[Any] = [None] * self.world.size
            dist.all_gather_object(gathered, songs)
            songs = sorted({song for part in gathered for song in part})
        last = checkpoint.named(self.folder / CHECKPOINTS, checkpoint.LATEST)
        return (
            f"step {self.step}: loss {mean}, norm of the gradient {norm}, learning from "
            f"{', '.join(songs)}. Nothing was updated or saved; the last checkpoint is "
            f"{last.name if last else 'not there yet'}. Lower the rate, or look at these songs."
        )

    # Between steps ----------------------------------------------------------------------------

    def _nothing(self) -> _Sums:
        zeros = torch.zeros(self.objective.groups, device=self.world.device)
        return _Sums(zeros, zeros.clone())

    def _log(self) -> None:
        sums, self.sums = self.sums, self._nothing()
        seconds = time.perf_counter() - sums.since
        if self.metrics is None or not sums.tokens:
            return
        line = {
            "step": self.step,
            "phase": self.options.phases[self.options.phase_at(self.step - 1)[0]].name,
            "tokens": self.progress.tokens,
            "loss": float(sums.codes.sum() / sums.counts.sum().clamp(min=1)),
            "losses": report.by_group(sums.codes, sums.counts, self.labels),
            "rate": self.optimisers[0].param_groups[0]["lr"],
            "norm": self.norm,
            "tokens_per_second": round(sums.tokens / seconds, 1),
        }
        if sums.guided and self.objective.guided:
            line["guide"] = sums.guide / sums.guided / len(self.objective.guided)
        if sums.played and self.objective.readers is not None:
            line["harmony"] = sums.harmony / sums.played / len(self.objective.readers)
        self.metrics.write(line)

    @torch.no_grad()
    def _validate(self) -> None:
        """Note the validation loss, and whether it is the best of its phase."""
        if self.valid is None:
            return
        phase = self.options.phase_at(self.step - 1)[0]
        if phase != self.progress.phase:
            self.progress.phase, self.progress.best, self.progress.waited = phase, math.inf, 0
        sums = self._nothing()
        self.objective.eval()
        for row in range(self.world.rank, self._valid_rows(), self.world.size):
            documents = self.valid.row(phase, 0, row)
            mask = self.options.phases[phase].mask
            batch = make_batch(documents, mask, self.labels).to(self.world.device)  # type: ignore[arg-type]
            losses = self._forward(batch, 0)
            if row < self.options.loop.valid_rows:
                sums.codes += losses.sums
                sums.counts += losses.counts
        self.objective.train()
        self.world.total(sums.codes)
        self.world.total(sums.counts)
        loss = float(sums.codes.sum() / sums.counts.sum().clamp(min=1))
        if self.metrics is not None:
            table = report.by_group(sums.codes, sums.counts, self.labels)
            self.metrics.write({"step": self.step, "valid": {"loss": loss, **table}})
        if loss < self.progress.best:
            self.progress.best, self.progress.waited = loss, 0
            self._save()
            if self.world.first:
                folder = self.folder / CHECKPOINTS
                checkpoint.point(folder, checkpoint.BEST, folder / f"step_{self.step:08d}")
        else:
            self.progress.waited += 1

    def _valid_rows(self) -> int:
        """Rows of a validation, the same number for every process."""
        return -(-self.options.loop.valid_rows // self.world.size) * self.world.size

    def _save(self) -> None:
        if not self.step:
            return
        folder = self.folder / CHECKPOINTS
        best = self.progress.best
        state = {**vars(self.progress), "best": best if math.isfinite(best) else None}
        checkpoint.save(folder, self.step, self.objective, self.optimisers, state, self.world)
        if self.world.first:
            checkpoint.sweep(folder, self.options.loop.keep)


def _number(value: float | None) -> float:
    return math.inf if value is None else value


# Before the first step ------------------------------------------------------------------------

def labels_of(options: RunOptions) -> dict[str, int]:
    """A number for every entry of the mixtures of a run."""
    found = {label for phase in options.phases for label in phase.tasks}
    found |= {phase.packer for phase in options.phases}
    return {label: number for number, label in enumerate(sorted(found))}


def look(options: RunOptions, *, resume: bool) -> Path | None:
    """The checkpoint to go on from, if there is one.

    Raises `OptionError` if the folder is taken and `resume` is not asked for, or if the config
    there describes another model.
    """
    folder = Path(options.run)
    config = folder / CONFIG
    taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    if taken and not resume:
        raise OptionError(
            f"the run folder {folder} exists: go on with --resume, or choose another with "
            "--set run=FOLDER."
        )
    now = options.as_dict()
    if config.is_file():
        before = read_json(config)
        for name in ("stage", "seed", "model", "lora", "harmony"):
            if before.get(name, _plain(now[name])) != _plain(now[name]):
                raise OptionError(
                    f"{config} has another {name}: a run cannot go on with it; take another folder."
                )
    return checkpoint.newest(folder / CHECKPOINTS)


def claim(options: RunOptions, world: World) -> None:
    """Make the run's folder and keep its config there, once nothing can be refused any more."""
    world.wait()
    if world.first:
        folder = Path(options.run)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / CONFIG, options.as_dict())
    world.wait()


def _plain(value: Any) -> Any:
    """As it reads back from JSON."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def objective_of(options: RunOptions, start: model.Start) -> Objective:
    """Model and loss of a run."""
    return Objective(
        start.llama, options.guide, groups=len(labels_of(options)) * len(KINDS),
        recompute=options.loop.recompute, drawn=drawn_ids(options, start.forms.vocabulary),
        harmonised=options.harmony, seed=options.seed,
    )


def drawn_ids(options: RunOptions, vocabulary: Vocabulary) -> range | None:
    """The ids over which the loss is normalised, if not over all: EOA up to the first codebook."""
    if options.loop.scores == "full":
        return None
    return range(vocabulary.eoa, vocabulary.codebook(0).stop)


def check_fits(
    options: RunOptions, config: LlamaConfig, tokenizer: Tokenizer, world_size: int
) -> None:
    """Refuse before the first step what could not be trained."""
    if options.guide.weight and not isinstance(tokenizer, PhoneticTokenizer):
        raise OptionError(
            "guide.weight: the tokenizer spells no phones; use model.tokenizer = 'phonemes'."
        )
    if options.guide.weight and options.guide.head >= config.num_attention_heads:
        raise OptionError(f"guide.head = {options.guide.head}: the model has "
                          f"{config.num_attention_heads} heads.")
    for name, layers in (("guide", options.guide.layers), ("harmony", options.harmony.layers)):
        if any(not 0 <= n < config.num_hidden_layers for n in layers):
            raise OptionError(f"{name}.layers = {list(layers)}: the model has "
                              f"{config.num_hidden_layers}, from 0.")
    for phase in options.phases:
        if phase.rows % world_size:
            raise OptionError(
                f"phase {phase.name}: {phase.rows} rows per step cannot be shared by {world_size} "
                "processes: choose batch / context as a multiple of them."
            )
        if phase.context > config.max_position_embeddings:
            raise OptionError(
                f"phase {phase.name}: context = {phase.context} exceeds the model's "
                f"{config.max_position_embeddings} positions."
            )
