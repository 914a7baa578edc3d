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
_LONGEST_LABEL = 60
"""Characters; what is longer is no label. It also bounds the work on text made to be slow."""

_SYNONYMS = {
    "intro": "intro opening prelude introduction start 前奏 开场 イントロ 인트로",
    "verse": "verse verses strophe couplet rap part stanza prechorus prehook prerefrain pre lift "
    "buildup climb 主歌 导歌 预副歌 説唱 说唱 aメロ bメロ ヴァース 벌스 절 프리코러스",
    "chorus": "chorus choruses hook refrain postchorus posthook 副歌 サビ コーラス "
    "후렴 후렴구 코러스",
    "bridge": "bridge middle middle8 middleeight cpart 桥段 桥 過門 过渡 cメロ ブリッジ 브릿지",
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
_INSTRUMENTS = frozenset(
    "guitar piano sax saxophone drum drums bass synth violin keyboard organ flute trumpet "
    "harmonica string strings acoustic electric".split()
)
_EVERYDAY = frozenset(
    "opening start part pre lift climb buildup middle end ending fade fadeout tag rap break drop "
    "riff 절 桥".split()
)
"""Labels that are ordinary words too: `Tag: you're it` and `(the end)` are sung."""
_AGAIN = frozenset("repeat repeated again reprise".split())

_OPEN, _CLOSE = r"\[【［", r"\]】］"
_COUNT = r"\(?(?:[x×]\s?\d+|\d+\s?[x×])\)?"
_BRACKET = re.compile(
    rf"[{_OPEN}]([^{_OPEN}{_CLOSE}\n]*)[{_CLOSE}](?:[ \t]*({_COUNT})[ \t]*$)?", re.IGNORECASE
)
# Markdown around a label in brackets: `**[Chorus]**`, `## [Verse 2]`.
_DRESSED = re.compile(rf"[#*\s]*([{_OPEN}][^{_OPEN}{_CLOSE}\n]*[{_CLOSE}])[*\s]*(?:[:：][*\s]*)?")
_BARE_HEADER = re.compile(
    rf"[(（](?P<paren>[^()（）]+)[)）](?:[:：]|\s*(?P<count>{_COUNT}))?|"
    r"(?P<name>[\w-]+(?: \d{1,2})?)|"
    r"#+(?P<hash>[^#]+)|\*\*(?P<bold>[^*]+)\*\*\s*[:：]?|(?P<colon>[^:：]{2,24})[:：]",
    re.IGNORECASE,
)
_LABELLED_LINE = re.compile(
    r"(?P<written>(?:\*\*)?(?P<label>[^*:：]{2,24})(?:\*\*)?[:：](?:\*\*)?)\s*(?P<words>[^\s*].*)"
)
_REPEAT = re.compile(
    r"(?<![a-z0-9])x\s*(\d+)\b|\b(\d+)\s*(?:x|×|times)(?!\w)|[×*]\s*(\d+)|\b(twice)\b"
)
_NOTE = re.compile(r"(?:[:|,;(/@–—]|\s-\s).*", re.DOTALL)
_NUMBER = re.compile(r"\d+(?:st|nd|rd|th)?[a-d]?$|^\d+(?:st|nd|rd|th)?")


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
    """As it stands in the text, brackets and all."""
    label: str | None = None
    repeats: int = 1
    again: bool = False
    """It asks for words that were sung before."""
    instrumental: bool = False
    note: str = ""
    exact: bool = False
    """Nothing but a label, a number and a repeat count was written."""
    everyday: bool = False
    """The label is an ordinary word too: without square brackets, it may be meant to be sung."""


_DOCUMENTS = {b"%PDF": "a PDF", b"{\\rtf": "rich text", b"PK\x03\x04": "an office file or archive"}


def decode(data: bytes, name: str = "lyrics") -> str:
    """The text in a file's bytes: UTF-8, or UTF-16 with a byte-order mark.

    Raises `LyricsError` if the bytes are not text.
    """
    for magic, kind in _DOCUMENTS.items():
        if data.startswith(magic):
            raise LyricsError(f"{name} is {kind}, not text. Save the lyrics as UTF-8 text.")
    utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise LyricsError(
            f"{name} is not text: byte 0x{data[error.start]:02x} at position {error.start} is no "
            f"{'UTF-16' if utf16 else 'UTF-8'}. Save the lyrics as UTF-8 text."
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
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        lines[number - 1], markers = _unmarked(line)
        findings += [
            Finding(number, f"{marker} is a mark of the model's format: taken out.")
            for marker in markers
        ]
    return "\n".join(lines), findings


def _unmarked(line: str) -> tuple[str, list[str]]:
    """A line without markers, those included that taking out another one would make."""
    kept, found = "", []
    for piece in re.split(r"(?<=\])", line):
        kept += piece
        if marker := next(filter(kept.endswith, MARKERS), None):
            kept = kept.removesuffix(marker)
            found.append(marker)
    return kept, found


def parse(text: str) -> Lyrics:
    """Read lyrics. Raises `LyricsError` if there is neither a word nor a label.

    Labels map to the five trained ones; `x2` sings a section twice; text before any label, or
    without labels, is a verse per stanza; unknown labels with words below are verses, right below
    a known label they are remarks on it. Each such decision is a finding.
    """
    _refuse_binary(text)
    text, findings = clean(text)
    if not text.strip():
        raise LyricsError(
            "the lyrics are empty. Write words below labels such as [verse] and [chorus]; "
            "labels alone give an instrumental."
        )
    sections: list[Section] = []
    latest: dict[str | None, Section] = {}  # with words, by label; under None: of any label
    for header, lines, line in _blocks(text, findings):
        if header is None:
            new = _stanzas(lines, line, findings)
        else:
            body = "\n".join(lines).strip()
            new = _sections(header, body, line, latest.get(header.label), findings)
        for section in filter(lambda section: section.text, new):
            latest[section.label] = latest[None] = section
        sections += new
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
    naked = not _BRACKET.search(text)
    for number, raw in enumerate(text.split("\n"), 1):
        for found, words in _cut_line(raw, number, naked, findings):
            if found is None:
                lines.append(words)
                continue
            if header and header.label and not found.label and not lines:
                header = _remarked(header, found, number, findings)
                continue
            if header is not None or any(line.strip() for line in lines):
                yield header, lines, start
            header, lines, start = found, [words] if words.strip() else [], number
    if header is not None or any(line.strip() for line in lines):
        yield header, lines, start


def _remarked(header: _Header, found: _Header, line: int, findings: list[Finding]) -> _Header:
    """A label with what an unknown label right below it adds: `[Chorus]`, then `[female]`."""
    findings.append(
        Finding(line, f"{found.written} is read as a remark on {header.written}: not sung.")
    )
    repeats = max(header.repeats, found.repeats)
    return replace(header, repeats=repeats, again=header.again or found.again)


def _cut_line(
    raw: str, number: int, naked: bool, findings: list[Finding]
) -> Iterator[tuple[_Header | None, str]]:
    """One line as headers with the words behind them; words before the first have no header.

    `naked`: a line `Chorus` is a label. Where labels stand in brackets, it is sung.
    """
    bare = _bare_header(raw.strip(), naked)
    if bare is not None:
        yield bare
        return
    if dressed := _DRESSED.fullmatch(raw):
        raw = dressed[1]
    first = len(raw) - len(raw.lstrip())
    position, header = 0, None
    for match in _BRACKET.finditer(raw):
        found = _read_label(f"{match[1]} {match[2] or ''}", match[0].strip())
        at_start = match.start() == first
        alone = at_start and bool(match[1].strip()) and not raw[match.end() :].strip()
        inside = found.exact and not found.everyday
        if not (alone or (found.label and (at_start or inside))):
            findings.append(Finding(number, f"{match[0]} is no label here: kept as words."))
            continue
        before = raw[position : match.start()]
        if header is not None or before.strip():
            yield header, before
        position, header = match.end(), found
    yield header, raw[position:]


def _bare_header(line: str, naked: bool) -> tuple[_Header, str] | None:
    """`(Chorus)`, `## Verse 2`, `**Bridge**`, `Chorus:`, `Verse 1: words`, if meant as labels."""
    if match := _LABELLED_LINE.fullmatch(line):
        header = _read_label(match["label"], match["written"])
        is_label = header.label and header.exact and not header.everyday
        return (header, match["words"]) if is_label else None
    match = _BARE_HEADER.fullmatch(line) if len(line) <= _LONGEST_LABEL else None
    if match is None or (match["name"] and not naked):
        return None
    name = next(filter(None, match.group("paren", "hash", "bold", "name", "colon")))
    header = _read_label(f"{name} {match['count'] or ''}", line)
    sung = header.everyday and (match["paren"] or match["name"])
    return (header, "") if header.exact and not sung else None


def _read_label(name: str, written: str) -> _Header:
    """What a label's name says, in any case, numbering or wording."""
    text, repeats = _cut_repeats(unicodedata.normalize("NFKC", name).casefold())
    base, note = _cut_note(text)
    header = _Header(written, repeats=repeats, note=note)
    if len(base) > _LONGEST_LABEL:
        return header
    words = [word for word in re.split(r"[\s_\-.#+&'*]+", base) if word]
    bare = filter(None, (_NUMBER.sub("", word) for word in words))
    core = [word for word in bare if word not in _ORDINALS]
    again = not _AGAIN.isdisjoint(words + note.split())
    if not core:
        counted = repeats > 1 and any(char.isdigit() for char in name)
        return replace(header, again=again or repeats > 1, exact=counted and not (words or note))
    label, instrumental = _meaning(words, core)
    if label is None:
        return header
    joined = "".join(core)
    plain = _INSTRUMENTS | _INSTRUMENTAL if instrumental else ()
    exact = joined in _LABEL_OF or "".join(words) in _LABEL_OF or all(w in plain for w in core)
    return replace(
        header,
        label=label,
        again=again,
        instrumental=instrumental,
        exact=exact and not note,
        everyday=joined in _EVERYDAY and not any(char.isdigit() for char in base),
    )


def _cut_repeats(text: str) -> tuple[str, int]:
    """`chorus (2x)` -> `chorus`, 2."""
    match = _REPEAT.search(text)
    if match is None:
        return text.strip(), 1
    count = next(filter(None, match.groups()))
    # int() refuses thousands of digits; the first six are "too many" already.
    repeats = 2 if count == "twice" else max(1, int(count[:6]))
    rest = text[: match.start()] + text[match.end() :]
    return re.sub(r"\(\s?\)", "", rest).strip(" -–—"), repeats


def _cut_note(text: str) -> tuple[str, str]:
    """`verse 2: singer` -> `verse 2`, `singer`."""
    match = _NOTE.search(text)
    if match is None:
        return text, ""
    return text[: match.start()].strip(), match[0].strip(" :|,;(/@)-–—")


def _meaning(words: list[str], core: list[str]) -> tuple[str | None, bool]:
    """The trained label that a label's words stand for, and whether it is instrumental."""
    label = _LABEL_OF.get("".join(words)) or _LABEL_OF.get("".join(core))
    if label:
        return label, False
    if core[-1] in _INSTRUMENTAL:
        return "bridge", True
    known = [_LABEL_OF[word] for word in core if word in _LABEL_OF]
    if known and len(core) <= 4:
        return known[-1], False
    return ("bridge", True) if core[0] in _INSTRUMENTAL - _EVERYDAY else (None, False)


def _sections(
    header: _Header, body: str, line: int, earlier: Section | None, findings: list[Finding]
) -> list[Section]:
    """The sections that one header with its words stands for.

    `earlier` is the last section with words under that label, or under any if it is unknown.
    """

    def say(message: str) -> None:
        findings.append(Finding(line, f"{header.written} {message}"))

    repeats = min(header.repeats, MAX_REPEATS)
    if header.repeats > MAX_REPEATS and (header.label or header.again):
        say(f"asks for more repeats than the {MAX_REPEATS} allowed: {MAX_REPEATS} are sung.")
    if header.label is None:
        return _unknown(header, body, line, earlier, say)
    times = f", {repeats} times" if repeats > 1 else ""
    if header.again and not body and earlier:
        say(f"sings the {header.label} of line {earlier.line} again{times}.")
        return [earlier] * repeats
    remark = "; the remark in it is not sung" if header.note else ""
    if header.instrumental:
        how = "has words: sung as a bridge with them" if body else "is played as an empty bridge"
        say(f"{how}{times}{remark}.")
    elif header.written != f"[{header.label}]" or times:
        say(f"is sung as [{header.label}]{times}{remark}.")
    if not body and earlier and not header.instrumental:
        say(f"has no words and is played without singing; [{header.label} repeat] repeats them.")
    return [Section(header.label, body, line)] * repeats


def _unknown(
    header: _Header, body: str, line: int, earlier: Section | None, say: Callable[[str], None]
) -> list[Section]:
    """A label that is none of ours: a bare `[x2]` repeats, words below it are a verse."""
    if header.again and earlier:
        more = min(max(header.repeats, 2), MAX_REPEATS) - 1
        times = f", {more} more times" if more > 1 else ""
        below = f"; the words below are another {earlier.label}" if body else ""
        say(f"sings the {earlier.label} of line {earlier.line} again{times}{below}.")
        return [earlier] * more + ([Section(earlier.label, body, line)] if body else [])
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
