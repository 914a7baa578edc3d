"""One TOML -> the whole description of a training run, checked before anything is read.

Groups are the options of `yue.options`: frozen, each knob with its range, an unknown key refused
with the nearest known one. A run is a list of phases, each with its own budget, context, rate and
mixture of tasks. Knows no torch and no data.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from yue.errors import FileError, OptionError
from yue.files import PathLike
from yue.options import Options, knob, unknown_option


def names(sentence: str, default: tuple[Any, ...] = ()) -> Any:
    """A knob that takes a list."""
    return dataclasses.field(default=default, metadata={"help": sentence, "list": True})


@dataclass(frozen=True, kw_only=True)
class Group(Options):
    """Options some of whose knobs are lists."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in dataclasses.fields(self):
            if field.metadata.get("list"):
                object.__setattr__(self, field.name, _listed(field, getattr(self, field.name)))


def _listed(field: dataclasses.Field[Any], value: Any) -> tuple[Any, ...]:
    kind = int if "int" in str(field.type) else str
    if not isinstance(value, list | tuple) or not all(type(item) is kind for item in value):
        told = "whole numbers" if kind is int else "texts"
        raise OptionError(f"{field.name} = {value!r}: allowed is a list of {told}.")
    return tuple(value)


@dataclass(frozen=True, kw_only=True)
class DataOptions(Group):
    """Where the songs are."""

    train: tuple[str, ...] = names("Folders or Parquet files of records to learn from.")
    valid: tuple[str, ...] = names(
        "The same for validation, every song of them; by default a hundredth of the train folders."
    )
    split: bool = knob(
        True, "Leave a fiftieth of the train folders, by id or artist, for validation and tests; "
        "false learns from every song."
    )


@dataclass(frozen=True, kw_only=True)
class ModelOptions(Group):
    """The model that is trained: sizes, or a directory to start from."""

    start: str | None = knob(None, "Model directory or hub id to start from; its sizes then count.")
    tokenizer: str | None = knob(
        None, "phonemes, bytes, or a path; by default what lies in the start directory."
    )
    hidden_size: int = knob(288, "Width.", low=8, high=65536)
    intermediate_size: int = knob(768, "Width inside the MLP.", low=8, high=262144)
    num_hidden_layers: int = knob(6, "Layers.", low=1, high=256)
    num_attention_heads: int = knob(6, "Query heads.", low=1, high=256)
    num_key_value_heads: int = knob(2, "Key and value heads.", low=1, high=256)
    head_dim: int | None = knob(None, "Width of a head; by default width / heads.", low=2, high=512)
    max_position_embeddings: int = knob(16384, "Longest context when singing.", low=16, high=2**20)
    rope_theta: float = knob(10000.0, "Base of the rotary angles.", low=10.0, high=1e8)
    rms_norm_eps: float = knob(1e-5, "Added under the root of the norms.", low=1e-12, high=1e-2)
    tie_word_embeddings: bool = knob(False, "One matrix for embedding and head.")
    init_std: float = knob(0.02, "Spread of the first weights.", low=1e-5, high=1.0)
    vocabulary: str = knob(
        "own", "Ids of a new model: own, laid out behind the tokenizer's; or yue-v1, as published.",
        choices=("own", "yue-v1"),
    )
    codebook_size: int = knob(1024, "Codes per codebook, of a new model.", low=2, high=65536)
    codebooks: int = knob(8, "Codebooks per frame, of a new model.", low=1, high=64)
    silence: int = knob(0, "The first codebook's code for silence.", low=0, high=65535)
    frame_rate: int = knob(50, "Codec frames per second.", low=1, high=1000)
    pad_vocabulary: int = knob(1, "Embedding rows are a multiple of this.", low=1, high=2**20)


@dataclass(frozen=True, kw_only=True)
class OptimiserOptions(Group):
    """How weights move."""

    name: str = knob("adamw", "adamw, or muon for the matrices inside the layers.",
                     choices=("adamw", "muon"))
    beta1: float = knob(0.9, "AdamW's first moment.", low=0.0, high=0.9999)
    beta2: float = knob(0.95, "AdamW's second moment.", low=0.0, high=0.99999)
    eps: float = knob(1e-8, "AdamW's epsilon.", low=1e-16, high=1e-2)
    weight_decay: float = knob(0.1, "Decay of matrices; norms never decay.", low=0.0, high=10.0)
    clip: float = knob(1.0, "Largest norm of the gradient; 0 is off.", low=0.0, high=1e6)
    muon_ratio: float = knob(10.0, "Muon's rate as a multiple of AdamW's.", low=0.01, high=1e4)


