"""Decode speed of both stages: upstream's way, the best plain transformers way, and ours.

All three run the same random weights with the published vocabulary and the same KV heads, in one
process, one after the other. Upstream's way is `generate()` with guidance, and for Stage 2 a
`generate()` per frame over the whole prompt. The plain way is the best of several: transformers'
own model and cache in a loop that a careful user would write, with the output head cut to the
rows in use, the published sampler in few operations, and each dtype and cache that it offers.

    python benchmarks/decode.py                        15M body, this machine's CPU
    python benchmarks/decode.py --device cuda          the published 7B and 1B shapes, bf16

Prints a Markdown table, the machine and the versions.
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import (
    DynamicCache,
    LlamaForCausalLM,
    LogitsProcessor,
    LogitsProcessorList,
    StaticCache,
)
from transformers import (
    LlamaConfig as PlainConfig,
)

from yue import stage1, stage2
from yue.lm.llama import Llama, LlamaConfig
from yue.lm.sampling import draw, guide, penalise, rank
from yue.lyrics import Section
from yue.options import ComposeOptions
from yue.prompt import Prompt
from yue.vocab import YUE_V1 as V

BODIES = {
    "15m": {
        "hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 8,
        "num_attention_heads": 6, "num_key_value_heads": 2,
    },
    "120m": {
        "hidden_size": 768, "intermediate_size": 2816, "num_hidden_layers": 12,
        "num_attention_heads": 12, "num_key_value_heads": 4,
    },
}
PUBLISHED = {
    1: {
        "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128,
    },
    2: {
        "hidden_size": 2048, "intermediate_size": 5504, "num_hidden_layers": 32,
        "num_attention_heads": 16, "num_key_value_heads": 16, "head_dim": 128,
    },
}
SONG_SECONDS = 60
VOCABULARIES = {1: 83_968, 2: 83_840}


def random_llama(body: dict[str, int], stage: int, dtype: torch.dtype, device: str) -> Llama:
    """A Llama of the published layout with random weights."""
    torch.manual_seed(stage)
    config = {**body, "vocab_size": VOCABULARIES[stage], "max_position_embeddings": 16_384}
    with torch.device("meta"):
        model = Llama(LlamaConfig.from_dict(config))
    model.to(dtype).to_empty(device=device)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(0, 0.02)
        else:
            parameter.data.fill_(1)
    return model.eval()


def plain(model: Llama, dtype: torch.dtype) -> LlamaForCausalLM:
    """The same weights in transformers' own Llama."""
    with torch.device("meta"):
        twin = LlamaForCausalLM(PlainConfig(**model.config.to_dict()))
    state = {name: tensor.to(dtype) for name, tensor in model.state_dict().items()}
    twin.load_state_dict(state, assign=True)
    twin.model.rotary_emb = type(twin.model.rotary_emb)(twin.config)  # its buffers were meta
    return twin.eval()


def seconds_per_call(call: Callable[[int], None], few: int, many: int, repeats: int = 3) -> float:
    """Seconds for one unit of `call(n)`, set-up cancelled: (t(many) - t(few)) / (many - few)."""
    def timed(n: int) -> float:
        start = time.perf_counter()
        call(n)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - start

    timed(few)
    return statistics.median((timed(many) - timed(few)) / (many - few) for _ in range(repeats))


class Blocked(LogitsProcessor):
    """Forbids a range of ids given as a list of them, as upstream does."""

    def __init__(self, ids: range) -> None:
        self.ids = list(ids)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        scores[:, self.ids] = -torch.inf
        return scores


# Stage 1 -----------------------------------------------------------------------------------------

def upstream_stage1(model: LlamaForCausalLM, context: Tensor) -> float:
    """Seconds per token of `generate()` with guidance."""
    processors = [Blocked(range(32_002)), Blocked(range(32_016, 32_017))]

    def call(n: int) -> None:
        model.generate(
            input_ids=context, attention_mask=torch.ones_like(context), max_new_tokens=n,
            min_new_tokens=n, do_sample=True, top_p=0.93, temperature=1.0, repetition_penalty=1.1,
            eos_token_id=V.eoa, pad_token_id=V.eoa, guidance_scale=1.5,
            logits_processor=LogitsProcessorList(processors),
        )

    return seconds_per_call(call, 8, 40)


