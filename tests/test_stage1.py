"""Composing: what holds for every song, whatever the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from yue import stage1
from yue.draft import Draft
from yue.errors import CapacityError
from yue.lm.llama import Llama
from yue.lyrics import Section
from yue.options import ComposeOptions
from yue.prompt import Prompt, build_prompt
from yue.rehearsal import VOCABULARY as V
from yue.rehearsal import random_llama
from yue.tokenizer import ByteTokenizer

PLAN = [Section("verse", "hello"), Section("chorus", "la la"), Section("outro", "")]
BASE = ComposeOptions(seed=5, min_new_tokens=20, max_new_tokens=90)


def prompt_of(plan: Sequence[Section] = PLAN) -> Prompt:
    return build_prompt(plan, "pop", ByteTokenizer(), vocabulary=V)


def compose(
    options: ComposeOptions = BASE, *, model: Llama | None = None, after: Sequence[Draft] = (),
    plan: Sequence[Section] = PLAN, exact: bool = True, judge: stage1.Judge | None = None,
) -> tuple[Draft, ...]:
    model = model or random_llama(V, seed=0)
    decoder = stage1.decoder_of(model, options, exact=exact)
    *_, last = stage1.compose(
        decoder, prompt_of(plan), plan, options, after=after, judge=judge
    )
    return last


def darkness(codes: np.ndarray) -> float:
    """A judge: no more than a number that differs from try to try, 0 to 1."""
    return 1 - float(codes.mean() / V.codebook_size)


def eager(model: Llama, end: float) -> Llama:
    """A model that draws EOA more (or, below zero, less) willingly."""
    with torch.no_grad():
        hidden = torch.ones(model.config.hidden_size) * 0.02
        model.lm_head.weight[V.eoa] = end * hidden
        model.model.norm.weight.fill_(1)
    return model


def test_sections_pair_and_stay_within_their_limits() -> None:
    for seed in range(3):
        draft = compose(BASE.replace(seed=seed))[0]
        assert [s.label for s in draft.sections] == ["verse", "chorus", "outro"]
        for sung in draft.sections:
            assert 10 <= sung.frames <= 45
            assert sung.truncated == (sung.frames == 45)
        assert draft.codes.min() >= 0 and draft.codes.max() < 1024


def test_some_sections_end_by_themselves() -> None:
    lengths = {s.frames for seed in range(6) for s in compose(BASE.replace(
        seed=seed, max_new_tokens=2000, min_new_tokens=20), plan=PLAN[:1])[0].sections}
    assert any(frames < 1000 for frames in lengths)


def test_the_same_seed_gives_the_same_song_and_another_another() -> None:
    first, again, other = compose(), compose(), compose(BASE.replace(seed=6))
    np.testing.assert_array_equal(first[0].codes, again[0].codes)
    assert first[0].codes.shape != other[0].codes.shape or (
        (first[0].codes != other[0].codes).any()
    )


def test_a_take_does_not_depend_on_its_neighbours() -> None:
    """Three takes in one batch are the takes that would be composed alone."""
    # Rounding depends on the batch and flips about one draw in 10,000; not in this song.
    options = BASE.replace(seed=6)
    together = compose(options.replace(takes=3))
    assert len({draft.codes.tobytes() for draft in together}) == 3
    for take, draft in enumerate(together):
        empty = replace(stage1.nothing_yet(50), plan=tuple(PLAN), seed=6, take=take)
        alone = compose(options, after=[empty])[0]
        assert [s.frames for s in alone.sections] == [s.frames for s in draft.sections]
        np.testing.assert_array_equal(alone.codes, draft.codes)


def tried(
    monkeypatch: pytest.MonkeyPatch, attempt: int, options: ComposeOptions, model: Llama,
) -> Draft:
    """The first section as one of several tries sings it, by itself."""
    usual = stage1.uniforms
    later = [attempt] if attempt else []
    with monkeypatch.context() as patched:
        patched.setattr(stage1, "uniforms", lambda count, *name: usual(count, *name, *later))
        return compose(options.replace(tries=1, enough=None), model=model, plan=PLAN[:1])[0]


def follows(draft: Draft, model: Llama) -> float:
    """The slow twin: by how many nats a vocal code is likelier behind the prompt than alone."""
    prompt, tokens = prompt_of(PLAN[:1]), V.interleave(draft[0].codes)
    allowed = torch.tensor(stage1.allowed_ids(V))
    columns = torch.searchsorted(allowed, torch.as_tensor(tokens))[:, None]
    scores = []
    for context in ([*prompt.preamble, *prompt.openings[0]], prompt.openings[0][-1:]):
        with torch.inference_mode():
            logits = model(torch.tensor([[*context, *tokens]]))[0, len(context) - 1 : -1]
        known = logits[:, allowed].log_softmax(-1)
        scores.append(known.gather(1, columns)[::2].mean())
    return float(scores[0] - scores[1])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("guidance", [1.0, 1.5])
def test_of_several_tries_the_one_is_kept_that_follows_its_words_best(
    monkeypatch: pytest.MonkeyPatch, seed: int, guidance: float
) -> None:
    model = random_llama(V, seed=0)
    options = BASE.replace(seed=seed, tries=3, guidance=guidance)
    kept = compose(options, model=model, plan=PLAN[:1])[0]
    alone = [tried(monkeypatch, attempt, options, model) for attempt in range(3)]
    rates = [follows(draft, model) for draft in alone]
    assert len({round(rate, 4) for rate in rates}) == 3
    np.testing.assert_array_equal(kept.codes, alone[int(np.argmax(rates))].codes)
    assert kept.sections[0].follows == pytest.approx(max(rates), abs=1e-3)


def test_a_try_that_is_good_enough_is_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every limit between the tries' own figures ends at the first that reaches it."""
    model = random_llama(V, seed=0)
    options = BASE.replace(tries=4)
    alone = [tried(monkeypatch, attempt, options, model) for attempt in range(4)]
    rates = [follows(draft, model) for draft in alone]
    for limit in rates:
        reached = next(n for n, rate in enumerate(rates) if rate >= limit)
        kept = compose(options.replace(enough=limit - 1e-5), model=model, plan=PLAN[:1])[0]
        np.testing.assert_array_equal(kept.codes, alone[reached].codes)


