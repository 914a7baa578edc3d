"""What the tests share: golden files, files that only the project's own checkout has, a model."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).parent / "golden"
SHARED = Path(__file__).parents[2] / "shared" / "golden"


def golden(name: str) -> Any:
    """A JSON vector of `tests/golden`."""
    return json.loads((GOLDEN / name).read_text())


@pytest.fixture(scope="session")
def shared() -> Path:
    """Files that may not be committed: the published tokenizer, real tokens, real audio."""
    if not SHARED.is_dir():
        pytest.skip("needs the published tokenizer and recordings, which are not in the repository")
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the user's cache out of it, and the network."""
    os.environ["YUE_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> None:
    """What is started in the background ignores Ctrl-C, and so do its children: tests send it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def model() -> Any:
    """The tiny random model on the CPU."""
    import yue

    return yue.load("random", device="cpu")


LYRICS = "[verse]\nThe river keeps on running\nDown to the sea\n\n[chorus]\nCome home\n"
SHORT = {"min_new_tokens": 20, "max_new_tokens": 120}
