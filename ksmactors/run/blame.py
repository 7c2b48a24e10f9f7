"""Whose mistake ended a schedule: the workload's, that of a plug-in, or ours."""

from __future__ import annotations

from ksmactors import watch
from ksmactors.errors import KsmActorsError, WatcherFailed, WorkloadCrashed
from ksmactors.escaping import described
from ksmactors.failed_call import defined_at, failed_call
from ksmactors.interleave.strategies.faults import fault_of_strategy
from ksmactors.machine import Machine
from ksmactors.places import author_frames, author_place, caller_of_author, is_authors_class
from ksmactors.program import CALLS_PLUGINS, crash_of_variant, crash_under_variant, variants_in
from ksmactors.watch.base import Watcher


def attributed(machine: Machine | None, error: BaseException) -> Exception:
    """Return the error to report for a schedule that an exception of an actor's ended.

    That is the exception itself if it is ours. Else it names the code that raised, or could not be called, and its
    place.
    """
    named = _named(machine, error)
    if isinstance(named, WatcherFailed) and not named.place and (variants := variants_in(_kernel(machine))):
        crash = WorkloadCrashed(f"with the variant {variants}, the watcher {named.watcher} failed: {named.raised}")
        crash.__cause__ = named.__cause__
        return crash
    return named


def _named(machine: Machine | None, error: BaseException) -> Exception:
    """Return the exception itself if it is ours, or one that says whose it is."""
    if isinstance(error, KsmActorsError) and not isinstance(error, WorkloadCrashed):
        return watch.classified(machine, error)
    raised = error.__cause__ if isinstance(error, WorkloadCrashed) and error.__cause__ is not None else error
    failed = fault_of_strategy(raised) or _fault_of_listener(machine, raised)
    return failed or watch.classified(machine, _as_exception(machine, error))


def _as_exception(machine: Machine | None, error: BaseException) -> Exception:
    """Return what an actor raised as an exception that ends only its schedule."""
    if isinstance(error, KsmActorsError):
        return error
    crash = crash_of_variant(error) or crash_under_variant(_kernel(machine), error)
    if crash is None and isinstance(error, Exception):
        return error
    crash = crash or WorkloadCrashed(f"an actor raised {described(error)}")
    crash.__cause__ = error
    return crash


def _kernel(machine: Machine | None) -> type | None:
    return type(machine.kernel) if machine is not None else None


def _fault_of_listener(machine: Machine | None, error: BaseException) -> WatcherFailed | None:
    """Return the error to report if a listener of a plug-in's watcher takes other arguments than it gets, or is a
    function outside of its class that raised."""
    call = failed_call(error)
    if call is not None:
        owner = getattr(call, "__self__", None)
        if isinstance(owner, Watcher):
            return watch.failure_of(type(owner), error, defined_at(call))
        module, place = call.__module__, defined_at(call)
    else:
        frames = author_frames(error)
        if not frames or not caller_of_author(error).startswith(CALLS_PLUGINS):
            return None
        module, place = str(frames[-1].f_globals.get("__name__")), author_place(error)
    attached = [type(one) for one in (machine.watchers if machine is not None else ())]
    for cls in attached:
        if cls.__module__ == module and issubclass(cls, Watcher) and is_authors_class(cls):
            return watch.failure_of(cls, error, place)
    return None
