"""The shape in which every metric tells its result, so that any of them can stand in one table."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any


def record(
    metric: str, number: int, values: Mapping[str, Any], *, extractor: str = "",
    windowing: str = "", seed: int | None = None, **options: Any,
) -> dict[str, Any]:
    """A result ready for JSON: `values`, and all that decided them.

    `number` is the version of the metric; `extractor` a distribution whose version is looked up.
    """
    return {
        "metric": metric, "version": number, "extractor": named(extractor),
        "windowing": windowing, "seed": seed, "options": options, "values": dict(values),
    }


def named(package: str) -> str:
    """Name and version of an installed distribution; the name alone for anything else."""
    try:
        return f"{package} {version(package)}" if package else ""
    except PackageNotFoundError:
        return package