def plain_stage1(model: LlamaForCausalLM, context: Tensor, *, batched: bool, static: bool) -> float:
    """Seconds per token of a careful loop over transformers' model and cache."""
    allowed = torch.tensor(stage1.allowed_ids(V), device=context.device)
    length = context.shape[1]

    def cache(rows: int, capacity: int) -> DynamicCache | StaticCache:
        if static:
            return StaticCache(config=model.config, max_cache_len=capacity)
        return DynamicCache()

    def sample(logits: Tensor, seen: Tensor) -> Tensor:
        scores = logits.float().log_softmax(-1)
        scores = penalise(guide(scores[:1], scores[1:], 1.5), seen, 1.1)
        ranked = rank(scores, temperature=1.0, top_k=50, top_p=0.93)
        column = draw(*ranked, torch.rand(1, device=context.device))
        seen[0, column] = True
        return allowed[column][None]

    def apart(n: int) -> None:
        """One forward per branch, each with its own cache."""
        caches = [cache(1, length + n), cache(1, n + 1)]
        model(context[:, :-1], past_key_values=caches[0], logits_to_keep=1)
        seen = torch.zeros(1, len(allowed), dtype=torch.bool, device=context.device)
        token = context[:, -1:]
        for _ in range(n):
            rows = [model(token, past_key_values=c).logits[:, -1] for c in caches]
            token = sample(torch.cat(rows), seen)

    def together(n: int) -> None:
        """Both branches in one batch, the short one masked."""
        store = cache(2, length + n)
        mask = torch.zeros(2, length + n, dtype=torch.long, device=context.device)
        mask[0] = 1
        model(
            context[:, :-1].expand(2, -1), past_key_values=store, logits_to_keep=1,
            attention_mask=torch.ones(2, length - 1, dtype=torch.long, device=context.device),
        )
        seen = torch.zeros(1, len(allowed), dtype=torch.bool, device=context.device)
        token = context[:, -1:]
        for i in range(n):
            mask[1, length - 1 + i] = 1
            positions = torch.tensor([[length - 1 + i], [i]], device=context.device)
            held = mask if static else mask[:, : length + i]
            logits = model(
                token.expand(2, -1), past_key_values=store, position_ids=positions,
                attention_mask=held,
            ).logits[:, -1]
            token = sample(logits, seen)

    return seconds_per_call(together if batched else apart, 16, 80)


def our_stage1(model: Llama, context: list[int], *, graphs: bool) -> float:
    """Seconds per token of `stage1.compose`, between its progress reports."""
    prompt = Prompt(tuple(context[:-2]), (), (tuple(context[-2:]),), ())
    steps = 500
    options = ComposeOptions(seed=1, min_new_tokens=steps, max_new_tokens=steps)
    decoder = stage1.decoder_of(model, options)
    marks: list[tuple[int, float]] = []

    def report(_: int, done: int, most: int) -> None:
        marks.append((done, time.perf_counter()))

    rates = []
    for _ in range(3):
        marks.clear()
        list(stage1.compose(
            decoder, prompt, [Section("verse", "")], options, graphs=graphs, progress=report
        ))
        (n0, t0), (n1, t1) = marks[len(marks) // 10], marks[-1]
        rates.append((t1 - t0) / (n1 - n0))
    return statistics.median(rates)


# Stage 2 -----------------------------------------------------------------------------------------

def window_prompt(codes: np.ndarray, device: str) -> Tensor:
    """`SOA <stage_1> codes <stage_2>` of each row."""
    rows = [[V.soa, V.stage1, *V.ids(row).tolist(), V.stage2] for row in codes]
    return torch.tensor(rows, device=device)


def history(codes: np.ndarray, frames: int, device: str) -> Tensor:
    """Prompt and `frames` finished frames (residuals: any valid codes)."""
    known = torch.from_numpy(V.ids(codes)).to(device)
    done = torch.stack(
        [known[:, :frames]] + [known[:, :frames] + k * V.codebook_size for k in range(1, 8)], dim=2
    )
    return torch.cat([window_prompt(codes, device), done.flatten(1)], dim=1)


def upstream_stage2(model: LlamaForCausalLM, codes: np.ndarray, device: str) -> float:
    """Seconds per frame and row in mid-window: the whole prompt again for every frame."""
    middle = codes.shape[1] // 2
    base = history(codes, middle, device)
    known = torch.from_numpy(V.ids(codes)).to(device)
    processors = [Blocked(range(46_358)), Blocked(range(53_526, 83_738))]

    def call(n: int) -> None:
        ids = base
        for i in range(n):
            ids = torch.cat([ids, known[:, middle + i, None]], dim=1)
            ids = model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), min_new_tokens=7,
                max_new_tokens=7, eos_token_id=V.eoa, pad_token_id=V.eoa, do_sample=False,
                logits_processor=LogitsProcessorList(processors),
            )

    return seconds_per_call(call, 1, 3) / len(codes)


