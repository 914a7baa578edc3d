"""Lyrics as people write them -> sections as the model was trained on them.

Text goes in; `Lyrics` comes out: sections with one of the five trained labels, and findings for
the person who wrote it. No word is lost: it is in a section, or a finding names its line and says
why not. Plain `[verse]`-style input passes through byte for byte. Pure text; no tokens, no model.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from yue.errors import LyricsError

LABELS = ("intro", "verse", "chorus", "bridge", "outro")
"""The labels that the published models were trained on."""

MARKERS = tuple(
    f"[{edge}_of_{what}]"
    for edge in ("start", "end")
    for what in ("segment", "reference", "source")
)
"""Plain-text delimiters of the token format; never allowed inside a user's text."""

MAX_REPEATS = 8
LONG_SECTION_WORDS = 90
"""About what is sung in the 30 s that a section may last."""

_SYNONYMS = {
    "intro": "intro opening prelude introduction start 前奏 开场 イントロ 인트로",
    "verse": "verse verses strophe couplet rap part stanza prechorus prehook prerefrain pre lift "
    "buildup climb 主歌 导歌 预副歌 説唱 说唱 aメロ bメロ ヴァース 벌스 절 프리코러스",
    "chorus": "chorus choruses hook refrain postchorus posthook 副歌 サビ コーラス "
    "후렴 후렴구 코러스",
    "bridge": "bridge middle cpart 桥段 桥 過門 过渡 cメロ ブリッジ 브릿지",
    "outro": "outro ending end coda fadeout fade finale tag 尾奏 结尾 アウトロ エンディング "
    "아웃트로",
}
_LABEL_OF = {word: label for label, words in _SYNONYMS.items() for word in words.split()}
_INSTRUMENTAL = frozenset(
    "solo instrumental instrumentals interlude break breakdown riff drop "
    "间奏 間奏 独奏 간주".split()
)
_ORDINALS = frozenset(
    "first second third fourth fifth last final one two three four five six i ii iii iv v vi a b c "
    "the short double half big main extended reprise repeat repeated again".split()
)
_AGAIN = {"repeat", "repeated", "again", "reprise"}

_OPEN, _CLOSE = r"\[【［", r"\]】］"
_BRACKET = re.compile(rf"[{_OPEN}]([^{_OPEN}{_CLOSE}\n]*)[{_CLOSE}]")
_BARE_HEADER = re.compile(
    r"^\s*(?:\((?P<paren>[^()\n]+)\)|#+\s*(?P<hash>[^#\n]+?)|\*\*(?P<bold>[^*\n]+)\*\*|"
    r"(?P<colon>[^:\n]{2,24}))\s*(?P<mark>[:：])?\s*$"
)
_LABELLED_LINE = re.compile(r"^\s*(?P<label>[\w-]+(?: \d{1,2})?)\s*:\s+(?P<words>\S.*)$")
_REPEAT = re.compile(r"\b(?:x|×)\s*(\d+)\b|\b(\d+)\s*(?:x|×|times)(?!\w)|[×*]\s*(\d+)|\b(twice)\b")
_NOTE = re.compile(r"\s*(?:[:：|,;(/@]|\s[-–—]\s|[–—]).*$", re.DOTALL)


@dataclass(frozen=True)
class Finding:
    """Something that the writer of the lyrics should know. Lines count from 1; 0 is the whole."""

    line: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}" if self.line else self.message


@dataclass(frozen=True)
class Section:
    """One section of a song: a trained label and the words sung in it (none: instrumental)."""

    label: str
    text: str
    line: int = field(default=0, compare=False)
    """Where it starts in the user's text, counted from 1."""


@dataclass(frozen=True)
class Lyrics:
    """Sections in the order in which they are sung, and what the reader noticed."""

    sections: tuple[Section, ...]
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class _Header:
    """What a label says: `label` is None if it is none of the known ones."""

    written: str
    label: str | None
    repeats: int = 1
    again: bool = False
    instrumental: bool = False
    note: str = ""
    exact: bool = False
    """Nothing but a label, a number and a repeat count was written."""


def decode(data: bytes, name: str = "lyrics") -> str:
    """The text in a file's bytes: UTF-8, or UTF-16 with a byte-order mark.

    Raises `LyricsError` if the bytes are not text.
    """
    try:
        utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
        text = data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise LyricsError(
            f"{name} is not text: byte {error.start} is no UTF-8. Save the lyrics as UTF-8 text."
        ) from error
    _refuse_binary(text, name)
    return text


