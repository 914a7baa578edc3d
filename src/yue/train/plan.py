"""What a run would take, before it is run: tokens per task, steps, memory, time.

Tokens come from rows really drawn; memory of the weights is arithmetic (16 bytes per trained
parameter: weight, gradient, two moments, all fp32); speed, and what a row keeps for the way back,
are measured on a few rows where the model fits this machine.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import Any

import torch
from torch import Tensor

from yue.data.tasks import Forms
from yue.lm.llama import Llama, LlamaConfig
from yue.train import adapt, corpus, model
from yue.train.batch import make_batch
from yue.train.config import PhaseOptions, RunOptions
from yue.train.loop import check_fits, labels_of, objective_of
from yue.train.objective import Objective
from yue.train.sampler import Row, Sampler

ROWS = 12
"""Rows drawn per phase."""
MEASURED = 2
"""Rows per phase whose speed is measured, after a first one."""
BYTES = 16
"""Per trained parameter."""
FROZEN = {"fp32": 4.0, "bf16": 2.0, "int8": 1.0, "nf4": 0.5}
"""Bytes per frozen parameter."""
SHARE_OF_MEMORY = 0.5
"""A model that takes more of this machine's memory is not measured."""


def plan(options: RunOptions) -> dict[str, Any]:
    """A report of plain values: `model`, `memory`, and per phase tokens, steps and seconds."""
    tokenizer = model.tokenizer_of(options.model)
    config = model.config_of(options.model, tokenizer)
    forms = Forms(tokenizer=tokenizer, vocabulary=config.vocabulary)
    check_fits(options, config, tokenizer, world_size=1)
    songs, valid = corpus.load_both(
        options.data, forms.vocabulary,
        codebooks=1 if options.stage == 1 else forms.vocabulary.codebooks,
    )
    sampler = Sampler(songs, forms, options.phases, options.seed)
    trained, frozen = sizes(config, options)
    weights = round(trained * BYTES + frozen * FROZEN[options.lora.base])
    fits = weights < SHARE_OF_MEMORY * _memory()
    objective = objective_of(options, model.build(options)) if fits else None
    return {
        "songs": len(songs), "valid_songs": len(valid), "steps": options.steps,
        "parameters": {"trained": trained, "frozen": frozen},
        "memory": {"weights_and_optimiser_bytes": weights, "shared_by_processes": True},
        "phases": [
            _phase(options, sampler, index, objective) for index in range(len(options.phases))
        ],
    }


def sizes(config: LlamaConfig, options: RunOptions) -> tuple[int, int]:
    """Parameters that learn and parameters that do not."""
    with torch.device("meta"):
        llama = Llama(config)
    if not options.lora.rank:
        return sum(p.numel() for p in llama.parameters()), 0
    rank, frozen = options.lora.rank, sum(p.numel() for p in llama.parameters())
    layers = [
        layer for name, layer in llama.named_modules()
        if isinstance(layer, torch.nn.Linear) and name.split(".")[-1] in options.lora.targets
    ]
    return sum(rank * (layer.in_features + layer.out_features) for layer in layers), frozen


def _phase(
    options: RunOptions, sampler: Sampler, index: int, objective: Objective | None
) -> dict[str, Any]:
    phase = options.phases[index]
    rows = [sampler.row(index, step, 0) for step in range(ROWS)]
    shares: Counter[str] = Counter()
    for row in rows:
        for document in row:
            shares[document.label] += len(document)
    drawn = sum(shares.values())
    filled = drawn / (ROWS * phase.context)
    tokens = round(phase.steps * phase.batch * filled)
    report: dict[str, Any] = {
        "name": phase.name, "steps": phase.steps, "rows_per_step": phase.rows,
        "context": phase.context, "filled": round(filled, 3), "tokens": tokens,
        "tokens_per_task": {k: round(tokens * n / drawn) for k, n in sorted(shares.items())},
        "left_out": dict(sampler.left_out),
    }
    if objective is not None:
        speed, kept = _measured(objective, rows, phase, options)
        report |= {
            "tokens_per_second": round(speed, 1), "seconds": round(tokens / speed),
            "activations_bytes": kept,
        }
    return report


def _measured(
    objective: Objective, rows: list[Row], phase: PhaseOptions, options: RunOptions
) -> tuple[float, int]:
    """Tokens per second of forward and backward on this machine, the first row left out; and the
    most bytes that a row keeps between the two, beside the weights.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    objective.to(device)
    labels, bf16 = labels_of(options), options.loop.dtype == "bf16"
    done, start, kept = 0, time.perf_counter(), 0
    weights = {p.untyped_storage().data_ptr() for p in objective.parameters()}
    for number, row in enumerate(rows[: 1 + MEASURED]):
        if number == 1:
            done, start = 0, time.perf_counter()
        batch = make_batch(row, phase.mask, labels).to(device)  # type: ignore[arg-type]
        held: dict[int, int] = {}

        def note(tensor: Tensor, held: dict[int, int] = held) -> Tensor:
            storage = tensor.untyped_storage()
            held[storage.data_ptr()] = storage.nbytes()
            return tensor

        with (
            torch.autocast(device.type, torch.bfloat16, enabled=bf16),
            torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        ):
            losses = objective(batch)
        kept = max(kept, sum(size for at, size in held.items() if at not in weights))
        (losses.codes + losses.guide + losses.harmony).backward()
        for parameter in adapt.trainable(objective):
            parameter.grad = None
        done += len(batch.ids)
    return done / max(1e-9, time.perf_counter() - start), kept


def _memory() -> int:
    """Bytes of this machine's memory, or its first GPU's."""
    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
