"""Optional packages: imported where they are used; a missing one is named with the cure."""

from __future__ import annotations

import importlib
from typing import Any

from yue.errors import OptionError


def need(module: str) -> Any:
    """The module of that name. Raises `OptionError` that says how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise OptionError(
            f"this metric needs the package {module.split('.')[0]} ({error}): "
            "pip install 'yue-music[evaluate]'."
        ) from error
