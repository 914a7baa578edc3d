"""Rows of training data: stateless draws, packing, excerpts, ways back to phones, batches."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from songs import CODES, LINES, song, sung
from yue.data import tasks
from yue.data.excerpts import lines_of, parts_of
from yue.data.harmony import STEPS, chord_steps
from yue.data.mixture import TASKS
from yue.data.records import CHORD_LABELS, Part, Phone, RecordError
from yue.data.tasks import AUDIO, KINDS, TARGET, TEXT, Forms
from yue.errors import OptionError
from yue.tokenizer import ByteTokenizer, PhonemeTokenizer
from yue.train.batch import make_batch
from yue.train.config import ModelOptions, PhaseOptions
from yue.train.model import new_vocabulary
from yue.train.permute import generator, mix, permuted
from yue.train.sampler import CONCATENATED, Document, Feeder, Sampler

TOKENIZER = PhonemeTokenizer()
V = new_vocabulary(ModelOptions(codebook_size=CODES, codebooks=2), TOKENIZER.size)
FORMS = Forms(tokenizer=TOKENIZER, vocabulary=V)
SONGS = [song(n, parts=1 + n % 3) for n in range(7)]


def phase(**changes: Any) -> PhaseOptions:
    return PhaseOptions(**{
        "tokens": 10_000, "context": 500, "batch": 1000,
        "tasks": {"lyrics_to_song": 1, "vocals_only": 1}, **changes,
    })


def sampler(*phases: PhaseOptions, songs: list[Any] = SONGS, seed: int = 5) -> Sampler:
    return Sampler(songs, FORMS, phases or (phase(),), seed)


def ids(row: tuple[Document, ...]) -> list[list[int]]:
    return [document.sequence.ids.tolist() for document in row]


# Numbers without state --------------------------------------------------------------------------

@given(st.integers(1, 300), st.integers(0, 2**63))
@settings(max_examples=50, deadline=None)
def test_a_permutation_is_one(size: int, key: int) -> None:
    assert sorted(permuted(i, size, key) for i in range(size)) == list(range(size))


def test_permutations_differ_by_key_and_are_not_the_identity() -> None:
    orders = {tuple(permuted(i, 50, key) for i in range(50)) for key in range(20)}
    assert len(orders) == 20 and tuple(range(50)) not in orders
    firsts = Counter(permuted(0, 10, key) for key in range(5000))
    assert min(firsts.values()) > 400 and max(firsts.values()) < 600


def test_generators_are_their_key() -> None:
    draws = {key: generator(*key).integers(0, 2**62, 3).tolist()
             for key in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)]}
    assert len({tuple(d) for d in draws.values()}) == 4
    assert generator(0, 0, 1).integers(0, 2**62, 3).tolist() == draws[0, 0, 1]
    assert mix(1, 2) != mix(2, 1)


# Rows -------------------------------------------------------------------------------------------

def test_a_row_is_a_function_of_its_place() -> None:
    one, other = sampler(), sampler()
    later = [ids(one.row(0, step, i)) for step in (7, 3) for i in (1, 0)]
    again = [ids(other.row(0, step, i)) for step in (7, 3) for i in (1, 0)]
    assert later == again and later[0] != later[2]
    assert ids(sampler(seed=6).row(0, 7, 1)) != later[0]


def test_rows_fit_and_are_well_filled() -> None:
    made = sampler(phase(context=1200, batch=1200))
    sizes = [sum(map(len, made.row(0, step, 0))) for step in range(20)]
    assert max(sizes) <= 1200
    assert np.mean(sizes) > 0.75 * 1200


def test_no_song_twice_in_a_pass() -> None:
    songs = [song(n, parts=1) for n in range(40)]
    made = sampler(phase(tasks={"lyrics_to_song": 1}), songs=songs)
    drawn = [made._draw(0, number)[0].song for number in range(80)]
    assert len(set(drawn[:40])) == len(set(drawn[40:])) == 40
    assert drawn[:40] != drawn[40:]


def test_weights_are_shares_of_draws() -> None:
    made = sampler(phase(tasks={"lyrics_to_song": 3, "vocals_only": 1, "separation": 0}))
    labels = Counter(made._draw(0, number)[0].label for number in range(400))
    assert set(labels) == {"lyrics_to_song", "vocals_only"}
    assert labels["lyrics_to_song"] / 400 == pytest.approx(0.75, abs=0.06)


def test_long_songs_are_cut_and_every_section_has_its_turn() -> None:
    long = song(1, parts=6)
    whole = tasks.lyrics_to_song(long, FORMS, generator(0))
    made = sampler(phase(context=len(whole) // 2, batch=len(whole) // 2,
                         tasks={"lyrics_to_song": 1}), songs=[long])
    heads, blocks = set(), set()
    for step in range(40):
        for document in made.row(0, step, 0):
            sequence = document.sequence.ids.tolist()
            first = sequence.index(V.soa)
            heads.add(tuple(sequence[:20]))
            blocks |= {tuple(sequence[i : i + 9]) for i, t in enumerate(sequence) if t == V.soa}
            assert first > 20
    tags = 2  # orders of two tags
    assert len(heads) == tags and len(blocks) == 6


def test_what_does_not_fit_is_left_out_and_counted() -> None:
    songs = [song(0, parts=1), song(1, parts=1, frames=400)]
    made = sampler(phase(tasks={"lyrics_to_song": 1}), songs=songs)
    assert {d.song for step in range(20) for d in made.row(0, step, 0)} == {"song-0"}
    assert made.left_out["longer than the context"] > 0
    with pytest.raises(OptionError, match=r"no song fits its context of 500 \(.*longer than"):
        sampler(phase(tasks={"lyrics_to_song": 1}), songs=songs[1:])


def test_a_song_whose_phones_are_not_its_text_is_left_out_and_counted() -> None:
    whole, broken = song(0), song(1)
    broken = replace(broken, phones=broken.phones[:-1])
    made = sampler(phase(tasks={"lyrics_to_song": 1}), songs=[whole, broken])
    assert {d.song for step in range(20) for d in made.row(0, step, 0)} == {"song-0"}
    assert any("record song-1: phones of" in why for why in made.left_out)


def test_a_task_nobody_fits_and_a_task_unknown() -> None:
    with pytest.raises(OptionError, match="no song has what text_to_speech needs"):
        sampler(phase(tasks={"text_to_speech": 1}), songs=[song(0, transcript="")])
    with pytest.raises(OptionError, match="'lyrics_to_sing': did you mean 'lyrics_to_song'"):
        sampler(phase(tasks={"lyrics_to_sing": 1}))


def test_only_allowed_tags_are_shown() -> None:
    shown, all_shown = (
        sampler(phase(tags=tags, tasks={"lyrics_to_song": 1})).row(0, 0, 0)[0].sequence.ids
        for tags in (("slow",), ())
    )
    pop = TOKENIZER.encode("[Genre] pop\n")[1]
    assert pop not in shown and pop in all_shown


def test_prompt_dropout_leaves_what_guidance_sees() -> None:
    made = sampler(phase(tasks={"lyrics_to_song": {"dropout": 1.0}}))
    for document in made.row(0, 0, 0):
        first, *codes, last = document.sequence.ids.tolist()
        assert first == V.xcodec and last == V.eoa
        assert all(code in V.codebook(0) for code in codes)
        assert document.sequence.mask("target").tolist() == [False] + [True] * (len(codes) + 1)
        assert not document.sequence.back.any()
    record = SONGS[2]
    alone = tasks.unprompted(tasks.lyrics_to_song(record, FORMS, generator(0)))
    assert len(alone) == len(record.parts)
    tracks = np.concatenate([V.deinterleave(a.ids[1:-1]) for a in alone], axis=1)
    assert (tracks == record.dual).all()


def test_concatenated_rows_are_windows_of_songs() -> None:
    made = sampler(phase(packer="concat", context=300, batch=300))
    rows = [made.row(0, step, 0) for step in range(30)]
    for (document,) in rows:
        assert len(document) == 301 and document.label == CONCATENATED
    starts = {int(row[0].sequence.ids[0]) for row in rows}
    assert len(starts) > 5, "windows begin anywhere"


def test_ranks_share_the_rows_of_a_step() -> None:
    made = sampler(phase(batch=2000))
    alone = [ids(row) for row in _fed(made, [(0, 0, i) for i in range(4)])]
    shared = [[ids(row) for row in _fed(made, [(0, 0, i) for i in range(r, 4, 2)])] for r in (0, 1)]
    assert alone == [shared[0][0], shared[1][0], shared[0][1], shared[1][1]]


def _fed(made: Sampler, places: list[tuple[int, int, int]]) -> list[Any]:
    return next(iter(Feeder(made, iter([places]), threads=2, ahead=3)))


# Excerpts and phones ----------------------------------------------------------------------------

def test_an_excerpt_is_a_song() -> None:
    record = song(4, parts=4)
    cut = parts_of(record, 1, 2)
    assert [p.text for p in cut.parts] == [p.text for p in record.parts[1:3]]
    assert (cut.dual == record.dual[:, 60:180]).all()
    assert cut.parts[0].start == 0 and cut.parts[1].end == cut.frames == 120
    assert {p.part for p in cut.phones} == {0, 1}
    assert [p.symbol for p in cut.phones] == [p.symbol for p in record.phones if p.part in (1, 2)]


def test_a_line_is_cut_where_its_first_phone_begins() -> None:
    record = song(0, parts=1)
    seen = set()
    for seed in range(20):
        cut = lines_of(record, generator(seed), 1, TOKENIZER)
        (part,) = cut.parts
        seen.add(part.text)
        assert [p.symbol for p in cut.phones] == sung(part.text)
        assert cut.phones[0].start == (2 if part.text == LINES[0] else 0)
        assert cut.phones[-1].end <= part.end == cut.frames
    assert seen == set(LINES[:2])
    with pytest.raises(RecordError, match="phones: none known"):
        lines_of(replace(record, phones=()), generator(0), 1, TOKENIZER)


def test_the_ways_back_lead_to_the_same_phones_with_all_lyrics_first() -> None:
    record = song(4, parts=3)
    early, usual = (
        task(record, FORMS, generator(0)) for task in (tasks.lyrics_first, tasks.lyrics_to_song)
    )
    found = [
        [int(made.ids[at - made.back[at]]) for at in np.flatnonzero(made.back)]
        for made in (early, usual)
    ]
    text = int(np.flatnonzero(early.ids == V.soa)[0])
    ways = np.flatnonzero(early.back)
    assert (ways - early.back[ways] < text).all()
    # A section's tail leads to the next section's first phone, or to the last id of all.
    differ = [one != other for one, other in zip(*found, strict=True)]
    assert sum(differ) <= 3 * 4 and len(found[0]) == record.frames


def test_every_vocal_code_leads_back_to_its_phone() -> None:
    """Slow twin: frame by frame, spelled out."""
    record = song(2, parts=2)
    made = tasks.lyrics_to_song(record, FORMS, generator(0))
    vocal = np.flatnonzero(made.kinds == KINDS.index("vocals"))
    assert len(vocal) == record.frames
    for frame, at in enumerate(vocal):
        part = frame // 60
        phones = [p for p in record.phones if p.part == part]
        meant = next((p for p in phones if p.end > frame), None)
        found = int(made.ids[at - made.back[at]])
        if meant is None:
            assert TOKENIZER.symbols[found] == TOKENIZER.symbols[TOKENIZER.encode("a")[-1]]
            assert made.ids[at - made.back[at] + 1] == V.soa, "the section's last text id"
        else:
            assert TOKENIZER.symbol(found) == meant.symbol
    assert not made.back[made.kinds != KINDS.index("vocals")].any()


def test_every_code_tells_the_chord_of_its_frame() -> None:
    """Slow twin, of a cut in the middle of the bars: chord and sixteenth, frame by frame."""
    record = parts_of(song(2, parts=3), 1, 2)
    assert [chord.start for chord in record.chords] == [0, 28, 60, 88]
    made = tasks.lyrics_to_song(record, FORMS, generator(0))
    for track in ("vocals", "accompaniment"):
        codes = np.flatnonzero(made.kinds == KINDS.index(track))
        assert len(codes) == record.frames == 120
        for frame, at in enumerate(codes):
            chord = next((c for c in record.chords if c.start <= frame < c.end), None)
            if chord is None:
                assert made.harmony[at] == 0 and frame % 60 >= 56
                continue
            label, step = divmod(int(made.harmony[at]) - 1, STEPS)
            assert CHORD_LABELS[label] == chord.label
            assert step == int((frame - chord.start) / 28 * STEPS)
    assert not made.harmony[made.kinds == 0].any()
    silent = tasks.lyrics_to_song(replace(record, chords=()), FORMS, generator(0))
    assert not silent.harmony.any() and (silent.ids == made.ids).all()


def test_a_line_keeps_the_clock_of_its_song() -> None:
    """Frames of an excerpt know the chord and sixteenth that they have in the whole song."""
    record = song(0, parts=1)
    clock = chord_steps(record, Part("verse", "", 0, record.frames))
    begins = set()
    for seed in range(20):
        cut = lines_of(record, generator(seed), 1, TOKENIZER)
        begin = record.frames - cut.frames if cut.parts[0].text == LINES[1] else 0
        begins.add(begin in {chord.start for chord in record.chords})
        found = chord_steps(cut, Part("verse", "", 0, cut.frames))
        assert (found == clock[begin : begin + cut.frames]).all() and found.any()
    assert begins == {True, False}, "a line that begins within a bar is among them"


def test_repeated_words_lead_to_their_own_place() -> None:
    record = song(2, parts=1)
    made = tasks.lyrics_to_song(record, FORMS, generator(0))
    vocal = np.flatnonzero(made.kinds == KINDS.index("vocals"))
    places = vocal - made.back[vocal]
    assert (np.diff(places) >= 0).all() and len(set(places)) > 15
    own = np.flatnonzero(made.ids == V.soa)[0]
    section = len(TOKENIZER.encode(f"[verse]\n{record.parts[0].text}\n\n"))
    assert (places >= own - section).all(), "in the segment's own text, not the head"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda ph: (Phone("ZZ", 2, 3, 0), *ph[1:]), r"parts\[0\]: number 0 is 'ZZ'.*spells 'DH'"),
        (lambda ph: ph[:-1], r"parts\[1\]: \d+ are sung, its text spells"),
        (lambda ph: (replace(ph[0], end=50), *ph[1:]), "not in the order of time"),
    ],
)
def test_phones_that_are_not_the_text(change: Any, told: str) -> None:
    record = song(0)
    broken = replace(record, phones=change(record.phones))
    with pytest.raises(RecordError, match=f"record song-0: phones of .*{told}"):
        tasks.lyrics_to_song(broken, FORMS, generator(0))


def test_other_tokenizers_know_no_phones() -> None:
    forms = Forms(tokenizer=ByteTokenizer(), vocabulary=new_vocabulary(
        ModelOptions(codebook_size=CODES, codebooks=2), ByteTokenizer.size))
    assert not tasks.lyrics_to_song(song(0), forms, generator(0)).back.any()


def test_kinds_tell_the_tracks() -> None:
    record = song(1, parts=1)
    for name in TASKS.keys() - {"residual"}:
        long_enough = song(1, parts=max(1, TASKS[name].parts))
        for piece in TASKS[name].pieces(long_enough, FORMS, generator(0), 10_000):
            codes = piece.kinds > 0
            assert (piece.roles[codes] == TARGET).all()
            produced = piece.roles == TARGET
            assert (piece.ids[produced & ~codes] == V.eoa).all()
            assert (piece.roles[piece.ids == V.soa] == TEXT).all()
    single = TASKS["vocals_only"].pieces(record, FORMS, generator(0), 10_000)[0]
    assert single.back[single.kinds == 1].all(), "sung alone, guided too"
    given_vocals = TASKS["accompaniment_from_vocals"].pieces(record, FORMS, generator(0), 10_000)[0]
    assert (given_vocals.roles == AUDIO).sum() == record.frames + 1


# Batches ----------------------------------------------------------------------------------------

def packed_row() -> tuple[Document, ...]:
    """The first row that holds several documents."""
    made = sampler()
    return next(row for step in range(50) if len(row := made.row(0, step, 0)) > 1)


def test_labels_are_shifted_once_and_only_once() -> None:
    row = packed_row()
    batch = make_batch(row, "all", {"lyrics_to_song": 0, "vocals_only": 1})
    at = 0
    for document, length in zip(row, batch.lengths, strict=True):
        sequence = document.sequence.ids.tolist()
        assert length == len(sequence) - 1
        assert batch.ids[at : at + length].tolist() == sequence[:-1]
        assert batch.labels[at : at + length].tolist() == sequence[1:]
        at += length
    assert at == len(batch.ids) == len(batch.at)


def test_only_what_the_mask_names_counts() -> None:
    row = packed_row()
    batch = make_batch(row, "target", {"lyrics_to_song": 0, "vocals_only": 1})
    expected = [
        token for document in row
        for token in document.sequence.ids[document.sequence.roles == TARGET].tolist()
    ]
    assert batch.labels.tolist() == expected
    following = [i for d in row for i in d.sequence.ids[1:].tolist()]
    assert [following[at] for at in batch.at.tolist()] == expected
    for group, label in zip(batch.groups.tolist(), batch.labels.tolist(), strict=True):
        assert (KINDS[group % len(KINDS)] == "text") == (label == V.eoa)


def test_queries_stand_before_vocal_codes() -> None:
    row = packed_row()
    batch = make_batch(row, "target", {"lyrics_to_song": 0, "vocals_only": 1})
    following = np.concatenate([d.sequence.ids[1:] for d in row])
    kinds = np.concatenate([d.sequence.kinds[1:] for d in row])
    assert (kinds[batch.queries] == KINDS.index("vocals")).all()
    assert (following[batch.queries] >= V.codec_base).all()
    assert (batch.phones < batch.queries).all()
    assert set(batch.ids[batch.phones].tolist()) <= set(range(TOKENIZER.size))