def _refuse_binary(text: str, name: str = "lyrics") -> None:
    strange = sum(unicodedata.category(char) == "Cc" and char not in "\n\r\t" for char in text)
    if "\0" in text or strange * 20 > len(text):
        raise LyricsError(f"{name}: this is binary data, not text. Give a plain text file.")


def clean(text: str) -> tuple[str, list[Finding]]:
    """Text without what could disturb the token format, and what was taken out.

    Line ends become LF, control characters and a byte-order mark go, the format's own bracket
    markers go; nothing else changes. Applying it twice changes nothing more.
    """
    findings = []
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\ufeff", "")
    text = "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))
    while found := [marker for marker in MARKERS if marker in text]:
        for marker in found:
            line = text[: text.index(marker)].count("\n") + 1
            findings.append(Finding(line, f"{marker} is a mark of the model's format: taken out."))
            text = text.replace(marker, "")
    return text, findings


def parse(text: str) -> Lyrics:
    """Read lyrics. Raises `LyricsError` if there is neither a word nor a label.

    Labels map to the five trained ones; `x2` sings a section twice; text before any label, or
    without labels, is a verse per stanza; unknown labels with words below are verses. Each such
    decision is a finding.
    """
    _refuse_binary(text)
    text, findings = clean(text)
    if not text.strip():
        raise LyricsError(
            "the lyrics are empty. Write words below labels such as [verse] and [chorus]; "
            "labels alone give an instrumental."
        )
    sections: list[Section] = []
    for header, lines, line in _blocks(text, findings):
        body = "\n".join(lines).strip()
        if header is None:
            sections += _stanzas(lines, line, findings)
        else:
            sections += _sections(header, body, line, sections, findings)
    if not sections:
        raise LyricsError(
            "the lyrics hold no words and no known label. Known labels are "
            + ", ".join(f"[{label}]" for label in LABELS) + "."
        )
    findings += _long(sections)
    return Lyrics(tuple(sections), tuple(sorted(findings, key=lambda finding: finding.line)))


def _blocks(
    text: str, findings: list[Finding]
) -> Iterator[tuple[_Header | None, list[str], int]]:
    """Cut text at headers: `(header, lines below it, line number)`."""
    header: _Header | None = None
    lines: list[str] = []
    start = 1
    for number, raw in enumerate(text.split("\n"), 1):
        for found, words in _cut_line(raw, number, findings):
            if found is None:
                lines.append(words)
                continue
            if header is not None or any(line.strip() for line in lines):
                yield header, lines, start
            header, lines, start = found, [words] if words.strip() else [], number
    if header is not None or any(line.strip() for line in lines):
        yield header, lines, start


def _cut_line(
    raw: str, number: int, findings: list[Finding]
) -> Iterator[tuple[_Header | None, str]]:
    """One line as headers with the words behind them; words before the first have no header."""
    bare = _bare_header(raw)
    if bare is not None:
        yield bare
        return
    position, header = 0, None
    for match in _BRACKET.finditer(raw):
        at_start = not raw[: match.start()].strip()
        alone = at_start and not raw[match.end() :].strip()
        found = _read_label(match[1])
        if found.label is None and not (alone and match[1].strip()):
            findings.append(
                Finding(number, f"{match[0]} is not a section label: kept as words.")
            )
            continue
        if not at_start and not found.exact:
            continue
        before = raw[position : match.start()]
        if header is not None or before.strip():
            yield header, before
        position, header = match.end(), found
    yield header, raw[position:]


def _bare_header(raw: str) -> tuple[_Header, str] | None:
    """`(Chorus)`, `## Verse 2`, `**Bridge**`, `Chorus:`, `Verse 1: words`, if meant as labels."""
    if match := _LABELLED_LINE.match(raw):
        header = _read_label(match["label"])
        return (header, match["words"]) if header.exact else None
    match = _BARE_HEADER.match(raw)
    if match is None or (match["colon"] and not match["mark"]):
        return None
    written = next(filter(None, match.group("paren", "hash", "bold", "colon"))).strip()
    bracketed = _BRACKET.fullmatch(written)
    header = _read_label(bracketed[1] if bracketed else written)
    return (header, "") if header.exact else None


