"""Records, token files, and every task token for token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from conftest import golden
from yue.data import megatron, records, tasks
from yue.data.records import Chord, Part, Phone, Record, RecordError
from yue.data.tasks import Forms, Sequence
from yue.errors import FileError
from yue.prompt import build_prompt, dual_reference, single_reference
from yue.rehearsal import VOCABULARY as V
from yue.tokenizer import ByteTokenizer, load_tokenizer
from yue.vocab import YUE_V1

FORMS = Forms(tokenizer=ByteTokenizer(), vocabulary=V)
T = ByteTokenizer().encode
START, END = T("[start_of_segment]"), T("[end_of_segment]")


def song(seconds: int = 60, **changes: object) -> Record:
    rng = np.random.default_rng(seconds)
    frames = seconds * 50
    third = frames // 3
    return Record(**{
        "id": "song",
        "codes": {name: rng.integers(0, 1024, (8, frames), dtype=np.int16)
                  for name in records.CODED},
        "parts": (
            Part("verse", "one two", 0, third), Part("chorus", "la la", third, 2 * third),
            Part("outro", "", 2 * third, frames),
        ),
        "tags": ("pop",), "language": "en", "licence": "CC0", "transcript": "hello there",
        "phones": (Phone("AH0", 3, 9, 0),), "chords": (Chord("Eb:min", 0, 40),),
        "notes": {"quality": 0.5}, **changes,
    })


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def interleaved(record: Record, part: Part) -> list[int]:
    ids = []
    for vocal, accompaniment in zip(
        record.codes["vocals"][0, part.start : part.end],
        record.codes["accompaniment"][0, part.start : part.end], strict=True,
    ):
        ids += [V.codec_base + int(vocal), V.codec_base + int(accompaniment)]
    return ids


def single(record: Record, track: str, part: Part) -> list[int]:
    return [V.codec_base + int(code) for code in record.codes[track][0, part.start : part.end]]


def written_out(record: Record, audio: Callable[[Part], list[int]], instruction: str) -> list[int]:
    """A song's sequence from formats section 3, spelled by hand."""
    texts = [f"[{p.label}]\n{p.text}\n\n" for p in record.parts]
    ids = T(f"{instruction}\n[Genre] pop\n" + "\n".join(texts))
    for part, text in zip(record.parts, texts, strict=True):
        ids += START + T(text) + audio(part) + [V.eoa] + END
    return [*ids, V.eod]


def targets(sequence: Sequence) -> list[int]:
    return sequence.ids[sequence.mask("target")].tolist()


COT = "Generate music from the given lyrics segment by segment."


def test_lyrics_to_song() -> None:
    record = song(6)
    made = tasks.lyrics_to_song(record, FORMS, rng())
    expected = written_out(
        record, lambda p: [V.soa, V.xcodec, *interleaved(record, p)], COT
    )
    assert made.ids.tolist() == expected
    wanted = [i for p in record.parts for i in [*interleaved(record, p), V.eoa]]
    assert targets(made) == wanted
    assert made.mask("all").all() and (made.mask("audio") == made.mask("target")).all()


def test_training_and_singing_see_the_same_ids() -> None:
    """What compose feeds before section i is what stood before it in training."""
    record = song(6)
    made = tasks.lyrics_to_song(record, FORMS, rng()).ids.tolist()
    prompt = build_prompt(
        [p.section for p in record.parts], "pop", ByteTokenizer(), vocabulary=V
    )
    fed: list[int] = []
    for part, segment in zip(record.parts, prompt.segments, strict=True):
        fed += segment
        assert made[: len(fed)] == fed
        fed += [*interleaved(record, part), V.eoa]


@pytest.mark.parametrize("mode", ["dual", "vocals", "accompaniment", "mix"])
def test_in_context(mode: str) -> None:
    record = song(90)
    made = tasks.in_context(mode)(record, FORMS, rng(1))
    plain = tasks.lyrics_to_song(record, FORMS, rng(1))
    reference = tasks.draw_reference(record, mode, V, rng(1))  # drawn before the tags' order
    block = [
        *T("[start_of_reference]"), V.soa, V.xcodec, *reference.tolist(), V.eoa,
        *T("[end_of_reference]"),
    ]
    head = len(plain) - len(written_out(record, lambda p: [V.soa, V.xcodec, *interleaved(
        record, p)], COT)) + len(T(_head(record)))
    assert made.ids.tolist() == [
        *plain.ids[:head].tolist(), *block, *plain.ids[head:].tolist()
    ]
    assert targets(made) == targets(plain)
    given_too = made.ids[made.mask("audio") & ~made.mask("target")].tolist()
    assert given_too == [*reference.tolist(), V.eoa]


