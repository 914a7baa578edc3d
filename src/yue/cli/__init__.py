"""The command line. Flags are drawn from `options.py`; verbs import what is heavy when they run.

Progress and findings go to stderr, the path of the result (or, with --json, one JSON object) to
stdout. A user's mistake is one sentence and exit code 1.
"""

from yue.cli.verbs import main

__all__ = ["main"]
