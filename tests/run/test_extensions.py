"""Strategies, variants and watchers of plug-ins: what is registered, what is refused, and what stands in the way."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint
from typing import Any

import pytest
import trio

from ksmactors import kernels, plugins
from ksmactors.errors import UsageError
from ksmactors.interleave.strategies import registry
from ksmactors.interleave.strategies.pos import Pos
from ksmactors.interleave.strategies.random_walk import RandomWalk
from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import AddressSpace, Vma
from ksmactors.run import extensions
from ksmactors.run.outcome import Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject, watchers_of
from ksmactors.watch import BUILT_IN, WATCHERS
from ksmactors.watch.base import Watcher


class Meanders(RandomWalk):
    name = "meanders"
    summary = "a walk of somebody's"


class Idle(Watcher):
    name = "idle"
    summary = "reports nobody"


class Nameless(Watcher):
    """Says neither what it is called nor what it is for."""


class Quick(Ksm):
    """Does all as ever."""


class Stumbles(Ksm):
    """Raises in a function that nobody but the kernel calls."""

    async def break_ksm(self, vma: Vma, address: int) -> int:
        raise NameError("oops")


class LosesVmas(Ksm):
    """Leaves a state with which the kernel itself raises."""

    async def fork(self, mm: AddressSpace, name: str) -> AddressSpace | int:
        mm.vmas = None  # type: ignore[assignment]
        return await super().fork(mm, name)


class LeavesNothingInAnEntry(Ksm):
    """Leaves a state with which a watcher raises."""

    async def fork(self, mm: AddressSpace, name: str) -> AddressSpace | int:
        mm.ptes[0] = None  # type: ignore[assignment]
        return await super().fork(mm, name)


class Installed:
    """What a package of somebody's has registered, for as long as a test takes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entries: list[EntryPoint] = []
        ours = plugins._entries
        monkeypatch.setattr(
            plugins, "_entries", lambda group: [*ours(group), *(e for e in self.entries if e.group.endswith(group))]
        )

    def add(self, group: str, name: str, cls: type) -> None:
        self.entries.append(EntryPoint(name, f"{__name__}:{cls.__name__}", f"ksmactors.{group}"))


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Installed]:
    tables: tuple[dict[str, Any], ...] = (registry.STRATEGIES, kernels.VARIANTS, WATCHERS)
    before = [set(table) for table in tables]
    yield Installed(monkeypatch)
    for table, names in zip(tables, before, strict=True):
        for name in table.keys() - names:
            del table[name]


def test_who_is_named_like_one_of_ours_is_ignored_and_told(installed: Installed) -> None:
    """The built-in one stays, and is not credited to the plug-in."""
    installed.add("strategies", "pos", Meanders)

    (problem,) = extensions.register_all("strategies")

    assert problem.startswith("strategies pos of ")
    assert problem.endswith(
        f"is ignored: ksmactors has that name already; name this one {__name__}:{Meanders.__name__}"
    )
    assert registry.STRATEGIES["pos"] is Pos
    assert extensions.origins("strategies") == {}


def test_a_variant_named_like_a_commit_does_not_hide_it(installed: Installed) -> None:
    """The commit can be undone as ever; listing says that the plug-in's name is taken."""
    installed.add("variants", "ksm-page-migration", Quick)

    subject = make_subject("litmus.scan_meets_migration", without=("ksm-page-migration",))

    assert subject.without == ("ksm-page-migration",)
    assert "the name is taken by a commit" in extensions.register_all("variants")[0]


@pytest.mark.parametrize(("cls", "why"), [(Nameless, "Nameless has no name and no summary"), (Idle, "the name 'idle'")])
def test_a_watcher_must_say_what_it_is(installed: Installed, cls: type, why: str) -> None:
    """Refused where it is registered, not where it would report; listing goes on without it."""
    installed.add("watchers", "other", cls)

    with pytest.raises(UsageError, match=why):
        make_subject("exit_race", watch="other")
    assert why in extensions.register_all("watchers")[0]
    assert "other" not in WATCHERS


def test_a_strategy_is_called_what_it_is_registered_as(installed: Installed) -> None:
    """Else a schedule would name a strategy that nobody can ask for."""
    installed.add("strategies", "rambles", Meanders)

    with pytest.raises(UsageError, match="Meanders has the name 'meanders'; the two must be the same"):
        extensions.need_strategy("rambles")
    assert "rambles" not in registry.STRATEGIES


def test_wrappers_know_strategies_of_plugins(installed: Installed) -> None:
    """What a wrapper wraps is looked for among plug-ins, too."""
    installed.add("strategies", "meanders", Meanders)
    extensions.need_strategy("metrics:of=meanders")
    assert registry.parse("metrics:of=meanders").name == "metrics"


def test_unknown_names_list_what_plugins_have(installed: Installed) -> None:
    """Whoever misspells a plug-in's name is told the right one."""
    installed.add("watchers", "idle", Idle)
    installed.add("variants", "quick", Quick)
    installed.add("strategies", "meanders", Meanders)

    with pytest.raises(UsageError, match=r"no watcher 'idl' \(did you mean idle"):
        make_subject("exit_race", watch="idl")
    with pytest.raises(UsageError, match=r"no variant 'quik' \(did you mean quick"):
        make_subject("exit_race", with_=("quik",))
    with pytest.raises(UsageError, match=r"no strategy 'meander' \(did you mean meanders"):
        extensions.need_strategy("meander")


def test_a_variant_that_raises_is_blamed(installed: Installed) -> None:
    """Its function and line are named: neither the workload nor the emulator is at fault."""
    installed.add("variants", "stumbles", Stumbles)

    outcome = trio.run(run_schedule, make_subject("knob_flip", with_=("stumbles",)), 1, "random")

    assert outcome.verdict is Verdict.CRASHED
    assert outcome.defect is not None
    assert outcome.defect.message.startswith("a variant raised NameError: oops (test_extensions.py:")
    assert outcome.defect.message.endswith("in break_ksm)")


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        (LosesVmas, "with the variant LosesVmas, dup_mmap raised AttributeError: "),
        (LeavesNothingInAnEntry, "with the variant LeavesNothingInAnEntry, the watcher "),
    ],
)
def test_a_state_that_only_a_variant_leaves_is_its_fault(installed: Installed, variant: type, message: str) -> None:
    """What the kernel or a watcher then raises is no fault of the emulator's."""
    installed.add("variants", "spoils", variant)

    outcome = trio.run(run_schedule, make_subject("litmus.merge_meets_fork", with_=("spoils",)), 1, "random")

    assert outcome.verdict is Verdict.CRASHED
    assert outcome.defect is not None
    assert outcome.defect.message.startswith(message)


def test_all_are_those_of_ksmactors(monkeypatch: pytest.MonkeyPatch) -> None:
    """What somebody else has registered watches when it is named, alone or beside all; never because it was before."""
    monkeypatch.setitem(WATCHERS, "mine", WATCHERS["shadow"])
    monkeypatch.setattr("ksmactors.run.subject.need", lambda *_: None)

    assert watchers_of("all") == BUILT_IN
    assert watchers_of("all,mine") == (*BUILT_IN, "mine")
    assert watchers_of(["mine"]) == ("mine",)


def test_one_name_is_not_a_list_of_letters() -> None:
    """From Python, a single variant may be given as it is; a class that is no workload is refused."""
    assert make_subject("exit_race", without="foll-migration").without == ("foll-migration",)
    with pytest.raises(UsageError, match="workload dict: it is not a subclass"):
        make_subject(dict)  # type: ignore[arg-type]  # that is the point
