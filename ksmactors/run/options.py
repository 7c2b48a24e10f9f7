"""The options that say what is run, beside the workload: their defaults, their checks, and their types.

They are the same on the command line, in Python, and in the header of a schedule string. Each has its default here and
nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypedDict, Unpack

from ksmactors.errors import UsageError
from ksmactors.escaping import quoted
from ksmactors.run.header import NODES_MAX, STEPS_LIMIT, is_text


class GivenOptions(TypedDict, total=False):
    """The options as keywords, for functions that take them from a user. `SubjectOptions` says what each means."""

    params: Mapping[str, object] | None
    kernel: str
    nodes: int
    without: str | Iterable[str]
    with_: str | Iterable[str]
    watch: str | Sequence[str]
    max_steps: int | None
    inject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectOptions:
    """How a workload is run: its parameters, the machine, the kernel and the watchers.

    Attributes:
        params: the workload's parameters by name, as text or as values.
        kernel: the kernel that is emulated.
        nodes: NUMA nodes of the machine, 1 to NODES_MAX.
        without: commits to undo and repairs to leave out.
        with_: variants to add.
        watch: watchers, as `--watch` takes them or as a sequence of names.
        max_steps: steps after which a schedule is given up. None or 0: the default of the command.
        inject: faults to inject, as `--inject` takes them.

    Raises:
        UsageError: a value is out of range, or a text cannot stand in a schedule string. `make_subject` checks
            the names.
    """

    params: Mapping[str, object] = field(default_factory=dict)
    kernel: str = "series"
    nodes: int = 2
    without: tuple[str, ...] = ()
    with_: tuple[str, ...] = ()
    watch: str | Sequence[str] = "all"
    max_steps: int | None = None
    inject: str = ""

    def __post_init__(self) -> None:
        check_texts([*self.params, *map(str, self.params.values()), *self.with_])
        if not 1 <= self.nodes <= NODES_MAX:
            raise UsageError(f"a machine has 1 to {NODES_MAX} NUMA nodes, not {self.nodes}")
        if self.max_steps and not 1 <= self.max_steps < STEPS_LIMIT:
            raise UsageError("a step limit is at least 1 and below 2**63")

    @classmethod
    def of(cls, **given: Unpack[GivenOptions]) -> SubjectOptions:
        """Return the options that a user's keywords stand for. A single name may stand alone in `without` and `with_`,
        and `params` may be None.

        Raises:
            TypeError: there is no such option.
            UsageError: as for the class.
        """
        plain: dict[str, Any] = {**given}
        if "params" in given:
            plain["params"] = dict(given["params"] or {})
        for name in ("without", "with_"):
            if name in plain:
                plain[name] = (plain[name],) if isinstance(plain[name], str) else tuple(plain[name])
        return cls(**plain)


def check_texts(texts: Iterable[str]) -> None:
    """Refuse texts that a schedule string could not hold.

    Raises:
        UsageError: a text has a NUL, is not UTF-8, or is too long.
    """
    for text in texts:
        if not is_text(text):
            raise UsageError(f"{quoted(text)}: a name, path or value must be UTF-8 without NUL, and not too long")


DEFAULTS: Final = SubjectOptions()
"""The defaults."""


def split_params(texts: Iterable[str]) -> dict[str, str]:
    """`KEY=VALUE` texts as a mapping; UsageError if one is no such thing, or a key is given twice."""
    given: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"-p {text}: write KEY=VALUE")
        if key in given:
            raise UsageError(f"-p {key}: is given twice, as {quoted(given[key])} and {quoted(value)}; give it once")
        given[key] = value
    return given