def _head(record: Record) -> str:
    return f"{COT}\n[Genre] pop\n" + "\n".join(
        f"[{p.label}]\n{p.text}\n\n" for p in record.parts
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["dual", "vocals"]), st.integers(2, 200))
def test_references_lie_in_the_song_and_dual_ones_begin_with_a_vocal(
    seed: int, mode: str, seconds: int
) -> None:
    record = song(seconds)
    ids = tasks.draw_reference(record, mode, V, rng(seed))
    if mode == "dual":
        tracks = V.deinterleave(ids)
        frames = tracks.shape[1]
        assert len(ids) == 2 * frames
        haystack = record.dual
    else:
        tracks, frames = V.codes(ids)[None], len(ids)
        haystack = record.first(mode)[None]
    starts = range(record.frames - frames + 1)
    assert any((haystack[:, s : s + frames] == tracks).all() for s in starts)
    if seconds >= 40:
        assert 20 * 50 <= frames <= 40 * 50


def test_reference_lengths_follow_the_released_data() -> None:
    record = song(200)
    lengths = [len(tasks.draw_reference(record, "mix", V, rng(i))) / 50 for i in range(2000)]
    assert np.mean(lengths) == pytest.approx(29.9, abs=0.2)
    assert np.std(lengths) == pytest.approx(1.75, abs=0.12)


def test_text_to_speech_drops_its_instruction_half_of_the_time() -> None:
    record = song(4)
    speech = [V.soa, V.xcodec, *single(record, "mix", Part("", "", 0, 200)), V.eoa, V.eod]
    forms = {
        tuple(T("Generate speech:\nhello there\n") + speech),
        tuple(T("hello there\n") + speech),
    }
    made = [tuple(tasks.text_to_speech(record, FORMS, rng(i)).ids.tolist()) for i in range(60)]
    assert set(made) == forms
    assert 15 < sum(m == max(forms, key=len) for m in made) < 45
    with pytest.raises(RecordError, match="transcript"):
        tasks.text_to_speech(song(4, transcript=" "), FORMS, rng())


def test_music_from_tags() -> None:
    record = song(4, tags=("pop", "slow"))
    whole = Part("", "", 0, 200)
    orders = ("pop slow", "slow pop")
    for dual, instruction, audio in (
        (False, "Generate music based on the given tags", single(record, "mix", whole)),
        (True, "Generate music in dual-track format based on the given tags",
         interleaved(record, whole)),
    ):
        made = {tuple(tasks.music_from_tags(dual)(record, FORMS, rng(i)).ids) for i in range(12)}
        assert made == {
            (*T(f"{instruction}\n[Genre] {tags}\n"), V.soa, V.xcodec, *audio, V.eoa, V.eod)
            for tags in orders
        }


@pytest.mark.parametrize(
    ("task", "instruction", "target", "given_track"),
    [
        (tasks.vocals_only,
         "Generate the vocal track from the given lyrics segment by segment.", "vocals", None),
        (tasks.accompaniment_from_vocals,
         "Generate the accompaniment of the given vocal segment by segment.",
         "accompaniment", "vocals"),
        (tasks.vocals_from_accompaniment,
         "Generate the vocal of the given accompaniment segment by segment.",
         "vocals", "accompaniment"),
    ],
)
def test_single_track_tasks(
    task: Callable, instruction: str, target: str, given_track: str | None
) -> None:
    record = song(6)

    def audio(part: Part) -> list[int]:
        block = [] if given_track is None else [
            *T("[start_of_reference]"), V.soa, V.xcodec, *single(record, given_track, part),
            V.eoa, *T("[end_of_reference]"),
        ]
        return [*block, V.soa, V.xcodec, *single(record, target, part)]

    made = task(record, FORMS, rng())
    assert made.ids.tolist() == written_out(record, audio, instruction)
    assert targets(made) == [i for p in record.parts for i in [*single(record, target, p), V.eoa]]


