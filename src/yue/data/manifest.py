"""What was done to which song: a SQLite file, keyed by content hashes and step versions.

Only the process that leads a run opens it, and it alone: a second run on the same folder is
refused. Every outcome is one transaction, so a kill at any point leaves it whole.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from yue.errors import FileError

SCHEMA = 1
_TABLES = """
create table if not exists songs (
  id text primary key, record text, codes text, audio text, error text, step text,
  final integer not null default 0, report text not null default '{}', attempt text
);
create table if not exists files (
  path text primary key, size integer, changed integer, digest text
);
create table if not exists steps (
  key text primary key, name text, song text, seconds real
);
create table if not exists shards (name text primary key, key text);
create table if not exists tries (song text primary key, count integer);
"""


@dataclass(frozen=True)
class Song:
    """A song's row: where its results lie in the store, or why there are none."""

    id: str
    record: str | None
    codes: str | None
    audio: str | None
    error: str | None
    step: str | None
    final: bool
    """Whether the same input would give the same error."""
    report: dict[str, Any]
    attempt: str | None
    """Key of the record that was tried, also where it failed."""


class Manifest:
    """An open manifest. Raises `FileError` if it is in use, or no manifest of this version."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._db = sqlite3.connect(path, timeout=1)
            self._db.execute("pragma locking_mode = exclusive")
            self._db.execute("begin exclusive")
            self._db.execute("commit")
            version = self._db.execute("pragma user_version").fetchone()[0]
            if version not in (0, SCHEMA):
                raise FileError(
                    f"{path} is of version {version}, this program's is {SCHEMA}: prepare into "
                    "another folder."
                )
            self._db.executescript(f"{_TABLES} pragma user_version = {SCHEMA};")
        except sqlite3.OperationalError as error:
            raise FileError(
                f"{path} cannot be opened ({error}): is another run preparing this folder?"
            ) from error
        except sqlite3.DatabaseError as error:
            raise FileError(f"{path} is no manifest ({error}): move it away.") from error

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def digest(self, path: str) -> str | None:
        """The content hash of a file, if it was taken and the file has not changed since."""
        row = self._db.execute(
            "select size, changed, digest from files where path = ?", [path]
        ).fetchone()
        try:
            state = Path(path).stat()
        except OSError:
            return None
        return row[2] if row and row[:2] == (state.st_size, state.st_mtime_ns) else None

    def keep_digests(self, rows: Iterable[tuple[str, int, int, str]]) -> None:
        """Remember hashes: path, size, time of change in ns, digest."""
        with self._db:
            self._db.executemany("insert or replace into files values (?, ?, ?, ?)", rows)

    def song(self, name: str) -> Song | None:
        """The row of a song."""
        return next(self._songs("where id = ?", [name]), None)

    def done(self) -> Iterator[Song]:
        """Finished songs in order of their ids."""
        return self._songs("where record is not null order by id", [])

    def failed(self) -> Iterator[Song]:
        """Songs with an error, in order of their ids."""
        return self._songs("where error is not null order by id", [])

    def _songs(self, where: str, values: list[Any]) -> Iterator[Song]:
        names = [entry.name for entry in fields(Song)]
        for row in self._db.execute(f"select {', '.join(names)} from songs {where}", values):
            held = dict(zip(names, row, strict=True))
            report = json.loads(held.pop("report"))
            yield Song(**held, report=report)

    def tries(self) -> dict[str, int]:
        """Songs on which work began in the leading process and was not heard of again; how often.
        """
        return dict(self._db.execute("select song, count from tries"))

    def try_(self, name: str) -> None:
        """Note that work on a song begins; `keep` forgets it."""
        with self._db:
            self._db.execute(
                "insert into tries values (?, 1) "
                "on conflict (song) do update set count = count + 1",
                [name],
            )

    def forgive(self) -> None:
        """Forget all tries: the process was told to stop."""
        with self._db:
            self._db.execute("delete from tries")

    def keep(self, song: Song, ran: Mapping[str, tuple[str, float]]) -> None:
        """Write a song's outcome, and the steps that ran: key -> name, seconds."""
        row = {**vars(song), "report": json.dumps(song.report, ensure_ascii=False)}
        names, marks = ", ".join(row), ", ".join(f":{name}" for name in row)
        with self._db:
            self._db.execute("delete from tries where song = ?", [song.id])
            self._db.execute(f"insert or replace into songs ({names}) values ({marks})", row)
            self._db.executemany(
                "insert or replace into steps values (?, ?, ?, ?)",
                [(key, name, song.id, seconds) for key, (name, seconds) in ran.items()],
            )

    def keep_only(self, names: Iterable[str]) -> None:
        """Forget songs that are no longer there."""
        with self._db:
            self._db.execute("create temp table if not exists present (id text primary key)")
            self._db.execute("delete from present")
            self._db.executemany("insert into present values (?)", ((name,) for name in names))
            self._db.execute("delete from songs where id not in (select id from present)")

    def shards(self) -> dict[str, str]:
        """Files that were written, and the key of what is in them."""
        return dict(self._db.execute("select name, key from shards"))

    def keep_shards(self, shards: Mapping[str, str]) -> None:
        """Replace the list of files."""
        with self._db:
            self._db.execute("delete from shards")
            self._db.executemany("insert into shards values (?, ?)", shards.items())
