"""The runner of GitHub Actions: whether a command runs in a step of it, and the commands that it obeys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ksmactors.escaping import escaped, escaped_lines

TEXT_MAX: Final = 4000
"""Characters of the text of an annotation; GitHub cuts longer ones at 4096."""


def is_github(environment: Mapping[str, str]) -> bool:
    """Return whether this is a step of GitHub Actions."""
    return environment.get("GITHUB_ACTIONS", "").lower() == "true"


def annotation(level: str, text: str, **properties: str) -> str:
    """Return the line that makes an annotation.

    Args:
        level: error, warning or notice.
        text: of one line or several; cut after TEXT_MAX characters.
        properties: `file`, `line`, `title`.
    """
    named = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    return f"::{level} {named}::{_data(text[:TEXT_MAX])}"


def _data(text: str) -> str:
    """The text of a command, escaped as `actions/toolkit` does it."""
    return escaped_lines(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """A property of a command, on one line."""
    return _data(escaped(text)).replace(":", "%3A").replace(",", "%2C")
