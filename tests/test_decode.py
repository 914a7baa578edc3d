"""The fast step against its slow twin, `Llama.forward`."""

from __future__ import annotations

import pytest
import torch

from test_llama import make
from yue.errors import CapacityError
from yue.lm.decode import FEW_QUERIES, Decoder, Loop, attend_by_products
from yue.lm.pack import can_pack, pack

EXACT = {"atol": 2e-5, "rtol": 1e-4}
PACKED = {"atol": 2e-2, "rtol": 2e-2}


def decoder(kv_heads: int = 2, *, exact: bool = True) -> tuple[object, Decoder]:
    model = make(kv_heads)
    return model, Decoder(model, [range(200)], exact=exact)


@pytest.mark.parametrize("kv_heads", [6, 2, 1])
@pytest.mark.parametrize("exact", [True, False])
def test_steps_equal_the_whole(kv_heads: int, exact: bool) -> None:
    model, fast = decoder(kv_heads, exact=exact)
    ids = torch.randint(0, 200, (1, 30))
    with torch.no_grad():
        expected = model(ids)
    cache = fast.cache(1, 30)
    fast.prefill(ids[0, :19].tolist(), cache)
    for position in range(19, 30):
        logits = fast.step(ids[:, position, None], [cache])
        torch.testing.assert_close(
            logits, expected[:, position], **(EXACT if exact else PACKED)
        )


@pytest.mark.parametrize("pieces", [[30], [1] * 30, [9, 2, 9, 1, 9], [FEW_QUERIES, 22]])
def test_prefill_in_pieces_equals_the_whole(pieces: list[int]) -> None:
    model, fast = decoder()
    ids = torch.randint(0, 200, (1, 31))
    with torch.no_grad():
        expected = model(ids)[:, -1]
    cache = fast.cache(1, 31)
    for piece in ids[0, :30].split(pieces):
        fast.prefill(piece.tolist(), cache)
    torch.testing.assert_close(fast.step(ids[:, -1:], [cache]), expected, **EXACT)


def test_two_tokens_at_once() -> None:
    model, fast = decoder()
    ids = torch.randint(0, 200, (3, 12))
    with torch.no_grad():
        expected = model(ids)
    cache = fast.cache(3, 12)
    for row in range(3):
        fast.prefill(ids[row, :10].tolist(), cache, row)
    torch.testing.assert_close(fast.step(ids[:, 10:], [cache]), expected[:, -1], **EXACT)


@pytest.mark.parametrize("bucket", [None, 24])
def test_rows_of_unequal_length_and_two_caches(bucket: int | None) -> None:
    """What takes and guidance need; `bucket` is the form that a captured graph runs."""
    model, fast = decoder()
    lengths = [5, 11, 3]
    ids = [torch.randint(0, 200, (1, length + 4)) for length in lengths]
    caches = [fast.cache(2, 24), fast.cache(1, 24)]
    for row, (sequence, length) in enumerate(zip(ids, lengths, strict=True)):
        fast.prefill(sequence[0, :length].tolist(), caches[row // 2], row % 2)
    for cache in caches:
        cache.bucket = bucket
    for step in range(4):
        fed = torch.stack([s[0, n + step] for s, n in zip(ids, lengths, strict=True)])
        logits = fast.step(fed[:, None], caches)
        for row, (sequence, length) in enumerate(zip(ids, lengths, strict=True)):
            with torch.no_grad():
                expected = model(sequence[:, : length + step + 1])[:, -1]
            torch.testing.assert_close(logits[row, None], expected, **EXACT)
    assert [list(cache.lengths) for cache in caches] == [[9, 15], [7]]
    assert torch.cat([cache.at for cache in caches]).tolist() == [9, 15, 7]


@pytest.mark.parametrize("masked", [False, True])
def test_attention_by_products_equals_the_fused_kernel(masked: bool) -> None:
    """The form that CUDA runs for few queries."""
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 3, 4, 16), torch.randn(2, 3, 50, 16), torch.randn(2, 3, 50, 16)
    mask = torch.rand(2, 1, 4, 50) > 0.3 if masked else None
    fused = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=0.25)
    ours = attend_by_products(q, k, v, mask, 0.25)
    torch.testing.assert_close(ours, fused, atol=1e-5, rtol=1e-5)


def test_a_copied_row_goes_on_like_the_original() -> None:
    _, fast = decoder()
    cache = fast.cache(2, 20)
    fast.prefill([1, 2, 3, 4, 5], cache, 0)
    cache.copy_row(0, 1)
    logits = fast.step(torch.tensor([[7], [7]]), [cache])
    torch.testing.assert_close(logits[0], logits[1], atol=1e-6, rtol=1e-6)


def test_full_caches_and_too_large_ones_are_refused() -> None:
    _, fast = decoder()
    with pytest.raises(CapacityError, match="128 positions"):
        fast.cache(1, 129)
    cache = fast.cache(1, 4)
    with pytest.raises(CapacityError):
        fast.prefill([1, 2, 3, 4, 5], cache)
    fast.prefill([1, 2, 3, 4], cache)
    with pytest.raises(CapacityError):
        Loop(fast.device).run("step", lambda: None, [cache])


def test_packed_weights_are_close_and_only_used_where_they_can_be() -> None:
    torch.manual_seed(0)
    weight, x = torch.randn(40, 64) / 8, torch.randn(3, 64)
    exact = x @ weight.T
    torch.testing.assert_close(pack(weight, exact=True)(x), exact)
    assert (pack(weight)(x) - exact).abs().max() < 2e-3 * exact.abs().max()
    assert not can_pack(weight.bfloat16())
    assert not can_pack(weight * 1e7)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_graphs_draw_the_tokens_that_eager_draws() -> None:
    from yue import stage1
    from yue.options import ComposeOptions
    from yue.prompt import build_prompt
    from yue.rehearsal import VOCABULARY, random_llama
    from yue.tokenizer import ByteTokenizer

    model = random_llama(VOCABULARY, seed=0).cuda()
    options = ComposeOptions(seed=1, min_new_tokens=20, max_new_tokens=1200)
    prompt = build_prompt("[verse]\na\n[chorus]\nb", "pop", ByteTokenizer(), vocabulary=VOCABULARY)
    drafts = []
    for graphs in (False, True):
        plan = stage1_plan()
        made = stage1.compose(
            stage1.decoder_of(model, options), prompt, plan, options, graphs=graphs
        )
        drafts.append(list(made)[-1][0])
    assert (drafts[0].codes == drafts[1].codes).all()


def stage1_plan() -> list:
    from yue.lyrics import Section

    return [Section("verse", "a"), Section("chorus", "b")]