def plain_stage2(
    model: LlamaForCausalLM, codes: np.ndarray, device: str, *, static: bool
) -> float:
    """Seconds per frame and row in mid-window: cache kept, seven forwards, one head per slot."""
    middle = codes.shape[1] // 2
    base = history(codes, middle, device)
    known = torch.from_numpy(V.ids(codes)).to(device)
    weight = model.lm_head.weight
    heads = [weight[list(V.codebook(k))] for k in range(1, 8)]

    def call(n: int) -> None:
        store = (
            StaticCache(config=model.config, max_cache_len=base.shape[1] + 8 * n + 8)
            if static else DynamicCache()
        )
        model.model(base, past_key_values=store)
        fed = known[:, middle, None]
        for i in range(n):
            for k, head in enumerate(heads, 1):
                hidden = model.model(fed, past_key_values=store).last_hidden_state[:, -1]
                fed = (hidden @ head.T).argmax(-1, keepdim=True) + V.codebook(k).start
            fed = torch.cat([fed, known[:, middle + i + 1, None]], dim=1)

    return seconds_per_call(call, 2, 12) / len(codes)


def our_stage2(model: Llama, codes: np.ndarray, *, graphs: bool) -> float:
    """Seconds per frame and row of `stage2.refine_windows`, around the middle of the window."""
    decoder = stage2.decoder_of(model)
    total = codes.size
    marks: list[tuple[int, float]] = []
    stage2.refine_windows(
        decoder, codes, graphs=graphs,
        progress=lambda done, _: marks.append((done, time.perf_counter())),
    )
    inner = [mark for mark in marks if 0.4 * total <= mark[0] <= 0.6 * total]
    (n0, t0), (n1, t1) = inner[0], inner[-1]
    return (t1 - t0) / (n1 - n0)


# Table -------------------------------------------------------------------------------------------

def best(candidates: dict[str, Callable[[], float]]) -> tuple[str, float]:
    """Name and figure of the fastest."""
    timed = {name: call() for name, call in candidates.items()}
    for name, value in timed.items():
        print(f"    {name}: {1 / value:.1f}/s", flush=True)
    name = min(timed, key=timed.__getitem__)
    return name, timed[name]


def table(title: str, unit: str, rows: list[tuple[str, float]]) -> str:
    """Three rows and their ratios as Markdown."""
    ours = rows[-1][1]
    lines = [f"| {title} | {unit} | ours is faster by |", "|---|---|---|"]
    lines += [f"| {name} | {1 / value:.1f} | {value / ours:.1f} |" for name, value in rows]
    return "\n".join(lines)


def machine(device: str) -> str:
    """What this ran on."""
    names = [
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ] if Path("/proc/cpuinfo").exists() else [platform.processor()]
    hardware = f"{names[0]}, {len(names)} threads seen, {torch.get_num_threads()} used"
    if device.startswith("cuda"):
        hardware = torch.cuda.get_device_name()
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("torch", "transformers", "numpy")
    )
    return f"{hardware}; Python {platform.python_version()}, {versions}"


def run_small(body: dict[str, int], context: int, rows: tuple[int, ...]) -> None:
    """The three rows of each stage on a CPU."""
    generator = np.random.default_rng(0)
    ids = [*generator.integers(3, V.text_size, context - 2).tolist(), V.soa, V.xcodec]
    tensor = torch.tensor([ids])
    both = {"bf16": torch.bfloat16, "fp32": torch.float32}
    model = random_llama(body, 1, torch.float32, "cpu")
    print("Stage 1", flush=True)
    upstream = upstream_stage1(plain(model, torch.bfloat16), tensor)
    print(f"    upstream: {1 / upstream:.1f}/s", flush=True)
    candidates = {}
    for name, dtype in both.items():
        twin = plain(model, dtype)
        twin.lm_head.weight = torch.nn.Parameter(twin.lm_head.weight[stage1.allowed_ids(V)])
        for batched in (False, True):
            for static in (False, True):
                way = f"{name}, {'one batch' if batched else 'two forwards'}, "
                way += "static cache" if static else "growing cache"
                candidates[way] = functools.partial(
                    plain_stage1, twin, tensor, batched=batched, static=static
                )
    name, value = best(candidates)
    ours = our_stage1(model, ids, graphs=False)
    print(table(f"Stage 1, context {context}", "steps/s", [
        ("upstream's way (bf16)", upstream), (f"best plain way ({name})", value), ("ours", ours),
    ]), flush=True)
    del candidates, model, twin

    model = random_llama(body, 2, torch.float32, "cpu")
    twins = {name: plain(model, dtype) for name, dtype in both.items()}
    print("Stage 2", flush=True)
    for count in rows:
        codes = generator.integers(0, V.codebook_size, (count, V.window_frames))
        upstream = upstream_stage2(twins["bf16"], codes, "cpu") if count <= 4 else None
        name, value = best({
            f"{name}, {'static' if static else 'growing'} cache":
            functools.partial(plain_stage2, twins[name], codes, "cpu", static=static)
            for name in both for static in (False, True)
        })
        ours = our_stage2(model, codes, graphs=False)
        lines = [(f"best plain way ({name})", value), ("ours", ours)]
        if upstream is not None:
            lines.insert(0, ("upstream's way (bf16)", upstream))
        print(table(f"Stage 2, {count} windows", "frames/s", lines), flush=True)


