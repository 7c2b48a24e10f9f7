"""What is run, apart from the choices: workload and parameters, machine, kernel, watchers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ksmactors import plugins
from ksmactors.errors import UsageError, unknown
from ksmactors.history import COMMITS
from ksmactors.injection import Rate, describe_injection, parse_injection
from ksmactors.interleave.conductor import DEFAULT_MAX_STEPS
from ksmactors.kernels import VARIANTS, current_names, kernel_class
from ksmactors.parameters import parameters_of
from ksmactors.program import Program
from ksmactors.run.extensions import names as names_of
from ksmactors.run.extensions import need
from ksmactors.run.header import NODES_MAX, STEPS_LIMIT, Header, is_text
from ksmactors.run.trust import Source, absolute_params, sources_of
from ksmactors.watch import BUILT_IN, WATCHERS, current_name

DEFAULT_KERNEL: Final = "series"
DEFAULT_NODES: Final = 2


@dataclass(frozen=True, slots=True)
class Subject:
    """What is run. Made by `make_subject`, which checks all of it; serves any number of schedules.

    `name` is the workload as the user named it and `params` its parameters as text, so that a schedule string can hold
    both; paths in them are absolute. `sources` are the files of its code and parameters.
    """

    name: str
    workload: Program
    params: tuple[tuple[str, str], ...]
    kernel: str
    nodes: int
    without: tuple[str, ...]
    with_: tuple[str, ...]
    watchers: tuple[str, ...]
    max_steps: int
    inject: tuple[tuple[str, Rate], ...] = ()
    sources: tuple[Source, ...] = ()

    def header(self) -> dict[str, Any]:
        """Return what a schedule string needs so that `subject_from_header` makes the same subject."""
        faults = {"inject": describe_injection(dict(self.inject))} if self.inject else {}
        return faults | {
            "workload": self.name,
            "params": dict(self.params),
            "kernel": self.kernel,
            "nodes": self.nodes,
            "without": list(self.without),
            "with": list(self.with_),
            "watch": list(self.watchers),
            "max_steps": self.max_steps,
        }


def make_subject(
    name: str | type[Program],
    *,
    params: Mapping[str, object] | None = None,
    kernel: str = DEFAULT_KERNEL,
    nodes: int = DEFAULT_NODES,
    without: Iterable[str] = (),
    with_: Iterable[str] = (),
    watch: str | Sequence[str] = "all",
    max_steps: int | None = None,
    inject: str = "",
) -> Subject:
    """Check and load what is to be run.

    Args:
        name: a workload as the command line takes it, or its class.
        params: its parameters by name, as text or as values.
        kernel, nodes, without, with_, watch, max_steps, inject: as on the command line.

    Raises:
        UsageError: the workload, a parameter, the kernel, a variant, a watcher or a kind of fault does not exist; the
            message lists what does.
    """
    given = dict(params or {})
    without, with_ = (tuple([one] if isinstance(one, str) else one) for one in (without, with_))
    _check_texts([*([name] if isinstance(name, str) else []), *given, *map(str, given.values()), *with_])
    if isinstance(name, type):
        if not issubclass(name, Program):
            raise UsageError(f"workload {name.__qualname__}: it is not a subclass of ksmactors.workload.Workload")
        workload, name = name(**given), f"{name.__module__}:{name.__qualname__}"
    else:
        name = plugins.absolute(name)
        workload = plugins.load_workload(name)(**given)
    without, with_ = current_names(without), current_names(plugins.absolute(variant) for variant in with_)
    for variant in (*(one for one in without if not plugins.is_placed(one)), *with_):
        need("variants", variant)
    for variant in with_:
        if variant not in VARIANTS and variant not in COMMITS:
            raise UsageError(unknown("variant", variant, names_of("variants")))
    kernel_class(kernel=kernel, without=without, with_=with_)
    if not 1 <= nodes <= NODES_MAX:
        raise UsageError(f"a machine has 1 to {NODES_MAX} NUMA nodes, not {nodes}")
    budget = max_steps or DEFAULT_MAX_STEPS
    if not 1 <= budget < STEPS_LIMIT:
        raise UsageError("a step limit is at least 1 and below 2**63")
    texts = absolute_params(type(workload), given)
    faults = tuple(parse_injection(inject).items())
    watchers = watchers_of(watch)
    sources = sources_of((name, *with_, *watchers), type(workload), given)
    return Subject(
        name, workload, tuple(texts.items()), kernel, nodes, without, with_, watchers, budget, faults, sources
    )  # fmt: skip


def _check_texts(texts: Iterable[str]) -> None:
    """Refuse texts that a schedule string could not hold."""
    for text in texts:
        if not is_text(text):
            raise UsageError(f"{text[:80]!r}: a name, path or value must be UTF-8 without NUL, and not too long")


def subject_from_header(header: Header) -> Subject:
    """Return the subject that a schedule string names. This loads the code named there: see `trust.settle`.

    Raises:
        UsageError: something that it names does not exist here.
    """
    return make_subject(
        header.workload, params=header.params, kernel=header.kernel, nodes=header.nodes, without=header.without,
        with_=header.with_, watch=header.watch, max_steps=header.max_steps, inject=header.inject,
    )  # fmt: skip


def watchers_of(watch: str | Sequence[str]) -> tuple[str, ...]:
    """Return the names of the watchers that `--watch` selects: `none`, or a list, in which `all` are the built-in
    ones."""
    if watch == "none":
        return ()
    names = [name.strip() for name in watch.split(",")] if isinstance(watch, str) else list(watch)
    names = [current_name(plugins.absolute(name)) for name in names]
    if "none" in names:
        raise UsageError(f"--watch {','.join(names)}: none stands alone; give it, or names of watchers")
    if "all" in names:
        names = [*BUILT_IN, *(name for name in names if name != "all")]
    for name in names:
        need("watchers", name)
        if name not in WATCHERS:
            raise UsageError(unknown("watcher", name, [*names_of("watchers"), "all", "none"]))
    return tuple(name for name in WATCHERS if name in names)


def split_params(texts: Iterable[str]) -> dict[str, str]:
    """Parse `KEY=VALUE` texts; UsageError if one has another form."""
    given = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"-p {text}: write KEY=VALUE")
        given[key] = value
    return given


def deal_params(names: Sequence[str], given: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the parameters of each of several workloads: a parameter goes to all workloads that have it.

    UsageError if none has it; a single workload checks its own parameters.
    """
    known = [set(parameters_of(plugins.load_workload(name))) for name in names]
    for key in given:
        if len(names) > 1 and not any(key in keys for keys in known):
            raise UsageError(unknown("parameter of these workloads", key, sorted(set().union(*known))))
    if len(names) == 1:
        return [dict(given)]
    return [{key: value for key, value in given.items() if key in keys} for keys in known]
