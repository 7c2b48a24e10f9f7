"""Headers and files that are sound but for what somebody made of a field or two of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from ksmactors import plugins
from ksmactors.history import COMMITS
from ksmactors.injection import KINDS
from ksmactors.interleave.strategies.registry import STRATEGIES
from ksmactors.kernels import KERNELS, VARIANTS
from ksmactors.parameters import Bool, Int, parameters_of
from ksmactors.watch import WATCHERS
from tests.fuzz.mutating import Change

TEXTS: Final = (
    "", "a\0b", "\x1b]0;title\x07", "\x9b31m", "\u202egnp.exe", "\u2066x", "\U000e0041", "x" * 4096, "x" * 4097,
    "x" * 70_000, "1_0", "\u0663", "+1", " 1", "1e9", "0x10", "-0", "nan", "/dev/zero", "/proc/self/mem", "/etc/passwd",
    "..", "~", "C:\\x", "-", "--trust", "os:system", "/etc/passwd:X", "a.py:B", "%s%n", "{0}", "${HOME}", "\r\n",
)  # fmt: skip

_NUMBERS: Final = (
    0,
    1,
    2,
    7,
    63,
    64,
    65,
    5_000,
    25_000,
    25_001,
    50_000,
    1 << 20,
    (1 << 20) + 1,
    1 << 31,
    (1 << 63) - 1,
)


def hostile_header(header: dict[str, Any], changes: Sequence[Change]) -> dict[str, Any]:
    """The header with one field changed for each change, mostly to what there is, at its limits."""
    header = dict(header)
    for which, where, what in changes:
        key = _KEYS[which % len(_KEYS)]
        header[key] = _value(key, header, where, what)
    return header


_KEYS: Final = (
    "workload", "params", "params", "kernel", "nodes", "without", "with", "watch", "max_steps", "inject", "seed",
    "strategy", "digest", "thorough", "steps",
)  # fmt: skip


def _value(key: str, header: dict[str, Any], where: int, what: int) -> Any:
    if what % 7 == 0:
        return TEXTS[where % len(TEXTS)]
    if key == "params":
        return _params(header.get("workload"), where, what)
    if key in ("nodes", "max_steps", "seed", "steps"):
        return _NUMBERS[where % len(_NUMBERS)]
    pool = _pools()[key]
    if key in ("without", "with", "watch"):
        return [pool[(where + 31 * n) % len(pool)] for n in range(what % 4)] * (1 + 300 * (what % 11 == 0))
    return pool[where % len(pool)]


def _params(workload: object, where: int, what: int) -> Any:
    """A parameter of the workload at a limit of its range, or one off."""
    if workload not in _pools()["workload"]:
        return {"pages": "1000000"}
    declared = list(parameters_of(plugins.load_workload(str(workload))).values())
    values = {}
    for n in range(1 + what % 3):
        if not declared:
            break
        one = declared[(where + n) % len(declared)]
        if isinstance(one, Int):
            values[one.name] = str((one.low, one.high, one.high + 1, one.low - 1, min(one.high, 1 << 20))[what % 5])
        elif isinstance(one, Bool):
            values[one.name] = ("true", "false", "2")[what % 3]
        else:
            values[one.name] = TEXTS[what % len(TEXTS)]
    return values


@cache
def _pools() -> dict[str, list[Any]]:
    """What there is, by the key of a header."""
    strategies = sorted(STRATEGIES)
    nested = [f"metrics:of={name}" for name in strategies]
    deep = ["metrics:of=" * n + "random" for n in (3, 100, 370)]
    faults = ["all", *(f"{kind}=1/{n}" for kind in KINDS for n in (1, 2, 1 << 40)), "trylock=0/0", "x=1/2"]
    return {
        "workload": plugins.names("workloads"),
        "kernel": sorted(KERNELS),
        "without": sorted(COMMITS),
        "with": sorted(VARIANTS),
        "watch": sorted(WATCHERS),
        "inject": faults,
        "strategy": [*strategies, *nested, *deep, "pct:depth=1000000", "random:x=1", "replay", "follow", "dpor"],
        "digest": ["", "00", "ab" * 64, "ab" * 65, "AB" * 16, "0" * 31],
        "thorough": [True, False, 1, None],
    }


def doubled_key(text: str, where: int, what: int) -> str:
    """JSON in which an object has a key twice, the second time with another value."""
    content = json.loads(text)
    if not isinstance(content, dict) or not content:
        return text
    key = list(content)[where % len(content)]
    value = (None, 1, "x", [], {})[what % 5]
    return f"{text.rstrip()[:-1].rstrip()},{json.dumps(key)}:{json.dumps(value)}}}"


def deep(depth: int) -> str:
    """A list in a list, and so on."""
    return "[" * depth + "]" * depth