# The published shapes on one device --------------------------------------------------------------

def bandwidth(device: str, size: int = 2**30) -> float:
    """Bytes per second that the device's memory gives, by copying."""
    source = torch.empty(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def copy(n: int) -> None:
        for _ in range(n):
            target.copy_(source)

    return 2 * size / seconds_per_call(copy, 2, 12)


def floor(model: Llama, columns: int, cached: int, speed: float) -> float:
    """Seconds per step if only weights and `cached` tokens of keys and values had to be read."""
    c = model.config
    numbers = sum(p.numel() for p in model.model.layers.parameters()) + columns * c.hidden_size
    numbers += 2 * c.num_hidden_layers * c.num_key_value_heads * c.head_dim * cached
    return numbers * next(model.parameters()).element_size() / speed


def run_published(device: str, shapes: dict[int, dict[str, int]], dtype: torch.dtype) -> None:
    """Both stages with random weights of the published shapes: graphs on and off."""
    cuda = device.startswith("cuda")
    speed = bandwidth(device)
    print(f"memory bandwidth by copying: {speed / 1e9:.0f} GB/s", flush=True)
    generator = np.random.default_rng(0)
    context, total = 1000, 0.0
    ids = [*generator.integers(3, V.text_size, context - 2).tolist(), V.soa, V.xcodec]
    model = random_llama(shapes[1], 1, dtype, device)
    best_step = floor(model, len(stage1.allowed_ids(V)), 2 * context, speed)
    rows = []
    for graphs in (False, True) if cuda else (False,):
        step = our_stage1(model, ids, graphs=graphs)
        rows.append((f"Stage 1, graphs {'on' if graphs else 'off'}", step, best_step))
    total += rows[-1][1] * SONG_SECONDS * V.tokens_per_second
    if cuda:
        print(f"eager and graphs draw equal tokens: {equal_tokens(model, ids)}", flush=True)
    del model
    model = random_llama(shapes[2], 2, dtype, device)
    windows = 2 * SONG_SECONDS * V.frame_rate // V.window_frames
    codes = generator.integers(0, V.codebook_size, (windows, V.window_frames))
    middle = stage2.context_length(V, V.window_frames) // 2
    least = 7 * floor(model, V.codebook_size, windows * middle, speed) / windows
    for graphs in (False, True) if cuda else (False,):
        frame = our_stage2(model, codes, graphs=graphs)
        name = f"Stage 2, {windows} windows, graphs {'on' if graphs else 'off'}"
        rows.append((name, frame, least))
    total += rows[-1][1] * codes.size
    print("| | per second | bandwidth floor | share of it |\n|---|---|---|---|")
    for name, seconds, fastest in rows:
        print(f"| {name} | {1 / seconds:.1f} | {1 / fastest:.1f} | {fastest / seconds:.0%} |")
    if cuda:
        print(f"peak memory: {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
    print(f"a {SONG_SECONDS}-s song, both stages: {total:.1f} s", flush=True)


def equal_tokens(model: Llama, ids: list[int], steps: int = 300) -> bool:
    """Whether captured graphs compose what the eager loop composes."""
    prompt = Prompt(tuple(ids[:-2]), (), (tuple(ids[-2:]),), ())
    options = ComposeOptions(seed=1, min_new_tokens=steps, max_new_tokens=steps)
    decoder = stage1.decoder_of(model, options)
    drafts = [
        list(stage1.compose(decoder, prompt, [Section("verse", "")], options, graphs=graphs))[-1][0]
        for graphs in (False, True)
    ]
    return bool((drafts[0].codes == drafts[1].codes).all())


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=[*BODIES], default="15m")
    parser.add_argument("--context", type=int, default=1000)
    parser.add_argument("--rows", type=int, nargs="+", default=[4])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="cpu", help="cuda: the published 7B and 1B shapes")
    parser.add_argument("--published", action="store_true", help="that report, whatever the device")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    print(machine(args.device))
    if args.device != "cpu" or args.published:
        cuda = args.device.startswith("cuda")
        shapes = PUBLISHED if cuda else {1: BODIES[args.size], 2: BODIES[args.size]}
        run_published(args.device, shapes, torch.bfloat16 if cuda else torch.float32)
        return
    with torch.inference_mode():
        run_small(BODIES[args.size], args.context, tuple(args.rows))


if __name__ == "__main__":
    main()
