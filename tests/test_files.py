"""Nothing half-written is ever left, whatever the disk does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from yue.errors import FileError
from yue.files import read_json, write_bytes, write_json

FULL_DISK = """
import resource, signal, sys
import numpy as np
from yue.audio import Audio
from yue.draft import Draft, Sung
from yue.errors import FileError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
kind, path = sys.argv[1:]
noise = np.random.default_rng(0)
try:
    if kind == "audio":
        Audio(noise.normal(size=(1, 44_100)) * 0.1, 44_100).save(path)
    else:
        codes = noise.integers(0, 1024, (2, 50_000))
        Draft(codes=codes, sections=(Sung("verse", "", 50_000),)).save(path)
except FileError as error:
    print(error)
    sys.exit(7)
"""


@pytest.mark.parametrize(
    ("kind", "name"), [("audio", "x.flac"), ("audio", "x.mp3"), ("draft", "x.npz")]
)
def test_a_disk_that_takes_no_more(tmp_path: Path, kind: str, name: str) -> None:
    """A real refusal by the system: files may not grow beyond 20 kB (mp3 of 1 s just fits)."""
    (tmp_path / name).write_bytes(b"the older file")
    run = subprocess.run(
        [sys.executable, "-c", FULL_DISK, kind, str(tmp_path / name)],
        capture_output=True, text=True, check=False,
    )
    if name.endswith("mp3"):
        assert run.returncode == 0 and (tmp_path / name).stat().st_size > 1000
    else:
        assert run.returncode == 7 and "could not write" in run.stdout
        assert (tmp_path / name).read_bytes() == b"the older file"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_json_round_trip_and_its_errors(tmp_path: Path) -> None:
    assert read_json(write_json(tmp_path / "x.json", {"a": ["é", 1]})) == {"a": ["é", 1]}
    write_bytes(tmp_path / "y.json", b"{")
    with pytest.raises(FileError, match=r"y\.json is not valid JSON"):
        read_json(tmp_path / "y.json")
    with pytest.raises(FileError, match="could not read"):
        read_json(tmp_path / "z.json")
