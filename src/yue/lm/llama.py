"""The Llama of both stages, one file, with the parameter names of the published checkpoints.

Token ids `(B, T)` go in, logits `(B, T, V)` come out: this is the plain form, for training and as
the slow twin of `decode.py`. Sizes come from `config.json`. No cache, no sampling, no songs. How
positions may see each other is a value that is handed in (`Attend`): causally, or document by
document where a row packs several.

Rounding follows the published models: RMSNorm in fp32, cast, then times the weight; rotary angles
in fp32; logits in fp32.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from yue.errors import ModelError
from yue.files import PathLike, read_json, write_json
from yue.lm.attention import Attend, ByDocument, causal
from yue.vocab import Vocabulary
from yue.weights import SINGLE, fill, read_directory, write_tensors

Watch = Callable[[int, Tensor, Tensor, Tensor], Tensor | None]
"""Layer number, what it reads, its rotated q and k -> what is to be known of them, in training."""


@dataclass(frozen=True, kw_only=True)
class LlamaConfig:
    """Sizes of a Llama, in Hugging Face's names."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    max_position_embeddings: int
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    tie_word_embeddings: bool = False
    raw: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """The whole `config.json`, for what this class does not read."""

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> LlamaConfig:
        """Read a `config.json`; both spellings of the rotary base are known.

        Raises `ModelError` for a missing size or a variant that is not a plain Llama.
        """
        rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
        kind = rope.get("rope_type", rope.get("type", "default"))
        odd = {
            "model_type": config.get("model_type", "llama") != "llama",
            "rope_type": kind != "default",
            "hidden_act": config.get("hidden_act", "silu") != "silu",
            "attention_bias": bool(config.get("attention_bias")),
            "mlp_bias": bool(config.get("mlp_bias")),
        }
        for name, is_odd in odd.items():
            if is_odd:
                value = kind if name == "rope_type" else config.get(name)
                raise ModelError(f"config.json: {name} = {value!r} is not a plain Llama's.")
        try:
            heads = config["num_attention_heads"]
            return cls(
                hidden_size=config["hidden_size"],
                intermediate_size=config["intermediate_size"],
                num_hidden_layers=config["num_hidden_layers"],
                num_attention_heads=heads,
                num_key_value_heads=config.get("num_key_value_heads") or heads,
                head_dim=config.get("head_dim") or config["hidden_size"] // heads,
                vocab_size=config["vocab_size"],
                max_position_embeddings=config.get("max_position_embeddings", 2048),
                rms_norm_eps=config.get("rms_norm_eps", 1e-6),
                rope_theta=rope.get("rope_theta") or config.get("rope_theta") or 10000.0,
                tie_word_embeddings=bool(config.get("tie_word_embeddings")),
                raw=dict(config),
            )
        except KeyError as error:
            raise ModelError(f"config.json lacks {error.args[0]}: is it a Llama's?") from error

    def to_dict(self) -> dict[str, Any]:
        """A `config.json` that transformers reads, with everything that was in the one read."""
        names = (name for name in self.__dataclass_fields__ if name not in ("raw", "rope_theta"))
        return {
            **self.raw,
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_act": "silu",
            "rope_parameters": {"rope_theta": self.rope_theta, "rope_type": "default"},
            **{name: getattr(self, name) for name in names},
        }

    @functools.cached_property
    def vocabulary(self) -> Vocabulary:
        """The token numbers that the config describes, else YuE v1's.

        Raises `ModelError` if the embedding is too small for them.
        """
        vocabulary = Vocabulary.from_config(self.raw)
        if vocabulary.size > self.vocab_size:
            raise ModelError(
                f"the model embeds {self.vocab_size} ids, its vocabulary needs "
                f"{vocabulary.size}: config.json describes another one."
            )
        return vocabulary


def read_config(directory: PathLike) -> LlamaConfig:
    """The config of a model directory. Raises `ModelError` if there is none."""
    file = Path(directory) / "config.json"
    if not file.is_file():
        raise ModelError(f"{directory} holds no config.json: is it a model directory?")
    return LlamaConfig.from_dict(read_json(file))