def _read_label(written: str) -> _Header:
    """What stands between the brackets of a label, in any case, numbering or wording."""
    text = unicodedata.normalize("NFKC", written).casefold().strip()
    repeats = 1
    if match := _REPEAT.search(text):
        digits = next(filter(None, match.groups()))
        repeats = 2 if digits == "twice" else int(digits[:6])
        text = (text[: match.start()] + text[match.end() :]).replace("()", "").strip(" -–—")
    note_match = _NOTE.search(text)
    note = note_match[0].strip(" :：|,;(/@)-–—") if note_match else ""
    base = text[: note_match.start()] if note_match else text
    words = [word for word in re.split(r"[\s_\-.#+&']+", base) if word]
    again = any(word in _AGAIN for word in words) or any(word in note for word in _AGAIN)
    core = [
        stripped
        for word in words
        if (stripped := re.sub(r"\d+(?:st|nd|rd|th)?[a-d]?$|^\d+(?:st|nd|rd|th)?", "", word))
        and (stripped not in _ORDINALS)
    ]
    header = _Header(written.strip(), None, repeats, again, note=note)
    if base.strip() in _LABEL_OF:
        return replace(header, label=_LABEL_OF[base.strip()], exact=not note)
    joined = "".join(core)
    if joined in _LABEL_OF:
        return replace(header, label=_LABEL_OF[joined], exact=not note)
    if re.fullmatch(r"middle(8|eight)", "".join(words)):
        return replace(header, label="bridge", exact=not note)
    if core and core[-1] in _INSTRUMENTAL:
        return replace(header, label="bridge", instrumental=True, exact=len(core) <= 2 and not note)
    known = [_LABEL_OF[word] for word in core if word in _LABEL_OF]
    if known and len(core) <= 4:
        return replace(header, label=known[-1])
    if not core and repeats > 1 and not words:
        return replace(header, again=True)
    return header


def _sections(
    header: _Header, body: str, line: int, before: list[Section], findings: list[Finding]
) -> list[Section]:
    """The sections that one header with its words stands for."""
    written = f"[{header.written}]"

    def say(message: str) -> None:
        findings.append(Finding(line, f"{written} {message}"))

    repeats = min(header.repeats, MAX_REPEATS)
    if header.label is None:
        return _unknown(header, body, line, before, say)
    if header.repeats != repeats:
        say(f"asks for {header.repeats} repeats: sung {repeats} times, the most allowed.")
    earlier = [section for section in before if section.label == header.label and section.text]
    if header.again and not body and earlier:
        say(f"sings the {header.label} of line {earlier[-1].line} again.")
        return [replace(earlier[-1], line=line)] * repeats
    if header.instrumental:
        say("is sung as an empty bridge." if not body else "has words: sung as a bridge with them.")
    elif header.written != header.label:
        times = f", {repeats} times" if repeats > 1 else ""
        say(f"is sung as [{header.label}]{times}.")
    if header.note:
        say(f"the remark {header.note!r} is not sung.")
    if not body and earlier and not header.instrumental:
        say(f"has no words and is played without singing; [{header.label} repeat] repeats them.")
    return [Section(header.label, body, line)] * repeats


def _unknown(
    header: _Header, body: str, line: int, before: list[Section], say: Callable[[str], None]
) -> list[Section]:
    """A label that is none of ours: a bare `[x2]` repeats, words below it are a verse."""
    if header.again and before:
        say(f"sings the {before[-1].label} of line {before[-1].line} again.")
        repeated = [before[-1]] * (min(header.repeats, MAX_REPEATS) - 1)
        return repeated + ([Section(before[-1].label, body, line)] if body else [])
    if body:
        say(f"is not a known label ({', '.join(LABELS)}): its words are sung as a verse.")
        return [Section("verse", body, line)]
    say("is not a known label and has no words below it: left out.")
    return []


def _stanzas(lines: list[str], line: int, findings: list[Finding]) -> list[Section]:
    """Text without a label: one verse per stanza."""
    sections: list[Section] = []
    stanza: list[str] = []
    for number, text in enumerate([*lines, ""], line):
        if text.strip():
            stanza.append(text)
        elif stanza:
            sections.append(Section("verse", "\n".join(stanza).strip(), number - len(stanza)))
            stanza = []
    many = f"{len(sections)} verses, one per stanza" if len(sections) > 1 else "a verse"
    if sections:
        findings.append(Finding(sections[0].line, f"words without a label are sung as {many}."))
    return sections


def _long(sections: list[Section]) -> Iterator[Finding]:
    """Warn of sections that hold more than is sung in the time that a section may last."""
    for section in dict.fromkeys(sections):
        wide = sum(unicodedata.east_asian_width(char) == "W" for char in section.text)
        words = len(section.text.split()) + wide // 2
        if words > LONG_SECTION_WORDS:
            yield Finding(
                section.line,
                f"this [{section.label}] has about {words} words; some "
                f"{LONG_SECTION_WORDS} fit into one section. Split it, or its end may be cut off.",
            )
