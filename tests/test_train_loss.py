"""The loss, the guide and packed attention, each against its slow twin."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from songs import CODES, song
from yue.data.harmony import CLASSES
from yue.data.tasks import Forms, lyrics_to_song
from yue.lm.attention import BLOCK, blocked, causal
from yue.lm.llama import Llama, LlamaConfig
from yue.tokenizer import PhonemeTokenizer
from yue.train import guide, harmony, loss
from yue.train.batch import Batch, make_batch
from yue.train.config import GuideOptions, HarmonyOptions, ModelOptions
from yue.train.guide import Guide, default_layers, pointer_loss
from yue.train.model import new_vocabulary
from yue.train.objective import Objective
from yue.train.permute import generator
from yue.train.sampler import Document

SIZE = 50


def llama(**changes: object) -> Llama:
    torch.manual_seed(0)
    model = Llama(LlamaConfig.from_dict({
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": SIZE,
        "max_position_embeddings": 512, **changes,
    }))
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    return model


def batch(*lengths: int) -> Batch:
    """Random documents; every second position counts, every third one is guided."""
    source = torch.Generator().manual_seed(sum(lengths))
    total = sum(lengths)
    starts = torch.repeat_interleave(
        torch.tensor([0, *lengths[:-1]]).cumsum(0), torch.tensor(lengths)
    )
    places = torch.arange(total)
    queries = places[(places % 3 == 1) & (places - starts > 2)]
    phones = starts[queries] + (queries - starts[queries]) * 2 // 3
    return Batch(
        ids=torch.randint(0, SIZE, (total,), generator=source), lengths=lengths,
        at=places[::2], labels=torch.randint(0, SIZE, (len(places[::2]),), generator=source),
        groups=places[::2] % 3, queries=queries, phones=phones,
        guided=tuple(int((starts[queries] == start).sum()) for start in starts.unique()),
        played=places[1::3],
        chords=torch.randint(0, CLASSES, (len(places[1::3]),), generator=source),
        songs=("a",),
    )


# Chunked cross entropy --------------------------------------------------------------------------

@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_chunks_equal_the_whole(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(loss.SCORES, "cpu", chunk * 16 * 30)
    torch.manual_seed(1)
    x = torch.randn(100, 8, requires_grad=True)
    table = torch.randn(30, 8, requires_grad=True)
    labels = torch.randint(0, 30, (100,))
    total, each = loss.cross_entropy(x, table, labels)
    (3 * total).backward()
    ours = x.grad, table.grad
    x.grad = table.grad = None
    plain = F.cross_entropy(x @ table.T, labels, reduction="none")
    (3 * plain.sum()).backward()
    torch.testing.assert_close(each, plain)
    torch.testing.assert_close(total, plain.sum())
    torch.testing.assert_close(ours, (x.grad, table.grad))


def test_rows_see_only_up_to_their_limit() -> None:
    torch.manual_seed(2)
    x, table = torch.randn(40, 8, requires_grad=True), torch.randn(40, 8, requires_grad=True)
    limits = torch.arange(1, 41)
    labels = torch.arange(40) // 2
    total, each = loss.cross_entropy(x, table, labels, limits)
    total.backward()
    ours = x.grad, table.grad
    x.grad = table.grad = None
    scores = (x @ table.T).masked_fill(torch.ones(40, 40).triu(1).bool(), -torch.inf)
    plain = F.cross_entropy(scores, labels, reduction="none")
    plain.sum().backward()
    torch.testing.assert_close(each, plain)
    torch.testing.assert_close(ours, (x.grad, table.grad))


def test_nothing_is_worked_out_for_a_frozen_head() -> None:
    x, table = torch.randn(9, 4, requires_grad=True), torch.randn(5, 4)
    loss.cross_entropy(x, table, torch.zeros(9, dtype=torch.long))[0].backward()
    assert x.grad is not None and table.grad is None


def test_no_target_at_all() -> None:
    x, table = torch.randn(0, 4, requires_grad=True), torch.randn(5, 4, requires_grad=True)
    total, each = loss.cross_entropy(x, table, torch.zeros(0, dtype=torch.long))
    total.backward()
    assert total == 0 and len(each) == 0 and not table.grad.any()


def test_bf16_is_near() -> None:
    torch.manual_seed(3)
    x, table = torch.randn(64, 16), torch.randn(30, 16)
    labels = torch.randint(0, 30, (64,))
    exact, _ = loss.cross_entropy(x, table, labels)
    with torch.autocast("cpu", torch.bfloat16):
        rough, _ = loss.cross_entropy(x, table, labels)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=0.01, atol=0)


# Attention --------------------------------------------------------------------------------------

@pytest.mark.parametrize("length", [1, 5, BLOCK, BLOCK + 1, 2 * BLOCK + 37])
@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (6, 1)])
def test_blocks_equal_fused_attention(length: int, heads: tuple[int, int]) -> None:
    torch.manual_seed(length)
    q, k, v = (
        torch.randn(n, length, 8, requires_grad=True) for n in (heads[0], heads[1], heads[1])
    )
    upper = torch.randn(heads[0], length, 8)
    out = blocked(q, k, v)
    ours = torch.autograd.grad(out, (q, k, v), upper)
    plain = causal(q[None], k[None], v[None])[0]
    torch.testing.assert_close(out, plain, atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(
        ours, torch.autograd.grad(plain, (q, k, v), upper), atol=2e-5, rtol=1e-4
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_packed_documents_do_not_see_each_other(dtype: torch.dtype) -> None:
    model, made = llama(), batch(40, 1, 150, 33)
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        packed, _ = model.packed(made.ids, made.lengths)
        alone = torch.cat([model.packed(i, [len(i)])[0] for i in made.ids.split(made.lengths)])
    torch.testing.assert_close(packed, alone, atol=1e-5, rtol=1e-5)


def test_packed_equals_the_masked_form() -> None:
    model, made = llama(), batch(40, 1, 17)
    numbers = torch.repeat_interleave(torch.arange(3), torch.tensor(made.lengths))[None]
    packed, _ = model.packed(made.ids, made.lengths)
    torch.testing.assert_close(packed, model.hidden(made.ids[None], numbers)[0])


def test_no_position_sees_the_future_in_bf16() -> None:
    model, ids = llama(), batch(200).ids
    changed = ids.clone()
    changed[150] = (changed[150] + 1) % SIZE
    with torch.autocast("cpu", torch.bfloat16):
        before, after = (model.packed(x, [200])[0] for x in (ids, changed))
    assert torch.equal(before[:150], after[:150])
    assert not torch.equal(before[150:], after[150:])


# Guide ------------------------------------------------------------------------------------------

def explicit(model: Llama, made: Batch, layers: tuple[int, ...], head: int) -> Tensor:
    """The guide from whole T x T matrices, document by document."""
    seen: dict[int, tuple[Tensor, Tensor]] = {}
    model.packed(made.ids, made.lengths, watch=lambda n, _, q, k: seen.update({n: (q, k)}))
    total = torch.zeros(())
    numbers = torch.repeat_interleave(
        torch.arange(len(made.lengths)), torch.tensor(made.lengths)
    )
    T = len(made.ids)
    allowed = (numbers[:, None] == numbers) & torch.ones(T, T).tril().bool()
    for layer in layers:
        q, k = seen[layer]
        keys = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
        scores = q[0, head] @ keys[0, head].T / q.shape[-1] ** 0.5
        log_p = scores.masked_fill(~allowed, -torch.inf).log_softmax(-1)
        total = total - log_p[made.queries, made.phones].sum()
    return total


@pytest.mark.parametrize("head", [0, 3])
def test_the_guide_equals_its_slow_twin_and_so_does_its_gradient(head: int) -> None:
    model, made = llama(), batch(60, 25, 2, 90)
    layers = (1, 2)
    objective = Objective(model, GuideOptions(weight=1, layers=layers, head=head), groups=3)
    ours = objective(made).guide
    expected = explicit(model, made, layers, head)
    torch.testing.assert_close(ours, expected)
    weights = [p for n, p in model.named_parameters() if "q_proj" in n or "k_proj" in n]
    ours_slopes = torch.autograd.grad(ours, weights, allow_unused=True)
    slopes = torch.autograd.grad(expected, weights, allow_unused=True)
    for one, other in zip(ours_slopes, slopes, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_the_guide_works_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    made = batch(300)
    torch.manual_seed(0)
    q, k = torch.randn(300, 8), torch.randn(300, 8)
    whole = pointer_loss(q, k, made)
    monkeypatch.setitem(loss.SCORES, "cpu", 1)
    torch.testing.assert_close(pointer_loss(q, k, made), whole)


@pytest.mark.parametrize("scores", [1, 3000, 10**9])
def test_the_form_for_a_gpu_equals_the_one_for_a_cpu(
    monkeypatch: pytest.MonkeyPatch, scores: int
) -> None:
    made = batch(60, 2, 25, 90, 31)
    torch.manual_seed(0)
    q, k = (torch.randn(len(made.ids), 8, requires_grad=True) for _ in range(2))
    documents = guide.documents_of(made)
    monkeypatch.setattr(guide, "SCORES", scores)
    both = [form(q, k, made, documents) for form in (guide.one_by_one, guide.together)]
    torch.testing.assert_close(*both)
    for ours, twin in zip(*(torch.autograd.grad(each, (q, k)) for each in both), strict=True):
        torch.testing.assert_close(ours, twin)


def test_a_batch_without_phones_is_not_guided() -> None:
    made = batch(2, 2)
    assert not len(made.queries)
    losses = Objective(llama(), GuideOptions(weight=1), groups=3)(made)
    assert losses.guide == 0 and not losses.guide.requires_grad
    assert Guide(made, frozenset({1}), 0)(0, torch.zeros(1), torch.zeros(1)) is None
    assert default_layers(6) == (1, 2, 3, 4) and default_layers(2) == (1,)


# Harmony ----------------------------------------------------------------------------------------

def test_the_harmony_equals_its_slow_twin_and_reaches_the_layers_below() -> None:
    model, made = llama(), batch(60, 25)
    options = HarmonyOptions(weight=1, layers=(1, 2))
    objective = Objective(model, GuideOptions(), groups=3, harmonised=options)
    assert objective.readers is not None and len(objective.readers) == 2
    read: dict[int, Tensor] = {}
    model.packed(made.ids, made.lengths, watch=lambda layer, x, q, k: read.update({layer: x}))
    expected = sum(
        F.cross_entropy(
            read[layer][0, made.played] @ objective.readers.maps[str(layer)].weight.T,
            made.chords, reduction="sum",
        )
        for layer in (1, 2)
    )
    losses = objective(made)
    torch.testing.assert_close(losses.harmony, expected)
    assert losses.guide == 0
    below = model.model.layers[0].mlp.up_proj.weight
    torch.testing.assert_close(*(
        torch.autograd.grad(loss, below, retain_graph=True)[0]
        for loss in (losses.harmony, expected)
    ), atol=1e-5, rtol=1e-4)


def test_guide_and_harmony_side_by_side() -> None:
    model, made = llama(), batch(60, 25)
    guided, harmonised = GuideOptions(weight=1), HarmonyOptions(weight=1)
    both = Objective(model, guided, groups=3, harmonised=harmonised)
    losses = both(made)
    torch.testing.assert_close(losses.guide, Objective(model, guided, groups=3)(made).guide)
    alone = Objective(model, GuideOptions(), groups=3, harmonised=harmonised)
    alone.readers = both.readers
    torch.testing.assert_close(losses.harmony, alone(made).harmony)
    assert harmony.default_layers(8) == (4, 7) and harmony.default_layers(1) == (0,)


def test_a_batch_without_chords_has_no_harmony() -> None:
    made = replace(batch(60), played=torch.zeros(0).long(), chords=torch.zeros(0).long())
    objective = Objective(llama(), GuideOptions(), groups=3, harmonised=HarmonyOptions(weight=1))
    losses = objective(made)
    assert losses.harmony == 0 and not losses.harmony.requires_grad


# Objective --------------------------------------------------------------------------------------

def test_the_loss_of_a_sequence_by_hand() -> None:
    """Position t predicts t + 1, nothing else: logits from the plain model, summed by hand."""
    tokenizer = PhonemeTokenizer()
    v = new_vocabulary(ModelOptions(codebook_size=CODES, codebooks=2), tokenizer.size)
    forms = Forms(tokenizer=tokenizer, vocabulary=v)
    sequence = lyrics_to_song(song(1), forms, generator(0))
    model = llama(vocab_size=v.size, max_position_embeddings=1024)
    with torch.no_grad():
        log_p = model(torch.from_numpy(sequence.ids)[None].long())[0].log_softmax(-1)
    wanted = [i for i in range(1, len(sequence)) if sequence.roles[i] == 2]
    by_hand = -sum(float(log_p[i - 1, int(sequence.ids[i])]) for i in wanted)
    made = make_batch((Document(sequence, "a", "b"),), "target", {"a": 0})
    losses = Objective(model, GuideOptions(), groups=5)(made)
    assert losses.codes.item() == pytest.approx(by_hand, rel=1e-5)
    assert int(losses.counts.sum()) == len(wanted)
    drawn = range(v.eoa, v.codebook(0).stop)
    narrowed = Objective(model, GuideOptions(), groups=5, drawn=drawn)(made)
    within = log_p[:, drawn.start : drawn.stop].log_softmax(-1)
    narrow = -sum(float(within[i - 1, int(sequence.ids[i]) - drawn.start]) for i in wanted)
    assert narrowed.codes.item() == pytest.approx(narrow, rel=1e-5)
    assert narrow < by_hand
    vocal = [i for i in wanted if sequence.kinds[i] == 1]
    by_hand = -sum(float(log_p[i - 1, int(sequence.ids[i])]) for i in vocal)
    assert losses.sums[1].item() == pytest.approx(by_hand, rel=1e-5)


def test_recomputing_changes_nothing() -> None:
    made, slopes = batch(60, 25), []
    for recompute in (False, True):
        model = llama()
        objective = Objective(model, GuideOptions(weight=1), groups=3, recompute=recompute)
        losses = objective(made)
        (losses.codes + losses.guide).backward()
        slopes.append([p.grad for p in model.parameters()])
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other)
