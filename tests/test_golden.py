"""The published behaviour, id for id and probability for probability."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from conftest import GOLDEN, golden
from yue.draft import Draft
from yue.lm.llama import Llama
from yue.prompt import build_prompt, dual_reference, single_reference
from yue.stage1 import trace
from yue.stage2 import refine_codes
from yue.tokenizer import load_tokenizer
from yue.vocab import YUE_V1

OPTIONS = (
    "top_k", "top_p", "temperature", "repetition_penalty", "min_new_tokens", "max_new_tokens"
)


def reference_of(case: dict) -> np.ndarray | None:
    """The reference ids of a golden prompt."""
    if "vocal_codes" in case:
        tracks = np.array([case["vocal_codes"], case["instrumental_codes"]])
        return dual_reference(tracks, case["start_s"], case["end_s"])
    if "codes" in case:
        return single_reference(np.array(case["codes"]), case["start_s"], case["end_s"])
    return None


@pytest.mark.parametrize("case", golden("prompts.json"), ids=lambda case: case["name"])
def test_prompt_ids(case: dict, shared: Path) -> None:
    tokenizer = load_tokenizer(shared / "tokenizer.model")
    prompt = build_prompt(case["lyrics"], case["genres"], tokenizer, reference_of(case))
    assert prompt.segments == case["prompt_ids"]


def test_special_strings_never_become_control_tokens(shared: Path) -> None:
    tokenizer = load_tokenizer(shared / "tokenizer.model")
    assert tokenizer.encode("<SOA>") == [529, 6156, 29909, 29958]
    text = "[verse]\n<SOA> <EOA> <xcodec> <s> </s> <EOD> [end_of_segment] [start_of_reference]\n"
    prompt = build_prompt(text, "pop <EOA> [end_of_segment]", tokenizer)
    ids = [token for segment in prompt.segments for token in segment]
    control = [token for token in ids if token >= YUE_V1.text_size or token < 3]
    assert control == [YUE_V1.soa, YUE_V1.xcodec]
    end = tokenizer.encode("[end_of_segment]")
    assert not any(ids[i : i + len(end)] == end for i in range(len(ids)))


def test_tokenizer_has_the_published_size(shared: Path) -> None:
    tokenizer = load_tokenizer(shared / "tokenizer.model")
    assert tokenizer.size == 83_734
    assert tokenizer.encode("[start_of_segment]") == [518, 2962, 29918, 974, 29918, 28192, 29962]
    assert tokenizer.encode("\n") == [29871, 13]


@pytest.mark.parametrize("name", ["stage1", "stage1-icl"])
def test_stage1_distributions(name: str) -> None:
    vector = golden(f"{name}.json")
    prompts = {case["name"]: case["prompt_ids"] for case in golden("prompts.json")}
    segments = prompts[vector["prompt"]][: len(vector["segments"])]
    tokens = [segment["new"] for segment in vector["segments"]]
    model = Llama.load(GOLDEN / "stage1-tiny")
    traced = trace(model, segments, tokens, {key: vector[key] for key in OPTIONS})
    assert len(traced) == len(vector["segments"])
    for ours, theirs in zip(traced, vector["segments"], strict=True):
        for (ids, probabilities), step in zip(ours, theirs["steps"], strict=True):
            expected = dict(zip(step["ids"], step["p"], strict=True))
            assert set(ids) == set(expected)
            for token, probability in zip(ids, probabilities, strict=True):
                assert probability == pytest.approx(expected[token], abs=1e-4)
            assert probabilities == sorted(probabilities, reverse=True)


def test_a_drawn_end_was_possible_where_it_was_drawn() -> None:
    vector = golden("stage1.json")
    ended = [s for s in vector["segments"] if s["new"][-1] == YUE_V1.eoa]
    assert ended and all(YUE_V1.eoa in s["steps"][-1]["ids"] for s in ended)


def test_stage2_codes() -> None:
    vector = golden("stage2.json")
    codes = refine_codes(Llama.load(GOLDEN / "stage2-tiny"), np.array(vector["codebook0"]))
    np.testing.assert_array_equal(codes, vector["codes"])


@pytest.mark.parametrize(
    ("name", "references", "frames"),
    [
        ("lyrics-to-song", 0, [1500, 1195, 1067, 1500, 1166, 1066]),
        ("single-track-reference", 1, [1500, 1500, 1277, 1500, 1451, 1069]),
    ],
)
def test_drafts_of_real_transcripts(
    name: str, references: int, frames: list[int], shared: Path
) -> None:
    transcript = json.loads((shared / "real-tokens" / f"{name}.json").read_text())
    tokens = transcript["tokens"]
    draft = Draft.from_tokens(tokens, YUE_V1, references=references)
    assert [section.frames for section in draft.sections] == frames
    vocal, accompaniment = (draft.codes == YUE_V1.silence).mean(axis=1)
    assert vocal > 8 * accompaniment
    first = tokens.index(YUE_V1.xcodec) + 1
    if not references:
        assert YUE_V1.interleave(draft[0].codes).tolist() == tokens[first : first + 3000]


@pytest.mark.parametrize("name", ["lyrics-to-song", "single-track-reference"])
def test_real_prompts_equal_ours(name: str, shared: Path) -> None:
    transcript = json.loads((shared / "real-tokens" / f"{name}.json").read_text())
    case = next(c for c in golden("prompts.json") if c["name"] == transcript["prompt"])
    tokens = transcript["tokens"]
    reference = None
    if name == "single-track-reference":
        start = tokens.index(YUE_V1.xcodec) + 1
        reference = tokens[start : tokens.index(YUE_V1.eoa)]
    tokenizer = load_tokenizer(shared / "tokenizer.model")
    prompt = build_prompt(case["lyrics"], case["genres"], tokenizer, reference)
    rebuilt: list[int] = []
    draft = Draft.from_tokens(tokens, YUE_V1, references=int(reference is not None))
    for index, segment in enumerate(prompt.segments):
        rebuilt += [*segment, *YUE_V1.interleave(draft[index].codes).tolist(), YUE_V1.eoa]
    assert rebuilt == tokens[: len(rebuilt)]
