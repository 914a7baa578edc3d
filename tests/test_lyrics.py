"""Lyrics as people write them: every form of label, no word lost, no text that breaks it."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from yue.errors import LyricsError
from yue.lyrics import (
    LABELS,
    LONG_SECTION_WORDS,
    MARKERS,
    MAX_REPEATS,
    Lyrics,
    Section,
    clean,
    decode,
    parse,
)

GOLDEN = Path(__file__).parent / "golden" / "prompts.json"
SUNG = "la la la\nna na"
property_test = settings(deadline=None, max_examples=150)


def pairs(lyrics: Lyrics) -> list[tuple[str, str]]:
    return [(section.label, section.text) for section in lyrics.sections]


def found(text: str) -> list[str]:
    return [str(finding) for finding in parse(text).findings]


def rendered(sections: tuple[Section, ...]) -> str:
    return "".join(f"[{s.label}]\n{s.text.strip()}\n\n" for s in sections)


# The published form


@pytest.mark.parametrize(
    "case", json.loads(GOLDEN.read_text(encoding="utf-8")), ids=lambda case: case["name"]
)
def test_published_form_is_kept_byte_for_byte(case):
    lyrics = parse(case["lyrics"])
    assert [rendered((section,)) for section in lyrics.sections] == case["segments"]
    assert lyrics.findings == ()


def test_words_keep_their_inner_spaces_and_blank_lines():
    lyrics = parse("[verse]\n  one   two \n\n\tthree ﬁne Ⅳ\n\n\n[chorus]\nfour")
    assert pairs(lyrics) == [("verse", "one   two \n\n\tthree ﬁne Ⅳ"), ("chorus", "four")]
    assert lyrics.findings == ()


# Labels

ALONE = [
    ("[Verse 1]", "verse", 1),
    ("[VERSE]", "verse", 1),
    ("[ verse ]", "verse", 1),
    ("[pre-chorus]", "verse", 1),
    ("[Pre Chorus]", "verse", 1),
    ("[PreChorus 2]", "verse", 1),
    ("[Verse Two]", "verse", 1),
    ("[Verse II]", "verse", 1),
    ("[2nd Verse]", "verse", 1),
    ("[Verse A]", "verse", 1),
    ("[Rap Verse]", "verse", 1),
    ("[Verse 2: Singer Name]", "verse", 1),
    ("[Verse 1 - female]", "verse", 1),
    ("[Verse 1 (Singer)]", "verse", 1),
    ("[Chorus x2]", "chorus", 2),
    ("[Chorus X2]", "chorus", 2),
    ("[Chorus (2x)]", "chorus", 2),
    ("[Chorus ×3]", "chorus", 3),
    ("[Chorus - x2]", "chorus", 2),
    ("[Chorus twice]", "chorus", 2),
    ("[Chorus 3 times]", "chorus", 3),
    ("[Chorus] x2", "chorus", 2),
    ("[Chorus] (2x)", "chorus", 2),
    ("[副歌x2]", "chorus", 2),
    ("[Chorus x1]", "chorus", 1),
    ("[Chorus x0]", "chorus", 1),
    ("[Hook]", "chorus", 1),
    ("[Refrain]", "chorus", 1),
    ("[Post-Chorus]", "chorus", 1),
    ("[Final Chorus]", "chorus", 1),
    ("[Repeat Chorus]", "chorus", 1),
    ("【副歌】", "chorus", 1),
    ("［サビ］", "chorus", 1),
    ("[후렴]", "chorus", 1),
    ("（副歌）", "chorus", 1),
    ("副歌：", "chorus", 1),
    ("[主歌1]", "verse", 1),
    ("[Aメロ]", "verse", 1),
    ("[2절]", "verse", 1),
    ("[Intro: soft piano]", "intro", 1),
    ("[Instrumental Intro]", "intro", 1),
    ("[Bridge | quiet]", "bridge", 1),
    ("[Middle 8]", "bridge", 1),
    ("[Middle Eight]", "bridge", 1),
    ("[C Part]", "bridge", 1),
    ("[Outro – fade out]", "outro", 1),
    ("[Ending]", "outro", 1),
    ("(Chorus)", "chorus", 1),
    ("(chorus)", "chorus", 1),
    ("(Chorus x2)", "chorus", 2),
    ("(Chorus) x2", "chorus", 2),
    ("Chorus:", "chorus", 1),
    ("Chorus (x2):", "chorus", 2),
    ("Pre-Chorus:", "verse", 1),
    ("## Verse 2", "verse", 1),
    ("# Ending", "outro", 1),
    ("**Bridge**", "bridge", 1),
    ("**Chorus:**", "chorus", 1),
    ("**[Outro]**", "outro", 1),
    ("## [Verse 2: Anna]", "verse", 1),
    ("Chorus", "chorus", 1),
    ("VERSE 1", "verse", 1),
]
PLAIN = {"**[Outro]**": "[Outro]", "## [Verse 2: Anna]": "[Verse 2: Anna]"}
"""Labels in square brackets that are reported without their markdown."""


@pytest.mark.parametrize(("written", "label", "times"), ALONE, ids=lambda value: str(value))
def test_a_label_on_its_own_line_is_mapped_and_reported(written, label, times):
    lyrics = parse(f"one\ntwo\n\n{written}\n{SUNG}")
    assert pairs(lyrics) == [("verse", "one\ntwo")] + [(label, SUNG)] * times
    assert {section.line for section in lyrics.sections[1:]} == {4}
    [finding] = [finding for finding in lyrics.findings if finding.line == 4]
    assert PLAIN.get(written, written) in finding.message
    assert f"sung as [{label}]" in finding.message
    assert (f"{times} times" in finding.message) == (times > 1)


@pytest.mark.parametrize(
    ("line", "label", "words"),
    [
        ("Verse 1: words on the line", "verse", "words on the line"),
        ("Chorus:words", "chorus", "words"),
        ("Pre Chorus: words on the line", "verse", "words on the line"),
        ("Final Chorus: words", "chorus", "words"),
        ("**Verse 1:** words on the line", "verse", "words on the line"),
        ("**Verse 1**: words on the line", "verse", "words on the line"),
        ("主歌：月光洒在窗前", "verse", "月光洒在窗前"),
        ("[Verse 1] words on the line", "verse", "words on the line"),
        ("[Verse 1: Anna] words: on the line", "verse", "words: on the line"),
        ("【副歌】月光", "chorus", "月光"),
        ("[Hook] (x2) words", "chorus", "(x2) words"),
    ],
)
def test_words_on_the_line_of_a_label_are_sung(line, label, words):
    lyrics = parse(f"\n{line}\nand more")
    assert pairs(lyrics) == [(label, f"{words}\nand more")]
    [finding] = lyrics.findings
    assert finding.line == 2
    assert f"sung as [{label}]" in finding.message


def test_words_on_the_line_of_a_plain_label_need_no_report():
    lyrics = parse("[verse] words on the label line\nmore")
    assert pairs(lyrics) == [("verse", "words on the label line\nmore")]
    assert lyrics.findings == ()


def test_two_labels_on_a_line():
    lyrics = parse("[verse] a [chorus] b\nc")
    assert pairs(lyrics) == [("verse", "a"), ("chorus", "b\nc")]
    lyrics = parse("before [Verse 1] a [Hook] b")
    assert pairs(lyrics) == [("verse", "before"), ("verse", "a"), ("chorus", "b")]


@pytest.mark.parametrize(
    "label",
    [
        "[Guitar Solo]",
        "[guitar solo 2]",
        "[Instrumental]",
        "[Instrumental Break]",
        "[Interlude]",
        "[Solo: saxophone]",
        "[Solo Guitar]",
        "[Drum Break]",
        "[间奏]",
        "(Guitar Solo)",
        "(Instrumental Break)",
        "Interlude:",
    ],
)
def test_an_instrumental_is_an_empty_bridge(label):
    lyrics = parse(f"[verse]\n{SUNG}\n\n{label}\n\n[chorus]\n{SUNG}")
    assert pairs(lyrics) == [("verse", SUNG), ("bridge", ""), ("chorus", SUNG)]
    [finding] = lyrics.findings
    assert finding.line == 5
    assert label in finding.message
    assert "empty bridge" in finding.message


def test_words_below_an_instrumental_are_sung_and_reported():
    lyrics = parse("[Guitar Solo]\nooh ooh")
    assert pairs(lyrics) == [("bridge", "ooh ooh")]
    assert "has words" in found("[Guitar Solo]\nooh ooh")[0]


# Repeats


@pytest.mark.parametrize("again", ["[Repeat Chorus]", "[chorus repeat]", "(Repeat Chorus)"])
def test_a_repeated_chorus_takes_the_words_of_the_last_one(again):
    lyrics = parse(f"[chorus]\nold\n\n[chorus]\nnew\n\n[verse]\nx\n\n{again}\n\n[outro]\nbye")
    assert pairs(lyrics)[3] == ("chorus", "new")
    [finding] = lyrics.findings
    assert finding.line == 10
    assert again in finding.message
    assert "chorus of line 4" in finding.message


@pytest.mark.parametrize(
    ("line", "times"),
    [("[x2]", 2), ("[2x]", 2), ("(x3)", 3), ("[Repeat]", 2), ("[repeat x2]", 2), ("[twice]", 2)],
)
def test_a_bare_repeat_sings_the_section_above_again(line, times):
    lyrics = parse(f"[verse]\na\n\n[chorus]\nb\n{line}\n\n[outro]\nc")
    assert pairs(lyrics) == [("verse", "a"), *[("chorus", "b")] * times, ("outro", "c")]
    [finding] = lyrics.findings
    assert finding.line == 6
    assert line in finding.message
    assert "chorus of line 4 again" in finding.message


def test_words_below_a_bare_repeat_are_sung_and_reported():
    lyrics = parse("[chorus]\na\n[x2]\nb")
    assert pairs(lyrics) == [("chorus", "a"), ("chorus", "a"), ("chorus", "b")]
    assert "words below" in lyrics.findings[0].message


def test_a_bare_repeat_right_below_a_label_counts_for_that_label():
    lyrics = parse("[verse]\na\n\n[chorus]\n[x2]\nb")
    assert pairs(lyrics) == [("verse", "a"), ("chorus", "b"), ("chorus", "b")]
    assert {finding.line for finding in lyrics.findings} == {4, 5}


@pytest.mark.parametrize(
    "text", ["[Chorus x1000000000000]\nla", "[chorus]\nla\n[x99999]", f"[Hook x{'9' * 9000}]\nla"]
)
def test_repeats_are_capped_with_a_finding(text):
    lyrics = parse(text)
    assert pairs(lyrics) == [("chorus", "la")] * MAX_REPEATS
    assert any(f"than the {MAX_REPEATS} allowed" in str(finding) for finding in lyrics.findings)


def test_an_empty_chorus_after_a_sung_one_tells_how_to_repeat_it():
    lyrics = parse("[chorus]\nla\n\n[verse]\nna\n\n[chorus]")
    assert pairs(lyrics)[2] == ("chorus", "")
    [finding] = lyrics.findings
    assert finding.line == 7
    assert "[chorus repeat]" in finding.message


# Unknown labels, and words in brackets


def test_words_below_an_unknown_label_are_a_verse():
    lyrics = parse("[chorus]\nla\n\n[Skit]\nhello there")
    assert pairs(lyrics) == [("chorus", "la"), ("verse", "hello there")]
    [finding] = lyrics.findings
    assert (finding.line, "[Skit]" in finding.message) == (4, True)
    assert "not a known label" in finding.message


def test_an_unknown_label_without_words_is_left_out():
    lyrics = parse("[chorus]\nla\n\n[applause]\n\n[outro]\nbye")
    assert pairs(lyrics) == [("chorus", "la"), ("outro", "bye")]
    [finding] = lyrics.findings
    assert (finding.line, "[applause]" in finding.message) == (4, True)
    assert "left out" in finding.message


def test_an_unknown_label_right_below_a_known_one_is_a_remark():
    lyrics = parse("[chorus]\n[female choir]\nla")
    assert pairs(lyrics) == [("chorus", "la")]
    [finding] = lyrics.findings
    assert (finding.line, "[female choir]" in finding.message) == (2, True)
    assert "not sung" in finding.message


@pytest.mark.parametrize("bracket", ["[softly]", "[x2]", "[drop]", "[]", "[Chorus: all]"])
def test_brackets_inside_a_line_are_kept_as_words(bracket):
    lyrics = parse(f"[verse]\nfirst\ncome {bracket} home\nlast {bracket}")
    assert pairs(lyrics) == [("verse", f"first\ncome {bracket} home\nlast {bracket}")]
    assert [finding.line for finding in lyrics.findings] == [3, 4]
    assert all(f"{bracket} " in finding.message for finding in lyrics.findings)


def test_an_unknown_bracket_before_words_is_kept():
    assert pairs(parse("[verse]\n[softly] come home")) == [("verse", "[softly] come home")]


@pytest.mark.parametrize(
    "line",
    [
        "Bridge over troubled water",
        "Chorus of angels sing",
        "(oh verse after verse)",
        "(riding solo)",
        "(take a break)",
        "(the end)",
        "(again)",
        "(twice)",
        "come home (backing)",
        "I said: come home",
        "Hook, line and sinker",
        "Note: to self",
        "Part of me: gone",
        "Break: my heart",
        "Tag: you're it",
        "End: of the line",
        "Give me a break:",
        "twice",
        "again",
        "end",
        "**really**",
        "# 1",
        "#1",
        "12:30",
        "3 x 4",
        "a * b",
        "[unclosed",
        "verse]",
    ],
)
@pytest.mark.parametrize("before", ["", "[verse]\n"])
def test_a_lyric_line_that_looks_like_a_label_is_sung(before, line):
    lyrics = parse(f"{before}one\n{line}\ntwo")
    assert pairs(lyrics) == [("verse", f"one\n{line}\ntwo")]
    assert not any(finding.line == 2 + bool(before) for finding in lyrics.findings)


@pytest.mark.parametrize("line", ["Hook", "Bridge", "verse 2", "x2"])
def test_a_naked_word_is_sung_where_labels_stand_in_brackets(line):
    lyrics = parse(f"[verse]\none\n{line}\ntwo")
    assert pairs(lyrics) == [("verse", f"one\n{line}\ntwo")]
    assert lyrics.findings == ()


# No label


def test_text_without_labels_is_a_verse_per_stanza():
    lyrics = parse("\none\ntwo\n\n \nthree\n")
    assert pairs(lyrics) == [("verse", "one\ntwo"), ("verse", "three")]
    assert [section.line for section in lyrics.sections] == [2, 6]
    [finding] = lyrics.findings
    assert (finding.line, "2 verses" in finding.message) == (2, True)


def test_text_before_the_first_label_is_a_verse():
    lyrics = parse("one\n[chorus]\ntwo")
    assert pairs(lyrics) == [("verse", "one"), ("chorus", "two")]
    assert found("one\n[chorus]\ntwo") == ["line 1: words without a label are sung as a verse."]


def test_labels_alone_are_an_instrumental():
    lyrics = parse("[intro]\n\n[verse]\n[chorus]\n\n\n[outro]")
    assert pairs(lyrics) == [("intro", ""), ("verse", ""), ("chorus", ""), ("outro", "")]
    assert lyrics.findings == ()


# Properties

lyric_word = st.from_regex(r"[a-zäöçшя月ひ]{1,6}[,.!?']?", fullmatch=True)
lyric_line = st.lists(lyric_word, min_size=1, max_size=6).map(" ".join)
lyric_text = st.lists(lyric_line | st.just(""), max_size=5).map("\n".join).map(str.strip)
song = st.lists(st.builds(Section, st.sampled_from(LABELS), lyric_text), min_size=1, max_size=6)
label_line = st.sampled_from(
    [written for written, *_ in ALONE]
    + ["[verse]", "[chorus]", "[x2]", "[softly]", "[Guitar Solo]", "[Repeat Chorus]", "[]", ""]
)
fragments = (
    "[", "]", "(", ")", "【", "】", ":", "：", "#", "**", "-", "–", "|", "×", "x", "2", "0", " ",
    "\t", "\n", "\r", "verse", "Chorus", "solo", "repeat", "twice", "softly", "end", "quax", "月",
    "İ", "ﬁ", "\ufeff", "\u2028", "\x0b", "\ud800", "٣", "²", "[end_of_", "segment]", *MARKERS,
)  # fmt: skip
messy_text = st.lists(st.sampled_from(fragments), max_size=25).map("".join)
any_text = messy_text | st.text()


@property_test
@given(st.lists(label_line | st.none(), max_size=12))
def test_every_line_of_words_is_sung_in_order(plan):
    lines = [f"line{n} is here" if label is None else label for n, label in enumerate(plan)]
    words = [line for line in lines if line.endswith("is here")]
    assume(words)
    sung = "\n".join(section.text for section in parse("\n".join(lines)).sections)
    assert list(dict.fromkeys(re.findall(r"line\d+ is here", sung))) == words


@property_test
@given(any_text)
@example("[verse]\nquax\n[Chorus x0]\nzulu")
@example("[verse]\nquax\n[softly again]\nzulu")
@example("[verse]\nquax\n[Reprise]")
def test_no_word_is_lost_and_only_lyrics_errors_are_raised(text):
    try:
        lyrics = parse(text)
    except LyricsError as error:
        assert str(error)
        return
    kept = [part for section in lyrics.sections for part in (section.label, section.text)]
    kept += [finding.message for finding in lyrics.findings]
    everything = "\n".join(kept).casefold()
    missing = [word for word in re.findall(r"\w+", text) if word.casefold() not in everything]
    assert not missing


@property_test
@given(any_text)
def test_findings_are_sorted_and_name_lines_of_the_text(text):
    try:
        lyrics = parse(text)
    except LyricsError:
        return
    count = len(re.split(r"\r\n|\r|\n", text))
    lines = [finding.line for finding in lyrics.findings]
    assert lines == sorted(lines)
    assert all(1 <= line <= count for line in lines)
    assert all(1 <= section.line <= count for section in lyrics.sections)
    assert all(section.label in LABELS for section in lyrics.sections)
    assert all(section.text == section.text.strip() for section in lyrics.sections)


@property_test
@given(any_text)
@example("[end_of_[end_of_segment]segment]")
@example("[end_[start_of_source]of_\ufeffsegment]")
@example("[end_of_" * 5 + "segment]" * 5)
def test_clean_is_idempotent_and_leaves_no_marker(text):
    cleaned, _ = clean(text)
    assert not any(marker in cleaned for marker in MARKERS)
    assert clean(cleaned) == (cleaned, [])


@property_test
@given(song)
def test_rendered_sections_are_read_back(sections):
    assert parse(rendered(tuple(sections))).sections == tuple(sections)


@property_test
@given(st.lists(label_line | lyric_line, min_size=1, max_size=10), st.sampled_from(["\r\n", "\r"]))
def test_line_ends_make_no_difference(lines, end):
    assume(any(map(str.strip, lines)))
    assert outcome(end.join(lines)) == outcome("\n".join(lines))


def outcome(text: str) -> Lyrics | str:
    try:
        return parse(text)
    except LyricsError as error:
        return str(error)


# Marks of the token format


@pytest.mark.parametrize("marker", MARKERS)
def test_a_marker_is_taken_out_and_reported(marker):
    lyrics = parse(f"[verse]\none\ntwo {marker}three\n{marker}\nfour")
    assert pairs(lyrics) == [("verse", "one\ntwo three\n\nfour")]
    assert [finding.line for finding in lyrics.findings] == [3, 4]
    assert all(marker in finding.message for finding in lyrics.findings)


def test_a_nested_marker_is_taken_out_whole():
    text, findings = clean("a [end_of_[end_of_segment]segment]b")
    assert text == "a b"
    assert len(findings) == 2


def test_special_tokens_are_plain_words():
    lyrics = parse("[verse]\n<SOA> my <EOA>\n</s>")
    assert pairs(lyrics) == [("verse", "<SOA> my <EOA>\n</s>")]
    assert lyrics.findings == ()


def test_clean_drops_control_characters_and_nothing_else():
    assert clean("\ufeffa\x07\tb\x85 ﬁ\u00a0 \u200d\n") == ("a\tb ﬁ\u00a0 \u200d\n", [])


# Bad input


@pytest.mark.parametrize("text", ["", " ", "\n\t \r\n", "\ufeff", "[end_of_segment]"])
def test_empty_lyrics_are_refused_with_the_cure(text):
    with pytest.raises(LyricsError, match=r"empty.*\[verse\]"):
        parse(text)


@pytest.mark.parametrize("text", ["[softly]", "[x2]"])
def test_neither_words_nor_known_labels_are_refused_with_the_cure(text):
    with pytest.raises(LyricsError, match=r"no known label.*\[intro\].*\[outro\]"):
        parse(text)


@pytest.mark.parametrize(
    "data",
    [b"\x7fELF\x02\x01\x01\x00\x00", b"[verse]\nla\x00la", "la la".encode("utf-16-le"), b"\1\2la"],
)
def test_binary_data_is_refused_with_the_cure(data):
    with pytest.raises(LyricsError, match=r"song\.bin.*plain text file"):
        decode(data, "song.bin")
    with pytest.raises(LyricsError, match="plain text file"):
        parse(data.decode("latin-1"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_files_are_decoded(encoding):
    text = "[verse]\nMünchen 月光 🎵\r\n"
    assert decode(text.encode(encoding)) == text


def test_latin_1_is_refused_and_the_byte_named():
    with pytest.raises(LyricsError, match=r"my\.txt.*0xfc at position 9 .*UTF-8"):
        decode("[verse]\nMünchen".encode("latin-1"), "my.txt")


def test_half_a_utf_16_character_is_refused():
    with pytest.raises(LyricsError, match=r"no UTF-16.*UTF-8"):
        decode("la".encode("utf-16") + b"x")


# Size


@pytest.mark.parametrize(
    "text",
    [
        "[Verse 1]\n" + "word after word\n" * 13_000,
        "[verse] a " * 20_000,
        "[verse]\n" * 25_000,
        "la " + "[a] " * 50_000,
        "[" + " " * 200_000 + "]",
        "[" + "1" * 200_000 + "z]",
        " " * 200_000 + "a",
        "[a]" + " " * 200_000 + "b",
        "[end_of_" * 12_000 + "segment]" * 12_000 + "a",
    ],
    ids=["words", "labels", "empty", "inline", "spaces", "digits", "indent", "gap", "nested"],
)
def test_200_kilobytes_are_read_in_two_seconds(text):
    start = time.perf_counter()
    outcome(text)
    assert time.perf_counter() - start < 2


def test_large_lyrics_are_read_whole():
    text = "\n".join(f"word{n} after word" for n in range(11_000))
    assert len(text) > 200_000
    assert pairs(parse("[Verse 1]\n" + text)) == [("verse", text)]


@pytest.mark.parametrize(
    ("text", "words"),
    [("la " * (LONG_SECTION_WORDS + 1), LONG_SECTION_WORDS + 1), ("月" * 198, 100)],
    ids=["words", "characters"],
)
def test_a_very_long_section_is_reported_once(text, words):
    lyrics = parse(f"[verse]\nla\n\n[chorus]\n{text}\n\n[chorus]\n{text}")
    [finding] = lyrics.findings
    assert finding.line == 4
    assert f"about {words} words" in finding.message


def test_a_section_of_fitting_length_is_not_reported():
    assert found("[verse]\n" + "la " * LONG_SECTION_WORDS) == []


def test_findings_read_as_sentences():
    assert found("la\n[Hook]\nna")[1] == "line 2: [Hook] is sung as [chorus]."
