"""The commands of docs/training.md, one after the other: from nothing to a song."""

from __future__ import annotations

import ctypes.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_commands_of_the_training_page_run(tmp_path: Path) -> None:
    if not ctypes.util.find_library("flite"):
        pytest.skip("the songbook sings with flite: scripts/songbook-packages installs it")
    for name in ("recipes", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    text = (ROOT / "docs" / "training.md").read_text()
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    commands = [line[2:] for block in blocks for line in block.splitlines() if line[:2] == "$ "]
    assert len(commands) >= 10
    for command in commands:
        done = subprocess.run(
            f"{Path(sys.executable).parent}/{command}", shell=True, cwd=tmp_path,
            capture_output=True, text=True, check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr[-3000:]}"
    assert soundfile.info(tmp_path / "mine.flac").duration > 1