@dataclass(frozen=True, kw_only=True)
class LoopOptions(Group):
    """How the loop runs: precision, checkpoints, validation."""

    dtype: str = knob("bf16", "Precision of the forward pass; weights stay fp32.",
                      choices=("bf16", "fp32"))
    scores: str = knob(
        "full", "Normalise the loss over the whole vocabulary, or (audio) from EOA to the end of "
        "the first codebook, where all lies that Stage 1 draws from.", choices=("full", "audio"),
    )
    recompute: bool = knob(False, "Keep only layer inputs; work out the rest again (less memory).")
    replicas: int = knob(1, "Copies of the sharded model (HSDP): nodes, mostly.", low=1, high=65536)
    save_every: int = knob(500, "Steps between checkpoints.", low=1, high=10**9)
    keep: int = knob(2, "Newest checkpoints that are kept, the best one aside.", low=1, high=1000)
    validate_every: int = knob(250, "Steps between validations; 0 is never.", low=0, high=10**9)
    valid_rows: int = knob(8, "Rows of each validation.", low=1, high=10**6)
    patience: int = knob(0, "Validations without gain until the run ends; 0 is never.",
                         low=0, high=10**6)
    log_every: int = knob(10, "Steps between lines of metrics.", low=1, high=10**6)
    threads: int = knob(2, "Threads that build sequences ahead.", low=1, high=64)
    processes: int = knob(
        0, "Processes that build them instead, where a GPU is faster than this one.",
        low=0, high=256,
    )
    ahead: int = knob(4, "Steps built ahead.", low=1, high=1024)
    tensorboard: bool = knob(False, "Write TensorBoard's files too (needs tensorboard).")


@dataclass(frozen=True, kw_only=True)
class GuideOptions(Group):
    """Attention supervision for songs with known alignments."""

    weight: float = knob(0.0, "Weight of the guide in the loss; 0 is off.", low=0.0, high=100.0)
    layers: tuple[int, ...] = names("Guided layers, from 0; by default all but first and last.")
    head: int = knob(0, "The guided head in each of them.", low=0, high=255)


@dataclass(frozen=True, kw_only=True)
class HarmonyOptions(Group):
    """Supervision by the chords, for songs where they are known."""

    weight: float = knob(0.0, "Weight of the harmony in the loss; 0 is off.", low=0.0, high=100.0)
    layers: tuple[int, ...] = names(
        "Layers, from 0, whose inputs are to tell the chord; by default the middle and the last."
    )


@dataclass(frozen=True, kw_only=True)
class LoraOptions(Group):
    """Adapters on a frozen model."""

    rank: int = knob(0, "Rank of the adapters; 0 trains the whole model.", low=0, high=4096)
    alpha: float = knob(32.0, "The product is scaled by alpha / rank.", low=0.01, high=4096.0)
    dropout: float = knob(0.1, "Share of an adapter's inputs left out.", low=0.0, high=0.9)
    targets: tuple[str, ...] = names(
        "Linear layers that get adapters.",
        ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    )
    base: str = knob(
        "bf16", "How the frozen weights are held: int8 needs torchao, nf4 bitsandbytes.",
        choices=("fp32", "bf16", "int8", "nf4"),
    )


@dataclass(frozen=True, kw_only=True)
class TaskOptions(Group):
    """One entry of a mixture."""

    task: str = knob("lyrics_to_song", "Name of the task, of `yue.data.mixture`.")
    weight: float = knob(1.0, "Share of the draws.", low=0.0, high=1e9)
    parts: int = knob(0, "Only this many sections in a row, of songs with more; 0 is all.",
                      low=0, high=1000)
    lines: int = knob(0, "Only this many lines in a row of a section with known phones; 0 is all.",
                      low=0, high=1000)
    dropout: float = knob(0.0, "Share of songs whose sections are trained without any prompt.",
                          low=0.0, high=1.0)


