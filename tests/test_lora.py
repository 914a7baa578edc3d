"""Merged adapters, against peft itself on transformers' Llama with the same weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from yue.errors import ModelError
from yue.lm.llama import Llama
from yue.lm.lora import CONFIG, WEIGHTS, merge
from yue.rehearsal import VOCABULARY, random_llama

pytestmark = pytest.mark.filterwarnings(  # peft asks transformers by the old name
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
EVERYTHING = [*ATTENTION, "gate_proj", "up_proj", "down_proj"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama on disk, read by us and by transformers."""
    directory = tmp_path_factory.mktemp("base")
    return random_llama(VOCABULARY, seed=3, context=512).save(directory)


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain adapter for `base`."""
    directory = tmp_path_factory.mktemp("adapter")
    train(base, directory)
    return directory


def train(base: Path, directory: Path, **settings: Any) -> torch.nn.Module:
    """peft's model of `base` with an adapter that does something; saved to `directory`."""
    model = LlamaForCausalLM.from_pretrained(base, dtype=torch.float32)
    settings = {"r": 4, "lora_alpha": 12, "target_modules": EVERYTHING, **settings}
    adapted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **settings)).eval()
    torch.manual_seed(4)
    for name, parameter in adapted.named_parameters():
        if ".lora_" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    adapted.save_pretrained(directory, save_embedding_layers=False)
    return adapted


@pytest.fixture
def copy(adapter: Path, tmp_path: Path) -> Path:
    """The plain adapter, to be damaged."""
    return Path(shutil.copytree(adapter, tmp_path / "copy"))


def change_config(directory: Path, **settings: Any) -> None:
    config = json.loads((directory / CONFIG).read_text()) | settings
    (directory / CONFIG).write_text(json.dumps(config))


@torch.no_grad()
def assert_same_logits(base: Path, directory: Path, adapted: torch.nn.Module) -> None:
    ids = torch.randint(VOCABULARY.size, (2, 40), generator=torch.Generator().manual_seed(1))
    plain, ours = Llama.load(base), Llama.load(base)
    merge(ours, directory)
    expected = adapted(ids).logits
    assert (plain(ids) - expected).abs().max() > 0.1, "the adapter does nothing"
    torch.testing.assert_close(ours(ids), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"target_modules": ATTENTION, "use_rslora": True},
        {"target_modules": [*ATTENTION, "lm_head"], "r": 1},
        {"rank_pattern": {"q_proj": 2}},
        {"layers_to_transform": [1], "layers_pattern": "layers"},
        {"init_lora_weights": "gaussian"},
    ],
    ids=["all-layers", "rslora", "head", "ranks-differ", "one-layer", "gaussian"],
)
def test_merged_equals_peft(base: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    adapted = train(base, tmp_path, **settings)
    assert_same_logits(base, tmp_path, adapted)


def test_two_adapters_add_up(base: Path, adapter: Path) -> None:
    once, twice = Llama.load(base), Llama.load(base)
    merge(once, adapter)
    merge(twice, adapter)
    merge(twice, adapter)
    name = "model.layers.0.mlp.up_proj.weight"
    plain, one, two = (
        dict(model.named_parameters())[name] for model in (Llama.load(base), once, twice)
    )
    torch.testing.assert_close(two - plain, 2 * (one - plain))


def test_bf16_weights_are_merged_in_fp32(base: Path, adapter: Path) -> None:
    """One rounding, at the end: what is stored is the exact sum, cast."""
    ours, exact = Llama.load(base, torch.bfloat16), Llama.load(base, torch.bfloat16).float()
    merge(ours, adapter)
    merge(exact, adapter)
    for (name, weight), wide in zip(ours.named_parameters(), exact.parameters(), strict=True):
        assert weight.dtype == torch.bfloat16
        assert torch.equal(weight, wide.bfloat16()), name


def test_missing_files(base: Path, copy: Path) -> None:
    (copy / WEIGHTS).unlink()
    with pytest.raises(ModelError, match=f"no adapter: it needs {CONFIG} and {WEIGHTS}"):
        merge(Llama.load(base), copy)


def test_cut_off(base: Path, copy: Path) -> None:
    whole = (copy / WEIGHTS).read_bytes()
    (copy / WEIGHTS).write_bytes(whole[:-100])
    with pytest.raises(ModelError, match="not a whole safetensors file"):
        merge(Llama.load(base), copy)


def test_dora_made_by_peft(base: Path, tmp_path: Path) -> None:
    train(base, tmp_path, use_dora=True)
    with pytest.raises(ModelError, match="use_dora = True: only plain LoRA"):
        merge(Llama.load(base), tmp_path)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("peft_type", "LOHA"),
        ("init_lora_weights", "pissa_niter_4"),
        ("alpha_pattern", {"q_proj": 3}),
        ("alora_invocation_tokens", [1, 2]),
    ],
)
def test_what_is_no_plain_lora(base: Path, copy: Path, setting: str, value: Any) -> None:
    change_config(copy, **{setting: value})
    with pytest.raises(ModelError, match=f"{setting} = .*only plain LoRA"):
        merge(Llama.load(base), copy)


def test_wrong_shape_changes_nothing(base: Path, copy: Path) -> None:
    """The last path does not fit: the ones before it are not merged either."""
    tensors = load_file(copy / WEIGHTS)
    last = max(name for name in tensors if name.endswith("lora_A.weight"))
    tensors[last] = torch.zeros(4, 99)
    save_file(tensors, copy / WEIGHTS)
    model, untouched = Llama.load(base), Llama.load(base)
    with pytest.raises(ModelError, match=r"\(4, 99\).*another model") as caught:
        merge(model, copy)
    assert last.removesuffix(".lora_A.weight") in str(caught.value)
    for ours, theirs in zip(model.parameters(), untouched.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def add_tensor(directory: Path, name: str) -> None:
    save_file({**load_file(directory / WEIGHTS), name: torch.zeros(4, 32)}, directory / WEIGHTS)


@pytest.mark.parametrize(
    "path", ["model.layers.7.mlp.up_proj", "transformer.h.0.attn.c_attn", "model.layers.0.mlp"]
)
def test_unknown_path(base: Path, copy: Path, path: str) -> None:
    add_tensor(copy, f"base_model.model.{path}.lora_A.weight")
    with pytest.raises(ModelError, match=f"{path} does not belong to this model"):
        merge(Llama.load(base), copy)


@pytest.mark.parametrize("name", ["lm_head.weight", "model.embed_tokens.lora_embedding_A"])
def test_tensors_that_are_no_lora(base: Path, copy: Path, name: str) -> None:
    """Trained copies of whole layers, adapted embeddings: not to be left out in silence."""
    add_tensor(copy, f"base_model.model.{name}")
    with pytest.raises(ModelError, match=f"{name} is no LoRA tensor of a linear layer"):
        merge(Llama.load(base), copy)


def test_half_a_pair(base: Path, copy: Path) -> None:
    tensors = load_file(copy / WEIGHTS)
    gone = next(name for name in tensors if name.endswith("lora_B.weight"))
    save_file({name: t for name, t in tensors.items() if name != gone}, copy / WEIGHTS)
    with pytest.raises(ModelError, match="lacks one of"):
        merge(Llama.load(base), copy)


def test_no_tensors(base: Path, copy: Path) -> None:
    save_file({}, copy / WEIGHTS)
    with pytest.raises(ModelError, match="holds no LoRA tensors"):
        merge(Llama.load(base), copy)
