"""The token step: a Llama made ready to go on from a cache, one or two tokens at a time.

`Decoder` holds fused, packed weights and only the rows of the output head that are ever needed.
`prefill` fills a cache, `step` goes on from it; `Loop` runs a step again and again, on CUDA as a
captured graph. Its slow twin is `Llama.forward`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from yue.errors import CapacityError
from yue.lm.cache import KVCache
from yue.lm.llama import Layer, Llama, rms_norm, rotary, rotate
from yue.lm.pack import Matmul, pack, pack_normed

PREFILL_CHUNK = 512
"""Prompt tokens per forward: bounds the scores' memory without starving the matmuls."""

BUCKET = 512
"""Under a graph the cache is read in multiples of this: few captures, little wasted reading."""


@dataclass(frozen=True)
class _Packed:
    """One layer's weights: two norms, and four multiplications where the checkpoint has seven.

    A norm is None where its scale went into the multiplication behind it.
    """

    norm_in: Tensor | None
    qkv: Matmul
    out: Matmul
    norm_mid: Tensor | None
    gate_up: Matmul
    down: Matmul


def _fuse(parts: Sequence[torch.nn.Linear]) -> Tensor:
    """Stack the weights of several linears; they become views of the stack, so nothing is held
    twice."""
    stacked = torch.cat([part.weight.data for part in parts])
    for part, rows in zip(parts, stacked.split([p.out_features for p in parts]), strict=True):
        part.weight.data = rows
    return stacked


def _pack_layer(layer: Layer, exact: bool) -> _Packed:
    attention, mlp = layer.self_attn, layer.mlp
    qkv = _fuse([attention.q_proj, attention.k_proj, attention.v_proj])
    gate_up = _fuse([mlp.gate_proj, mlp.up_proj])
    norm_in, qkv_matmul = pack_normed(layer.input_layernorm.weight.data, qkv, exact=exact)
    norm_mid, gate_up_matmul = pack_normed(
        layer.post_attention_layernorm.weight.data, gate_up, exact=exact
    )
    return _Packed(
        norm_in=norm_in,
        qkv=qkv_matmul,
        out=pack(attention.o_proj.weight.data, exact=exact),
        norm_mid=norm_mid,
        gate_up=gate_up_matmul,
        down=pack(mlp.down_proj.weight.data, exact=exact),
    )


