"""The commands of the pages that need the songbook, one after the other, up to a song."""

from __future__ import annotations

import ctypes.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

ROOT = Path(__file__).parents[1]


def commands_of(page: str) -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line[:2] == "$ "]


@pytest.mark.slow
@pytest.mark.parametrize("page", ["songbook.md", "training.md"])
def test_the_commands_of_the_page_run(page: str, tmp_path: Path) -> None:
    if not ctypes.util.find_library("flite"):
        pytest.skip("the songbook sings with flite: scripts/songbook-packages installs it")
    for name in ("recipes", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    commands = commands_of(page)
    assert commands
    for command in commands:
        done = subprocess.run(
            f"{Path(sys.executable).parent}/{command}", shell=True, cwd=tmp_path,
            capture_output=True, text=True, check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr[-3000:]}"
    if page == "training.md":
        assert soundfile.info(tmp_path / "mine.flac").duration > 1
