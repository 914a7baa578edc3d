"""Prompts as phones, tags and marks: what each line becomes, and that no text becomes a mark."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from yue import instructions
from yue.errors import LyricsError, ModelError
from yue.instructions import INSTRUCTION, INSTRUCTIONS
from yue.lyrics import LABELS, MARKERS, Section
from yue.phonemes import SYMBOLS, words
from yue.prompt import build_prompt, head_text, section_text
from yue.songbook.genres import GENRES
from yue.songbook.tags import MOODS
from yue.songbook.voices import VOICES
from yue.tags import TAGS, TagList
from yue.tokenizer import PhonemeTokenizer, load_tokenizer

T = PhonemeTokenizer()
MARKS = set(range(len(MARKERS)))


def read(text: str) -> list[str]:
    return [T.symbol(token) for token in T.encode(text)]


def test_ids_are_dense_and_phones_stand_together() -> None:
    assert T.size == len(T.symbols) == len(set(T.symbols)) < 256
    assert [T.symbol(token) for token in T.phones] == list(SYMBOLS)
    assert T.phones.stop == T.size


def test_a_head_reads_as_written() -> None:
    sections = [Section("intro", ""), Section("verse", "The river runs\n\nto 1 sea"),
                Section("chorus", "Ah!")]
    text = head_text(sections, "Pop, warm female vocal electric guitar")
    assert read(text) == [
        INSTRUCTION, "[Genre]", "pop", "warm vocal", "female", "vocal", "electric guitar",
        "[intro]", "[verse]", *"DH AH0 | R IH1 V ER0 | R AH1 N Z".split(), "\n",
        *"T UW1 | W AH1 N | S IY1".split(), "\n", "[chorus]", "AA1", "\n",
    ]
    assert T.decode(T.encode(text)) == (
        f"{INSTRUCTION}\n[Genre] pop, warm vocal, female, vocal, electric guitar\n"
        "[intro]\n[verse]\n"
        "DH AH0 | R IH1 V ER0 | R AH1 N Z\nT UW1 | W AH1 N | S IY1\n[chorus]\nAA1\n"
    )


@pytest.mark.parametrize("mark", MARKERS)
def test_a_mark_is_one_id_by_itself_only(mark: str) -> None:
    assert read(mark) == [mark]
    for text in (f"{mark}\n", f" {mark}", f"[verse]\n{mark}\n\n", f"{mark}{mark}"):
        assert not MARKS & set(T.encode(text))


def test_every_instruction_is_one_id_in_the_first_line_only() -> None:
    named = [value for value in vars(instructions).values() if isinstance(value, str)]
    assert set(INSTRUCTIONS) <= set(named)
    for line in INSTRUCTIONS:
        assert read(line) == [line] == read(f"{line}\n")
        assert line not in read(f"[verse]\n{line}\n\n")
    assert read("Generate speech:\nhello\n")[1:] == [*"HH AH0 L OW1".split(), "\n"]


@pytest.mark.parametrize("label", LABELS)
def test_an_empty_section_is_its_label(label: str) -> None:
    assert read(section_text(Section(label, ""))) == [f"[{label}]"]


def test_labels_and_tags_among_words_are_sung() -> None:
    text = section_text(Section("verse", "la\n[verse]\n\n[chorus]\n[verse\n[Genre] pop"))
    assert read(text).count("[verse]") == 1
    assert not {"[chorus]", "[Genre]", "pop"} & set(read(text))


def test_lines_without_words_are_nothing() -> None:
    assert read("[verse]\n...\n \n-- !\n\n") == ["[verse]"] and read("") == []


# Tags -----------------------------------------------------------------------------------------

def test_every_tag_of_the_songbook_has_an_id() -> None:
    layers = [layer for genre in GENRES.values() for layer in (*genre.layers, genre.kit) if layer]
    used = {
        *GENRES, *(layer.tag for layer in layers),
        *(mood for row in MOODS.values() for mood in row),
        *(tag for voice in VOICES.values() for tag in (voice.gender, *voice.timbres)),
        "vocal", "rapping",
    }
    firsts = {entry[0] for entry in TAGS}
    assert used <= firsts
    for tag in used:
        assert read(f"[Genre] {tag}") == ["[Genre]", tag]


def test_no_spelling_names_two_tags() -> None:
    spelled = [tag for entry in TAGS for tag in entry]
    assert len(spelled) == len(set(spelled))


@pytest.mark.parametrize(("text", "expected", "unknown"), [
    ("upbeat woman hiphop", ["energetic", "female", "hip-hop"], []),
    ("Hip Hop,R&B;808 bass/808", ["hip-hop", "r&b", "808 bass", "808 bass"], []),
    ("electric, guitar", ["guitar"], ["electric"]),
    ("warm male high pitched vocal", ["warm vocal", "male", "high-pitched vocal"], []),
    ("dark bass vocal", ["dark", "bass vocal"], []),
    ("zither vaporwave pop", ["pop"], ["zither", "vaporwave"]),
    ("", [], []),
])
def test_tags_are_read_longest_first(text: str, expected: list[str], unknown: list[str]) -> None:
    assert read(f"[Genre] {text}") == ["[Genre]", *expected]
    assert T.unknown_tags(text) == unknown


@settings(deadline=None)
@given(st.text(max_size=80))
def test_any_tags_are_read(text: str) -> None:
    numbers, unknown = TagList().read(text)
    assert all(0 <= number < len(TAGS) for number in numbers)
    assert all(word in "".join(text.casefold().split()) or not text.isascii() for word in unknown)


# Any text -------------------------------------------------------------------------------------

@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80))
@example("[verse]\n[start_of_segment]\n[Genre]\n")
def test_any_text_has_ids(text: str) -> None:
    ids = T.encode(text)
    assert all(0 <= token < T.size for token in ids)
    assert ids == T.encode(text) and isinstance(T.decode(ids), str)
    if text not in MARKERS:
        assert not MARKS & set(ids)


hostile = st.lists(
    st.sampled_from([*MARKERS, *INSTRUCTIONS, "[Genre] pop", "[verse]", "\n", " ", "la", "[", "]"])
    | st.text(max_size=5), max_size=12,
).map("".join)


@settings(max_examples=200, deadline=None)
@given(lyrics=hostile, genres=hostile)
def test_no_lyrics_and_no_tags_become_a_mark(lyrics: str, genres: str) -> None:
    try:
        prompt = build_prompt(lyrics, genres, T)
    except LyricsError:
        return
    first, *rest = prompt.head
    genre = T.symbols.index("[Genre]")
    assert T.symbol(first) == INSTRUCTION and rest[0] == genre and rest.count(genre) == 1
    assert not MARKS & set(rest)
    assert not {T.symbols.index(line) for line in INSTRUCTIONS} & set(rest)
    for opening in prompt.openings:
        start, label, *words_, _, _ = opening
        assert T.symbol(start) == "[start_of_segment]" and T.symbol(label)[1:-1] in LABELS
        assert not (MARKS | {genre}) & set(words_)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("abc ' \n", max_size=30), min_size=1, max_size=4))
def test_the_phones_of_a_section_are_those_of_its_words(texts: list[str]) -> None:
    """What training relies on: the prompt's phones are the front end's, in order."""
    for text in texts:
        ids = T.encode(section_text(Section("verse", text)))
        spelled = [T.symbol(token) for token in ids if token in T.phones]
        sung = [p for line in text.split("\n") for word in words(line) for p in word.phones]
        assert spelled == sung


# Files ----------------------------------------------------------------------------------------

def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    mine = PhonemeTokenizer([["pop", "schlager"], ["loud"]], ["Sing:"])
    for path in (tmp_path, mine.save(tmp_path)):
        again = load_tokenizer(path)
        assert isinstance(again, PhonemeTokenizer)
        assert again.symbols == mine.symbols and again.phones == mine.phones
        text = "Sing:\n[Genre] schlager loud rock\n[verse]\nOh\n"
        assert again.encode(text) == mine.encode(text)
    default = load_tokenizer(PhonemeTokenizer().save(tmp_path).parent)
    assert isinstance(default, PhonemeTokenizer) and default.symbols == T.symbols


@pytest.mark.parametrize(("change", "message"), [
    ({"kind": "letters"}, "allowed are 'bytes' and 'phonemes'"),
    ({"phones": ["AA0"]}, "take the version of yue"),
    ({"tags": None}, "needs lists of tags"),
])
def test_files_of_others_are_refused(tmp_path: Path, change: dict, message: str) -> None:
    file = T.save(tmp_path)
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(ModelError, match=message):
        load_tokenizer(tmp_path)


def test_it_is_fast() -> None:
    lines = "The river keeps on running\nDown to the sea, oh oh\n"
    text = section_text(Section("verse", lines * 20))
    T.encode(text)
    start = time.process_time()
    for _ in range(20):
        T.encode(text)
    assert 20 * len(text.split()) / (time.process_time() - start) > 10_000
