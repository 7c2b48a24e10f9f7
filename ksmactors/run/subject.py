"""What is run, apart from the choices: workload and parameters, machine, kernel, watchers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

from ksmactors import plugins
from ksmactors.call_stack import last_traceback
from ksmactors.errors import KsmActorsError, PluginError, UsageError, unknown
from ksmactors.escaping import described, quoted
from ksmactors.events.declared import declare
from ksmactors.history import COMMITS
from ksmactors.injection import Rate, describe_injection, parse_injection
from ksmactors.interleave.conductor import DEFAULT_MAX_STEPS
from ksmactors.kernels import VARIANTS, current_names, kernel_class
from ksmactors.parameters import parameters_of
from ksmactors.places import author_place
from ksmactors.program import Program
from ksmactors.run.extensions import names as names_of
from ksmactors.run.extensions import need
from ksmactors.run.header import Header
from ksmactors.run.options import GivenOptions, SubjectOptions, check_texts
from ksmactors.run.trust import Source, absolute_params, sources_of
from ksmactors.watch import BUILT_IN, WATCHERS, current_name


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

    def marks_expected(self) -> tuple[str, ...]:
        """The marks that some schedule of a campaign should reach: those of the workload, then those of watchers."""
        watched = [mark for name in self.watchers for mark in WATCHERS[name].marks_expected()]
        return (*self.workload.marks_expected(), *watched)

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


def make_subject(name: str | type[Program], **given: Unpack[GivenOptions]) -> Subject:
    """Check what is to be run and load it, with the options as keywords: see `load_subject`."""
    return load_subject(name, SubjectOptions.of(**given))


def load_subject(name: str | type[Program], options: SubjectOptions) -> Subject:
    """Check what is to be run and load it.

    Args:
        name: a workload as the command line takes it, or its class.
        options: how it is run.

    Raises:
        UsageError: the workload, a parameter, the kernel, a variant, a watcher or a kind of fault does not exist; the
            message lists what does.
    """
    if isinstance(name, type):
        if not issubclass(name, Program):
            raise UsageError(f"workload {name.__qualname__}: it is not a subclass of ksmactors.workload.Workload")
        workload, name = _made(name, options.params), f"{name.__module__}:{name.__qualname__}"
    else:
        check_texts([name])
        name = plugins.absolute(name)
        workload = _made(plugins.load_workload(name), options.params)
    declare(type(workload), f"workload {workload.name}")
    without, with_ = _variants(options)
    kernel_class(kernel=options.kernel, without=without, with_=with_)
    texts = absolute_params(type(workload), options.params)
    faults = tuple(parse_injection(options.inject).items())
    watchers = watchers_of(options.watch)
    sources = sources_of((name, *with_, *watchers), type(workload), options.params)
    return Subject(
        name, workload, tuple(texts.items()), options.kernel, options.nodes, without, with_, watchers,
        options.max_steps or DEFAULT_MAX_STEPS, faults, sources,
    )  # fmt: skip


def _made(workload: type[Program], values: Mapping[str, object]) -> Program:
    """Make a workload, which runs an author's `prepare`.

    Raises:
        UsageError: a parameter is wrong, or the author's code says that something will not do.
        PluginError: the author's code raised something of its own.
    """
    try:
        made = workload(**values)
    except (KeyboardInterrupt, KsmActorsError):
        raise
    except BaseException as error:
        title, place = f"workload {workload.__name__}", author_place(error)
        refused = last_traceback(error) is error.__traceback__  # the call itself failed
        if not place and not refused:
            raise
        more = f" ({place})" if place else ""
        raise PluginError(f"{title} cannot be made: {described(error)}{more}") from error
    if not isinstance(made, workload):
        raise PluginError(f"workload {workload.__name__} cannot be made: its __new__ returned {quoted(made)}")
    return made


def _variants(options: SubjectOptions) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The variants to leave out and to add, under their current names and from any folder, all of them registered."""
    without = current_names(options.without)
    with_ = current_names(plugins.absolute(variant) for variant in options.with_)
    for variant in (*(one for one in without if not plugins.is_placed(one)), *with_):
        need("variants", variant)
    for variant in with_:
        if variant not in VARIANTS and variant not in COMMITS:
            raise UsageError(unknown("variant", variant, names_of("variants")))
        if variant in VARIANTS:
            declare(VARIANTS[variant].layer, f"variant {variant}")
    return without, with_


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


def deal_params(names: Sequence[str], given: Mapping[str, object]) -> list[dict[str, object]]:
    """For each of several workloads, what was given for it: a parameter goes to all workloads that have it.

    UsageError if none has it; a single workload checks its own parameters.
    """
    known = [set(parameters_of(plugins.load_workload(name))) for name in names]
    for key in given:
        if len(names) > 1 and not any(key in keys for keys in known):
            raise UsageError(unknown("parameter of these workloads", key, sorted(set().union(*known))))
    if len(names) == 1:
        return [dict(given)]
    return [{key: value for key, value in given.items() if key in keys} for keys in known]
