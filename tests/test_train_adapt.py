"""Adapters that are trained here: frozen bases, peft's layout, merging, quantised bases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch.distributed.checkpoint import FileSystemReader
from transformers import LlamaForCausalLM

from songs import run_values, song, write
from yue.errors import OptionError
from yue.lm.llama import Llama
from yue.lm.lora import PREFIX, WEIGHTS, merge
from yue.prompt import build_prompt
from yue.tokenizer import load_tokenizer
from yue.train import checkpoint, report
from yue.train.adapt import Adapted, adapt
from yue.train.config import LoraOptions, RunOptions
from yue.train.export import export
from yue.train.loop import train
from yue.train.model import build

pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning",  # peft's
    "ignore::DeprecationWarning",  # torchao's and bitsandbytes' own
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model as a run without steps would leave it."""
    folder = tmp_path_factory.mktemp("base")
    values = run_values(folder / "run", folder, model={
        "hidden_size": 64, "intermediate_size": 128, "head_dim": 32
    })
    start = build(RunOptions.make(values))
    start.llama.save(folder / "model")
    start.forms.tokenizer.save(folder / "model")  # type: ignore[attr-defined]
    return folder / "model"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Songs whose every vocal code is the same: the marker to be learnt."""
    songs = [song(n, parts=1) for n in range(2)]
    for made in songs:
        made.codes["vocals"][:] = MARKER
    return write(tmp_path_factory.mktemp("records"), songs)


MARKER = 7


def tuned(folder: Path, records: Path, start: Path, steps: int = 60, **lora: Any) -> Path:
    """A run of adapters on the model in `start`."""
    values = run_values(
        folder, records, model={"start": str(start)},
        lora={"rank": 4, "alpha": 8.0, "dropout": 0.1, "base": "fp32", **lora},
        loop={"dtype": "fp32" if lora.get("base", "fp32") == "fp32" else "bf16"},
        phases=[{"tokens": steps * 400, "context": 400, "batch": 400, "rate": 1e-2,
                 "end": 0.0, "shape": "linear",
                 "mask": "target", "tasks": {"lyrics_to_song": 1}}],
    )
    return train(RunOptions.make(values))


def test_a_new_adapter_changes_nothing_and_alone_may_learn(base: Path) -> None:
    plain, adapted = Llama.load(base), Llama.load(base)
    adapt(adapted, LoraOptions(rank=4, base="fp32"), seed=0)
    ids = torch.randint(0, plain.config.vocab_size, (1, 20))
    with torch.no_grad():
        assert torch.equal(plain(ids), adapted.eval()(ids))
    learning = {name for name, p in adapted.named_parameters() if p.requires_grad}
    assert len(learning) == 2 * 7 * 3 and all(".lora_" in name for name in learning)
    with pytest.raises(OptionError, match="the model has no layer w_proj"):
        adapt(Llama.load(base), LoraOptions(rank=4, targets=("q_proj", "w_proj")), seed=0)


def test_a_marker_is_learnt_and_merging_changes_nothing(
    tmp_path: Path, base: Path, data: Path
) -> None:
    folder = tuned(tmp_path / "run", data, base, steps=120)
    untouched, merged = Llama.load(base), Llama.load(export(folder, tmp_path / "m", merge=True))
    v, record = merged.config.vocabulary, song(0, parts=1)
    sections = [part.section for part in record.parts]
    (ids,) = build_prompt(sections, "pop slow", load_tokenizer(base), vocabulary=v).segments
    prompt = torch.tensor([ids])
    with torch.no_grad():
        before, after = (m(prompt)[0, -1].softmax(-1)[v.codec_base + MARKER]
                         for m in (untouched, merged))
        # .786 after 120 steps and after 300: the frozen random head is the likely limit.
        assert before < 0.1 and after > 0.7
        # Unmerged, by peft on transformers' model; merged by us, from the adapter.
        twin = PeftModel.from_pretrained(
            LlamaForCausalLM.from_pretrained(base, dtype=torch.float32), folder / "model"
        ).eval()
        torch.testing.assert_close(merged(prompt), twin(prompt).logits, atol=1e-5, rtol=1e-5)
        merge(untouched, folder / "model")
        assert torch.equal(untouched(prompt), merged(prompt))


def test_the_frozen_base_is_not_saved_and_not_moved(
    tmp_path: Path, base: Path, data: Path
) -> None:
    folder = tuned(tmp_path / "run", data, base, steps=2)
    path = checkpoint.named(folder / "checkpoints", checkpoint.LATEST)
    saved = FileSystemReader(path).read_metadata().state_dict_metadata
    weights = {name for name in saved if name.startswith("model.")}
    expected = load_file(folder / "model" / WEIGHTS)
    assert {name.removeprefix("model.llama.") for name in weights} == {
        name.removeprefix(PREFIX) for name in expected
    }


@pytest.mark.parametrize(
    ("kind", "package", "worst"), [("int8", "torchao", 0.03), ("nf4", "bitsandbytes", 0.25)]
)
def test_quantised_bases(
    tmp_path: Path, base: Path, data: Path, kind: str, package: str, worst: float
) -> None:
    pytest.importorskip(package)
    plain, small = Llama.load(base, torch.bfloat16), Llama.load(base)
    adapt(small, LoraOptions(rank=4, base=kind), seed=0)
    held = [m for m in small.modules() if isinstance(m, Adapted)]
    assert len(held) == 21
    ids = torch.randint(0, plain.config.vocab_size, (1, 50))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected, rough = plain(ids), small.eval()(ids)
    assert (rough - expected).norm() / expected.norm() < worst * 3
    folder = tuned(tmp_path / "run", data, base, steps=10, base=kind)
    lines = [line["loss"] for line in report.read(folder)]
    assert lines[-1] < 0.8 * lines[0]