def rotary(
    config: LlamaConfig, positions: Tensor, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """Cosine and signed sine (..., head_dim) for `positions` (...), computed in fp32.

    The sine carries the sign of the rotation, so that `rotate` needs no negation.
    """
    half = config.head_dim // 2
    steps = torch.arange(half, device=positions.device, dtype=torch.float32) / half
    angles = positions.float()[..., None] * (1.0 / config.rope_theta**steps)
    sin = angles.sin()
    cos = angles.cos()
    return torch.cat([cos, cos], -1).to(dtype), torch.cat([-sin, sin], -1).to(dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of x (..., head_dim): halves are rotated against each other."""
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Normalise the last axis in fp32, cast, then scale (the published rounding order)."""
    wide = x.float()
    normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
    return normed.to(x.dtype) * weight


class RMSNorm(nn.Module):
    """`rms_norm` with a learned weight (D,)."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """x (..., D) -> (..., D)."""
        return rms_norm(x, self.weight, self.eps)


class Attention(nn.Module):
    """Causal self-attention with grouped key-value heads."""

    def __init__(self, config: LlamaConfig, index: int) -> None:
        super().__init__()
        self.config, self.index = config, index
        c = config
        inner, shared = c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim
        self.q_proj = nn.Linear(c.hidden_size, inner, bias=False)
        self.k_proj = nn.Linear(c.hidden_size, shared, bias=False)
        self.v_proj = nn.Linear(c.hidden_size, shared, bias=False)
        self.o_proj = nn.Linear(inner, c.hidden_size, bias=False)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend, watch: Watch | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """x (B, T, D), cos and sin (B or 1, T, head_dim) -> (B, T, D), and what was watched."""
        B, T, _ = x.shape
        q, k, v = (
            projection(x).view(B, T, -1, self.config.head_dim).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        cos, sin = (angle[:, None].to(q.dtype) for angle in (cos, sin))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        out = attend(q, k, v).transpose(1, 2).reshape(B, T, -1)
        return self.o_proj(out), None if watch is None else watch(self.index, x, q, k)


class MLP(nn.Module):
    """SwiGLU."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., D) -> (..., D)."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """Pre-norm attention and MLP, each added to the stream."""

    def __init__(self, config: LlamaConfig, index: int) -> None:
        super().__init__()
        self.self_attn = Attention(config, index)
        self.mlp = MLP(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend, watch: Watch | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """x (B, T, D) -> (B, T, D), and what was watched."""
        out, watched = self.self_attn(self.input_layernorm(x), cos, sin, attend, watch)
        x = x + out
        return x + self.mlp(self.post_attention_layernorm(x)), watched


class Trunk(nn.Module):
    """Embedding, layers, last norm: what the checkpoints call `model`."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(
            Layer(config, index) for index in range(config.num_hidden_layers)
        )
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)


class Llama(nn.Module):
    """A causal language model over token ids."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Trunk(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    def hidden(self, ids: Tensor, documents: Tensor | None = None) -> Tensor:
        """Ids (B, T) -> last hidden states (B, T, D).

        `documents` (B, T) numbers packed documents, each of them one run: attention stays inside a
        document and positions begin at 0 in each.
        """
        positions = torch.arange(ids.shape[1], device=ids.device)[None]
        attend: Attend = causal
        if documents is not None:
            same = documents[:, None, :, None] == documents[:, None, None, :]
            mask = same & torch.ones_like(same[:1, :1]).tril()
            attend = functools.partial(causal, mask=mask)
            begins = F.pad(documents[:, 1:] != documents[:, :-1], (1, 0), value=True)
            starts = torch.where(begins, positions, 0).cummax(dim=1).values
            positions = positions - starts
        return self._run(ids, positions, attend)[0]

    def packed(
        self,
        ids: Tensor,
        lengths: Sequence[int],
        *,
        watch: Watch | None = None,
        recompute: bool = False,
    ) -> tuple[Tensor, list[Tensor]]:
        """One row of documents, ids (T,) -> hidden states (T, D), and what `watch` found.

        The same as `hidden` with document numbers, without a mask. `recompute` keeps only the
        layers' inputs and works out the rest again on the way back.
        """
        positions = torch.cat([torch.arange(n) for n in lengths]).to(ids.device)
        attend = ByDocument(lengths)
        x, watched = self._run(ids[None], positions[None], attend, watch, recompute)
        return x[0], watched

    def _run(
        self,
        ids: Tensor,
        positions: Tensor,
        attend: Attend,
        watch: Watch | None = None,
        recompute: bool = False,
    ) -> tuple[Tensor, list[Tensor]]:
        x = self.model.embed_tokens(ids)
        cos, sin = rotary(self.config, positions, x.dtype)
        watched = []
        for layer in self.model.layers:
            if recompute:
                x, seen = checkpoint(layer, x, cos, sin, attend, watch, use_reentrant=False)
            else:
                x, seen = layer(x, cos, sin, attend, watch)
            if seen is not None:
                watched.append(seen)
        return self.model.norm(x), watched

    def forward(self, ids: Tensor, documents: Tensor | None = None) -> Tensor:
        """Ids (B, T) -> logits (B, T, V) in fp32."""
        return self.lm_head(self.hidden(ids, documents)).float()

    @classmethod
    def load(
        cls,
        directory: PathLike,
        dtype: torch.dtype | None = torch.float32,
        device: str | torch.device = "cpu",
    ) -> Llama:
        """A model from a published-layout directory: `config.json` and safetensors.

        `dtype=None` keeps the files' own. Raises `ModelError` if a file is missing, cut off, or
        does not fit the config.
        """
        directory, config = Path(directory), read_config(directory)
        with torch.device("meta"):
            model = cls(config)
        tensors = read_directory(directory, device=device, dtype=dtype)
        if config.tie_word_embeddings and "model.embed_tokens.weight" in tensors:
            tensors.setdefault("lm_head.weight", tensors["model.embed_tokens.weight"])
        fill(model, tensors, str(directory))
        if config.tie_word_embeddings:
            model.lm_head.weight = model.model.embed_tokens.weight
        return model.eval()

    def save(self, directory: PathLike) -> Path:
        """Write `config.json` and `model.safetensors`, as transformers reads them."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        state = self.state_dict()
        if self.config.tie_word_embeddings:
            state.pop("lm_head.weight")
        write_tensors(directory / SINGLE, state)
        write_json(directory / "config.json", self.config.to_dict())
        return directory
