"""What preparation is made of: files that belong together, texts beside them, models, verbs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fragile import Fragile
from test_align import save_ctc
from test_data import song
from test_prepare import RANDOM, RATE, read, record, tone
from yue.audio import Audio
from yue.data import given as knowing
from yue.data import megatron, quality, records, transcribe
from yue.data.executors import DIED, processes
from yue.data.given import Given, Span, Sung, Timed, from_json, from_lrc, gather, label_of
from yue.data.prepare import prepare
from yue.data.records import Part, RecordError
from yue.data.separate import Separator
from yue.data.sources import scan
from yue.data.store import Store
from yue.errors import LyricsError, ModelError
from yue.lyrics import Section

# Files ------------------------------------------------------------------------------------------


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_which_files_belong_together(tmp_path: Path) -> None:
    touch(
        tmp_path, "a.wav", "a.Vocals.FLAC", "a.instrumental.ogg", "a.txt", "a.json",
        "x/b/vocals.wav", "x/b/accompaniment.wav", "x/b/mixture.wav", "x/b.lrc",
        "c.v2.mp3", "c.v2.lrc", ".hidden.wav", ".trash/d.wav", "a.mp3", "package.json",
    )
    found = scan(tmp_path)
    held = {
        s.id: {role: Path(path).relative_to(tmp_path).as_posix() for role, path in s.files.items()}
        for s in found.songs
    }
    assert held == {
        "a": {"mix": "a.mp3", "vocals": "a.Vocals.FLAC", "accompaniment": "a.instrumental.ogg",
              "text": "a.txt", "facts": "a.json"},
        "c.v2": {"mix": "c.v2.mp3", "lrc": "c.v2.lrc"},
        "x/b": {"vocals": "x/b/vocals.wav", "accompaniment": "x/b/accompaniment.wav",
                "mix": "x/b/mixture.wav", "lrc": "x/b.lrc"},
    }
    assert found.left_out.keys() == {"a.wav"}


# Texts ------------------------------------------------------------------------------------------

def test_lrc_with_everything() -> None:
    given = from_lrc(
        "[ar: Ann]\n[la:en]\n[offset:+500]\n[00:01.50][00:21.5]Come home\n[00:03.5]\n"
        "[00:10.25]<00:10.25>To <00:11.00>me\n[00:12.00]\nno stamp\n"
    )
    assert (given.artist, given.language, given.sections) == ("Ann", "en", ())
    assert given.lines == (
        Timed("Come home", 1.0, 3.0), Timed("To me", 9.75, 11.5), Timed("Come home", 21.0, 23.6)
    )
    assert given.words == (Timed("To", 9.75, 10.5), Timed("me", 10.5, 11.5))


def test_labels_inside_an_lrc_make_sections() -> None:
    given = from_lrc("[00:01.00][Verse 1]\n[00:01.00]one two\n[Chorus]\n[00:05.00]three\n")
    assert given.sections == (Section("verse", "one two"), Section("chorus", "three"))
    assert [line.text for line in given.lines] == ["one two", "three"]


@given(st.text(alphabet="[]<>:.0123456789ab\n ", max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_lrc_gives_lines_in_order(text: str) -> None:
    try:
        found = from_lrc(text)
    except LyricsError:
        return
    assert all(0 <= line.start <= line.end for line in found.lines + found.words)
    starts = [line.start for line in found.lines]
    assert starts == sorted(starts)


def test_facts() -> None:
    given = from_json(json.dumps({
        "tags": ["pop", "pop", " airy "], "license": "CC0", "language": "en", "key": "C",
        "sections": [{"label": "inst", "start": 2, "end": 3}, {"label": "Start", "start": 0,
                     "end": 2}, {"label": "silence", "start": 3, "end": 4}],
        "words": [{"text": "a", "start": 0, "end": 1}],
        "phones": [{"symbol": "AH0", "start": 0.5, "end": 1}],
    }))
    assert given.tags == ("pop", "airy") and given.licence == "CC0"
    assert given.spans == (Span("intro", 0, 2), Span("bridge", 2, 3))
    assert given.words == (Timed("a", 0, 1),) and given.phones == (Sung("AH0", 0.5, 1),)
    assert len(given.findings) == 2 and "key" in given.findings[0]
    assert Given.from_dict(json.loads(json.dumps(given.as_dict()))) == given


def test_sections_with_words_keep_them_in_order() -> None:
    rows = [{"label": "theme", "start": 4, "end": 9, "text": "two"},
            {"label": "Verse", "start": 0, "end": 4, "text": "one"},
            {"label": "silence", "start": 9, "end": 10, "text": ""}]
    given = from_json(json.dumps({"sections": rows}))
    assert given.sections == (Section("verse", "one"), Section("verse", "two"))
    assert given.spans == (Span("verse", 0, 4), Span("verse", 4, 9))
    assert [finding.split(": ")[-1] for finding in given.findings] == [
        "taken as a verse", "left out"
    ]


@pytest.mark.parametrize(("facts", "names"), [
    ("{", "not JSON"), ("[]", "no object"), ('{"tags": 3}', "tags"),
    ('{"language": ["en"]}', "language"), ('{"sections": {"a": 1}}', "sections"),
    ('{"lines": [{"text": "a", "start": 1}]}', r"lines\[0\]"),
    ('{"words": [{"text": "a", "start": 2, "end": 1}]}', r"words\[0\]"),
    ('{"phones": [{"symbol": "a", "start": 0, "end": 1e999}]}', r"phones\[0\]"),
])
def test_facts_that_are_wrong_name_their_field(facts: str, names: str) -> None:
    with pytest.raises(RecordError, match=names):
        from_json(facts)


def test_what_counts_more() -> None:
    given = gather("[verse]\nmine\n", "[00:01]\n[00:02]theirs\n", '{"lyrics": "[chorus]\\nother"}')
    assert given.sections == (Section("verse", "mine"),) and given.lines[0].text == "theirs"
    assert gather(None, None, '{"lyrics": "[chorus]\\nother"}').sections[0].label == "chorus"
    assert gather(None, None, None) == Given()


@pytest.mark.parametrize(("name", "label"), [
    ("verse", "verse"), ("Pre-Chorus", "verse"), ("end", "outro"), ("solo", "bridge"),
    ("inst", "bridge"), ("silence", None), ("", None),
])
def test_labels_of_structure_models(name: str, label: str | None) -> None:
    assert label_of(name) == label


def test_words_become_lines() -> None:
    words = [Timed(str(i), i, i + 0.9) for i in range(14)]
    lines = knowing.as_lines(words)
    assert [len(line.text.split()) for line in lines] == [10, 4]


# Results on disk --------------------------------------------------------------------------------

def test_the_store_keeps_values_and_arrays(tmp_path: Path) -> None:
    store = Store(tmp_path / "deep" / "work")
    assert store.get("ab12") is None and not store.has("ab12")
    value = {"text": "歌", "number": 1.5, "none": None, "wave": np.arange(5, dtype=np.float32)}
    store.put("ab12", value)
    back = store.get("ab12")
    assert back is not None and back.keys() == value.keys()
    np.testing.assert_array_equal(back["wave"], value["wave"])
    assert (back["text"], back["number"], back["none"]) == ("歌", 1.5, None)
    store.path("ab12").write_bytes(b"PK\x03\x04 cut")
    assert store.get("ab12") is None
    store.path("ab12").with_name(".ab12.npz.77.part").touch()
    store.sweep()
    store.drop("ab12")
    assert not list((tmp_path / "deep").rglob("*.*"))


def test_what_is_sung() -> None:
    wave = np.concatenate([tone(2), np.zeros(2 * RATE, np.float32), 0.001 * tone(1)])
    active = quality.sung(wave, RATE)
    assert active[:40].all() and not active[40:].any()
    figures = quality.of_tracks(
        {"mix": wave, "vocals": wave, "accompaniment": 0.5 * wave}, RATE
    )
    assert figures["sung"] == pytest.approx(0.4)
    assert figures["vocal_ratio"] == pytest.approx(6.02, abs=0.1)


# Models -----------------------------------------------------------------------------------------

TINY: dict[str, Any] = {
    "sources": ["drums", "vocals"], "channels": 8, "t_layers": 1, "t_heads": 2,
    "samplerate": 16_000, "segment": Fraction(2),
}


def save_demucs(folder: Path, **changes: str) -> Path:
    """A tiny random HTDemucs, as its authors publish them: safetensors and a yaml list."""
    import torch
    from demucs.htdemucs import HTDemucs
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    torch.manual_seed(0)
    model = HTDemucs(**TINY)
    told = {**TINY, "segment": {"_type": "fraction", "numerator": 2, "denominator": 1}}
    metadata = {"klass": "demucs.htdemucs.HTDemucs", "args": "[]", "kwargs": json.dumps(told)}
    tensors = {name: t.clone().contiguous() for name, t in model.state_dict().items()}
    save_file(tensors, folder / "tiny.safetensors", metadata={**metadata, **changes})
    (folder / "bag.yaml").write_text("models: [tiny]\n")
    torch.save(
        {"klass": HTDemucs, "args": (), "kwargs": TINY, "state": model.state_dict()},
        folder.with_suffix(".th"),
    )
    return folder


@pytest.fixture(scope="module")
def demucs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_demucs(tmp_path_factory.mktemp("demucs") / "bag")


def test_stems_add_up_to_the_mix_and_are_the_same_every_time(demucs: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (1, 44_100)).astype(np.float32)
    separator = Separator.load(demucs)
    stems, again = separator(Audio(noise, 44_100)), separator(Audio(noise, 44_100))
    assert {name: a.rate for name, a in stems.items()} == {"vocals": RATE, "accompaniment": RATE}
    total = stems["vocals"].samples + stems["accompaniment"].samples
    np.testing.assert_allclose(total, np.repeat(Audio(noise, 44_100).resample(RATE).samples, 2, 0),
                               atol=1e-6)
    np.testing.assert_array_equal(stems["vocals"].samples, again["vocals"].samples)
    old = Separator.load(demucs.with_suffix(".th"))(Audio(noise, 44_100))
    np.testing.assert_array_equal(stems["vocals"].samples, old["vocals"].samples)


def test_a_demucs_model_is_not_trusted(demucs: Path, tmp_path: Path) -> None:
    import torch

    with pytest.raises(ModelError, match=r"asks for os\.system"):
        Separator.load(save_demucs(tmp_path / "bad", klass="os.system", args='["touch x"]'))
    torch.save({"klass": os.system, "args": (), "kwargs": {}, "state": {}}, tmp_path / "bad.th")
    with pytest.raises(ModelError, match="was refused"):
        Separator.load(tmp_path / "bad.th")
    with pytest.raises(ModelError, match="holds 0 models"):
        Separator.load(touch(tmp_path / "none", "x"))
    (tmp_path / "none" / "bag.yaml").write_text("models: [gone]")
    with pytest.raises(ModelError, match=r"lacks gone\.safetensors"):
        Separator.load(tmp_path / "none")


def save_whisper(folder: Path) -> Path:
    """A tiny random Whisper with a tokenizer of bytes and time marks."""
    import torch
    from transformers import (
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperTokenizer,
    )
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    folder.mkdir()
    pieces = list(bytes_to_unicode().values())
    marks = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|translate|>", "<|transcribe|>",
             "<|startoflm|>", "<|startofprev|>", "<|nocaptions|>", "<|notimestamps|>"]
    marks += [f"<|{i * 0.02:.2f}|>" for i in range(1501)]
    (folder / "vocab.json").write_text(json.dumps({p: i for i, p in enumerate(pieces)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = WhisperTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    tokenizer.add_special_tokens({"additional_special_tokens": marks[:9]})
    tokenizer.add_tokens(marks[9:])
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(folder)
    number = {mark: tokenizer.convert_tokens_to_ids(mark) for mark in marks}
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(WhisperConfig(
        vocab_size=len(tokenizer), d_model=16, encoder_layers=1, decoder_layers=1,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=16,
        decoder_ffn_dim=16, max_target_positions=40, pad_token_id=number["<|endoftext|>"],
        bos_token_id=number["<|endoftext|>"], eos_token_id=number["<|endoftext|>"],
        decoder_start_token_id=number["<|startoftranscript|>"], suppress_tokens=[],
        begin_suppress_tokens=[],
    ))
    options = model.generation_config
    options.no_timestamps_token_id = number["<|notimestamps|>"]
    options.lang_to_id = {"<|en|>": number["<|en|>"]}
    options.task_to_id = {t: number[f"<|{t}|>"] for t in ("transcribe", "translate")}
    options.is_multilingual = True
    options.max_length = 30
    options._from_model_config = False  # else it is derived anew when loaded
    model.save_pretrained(folder)
    return folder


def test_a_whisper_transcribes_in_phrases(tmp_path: Path) -> None:
    model = transcribe.load(save_whisper(tmp_path / "whisper"))
    assert model.rate == 16_000
    said = model.transcribe(tone(3))
    assert all(0 <= start <= end <= 3 and text for text, start, end in said)


def test_models_do_what_is_missing(demucs: Path, tmp_path: Path) -> None:
    """Separation, alignment and transcription in one run, on tiny random models."""
    ctc = save_ctc(tmp_path / "ctc")
    songs = tmp_path / "songs"
    record(songs / "a.wav", tone(6))
    (songs / "a.txt").write_text("[verse]\ncome home\n\n[chorus]\nto me\n")
    record(songs / "b.wav", tone(4))
    options = RANDOM.replace(
        separator=str(demucs), aligner=str(ctc), transcriber=str(ctc), min_score=0
    )
    summary = prepare(songs, tmp_path / "out", options)
    found = read(tmp_path / "out")
    assert summary["times_from"] == {"aligner": 1, "transcriber": 1}
    assert all(set(r.codes) == {"mix", "vocals", "accompaniment"} for r in found.values())
    assert found["a"].notes["match"]["rate"] == 1
    assert " ".join(p.text for p in found["a"].parts if p.text) in ("come home to me", "come home",
                                                                   "to me")
    assert found["a"].notes["words"]["score"] < 0.5  # it learned nothing, and says so
    strict = prepare(songs, tmp_path / "out", options.replace(min_score=0.5))
    assert strict["findings"] == {"lyrics have no times": 1}
    assert read(tmp_path / "out")["a"].parts == ()
    # Another aligner changes words, not codes.
    assert "encode" not in strict["steps_run"] and "separate" in strict["steps_run"]


# Processes that die -----------------------------------------------------------------------------

def test_a_song_that_kills_its_process_is_an_error_row() -> None:
    tasks = [{"id": name, "files": {}} for name in ("a", "dies", "b", "c")]
    outcomes = {o["id"]: o for o in processes(Fragile(), tasks, 1)}  # type: ignore[arg-type]
    assert outcomes.keys() == {"a", "dies", "b", "c"}
    assert outcomes["dies"]["error"] == DIED and not outcomes["dies"]["final"]
    assert all("error" not in outcomes[name] for name in "abc")


# Verbs --------------------------------------------------------------------------------------------

YUE = [sys.executable, "-m", "yue", "data"]


def run(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*YUE, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    return done


def test_the_verb_prepare(tmp_path: Path) -> None:
    record(tmp_path / "songs" / "a.wav", tone(2))
    (tmp_path / "songs" / "b.wav").write_bytes(b"x")
    done = run("prepare", tmp_path / "songs", tmp_path / "out", "--codec", "random")
    assert json.loads(done.stdout)["kept"] == 1
    assert "b: decode:" in done.stderr and "prepare  2/2 songs, 1 failed" in done.stderr
    (tmp_path / "songs" / "a.wav").unlink()
    lost = run("prepare", tmp_path / "songs", tmp_path / "out", "--codec", "random", code=1)
    assert "none of 1 songs could be prepared" in lost.stderr
    assert "Traceback" not in lost.stderr


def test_the_verb_check_names_row_and_field(tmp_path: Path) -> None:
    good = song()
    bad = records.Record(**{**vars(good), "id": "bad", "parts": (Part("rap", "x", 0, 3),)})
    records.write(tmp_path / "good.parquet", [good])
    told = json.loads(run("check", tmp_path / "good.parquet").stdout)
    assert (told["songs"], told["parts"], told["tracks"]["mix"]) == (1, 3, 1)
    assert told["hours"] == pytest.approx(1 / 60, abs=1e-4)
    records.write(tmp_path / "bad.parquet", [good, bad])
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "bad.parquet").read_bytes()[:99])
    done = run("check", tmp_path, code=1)
    assert f"{tmp_path / 'bad.parquet'} row 1 (bad): parts[0].label: 'rap'" in done.stderr
    assert "cut.parquet is not a whole file" in done.stderr
    assert "no Parquet file" in run("check", tmp_path / "none", code=1).stderr


def test_the_verbs_import_and_export(tmp_path: Path) -> None:
    from test_upstream import a_song, write
    from yue.data.export import document, forms_of
    from yue.hub import fetch_part
    from yue.lyrics import Section as Words

    listed = write(tmp_path, a_song(tmp_path), "{broken")
    done = run("import", listed, tmp_path / "out")
    assert json.loads(done.stdout)["songs"] == 1 and "left out 1" in done.stderr
    model = fetch_part("tokenizer", "random").path
    made = json.loads(run(
        "export", tmp_path / "out", "--megatron", tmp_path / "tokens" / "all", "-m", model
    ).stdout)
    (document_read,) = megatron.read(tmp_path / "tokens" / "all")
    assert made["documents"] == 1 and made["tokens"] == sum(map(len, document_read))
    forms = forms_of(model)
    (stored,) = records.read(tmp_path / "out" / "songs-00000.parquet")
    wanted = document(stored, forms, np.random.default_rng([0, 0]))
    assert len(wanted) == 1 + len(stored.parts)
    for one, two in zip(document_read, wanted, strict=True):
        np.testing.assert_array_equal(one, two)
    head = forms.tokenizer.decode([int(t) for t in document_read[0]])
    assert head.startswith("Generate music") and stored.parts[0].section == Words(
        "verse", "Hello there")
    assert document_read[-1][-1] == forms.vocabulary.eod
    none = run("export", tmp_path / "out", "--megatron", tmp_path / "x", "-m", model,
               "--split", "test", code=1)
    assert "no song" in none.stderr