def test_instrumental_has_no_words() -> None:
    record = song(6)
    made = tasks.instrumental(record, FORMS, rng())
    silent = song(6, parts=tuple(replace(p, text="") for p in record.parts))
    assert made.ids.tolist() == written_out(
        silent, lambda p: [V.soa, V.xcodec, *single(record, "accompaniment", p)], COT
    )


def test_separation() -> None:
    record = song(4)
    whole = Part("", "", 0, 200)
    assert tasks.separation(record, FORMS, rng()).ids.tolist() == [
        *T("Separate the vocal and the accompaniment of the given music."),
        *T("[start_of_reference]"), V.soa, V.xcodec, *single(record, "mix", whole), V.eoa,
        *T("[end_of_reference]"), V.soa, V.xcodec, *interleaved(record, whole), V.eoa, V.eod,
    ]


def test_voice_change() -> None:
    record = song(6)
    perturbed = record.codes["perturbed"][0]
    made = tasks.voice_change(record, FORMS, rng(2)).ids.tolist()
    options = []
    for sung in record.parts:
        for other in record.parts:
            changed = [V.codec_base + int(c) for c in perturbed[sung.start : sung.end]]
            options.append([
                *T("Sing the given vocal with the voice of the reference."),
                *T("[start_of_reference]"), V.soa, V.xcodec, *single(record, "vocals", other),
                V.eoa, *T("[end_of_reference]"), *T("[start_of_source]"), V.soa, V.xcodec,
                *changed, V.eoa, *T("[end_of_source]"), V.soa, V.xcodec,
                *single(record, "vocals", sung), V.eoa, V.eod,
            ])
    assert made in options and options.index(made) % 4 != 0  # another section's voice
    first, second, third = record.parts
    mute = replace(record, parts=(replace(first, text=""), second, replace(third, text="oh")))
    chosen = [targets(tasks.voice_change(mute, FORMS, rng(n))) for n in range(12)]
    by_part = [[*single(mute, "vocals", part), V.eoa] for part in mute.parts]
    assert by_part[0] not in chosen and len({*map(tuple, chosen)}) == len(mute.parts) - 1
    with pytest.raises(RecordError, match="two that are sung"):
        tasks.voice_change(replace(record, parts=record.parts[1:]), FORMS, rng())
    del record.codes["perturbed"]
    with pytest.raises(RecordError, match=r"codes\.perturbed is missing"):
        tasks.voice_change(record, FORMS, rng())


def test_continuation() -> None:
    record = song(6)
    made = tasks.continuation(record, FORMS, rng(3))
    wanted = [[*interleaved(record, p), V.eoa] for p in record.parts]
    assert targets(made) in (wanted[1] + wanted[2], wanted[2])


def test_lyrics_first() -> None:
    record = song(6)
    made = tasks.lyrics_first(record, FORMS, rng())
    whole = Part("", "", record.parts[0].start, record.parts[-1].end)
    assert made.ids.tolist() == [
        *T(_head(record)), V.soa, V.xcodec, *interleaved(record, whole), V.eoa, V.eod
    ]
    assert made.mask("target").sum() == 2 * (whole.end - whole.start) + 1
    first, *others = record.parts
    apart = replace(record, parts=(replace(first, end=first.end - 1), *others))
    with pytest.raises(RecordError, match="a part ends at"):
        tasks.lyrics_first(apart, FORMS, rng())


def test_a_long_song_is_cut_at_sections_with_its_head_repeated() -> None:
    record = song(60)
    whole = tasks.lyrics_to_song(record, FORMS, rng())
    head = T(_head(record))
    limit = len(head) + 2 * 2100
    pieces = tasks.cut_song(record, FORMS, rng(), limit)
    assert len(pieces) == 2 and all(len(piece) <= limit for piece in pieces)
    assert all(piece.ids[: len(head)].tolist() == head for piece in pieces)
    bodies = [piece.ids[len(head) :] for piece in pieces]
    np.testing.assert_array_equal(np.concatenate(bodies), whole.ids[len(head) :])
    with pytest.raises(RecordError, match=r"parts\[0\]"):
        tasks.cut_song(record, FORMS, rng(), 1000)


