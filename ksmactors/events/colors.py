"""Whether what is printed may be coloured."""

from __future__ import annotations

import os
from typing import TextIO


def color_allowed(stream: TextIO, color: str = "auto") -> bool:
    """Whether to colour what goes to `stream`; `color` is auto, always or never, and wins when it is not auto."""
    if color != "auto":
        return color == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return os.environ.get("TERM") != "dumb" and stream.isatty()
