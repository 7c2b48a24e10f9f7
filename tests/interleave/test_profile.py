"""Profiles, what they are keyed by, and what is left to do as far as they tell."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ksmactors.interleave.actor import READ, WRITE, Actor
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.labels import kinds, label_of, matches
from ksmactors.interleave.locks import Mutex, RwSem, WaitQueue
from ksmactors.interleave.mailbox import Mailbox
from ksmactors.interleave.profile import EventBudget, Profile
from ksmactors.model import Variable
from tests.helpers.strategies import profile

Perform = Callable[..., Conductor]


class TestLabels:
    def test_of_what_has_a_name(self, perform: Perform) -> None:
        """A label is made of a name: its kind, and after a slash which one it is; a field comes first."""
        conductor = perform(_idle)
        expected = {
            "ksm_thread_mutex": Mutex(conductor, "ksm_thread_mutex"),
            "mmap_sem/vm0": RwSem(conductor, "mmap_sem of vm0"),
            "anon_vma/3": RwSem(conductor, "anon_vma 3"),
            "mailbox/migrationd/1": Mailbox(conductor, "migrationd/1"),
            "x": Variable(conductor, "x", 0),
        }

        assert {label: label_of((WRITE, obj, "")) for label, obj in expected.items()} == {x: x for x in expected}
        assert label_of((READ, Variable(conductor, "x", 0), "field")) == "field/x"
        assert label_of((READ, Variable(conductor, "x", 0), ("batch", 2))) == "batch/2/x"

    def test_of_nothing(self, perform: Perform) -> None:
        """An operation on nothing, an alarm and a wait are on nothing that could be shared."""
        conductor = perform(_idle)

        assert [label_of((READ, obj, "")) for obj in (None, (1, 2, 3), WaitQueue(conductor, "mail"))] == ["", "", ""]

    @pytest.mark.parametrize(
        ("label", "name", "means"),
        [
            ("page_lock/17", "page_lock", True), ("page_lock/17", "page_lock/17", True), ("x", "x", True),
            ("page_lock/17", "page_lock/1", False), ("page_lock/17", "page", False), ("x", "x/1", False),
        ],
    )  # fmt: skip
    def test_matches(self, label: str, name: str, means: bool) -> None:
        """A name means a label that it is, or that goes on with a slash after it."""
        assert matches(label, name) is means

    @pytest.mark.slow
    def test_of_the_machine(self) -> None:
        """What a workload shares has the names that a kernel developer would type."""
        seen = kinds(profile("numa_pingpong").accesses)

        assert {
            "anon_vma", "content", "free_list", "hlist", "kpfn", "ksm_mmlist_lock", "ksm_run", "ksm_thread_mutex",
            "mailbox", "mapping", "migrate_nodes", "mm_list", "mmap_sem", "page_lock", "page_table_lock", "pte",
            "refcount", "stable_tree", "unstable_tree",
        } <= set(seen)  # fmt: skip
        assert all(kind.isidentifier() for kind in seen)


async def _idle(conductor: Conductor) -> None:
    """Nothing."""


class TestProfile:
    def test_counts(self) -> None:
        """All operations are counted by actor and object, those at which nobody else was ready too."""
        counted = profile("classic.starve_20")

        assert (counted.events["writer"], counted.events["reader"]) == (21, 1)
        assert counted.accesses["x"] == {"reader": 1, "writer": 1}
        assert counted.parents == {"writer": "host", "reader": "host"}
        assert counted.total == sum(counted.events.values())

    def test_watchers_and_limits_do_not_matter(self) -> None:
        """The profile of a subject is the same whoever watches and wherever its schedules are given up."""
        assert profile("classic.reorder_3", watch="none", max_steps=7) == profile("classic.reorder_3")

    def test_shared(self) -> None:
        """Shared is what two actors have used, or actors of two nodes, if that is asked for."""
        both = Profile(
            homes={"a": (0, 0), "b": (1, 0), "c": (2, 1)},
            accesses={"x": {"a": 1}, "y": {"a": 1, "b": 1}, "z": {"b": 1, "c": 1}},
        )

        assert [list(both.shared(across)) for across in ("actors", "cpus", "nodes")] == [["y", "z"], ["y", "z"], ["z"]]


def actor(number: int, name: str) -> Actor:
    """An actor that never runs."""
    return Actor(number, name, 0, 0, False, None)  # type: ignore[arg-type]


class TestBudget:
    def test_children_take_from_their_parents(self) -> None:
        """A parent has what its children will do until they come, and an unknown actor has as little as anybody."""
        budget = EventBudget({"host": 2, "a": 10, "b": 5}, {"a": "host", "b": "a"})

        assert (budget.admit(actor(0, "host")), budget.left(0)) == (17, 17)
        assert (budget.admit(actor(1, "a")), budget.left(0), budget.left(1)) == (15, 2, 15)
        assert (budget.admit(actor(2, "stranger")), budget.left(0)) == (2, 2)
        assert (budget.admit(actor(3, "b")), budget.left(1)) == (5, 10)
        assert budget.parent(actor(4, "b")) == 1
        assert len(budget) == 4

    def test_nobody_has_nothing_left(self) -> None:
        """Who does more than was counted has 1 left: it is still there."""
        budget = EventBudget({"a": 2}, {})
        budget.admit(actor(0, "a"))
        budget.spend(0, 5)

        assert budget.left(0) == 1