def test_stage2_windows() -> None:
    codes = song(13).codes["vocals"]
    windows = tasks.residual_windows(codes, V)
    assert [len(window) for window in windows] == [2704, 2704]
    first = [V.codec_base + int(c) for c in codes[0, 300:600]]
    expected = [V.soa, V.stage1, *first, V.stage2]
    for t in range(300, 600):
        expected += [V.codec_base + 1024 * k + int(codes[k, t]) for k in range(8)]
    assert windows[1].ids.tolist() == [*expected, V.eoa]
    assert windows[1].mask("target").sum() == 7 * 300 + 1
    dull = np.where(np.arange(8)[:, None] == 0, codes[:, :600] % 20, codes[:, :600])
    assert tasks.residual_windows(dull, V) == []
    with pytest.raises(RecordError, match="1 codebooks"):
        tasks.residual_windows(codes[:1], V)


@pytest.mark.parametrize("name", ["two-sections", "dual-track reference"])
def test_sequences_begin_with_the_golden_prompts(name: str, shared: Path) -> None:
    """The published tokenizer and the golden ids, through the training side."""
    case = next(c for c in golden("prompts.json") if c["name"] == name)
    tokenizer = load_tokenizer(shared / "tokenizer.model")
    parts = []
    for index, segment in enumerate(case["segments"]):
        label, text = segment.rstrip("\n").split("\n", 1)
        parts.append(Part(label.strip("[]"), text, index * 100, index * 100 + 100))
    shape = (1, len(parts) * 100)
    codes = {track: rng(1).integers(0, 1024, shape) for track in ("vocals", "accompaniment")}
    record = Record(id="x", codes=codes, parts=tuple(parts), tags=(case["genres"],))
    made = tasks.lyrics_to_song(record, Forms(tokenizer=tokenizer), rng()).ids.tolist()
    reference = None
    if "vocal_codes" in case:
        stems = np.array([case["vocal_codes"], case["instrumental_codes"]])
        reference = dual_reference(stems, case["start_s"], case["end_s"])
    prompt = build_prompt(case["lyrics"], case["genres"], tokenizer, reference)
    at = len(prompt.head)
    assert made[:at] == case["prompt_ids"][0][:at]
    for index, part in enumerate(parts):
        opening = list(prompt.openings[index]) if index == 0 else case["prompt_ids"][index]
        assert made[at : at + len(opening)] == opening
        at += len(opening) + 2 * (part.end - part.start) + 1
    assert made[-1] == YUE_V1.eod


# Records --------------------------------------------------------------------------------------

def test_parquet_round_trip(tmp_path: Path) -> None:
    two = [song(5), replace(song(7), id="b", codes={"mix": song(7).codes["mix"][:1]})]
    back = records.read(records.write(tmp_path / "songs.parquet", two))
    for before, after in zip(two, back, strict=True):
        assert before.codes.keys() == after.codes.keys()
        for name in before.codes:
            np.testing.assert_array_equal(before.codes[name], after.codes[name])
            assert after.codes[name].dtype == np.int16
        rest = [{k: v for k, v in vars(r).items() if k != "codes"} for r in (before, after)]
        assert rest[0] == rest[1]


def test_files_from_before_chords_were_kept_are_read(tmp_path: Path) -> None:
    path = records.write(tmp_path / "songs.parquet", [song(5)])
    parquet.write_table(parquet.read_table(path).drop_columns("chords"), path)
    (back,) = records.read(path)
    assert back.chords == () and back.phones == song(5).phones