class Decoder:
    """A Llama with fused weights, ready to decode.

    `heads` are the groups of output rows that are wanted, one group per kind of step (Stage 1:
    the allowed ids; Stage 2: one group per codebook). `exact` keeps the weights' own precision.
    """

    def __init__(
        self, model: Llama, heads: Sequence[Sequence[int] | range], *, exact: bool = False
    ) -> None:
        self.config = model.config
        self.embedding = model.model.embed_tokens.weight.data
        self.device, self.dtype = self.embedding.device, self.embedding.dtype
        self.layers = [_pack_layer(cast(Layer, layer), exact) for layer in model.model.layers]
        rows = [torch.as_tensor(list(head), device=self.device) for head in heads]
        norm, weight = model.model.norm.weight.data, model.lm_head.weight.data
        self.heads = [pack_normed(norm, weight[index], exact=exact) for index in rows]
        positions = torch.arange(self.config.max_position_embeddings, device=self.device)
        self._cos, self._sin = rotary(self.config, positions, self.dtype)
        # In fp32 the queries are scaled while they are turned; with fewer bits, the fp32 scores.
        self._score_scale = 1.0 if self.dtype == torch.float32 else self.config.head_dim**-0.5
        self._turn, self._still = self._head_factors()
        self._eps = torch.full((1, 1, 1), self.config.rms_norm_eps, device=self.device)

    def _head_factors(self) -> tuple[Tensor, Tensor]:
        """Per head of q, k, v: how much of it turns, and how much stays as it is.

        With these one rotation serves all three, and scales the queries on its way."""
        c = self.config
        queries, shared = c.num_attention_heads, c.num_key_value_heads
        scale = torch.ones(queries + 2 * shared, 1)
        scale[:queries] = c.head_dim**-0.5 / self._score_scale
        still = torch.zeros(queries + 2 * shared, 1)
        still[queries + shared :] = 1
        turn = (1 - still) * scale
        return turn.to(self.device, self.dtype), still.to(self.device, self.dtype)

    def cache(self, rows: int, capacity: int) -> KVCache:
        """An empty cache of this model's shape.

        Raises `CapacityError` beyond the positions that the model was trained for.
        """
        limit = self.config.max_position_embeddings
        if capacity > limit:
            raise CapacityError(f"a context of {capacity} tokens: the model has {limit} positions.")
        return KVCache(self.config, rows, capacity, dtype=self.dtype, device=self.device)

    @torch.inference_mode()
    def prefill(self, ids: Sequence[int], cache: KVCache, row: int = 0) -> None:
        """Feed `ids` to one row of a cache, behind what it holds."""
        if not len(ids):
            return
        view = cache.row(row)
        view.reserve(len(ids))
        for piece in torch.as_tensor(ids, device=self.device).split(PREFILL_CHUNK):
            self._trunk(piece[None], [view])
            view.advance(len(piece))
        cache.set_length(row, view.lengths[0])

    @torch.inference_mode()
    def step(self, ids: Tensor, caches: Sequence[KVCache], head: int = 0) -> Tensor:
        """Feed ids (R, S), R the rows of all `caches` in order; the caches' lengths move on.

        Returns the logits (R, A) behind the last token, fp32, over the rows of `head`.
        """
        hidden = self._trunk(ids, caches)[:, -1]
        for cache in caches:
            cache.advance(ids.shape[1])
        norm, project = self.heads[head]
        return project(self._normed(hidden, norm)).float()

    def _normed(self, x: Tensor, weight: Tensor | None) -> Tensor:
        """RMSNorm of x (N, D); without a weight in as few operations as there are."""
        if weight is not None:
            return rms_norm(x, weight, self.config.rms_norm_eps)
        rows, columns = x.unsqueeze(1), x.unsqueeze(2)
        mean = torch.baddbmm(self._eps, rows, columns, alpha=1 / x.shape[1])
        return x * mean.view(-1, 1).rsqrt_()

    def _trunk(self, ids: Tensor, caches: Sequence[KVCache]) -> Tensor:
        """Ids (R, S) -> the last layer's output (R, S, D); keys and values go into the caches."""
        R, S = ids.shape
        queries, D = self.config.num_attention_heads, self.config.head_dim
        x = F.embedding(ids, self.embedding).view(R * S, -1)
        spans = [cache.open(S) for cache in caches]
        rows = [span.rows for span in spans]
        positions = torch.cat([span.positions.view(-1) for span in spans])
        cos = torch.addcmul(self._still, self._cos[positions][:, None], self._turn)
        sin = self._sin[positions][:, None] * self._turn
        for index, layer in enumerate(self.layers):
            heads = layer.qkv(self._normed(x, layer.norm_in)).view(R * S, -1, D)
            heads = rotate(heads, cos, sin).view(R, S, -1, D)
            outs = []
            for span, part in zip(spans, heads.split(rows), strict=True):
                kv = part[:, :, queries:].view(span.rows, S, 2, -1, D)
                keys, values = span.write(index, kv)
                q = part[:, :, :queries]
                outs.append(attend(q, keys, values, span.mask, self._score_scale))
            merged = outs[0] if len(outs) == 1 else torch.cat(outs)
            x = x + layer.out(merged.view(R * S, -1))
            gate, up = layer.gate_up(self._normed(x, layer.norm_mid)).chunk(2, -1)
            x = x + layer.down(F.silu(gate).mul_(up))
        return x.view(R, S, -1)


FEW_QUERIES = 8
"""Up to this many new tokens per row, heads are folded into the query rows."""


