"""Training speed and memory: this loop beside transformers' Trainer, on the same model and rows.

The same 15M body with the published vocabulary (83,968) and with a small one, the same rows, dtype
and checkpointing of activations; AdamW and clipping in both. Each measurement is a process of its
own, since peak memory is a process's: `yue.train.loop` from Parquet records on the one hand, a
plain `LlamaForCausalLM` + `Trainer` over rows that are ready-made on the other.

    python benchmarks/train.py --quick            about a minute
    python benchmarks/train.py                    contexts up to 16k

Prints a Markdown table, the machine and the versions.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

BODY = {
    "hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 8,
    "num_attention_heads": 6, "num_key_value_heads": 2,
}
VOCABULARIES = {83_968: "yue-v1", 1_536: "own"}
RECOMPUTE_FROM = 4096
"""Contexts from which both sides work out activations anew on the way back."""
SEED = 1


def values(folder: Path, vocabulary: int, context: int, steps: int, dtype: str) -> dict[str, Any]:
    """The run's TOML, as plain values."""
    return {
        "run": str(folder / "run"), "seed": SEED,
        "data": {"train": [str(folder)], "split": False},
        "model": {
            **BODY, "tokenizer": "bytes", "vocabulary": VOCABULARIES[vocabulary],
            "codebooks": 1, "codebook_size": 1024, "pad_vocabulary": vocabulary,
        },
        "loop": {
            "dtype": dtype, "recompute": context >= RECOMPUTE_FROM, "save_every": 10**6,
            "validate_every": 0, "log_every": 10**6,
        },
        "phases": [{
            "tokens": steps * context, "context": context, "batch": context, "rate": 1e-4,
            "packer": "concat", "tasks": {"lyrics_to_song": 1},
        }],
    }


def write_songs(folder: Path) -> None:
    """Two minutes of random codes each, in sections that the shortest context holds."""
    from yue.data import records
    from yue.data.records import Part, Record

    rng = np.random.default_rng(SEED)

    def song(number: int) -> Record:
        frames, section = 6000, 200
        return Record(
            id=f"song-{number}", tags=("pop",),
            parts=tuple(
                Part("verse", "la", start, start + section)
                for start in range(0, frames, section)
            ),
            codes={
                name: rng.integers(0, 1024, (1, frames), dtype=np.int16)
                for name in records.RECORDED
            },
        )

    records.write(folder / "songs.parquet", [song(n) for n in range(8)])


def ours(run: dict[str, Any], steps: int) -> dict[str, float]:
    """The loop itself, from records; timed after the first step."""
    from yue.train.config import RunOptions
    from yue.train.loop import train

    stamps: list[float] = []
    options = RunOptions.make(run)

    class Enough(Exception):  # noqa: N818 - ends the run before it writes a checkpoint
        pass

    def tell(done: int, total: int, words: str) -> None:
        stamps.append(time.perf_counter())
        if done == steps:
            raise Enough

    with contextlib.suppress(Enough):
        train(options.replace(phases=[
            {**phase.as_dict(), "tokens": phase.tokens + phase.batch} for phase in options.phases
        ]), tell=tell)
    return {"seconds_per_step": (stamps[-1] - stamps[0]) / (steps - 1)}


def theirs(run: dict[str, Any], steps: int) -> dict[str, float]:
    """`Trainer` over the same rows, labels unshifted as transformers wants them."""
    import torch
    from transformers import (
        LlamaConfig,
        LlamaForCausalLM,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    from yue.data.tasks import Forms
    from yue.train import corpus, model
    from yue.train.config import RunOptions
    from yue.train.sampler import Sampler

    options = RunOptions.make(run)
    tokenizer = model.tokenizer_of(options.model)
    config = model.config_of(options.model, tokenizer)
    forms = Forms(tokenizer=tokenizer, vocabulary=config.vocabulary)
    songs, _ = corpus.load_both(options.data, forms.vocabulary, codebooks=1)
    sampler = Sampler(songs, forms, options.phases, options.seed)
    rows = [
        torch.from_numpy(sampler.row(0, step, 0)[0].sequence.ids[:-1].astype(np.int64))
        for step in range(steps)
    ]
    stamps: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            stamps.append(time.perf_counter())

    arguments = TrainingArguments(
        output_dir=run["run"], max_steps=steps, per_device_train_batch_size=1, use_cpu=True,
        bf16=options.loop.dtype == "bf16", gradient_checkpointing=options.loop.recompute,
        learning_rate=1e-4, lr_scheduler_type="constant", max_grad_norm=1.0, save_strategy="no",
        report_to=[], logging_strategy="no", disable_tqdm=True,
    )
    twin = LlamaForCausalLM(LlamaConfig(**{**config.to_dict(), "use_cache": False}))
    Trainer(
        model=twin, args=arguments, callbacks=[Clock()],
        train_dataset=[{"input_ids": row, "labels": row} for row in rows],
    ).train()
    return {"seconds_per_step": (stamps[-1] - stamps[0]) / (steps - 1)}


def measure(who: str, run: dict[str, Any], steps: int) -> None:
    """One measurement, in this process; prints JSON."""
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", str(os.cpu_count()))))
    told = {"ours": ours, "theirs": theirs}[who](run, steps)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({**told, "peak_bytes": peak}))


def measured(who: str, vocabulary: int, context: int, args: argparse.Namespace) -> dict[str, float]:
    """The same in a process of its own; empty if it died (memory)."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_songs(folder)
        run = values(folder, vocabulary, context, args.steps, args.dtype)
        command = [
            sys.executable, __file__, "--measure", who, json.dumps(run), "--steps",
            str(args.steps),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr.strip().splitlines()[-1:] or "killed", file=sys.stderr)
        return {}
    told: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return {"tokens_per_second": context / told["seconds_per_step"], **told}


def table(args: argparse.Namespace) -> None:
    """All measurements, side by side."""
    print("| vocabulary | context | ours tok/s | Trainer tok/s | ratio | ours GB | Trainer GB "
          "| ratio |\n|---|---|---|---|---|---|---|---|")
    for vocabulary in VOCABULARIES:
        for context in args.contexts:
            pair = [measured(who, vocabulary, context, args) for who in ("ours", "theirs")]
            cells = [f"{vocabulary:,}", f"{context:,}"]
            for name, scale in (("tokens_per_second", 1.0), ("peak_bytes", 1e-9)):
                values = [each[name] * scale if each else float("nan") for each in pair]
                digits = 0 if scale == 1 else 2
                cells += [f"{x:,.{digits}f}" for x in values] + [f"{values[0] / values[1]:.2f}"]
            print("| " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    """Measure, or be one measurement."""
    import torch
    import transformers

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="One short context.")
    parser.add_argument("--contexts", type=int, nargs="+", default=[1024, 4096, 8192, 16384])
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--dtype", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--measure", nargs=2, metavar=("WHO", "RUN"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure(args.measure[0], json.loads(args.measure[1]), args.steps)
        return
    if args.quick:
        args.contexts, args.steps = [1024], 3
    print(f"{platform.platform()}, {os.cpu_count()} cores, torch {torch.__version__}, "
          f"transformers {transformers.__version__}, {args.dtype}, checkpointing of activations "
          f"from {RECOMPUTE_FROM:,}\n")
    table(args)


if __name__ == "__main__":
    main()