@pytest.mark.parametrize("damage", ["cut", "text", "flipped"])
def test_a_damaged_shard_is_named(tmp_path: Path, damage: str) -> None:
    path = records.write(tmp_path / "songs.parquet", [song(20)])
    data = path.read_bytes()
    changed = {
        "cut": data[: len(data) // 2], "text": b"hello",
        "flipped": data[:9000] + bytes([data[9000] ^ 1]) + data[9001:],
    }
    path.write_bytes(changed[damage])
    with pytest.raises(FileError, match=r"songs\.parquet"):
        records.read(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": ""}, "id: empty"),
        ({"codes": {}}, "codes: no track"),
        ({"codes": {"drums": np.zeros((1, 60))}}, "codes.drums: unknown"),
        ({"codes": {"mix": np.full((1, 9000), 1024)}}, r"codes.mix: 1024..1024"),
        ({"codes": {"mix": np.zeros((13, 9000))}}, "shape"),
        ({"parts": (Part("hook", "", 0, 60),)}, r"parts\[0\].label: 'hook'"),
        ({"parts": (Part("verse", "", 0, 20),)}, "20 frames, at least 50"),
        ({"parts": (Part("verse", "", 0, 9999),)}, "0..9999 of 3000"),
        ({"parts": (Part("verse", "", 0, 90), Part("verse", "", 50, 150))}, "before the last"),
        ({"phones": (Phone("AH", 5, 4, 0),)}, r"phones\[0\]"),
        ({"phones": (Phone("AH", 1, 4, 7),)}, "phones.0..part: 7"),
        ({"chords": (Chord("H:maj", 1, 4),)}, "chords.0..label: 'H:maj'; .*such as C:maj"),
        ({"chords": (Chord("C:maj", 4, 4),)}, r"chords\[0\]: frames 4\.\.4"),
    ],
)
def test_what_is_wrong_names_row_and_field(change: dict, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        records.check(song(60, **change))


def test_a_good_record_is_good_and_unequal_tracks_are_trimmed() -> None:
    record = records.check(song(60))
    codes = {**record.codes, "vocals": record.codes["vocals"][:, :-7]}
    trimmed = records.trimmed(replace(record, codes=codes))
    assert trimmed.frames == record.frames - 7 and records.check(trimmed)
    codes["vocals"] = codes["vocals"][:, :-20]
    with pytest.raises(RecordError, match="differ in length"):
        records.trimmed(replace(record, codes=codes))


def test_splits_are_by_artist_and_of_the_promised_size() -> None:
    names = [f"artist {i}" for i in range(20_000)]
    shares = {s: sum(records.split_of(n) == s for n in names) / 20_000 for s in records.SPLITS}
    assert shares == pytest.approx(records.SPLITS, abs=0.003)
    a, b = song(5, id="a", artist="x"), song(5, id="b", artist="x")
    assert a.split == b.split


# Token files -----------------------------------------------------------------------------------

@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.lists(st.integers(0, 60_000), max_size=9), max_size=4), max_size=5),
    st.sampled_from([60_001, 83_968]),
)
def test_token_files_round_trip(
    tmp_path_factory: pytest.TempPathFactory, documents: list, size: int
) -> None:
    prefix = tmp_path_factory.mktemp("bin") / "x"
    megatron.write(prefix, documents, size)
    back = megatron.read(prefix)
    assert [[s.tolist() for s in document] for document in back] == documents
    width = 2 if size < 65_500 else 4
    tokens = sum(len(s) for d in documents for s in d)
    assert prefix.with_suffix(".bin").stat().st_size == width * tokens


def test_token_file_layout_byte_for_byte(tmp_path: Path) -> None:
    megatron.write(tmp_path / "x", [[[1, 2], [3]], [[4]]], 83_968)
    ints = lambda width, *n: b"".join(i.to_bytes(width, "little") for i in n)  # noqa: E731
    assert (tmp_path / "x.bin").read_bytes() == ints(4, 1, 2, 3, 4)
    assert (tmp_path / "x.idx").read_bytes() == (
        b"MMIDIDX\x00\x00" + ints(8, 1) + b"\x04" + ints(8, 3, 3) + ints(4, 2, 1, 1)
        + ints(8, 0, 8, 12) + ints(8, 0, 2, 3)
    )


@pytest.mark.parametrize("which", ["bin", "idx", "magic", "none"])
def test_damaged_token_files_are_named(tmp_path: Path, which: str) -> None:
    megatron.write(tmp_path / "x", [[[1, 2, 3]]], 83_968)
    path = tmp_path / ("x.idx" if which in ("idx", "magic") else "x.bin")
    if which == "none":
        path.unlink()
    else:
        data = path.read_bytes()
        path.write_bytes(b"?" + data[1:] if which == "magic" else data[:-3])
    with pytest.raises(FileError, match=r"x\.(bin|idx)"):
        megatron.read(tmp_path / "x")


def test_single_references_of_formats_and_tasks_agree() -> None:
    record = song(60)
    ids = single_reference(record.first("mix"), 10, 40, V)
    assert ids.tolist() == single(record, "mix", Part("", "", 500, 2000))
