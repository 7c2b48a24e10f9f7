"""The header of a schedule string, checked as the command line checks its arguments.

It may come from an untrusted source, so nothing in it is used before its type and range are checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from ksmactors.errors import ScheduleFormatError

NODES_MAX: Final = 64
"""NUMA nodes of a machine."""

SEED_LIMIT: Final = 1 << 63
"""Seeds are below this: they fit 64 bits in every reader of the logs."""

STEPS_LIMIT: Final = 1 << 63
"""Step limits are below this."""

TEXT_MAX: Final = 4096
"""Characters of a name, a path, or the value of a parameter."""

NAMES_MAX: Final = 1000
"""Names in a list, and parameters."""

_DIGEST: Final = re.compile(r"(?:[0-9a-f]{2}){1,64}")


class Header(NamedTuple):
    """The workload and its parameters as text, the machine, the kernel, the watchers, the choices' seed and strategy,
    and the digest of the events in hexadecimal."""

    workload: str
    params: Mapping[str, str]
    kernel: str
    nodes: int
    without: tuple[str, ...]
    with_: tuple[str, ...]
    watch: tuple[str, ...]
    max_steps: int
    inject: str
    seed: int
    strategy: str
    digest: str
    thorough: bool
    steps: int


class _Rule(NamedTuple):
    allows: Callable[[object], bool]
    must_be: str
    default: object = None


def is_text(value: object) -> bool:
    """Whether a value is a text that a file, a path and a terminal can hold: no NUL, valid UTF-8."""
    if not isinstance(value, str) or len(value) > TEXT_MAX or "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_name(value: object) -> bool:
    return is_text(value) and value != ""


def _are_names(value: object) -> bool:
    return isinstance(value, list) and len(value) <= NAMES_MAX and all(_is_name(name) for name in value)


def _are_params(value: object) -> bool:
    return (
        isinstance(value, dict)
        and len(value) <= NAMES_MAX
        and all(_is_name(key) and is_text(one) for key, one in value.items())
    )


def _whole(low: int, high: int) -> _Rule:
    return _Rule(lambda value: type(value) is int and low <= value <= high, f"a whole number from {low} to {high}")


_NAME: Final = _Rule(_is_name, f"a text of 1 to {TEXT_MAX} characters")
_NAMES: Final = _Rule(_are_names, f"a list of at most {NAMES_MAX} names")

_RULES: Final[dict[str, _Rule]] = {
    "workload": _NAME,
    "params": _Rule(_are_params, "an object of texts"),
    "kernel": _NAME,
    "nodes": _whole(1, NODES_MAX),
    "without": _NAMES,
    "with": _NAMES,
    "watch": _NAMES,
    "max_steps": _whole(1, STEPS_LIMIT - 1),
    "inject": _Rule(is_text, "a text", ""),
    "seed": _whole(0, SEED_LIMIT - 1),
    "strategy": _NAME,
    "digest": _Rule(lambda value: isinstance(value, str) and _DIGEST.fullmatch(value) is not None, "hexadecimal"),
    "thorough": _Rule(lambda value: type(value) is bool, "true or false", False),
    "steps": _whole(0, STEPS_LIMIT - 1)._replace(default=0),
}


def checked_header(header: Mapping[str, Any]) -> Header:
    """Return the header of a schedule string, checked.

    Raises:
        ScheduleFormatError: something is missing, has the wrong type, or is out of range; the message says what.
    """
    given: dict[str, Any] = {}
    for key, rule in _RULES.items():
        value = header.get(key, rule.default)
        if value is None:
            raise ScheduleFormatError(f"the schedule's header has no {key}")
        if not rule.allows(value):
            raise ScheduleFormatError(f"the schedule's {key} must be {rule.must_be}, not {_shown(value)}")
        given["with_" if key == "with" else key] = tuple(value) if isinstance(value, list) else value
    return Header(**given)


def _shown(value: object) -> str:
    """Return a short description of a wrong value, which may be of any size and depth."""
    if isinstance(value, bool) or (isinstance(value, int) and value.bit_length() <= 128):
        return str(value).lower()
    if isinstance(value, int):
        return f"a number of {value.bit_length()} bits"
    if isinstance(value, str):
        return repr(value if len(value) <= 80 else f"{value[:80]}...")
    return {dict: "an object", list: "a list", float: "a fraction"}.get(type(value), "that")
