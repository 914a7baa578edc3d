"""Our Llama against transformers', and the properties that training will rely on."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig as TheirConfig
from transformers import LlamaForCausalLM

from conftest import GOLDEN
from yue.errors import ModelError
from yue.lm.llama import Llama, LlamaConfig


def make(kv_heads: int, **changes: object) -> Llama:
    torch.manual_seed(kv_heads)
    config = {
        "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3,
        "num_attention_heads": 6, "num_key_value_heads": kv_heads, "vocab_size": 200,
        "max_position_embeddings": 128, "rms_norm_eps": 1e-5, **changes,
    }
    model = Llama(LlamaConfig.from_dict(config)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model


def theirs(model: Llama) -> LlamaForCausalLM:
    twin = LlamaForCausalLM(TheirConfig(**model.config.to_dict())).eval()
    twin.load_state_dict(model.state_dict())
    return twin


@pytest.mark.parametrize("kv_heads", [6, 2, 1])
def test_logits_equal_transformers(kv_heads: int) -> None:
    model = make(kv_heads)
    ids = torch.randint(0, 200, (2, 40))
    with torch.no_grad():
        expected = theirs(model)(ids).logits
        torch.testing.assert_close(model(ids), expected, atol=1e-5, rtol=1e-5)


def test_golden_checkpoint_equals_transformers() -> None:
    model = Llama.load(GOLDEN / "stage1-tiny")
    twin = LlamaForCausalLM.from_pretrained(GOLDEN / "stage1-tiny", dtype=torch.float32)
    ids = torch.randint(0, 83_968, (1, 60), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(model(ids), twin(ids).logits, atol=1e-4, rtol=1e-5)


def test_transformers_reads_what_we_save(tmp_path) -> None:
    model = make(2)
    model.save(tmp_path)
    twin = LlamaForCausalLM.from_pretrained(tmp_path)
    ids = torch.randint(0, 200, (1, 30))
    with torch.no_grad():
        torch.testing.assert_close(twin(ids).logits, model(ids), atol=1e-5, rtol=1e-5)


def test_rotary_base_is_read_in_both_spellings() -> None:
    sizes = make(2).config.to_dict()
    sizes.pop("rope_parameters")
    assert LlamaConfig.from_dict({**sizes, "rope_theta": 5000.0}).rope_theta == 5000.0
    newer = {**sizes, "rope_parameters": {"rope_type": "default", "rope_theta": 7000.0}}
    assert LlamaConfig.from_dict(newer).rope_theta == 7000.0


@pytest.mark.parametrize(
    "change",
    [
        {"rope_scaling": {"rope_type": "linear", "factor": 2}},
        {"model_type": "mistral"},
        {"attention_bias": True},
        {"hidden_act": "gelu"},
    ],
)
def test_other_architectures_are_refused(change: dict) -> None:
    with pytest.raises(ModelError, match="not a plain Llama"):
        LlamaConfig.from_dict({**make(2).config.to_dict(), "rope_parameters": None, **change})


def test_no_position_sees_the_future() -> None:
    model = make(2)
    ids = torch.randint(0, 200, (1, 30))
    changed = ids.clone()
    changed[0, 17] = (changed[0, 17] + 1) % 200
    with torch.no_grad():
        before, after = model(ids), model(changed)
    torch.testing.assert_close(before[:, :17], after[:, :17], atol=0, rtol=0)
    assert not torch.allclose(before[:, 17:], after[:, 17:])


def test_packed_documents_do_not_see_each_other() -> None:
    model = make(2)
    one, two = torch.randint(0, 200, (1, 12)), torch.randint(0, 200, (1, 19))
    documents = torch.tensor([[0] * 12 + [1] * 19])
    with torch.no_grad():
        packed = model(torch.cat([one, two], dim=1), documents)
        separate = torch.cat([model(one), model(two)], dim=1)
    torch.testing.assert_close(packed, separate, atol=1e-5, rtol=1e-5)