def test_a_song_of_several_tries_goes_on_as_if_it_had_been_sung_at_once() -> None:
    """What the cache holds of the kept try is what feeding it anew would put there."""
    options = BASE.replace(tries=3)
    whole = compose(options)[0]
    assert whole.codes.tobytes() != compose()[0].codes.tobytes()
    for kept in (1, 2):
        resumed = compose(options, after=[whole[:kept]])[0]
        np.testing.assert_array_equal(resumed.codes, whole.codes)


def test_of_tries_with_enough_of_their_words_the_most_consonant_is_kept(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    """All limits between the tries' own figures: slow twin by hand."""
    model = random_llama(V, seed=0)
    options = BASE.replace(tries=4)
    alone = [tried(monkeypatch, attempt, options, model) for attempt in range(4)]
    words = [follows(draft, model) for draft in alone]
    band = [darkness(draft.codes) for draft in alone]
    assert np.argmax(words) != np.argmax(band)
    for enough in (None, *np.sort(words) - 1e-5):
        for least in (*np.sort(band), 1.0):
            limits = options.replace(enough=enough, consonance=float(least))
            kept = compose(limits, model=model, plan=PLAN[:1], judge=darkness)[0]
            heard = [enough is None or rate >= enough for rate in words]
            both = [n for n in range(4) if heard[n] and band[n] >= least]
            best = both[0] if both else max(range(4), key=lambda n: (heard[n], band[n]))
            np.testing.assert_array_equal(kept.codes, alone[best].codes)
            assert kept.sections[0].consonance == pytest.approx(band[best], abs=1e-3)


def test_a_section_without_words_is_sung_once() -> None:
    """The outro: after the same sections, several tries sing what one does."""
    whole = compose(BASE.replace(tries=3, consonance=1.0), judge=darkness)[0]
    (once,) = compose(BASE, after=[whole[:2]])
    np.testing.assert_array_equal(whole.codes, once.codes)
    (words,) = compose(BASE, after=[whole[:1]])
    assert whole[1].codes.tobytes() != words[1].codes.tobytes()


def test_without_limits_a_judge_is_heard_and_decides_nothing() -> None:
    plain, judged = compose(BASE.replace(tries=2)), compose(BASE.replace(tries=2), judge=darkness)
    np.testing.assert_array_equal(plain[0].codes, judged[0].codes)
    assert [sung.consonance for sung in plain[0].sections] == [None] * 3
    assert all(sung.consonance is not None for sung in judged[0].sections)


@pytest.mark.parametrize("enough", [None, 0.0])
def test_takes_of_several_tries_do_not_depend_on_each_other(enough: float | None) -> None:
    """With a limit some takes are done while others are sung again."""
    options = BASE.replace(seed=6, tries=2, enough=enough)
    together = compose(options.replace(takes=3))
    for take, draft in enumerate(together):
        empty = replace(stage1.nothing_yet(50), plan=tuple(PLAN), seed=6, take=take)
        alone = compose(options, after=[empty])[0]
        np.testing.assert_array_equal(alone.codes, draft.codes)


def test_a_section_tells_how_it_follows_its_words_only_where_that_was_compared() -> None:
    unguided = compose(BASE.replace(guidance=1.0, guidance_later=1.0))[0]
    assert [sung.follows for sung in unguided.sections] == [None] * 3
    mixed = compose(BASE.replace(guidance=1.5, guidance_later=1.0))[0]
    assert [sung.follows is None for sung in mixed.sections] == [False, True, True]


def test_going_on_from_a_section_gives_the_uninterrupted_song() -> None:
    whole = compose()[0]
    for kept in (1, 2):
        resumed = compose(after=[whole[:kept]])[0]
        np.testing.assert_array_equal(resumed.codes, whole.codes)


def test_the_loop_draws_from_the_traced_distributions() -> None:
    """Fast loop against its slow twin: each drawn id is where its random number falls."""
    from yue.lm.sampling import uniforms

    model = random_llama(V, seed=0)
    draft = compose(model=model)[0]
    tokens = []
    for section in range(3):
        ids = V.interleave(draft[section].codes).tolist()
        tokens.append(ids if draft.sections[section].truncated else [*ids, V.eoa])
    traced = stage1.trace(model, prompt_of().segments, tokens, BASE)
    for section, (steps, drawn) in enumerate(zip(traced, tokens, strict=True)):
        numbers = uniforms(90, 5, 0, section)
        for (ids, probabilities), token, u in zip(steps, drawn, numbers, strict=False):
            assert token in ids
            at = ids.index(token)
            below = sum(probabilities[:at])
            assert below - 1e-4 <= u <= below + probabilities[at] + 1e-4


def test_guidance_one_needs_no_second_context() -> None:
    options = BASE.replace(guidance=1.0, guidance_later=1.0)
    mixed = BASE.replace(guidance=1.5, guidance_later=1.0)
    assert compose(options)[0].frames and compose(mixed)[0].frames


def test_full_scores_differ_from_audio_scores_only_by_the_penalty() -> None:
    model = random_llama(V, seed=0)
    segments = prompt_of().segments[:1]
    tokens = [V.ids([1, 2, 3, 1, 2, 3]).tolist()]
    free = BASE.replace(repetition_penalty=1.0, top_p=1.0)
    audio = stage1.trace(model, segments, tokens, free)
    full = stage1.trace(model, segments, tokens, free.replace(scores="full"))
    for (ids, p), (other_ids, other_p) in zip(audio[0], full[0], strict=True):
        assert ids == other_ids
        assert p == pytest.approx(other_p, abs=1e-5)
    penalised = [
        stage1.trace(model, segments, tokens, BASE.replace(scores=scores))[0][3]
        for scores in ("audio", "full")
    ]
    assert penalised[0] != penalised[1]


def test_past_the_context_the_head_stays_and_the_oldest_section_goes() -> None:
    plan = [Section("verse", f"line {i}") for i in range(6)]
    prompt = prompt_of(plan)
    transcript = stage1._Transcript(prompt.preamble)
    block = len(prompt.openings[0]) + 60 + 1 + len(prompt.closing)
    limit = len(prompt.preamble) + 2 * block + len(prompt.openings[0]) + 60
    for index in range(6):
        opening = prompt.openings[index]
        room = transcript.fit(opening, 60, limit)
        context = transcript.context(opening)
        assert room == 60 and len(context) + room <= limit
        assert tuple(context[: len(prompt.preamble)]) == prompt.preamble
        kept = transcript.blocks[transcript.dropped :]
        assert context == [*prompt.preamble, *(t for block in kept for t in block), *opening]
        assert index < 2 or transcript.dropped == index - 2
        transcript.blocks.append([*opening, *[V.codec_base] * 60, V.eoa, *prompt.closing])


def test_a_song_longer_than_the_context_is_sung_to_its_end() -> None:
    plan = [Section("verse", f"line {i}") for i in range(6)]
    model = random_llama(V, seed=0, context=700)
    options = BASE.replace(min_new_tokens=100, max_new_tokens=120)
    whole = compose(options, model=model, plan=plan)[0]
    assert whole.complete and all(s.frames >= 50 for s in whole.sections)
    resumed = compose(options, model=model, plan=plan, after=[whole[:4]])[0]
    np.testing.assert_array_equal(resumed.codes, whole.codes)


def test_room_is_lowered_before_the_last_section_is_dropped() -> None:
    transcript = stage1._Transcript((1,) * 40, [[2] * 60])
    assert transcript.fit([3] * 5, 50, 140) == 35 and transcript.dropped == 0
    assert transcript.fit([3] * 5, 50, 120) == 50 and transcript.dropped == 1


def test_lyrics_that_leave_no_room_are_refused_before_singing() -> None:
    model = random_llama(V, seed=0, context=200)
    with pytest.raises(CapacityError, match="of the model's 200 positions"):
        compose(model=model, plan=[Section("verse", "la " * 100)])


def test_a_capped_section_of_odd_length_still_pairs() -> None:
    draft = compose(BASE.replace(min_new_tokens=31, max_new_tokens=31))[0]
    assert all(s.frames == 15 and s.truncated for s in draft.sections)