def attend(
    q: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scale: float = 1.0
) -> Tensor:
    """Attention of queries (R, S, heads, D) over keys and values (R, KV heads, n, D).

    `mask` (R or 1, S, n) is true where a query may read. Returns (R, S, heads * D). For few
    queries the heads of a group are folded into the query rows, so that each key is read once.
    """
    R, S, heads, D = q.shape
    shared = keys.shape[1]
    group = heads // shared
    rows = None if mask is None else mask[:, None]
    if S > FEW_QUERIES:
        if keys.is_cuda:
            # The kernel that takes a mask and keeps no scores knows no groups of heads.
            keys, values = (x.repeat_interleave(group, dim=1) for x in (keys, values))
        out = F.scaled_dot_product_attention(
            q.transpose(1, 2), keys, values, attn_mask=rows, scale=scale, enable_gqa=True
        )
        return out.transpose(1, 2).reshape(R, S, heads * D)
    folded = q.reshape(R, S, shared, group, D).transpose(1, 2).reshape(R, shared, S * group, D)
    if rows is not None and S > 1:
        rows = rows.repeat_interleave(group, dim=2)
    # On CUDA the fused kernel gives a row of queries to one processor: products use them all.
    few = attend_by_products if keys.is_cuda else F.scaled_dot_product_attention
    out = few(folded, keys, values, attn_mask=rows, scale=scale)
    if S == 1:
        return out.reshape(R, 1, heads * D)
    return out.view(R, shared, S, group, D).transpose(1, 2).reshape(R, S, heads * D)


def attend_by_products(
    q: Tensor, keys: Tensor, values: Tensor, attn_mask: Tensor | None, scale: float
) -> Tensor:
    """Attention written out: q (R, H, S, D), keys and values (R, H, n, D) -> (R, H, S, D).

    The softmax is in fp32: bf16 has 8 bits, too few for a sum over thousands of positions.
    """
    scores = torch.matmul(q, keys.transpose(-1, -2)).float() * scale
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -torch.inf)
    return torch.matmul(scores.softmax(-1).to(values.dtype), values)


class Loop:
    """Runs one body again and again, on CUDA as captured graphs, elsewhere as it is.

    The body takes nothing and returns nothing: it works on tensors that stay where they are, and
    moves the caches on. A graph is captured per `key` and per bucket of cache length.
    """

    def __init__(self, device: torch.device, *, graphs: bool = True) -> None:
        self.device, self.graphs = device, graphs and device.type == "cuda"
        # One pool for all: no graph's results outlive its replay, so they may share memory.
        self._pool = torch.cuda.graph_pool_handle() if self.graphs else None
        self._captured: dict[Hashable, torch.cuda.CUDAGraph] = {}
        self._warm: set[Hashable] = set()

    def run(
        self, key: Hashable, body: Callable[[], None], caches: Sequence[KVCache], tokens: int = 1
    ) -> None:
        """One pass of `body`, which feeds `tokens` tokens to each row of `caches`."""
        for cache in caches:
            cache.reserve(tokens)
        if not self.graphs or key not in self._warm:
            # The first pass of a kind also lets the libraries set up what a capture may not.
            self._warm.add(key)
            body()
            return
        buckets = tuple(_bucket(cache, tokens) for cache in caches)
        if (key, buckets) not in self._captured:
            self._captured[key, buckets] = self._capture(body, caches, buckets)
        with torch.cuda.device(self.device):
            self._captured[key, buckets].replay()
        for cache in caches:
            cache.advance(tokens, on_device=False)

    def _capture(
        self, body: Callable[[], None], caches: Sequence[KVCache], buckets: tuple[int, ...]
    ) -> torch.cuda.CUDAGraph:
        """Record `body` without letting it count: a capture executes nothing."""
        lengths = [list(cache.lengths) for cache in caches]
        for cache, bucket in zip(caches, buckets, strict=True):
            cache.bucket = bucket
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize(self.device)
        with torch.cuda.device(self.device), torch.cuda.graph(graph, pool=self._pool):
            body()
        for cache, held in zip(caches, lengths, strict=True):
            cache.lengths, cache.bucket = held, None
        return graph


def _bucket(cache: KVCache, tokens: int) -> int:
    """The positions to read so that `tokens` more fit: a multiple of `BUCKET`, or the capacity."""
    needed = cache.longest + tokens
    return min(-(-needed // BUCKET) * BUCKET, cache.capacity)
