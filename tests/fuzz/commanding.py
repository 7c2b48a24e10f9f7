"""Commands in this process, with a look at all that they print: what a stranger's file may make of them is one line."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper
from typing import Final

from ksmactors.cli import main
from ksmactors.errors import INTERNAL, USAGE

LINES_MAX: Final = 12
"""Lines on standard error of a command that refuses a file: one that says why, and those about what it read before."""


class Broken(Exception):
    """A mutated file made ksmactors say that it is at fault itself, or print what it must not."""


def performed(words: Sequence[str]) -> int:
    """Run a command line and return its exit status.

    Raises:
        Broken: it ends with an internal error, prints a traceback or a raw control character, or refuses at length.
    """
    out, err = (TextIOWrapper(BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err):
        status = main(words)
    shown, said = (stream.buffer.getvalue().decode() for stream in (out, err))  # type: ignore[attr-defined]
    wrong = ""
    if status == INTERNAL or "Traceback" in said:
        wrong = f"exit {status}"
    elif status == USAGE and not 1 <= said.count("\n") <= LINES_MAX:
        wrong = "refuses in many lines, or none"
    elif raw := [char for char in shown + said if _is_raw(char)]:
        wrong = f"prints {raw[0]!r}"
    if wrong:
        raise Broken(f"{' '.join(words)}: {wrong}: {said[-3000:]}")
    return status


def _is_raw(char: str) -> bool:
    """Whether a terminal would perform a character, or hide it."""
    return char not in "\n\t" and unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")