@dataclass(frozen=True, kw_only=True)
class PhaseOptions(Group):
    """A stretch of training with one context, one mixture and one course of the rate."""

    name: str = knob("phase", "What the phase is called in reports.")
    tokens: int = knob(0, "Tokens of the phase.", low=1, high=10**15)
    context: int = knob(8192, "Longest row in tokens.", low=16, high=2**20)
    batch: int = knob(8192, "Tokens per step, of all ranks; a multiple of the context.",
                      low=16, high=2**34)
    rate: float = knob(3e-4, "Learning rate after the warm-up.", low=0.0, high=10.0)
    end: float | None = knob(None, "Learning rate at the end; by default the same.",
                             low=0.0, high=10.0)
    shape: str = knob("constant", "Way from rate to end.", choices=("constant", "linear", "cosine"))
    start: float = knob(0.0, "Learning rate at the first step of the warm-up.", low=0.0, high=10.0)
    warmup: float = knob(0.0, "Share of the phase in which the rate rises from start to rate.",
                         low=0.0, high=1.0)
    hold: float = knob(0.0, "Share of the phase after the warm-up in which the rate stays.",
                       low=0.0, high=1.0)
    mask: str = knob("all", "What counts in the loss.", choices=("all", "audio", "target"))
    packer: str = knob("documents", "How rows are filled.", choices=("documents", "concat"))
    tags: tuple[str, ...] = names("Tags that are shown; by default all of a song's.")
    tasks: Mapping[str, TaskOptions] = dataclasses.field(
        default_factory=dict, metadata={"nested": True}
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "tasks", _mixture(self.name, self.tasks))
        super().__post_init__()
        if self.batch % self.context:
            raise OptionError(
                f"phase {self.name}: batch = {self.batch} must be a multiple of context = "
                f"{self.context}: it is a whole number of rows."
            )
        if self.warmup + self.hold > 1:
            raise OptionError(f"phase {self.name}: warmup + hold exceed 1: they are shares of it.")
        if self.start and not self.warmup:
            raise OptionError(
                f"phase {self.name}: start = {self.start} without warmup: give its share, or leave "
                "start out."
            )
        if self.shape == "constant" and (self.hold or self.end not in (None, self.rate)):
            raise OptionError(
                f"phase {self.name}: end and hold do nothing while shape = 'constant': choose "
                "linear or cosine, or leave them out."
            )

    @property
    def rows(self) -> int:
        """Rows per step, of all ranks."""
        return self.batch // self.context

    @property
    def steps(self) -> int:
        """Steps of the phase, the last one rounded up."""
        return -(-self.tokens // self.batch)


def _mixture(phase: str, tasks: Any) -> dict[str, TaskOptions]:
    """`{label: weight}` or `{label: {task, weight, ...}}`, the label being the task by default."""
    if not isinstance(tasks, Mapping) or not tasks:
        raise OptionError(f"phase {phase}: tasks is empty: name one, such as lyrics_to_song = 1.")
    made = {}
    for label, given in tasks.items():
        if isinstance(given, TaskOptions):
            made[label] = given
        else:
            values = given if isinstance(given, Mapping) else {"weight": given}
            made[label] = TaskOptions.make({"task": label, **values})
    if not any(task.weight for task in made.values()):
        raise OptionError(f"phase {phase}: every weight is 0.")
    return made


@dataclass(frozen=True, kw_only=True)
class RunOptions(Options):
    """A whole run."""

    run: str = knob("runs/run", "Folder of the run: config, checkpoints, metrics.")
    seed: int = knob(0, "Seed of weights, songs and dropout.", low=0, high=2**31 - 1)
    stage: int = knob(1, "1: the song model; 2: the residual model.", low=1, high=2)
    data: DataOptions = DataOptions()
    model: ModelOptions = ModelOptions()
    optimiser: OptimiserOptions = OptimiserOptions()
    loop: LoopOptions = LoopOptions()
    guide: GuideOptions = GuideOptions()
    harmony: HarmonyOptions = HarmonyOptions()
    lora: LoraOptions = LoraOptions()
    phases: tuple[PhaseOptions, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in (*_GROUPS, "phases"):
            object.__setattr__(self, name, _group(name, getattr(self, name)))
        self._check_whole()

    def _check_whole(self) -> None:
        if not self.phases:
            raise OptionError("no [[phases]]: a run needs at least one, with tokens and tasks.")
        if not self.data.train:
            raise OptionError("data.train is empty: name a folder of records.")
        if self.lora.rank and not self.model.start:
            raise OptionError("lora.rank without model.start: adapters need a model to adapt.")
        if self.lora.rank and self.lora.base != "fp32" and self.loop.dtype == "fp32":
            raise OptionError(
                f"lora.base = {self.lora.base!r} with loop.dtype = 'fp32': choose bf16, or "
                "lora.base = 'fp32'."
            )
        if self.loop.scores == "audio" and (
            self.stage == 2 or any(phase.mask == "all" for phase in self.phases)
        ):
            raise OptionError(
                "loop.scores = 'audio' is for Stage 1 with mask = 'target' or 'audio': elsewhere "
                "other tokens are learnt too."
            )
        if self.loop.patience and not self.loop.validate_every:
            raise OptionError(
                f"loop.patience = {self.loop.patience} counts validations, and validate_every = 0 "
                "makes none."
            )
        for name in ("guide", "harmony"):
            if self.stage == 2 and getattr(self, name).weight:
                raise OptionError(f"{name}.weight with stage = 2: that is for Stage 1.")

    @property
    def steps(self) -> int:
        """Steps in all."""
        return sum(phase.steps for phase in self.phases)

    def phase_at(self, step: int) -> tuple[int, int]:
        """Index of the phase that holds a step (from 0), and the step inside of it."""
        for index, phase in enumerate(self.phases):
            if step < phase.steps:
                return index, step
            step -= phase.steps
        return len(self.phases) - 1, self.phases[-1].steps + step

    @classmethod
    def load(cls, path: PathLike, changes: Sequence[str] = ()) -> Self:
        """Read a TOML file; `changes` are settings such as `lora.rank=32` or `phases.0.rate=1e-3`.

        Raises `OptionError` that names the file's mistake.
        """
        try:
            values = tomllib.loads(Path(path).read_text("utf-8"))
        except OSError as error:
            raise FileError(f"could not read {path}: {error.strerror or error}.") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise FileError(f"{path} is not valid TOML: {error}.") from error
        for change in changes:
            _set(values, change)
        try:
            return cls.make(values)
        except OptionError as error:
            raise OptionError(f"{path}: {error}") from error


_GROUPS: dict[str, type[Options]] = {
    "data": DataOptions, "model": ModelOptions, "optimiser": OptimiserOptions,
    "loop": LoopOptions, "guide": GuideOptions, "harmony": HarmonyOptions, "lora": LoraOptions,
}


def _group(name: str, value: Any) -> Any:
    """The options of one table, its name put before a complaint."""
    if name == "phases":
        if not isinstance(value, list | tuple):
            raise OptionError("phases must be written as [[phases]], one table per phase.")
        return tuple(_made(PhaseOptions, f"phases.{i}", v) for i, v in enumerate(value))
    return _made(_GROUPS[name], name, value)


def _made(kind: type[Options], name: str, value: Any) -> Options:
    if isinstance(value, kind):
        return value
    if not isinstance(value, Mapping):
        raise OptionError(f"{name} = {value!r}: allowed is a table, [{name}].")
    try:
        return kind.make(value)
    except OptionError as error:
        raise OptionError(f"[{name}] {error}") from error


def _set(values: dict[str, Any], change: str) -> None:
    """Apply one `a.b.c=value` to nested tables; the value is TOML, or else a text."""
    path, equals, text = change.partition("=")
    if not equals:
        raise OptionError(f"--set {change}: write it as name=value, such as lora.rank=32.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *parents, last = path.strip().split(".")
    table: Any = values
    for key in parents:
        try:
            table = table[int(key)] if isinstance(table, list) else table.setdefault(key, {})
        except (ValueError, IndexError, AttributeError) as error:
            raise OptionError(f"--set {change}: there is no {key!r} to go into.") from error
    if not isinstance(table, dict):
        raise unknown_option(path, tuple(_GROUPS))
    table[last] = value
