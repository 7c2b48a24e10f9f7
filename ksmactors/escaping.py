"""Text from files, names and exceptions, made safe for a terminal: control characters are shown, not performed.

A finding, a log or a scenario may come from another person. An escape sequence in it could move the cursor, change the
window's title, or, with bidirectional controls, show another text than is there. So everything that is printed and
was not written by ksmactors itself passes through `escaped`; nothing else in the project decides what is printable.
Nothing else decides how a message cuts what it quotes, either: see `quoted` and `shortened`.
"""

from __future__ import annotations

import re
from typing import Any, Final

SHOWN_MAX: Final = 80
"""Characters of a text of another person that a message quotes."""

LINE_WORD_MAX: Final = 1000
"""Characters of a word in a line about an error. The longest that is meant to be read whole is a path."""

_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but for tab and newline, DEL and C1, which holds an eight-bit CSI and OSC
    "\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # bidi controls, invisible, line breaks
    "\U000e0000-\U000e007f"  # tags: invisible
    "\ud800-\udfff]"  # lone surrogates: undecodable bytes of file names, which a strict stream cannot write
)

_BEYOND_ASCII: Final = re.compile("[^\x00-\x7f]")

_COMMAND: Final = re.compile(r"^(\s*)::", re.MULTILINE)

_WORD: Final = re.compile(r"\S+")

_SCHEDULE: Final = re.compile("['\"(]?ksm[0-9]+:")

_BREAKS: Final = re.compile("[\t\n]")


def escaped(text: str) -> str:
    r"""Return the text on one line, with each control, bidirectional or invisible character as `\x1b` or `\u202e`."""
    return _BREAKS.sub(_shown, escaped_lines(text))


def escaped_lines(text: str) -> str:
    """Like `escaped`, but tabs and newlines stay: for tracebacks and other text of several lines."""
    return _UNSAFE.sub(_shown, text)


def escaped_json(text: str) -> str:
    r"""Return the same JSON with each such character in its texts as `\u001b`. Raw, none can be outside of them."""
    return _UNSAFE.sub(_as_json, text)


def ascii_json(text: str) -> str:
    r"""Return the same JSON in ASCII: for a stream whose encoding does not have all characters."""
    return _BEYOND_ASCII.sub(_as_json, text)


def is_utf8(encoding: str | None) -> bool:
    """Whether an encoding has all characters, each as JSON wants it. A stream without an encoding takes text."""
    return encoding is None or encoding.lower().replace("-", "") == "utf8"


def encodable(content: Any) -> Any:
    r"""Return content for JSON in which each text is UTF-8. A lone surrogate, as in a file name of other bytes, becomes
    `\udcff`, written out."""
    if isinstance(content, str):
        return content.encode("utf-8", "backslashreplace").decode()
    if isinstance(content, dict):
        return {encodable(key): encodable(value) for key, value in content.items()}
    return [encodable(value) for value in content] if isinstance(content, (list, tuple)) else content


def shortened(text: str, most: int = SHOWN_MAX) -> str:
    """Return the text, or its beginning with dots behind it: every message that quotes other people cuts it here."""
    return text if len(text) <= most else f"{text[:most]}..."


def quoted(value: object, most: int = SHOWN_MAX) -> str:
    """Return `repr(value)`; of a long text that of its beginning, and that of `object` if the class's own fails."""
    if isinstance(value, str) and len(value) > most:
        return f"{value[:most]!r}..."
    try:
        return shortened(repr(value), 2 * most)
    except KeyboardInterrupt:
        raise
    except BaseException:
        return object.__repr__(value)


def described(error: BaseException) -> str:
    """Return `ValueError: what it says`, of an exception that code of other people has raised."""
    return f"{type(error).__name__}: {text_of(error)}"


def text_of(error: BaseException) -> str:
    """Return what an exception says; if its class cannot say it, that."""
    try:
        return "".join((str(error),))  # a plain text, whatever class of text it is
    except KeyboardInterrupt:
        raise
    except BaseException as failed:
        return f"(its text cannot be had: __str__ raised {type(failed).__name__})"


def shortened_words(text: str, most: int = SHOWN_MAX) -> str:
    """Return the text with each word cut that is longer. A schedule string stays whole: it is there to be copied."""
    return _WORD.sub(lambda match: match[0] if _SCHEDULE.match(match[0]) else shortened(match[0], most), text)


def inert(text: str) -> str:
    r"""Return the text without commands to the runner of GitHub Actions, which reads what a step prints: `::` at the
    start of a line becomes `\x3a:`, and `##[` becomes `\x23#[`."""
    return _COMMAND.sub(r"\1\\x3a:", text).replace("##[", r"\x23#[")


def inert_json(text: str) -> str:
    r"""Return the same JSON without such a command: only `##[` can be in it, and becomes `\u0023#[`."""
    return text.replace("##[", r"\u0023#[")


def _as_json(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _shown(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape", "surrogatepass").decode()
