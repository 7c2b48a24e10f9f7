"""The walk through a replay, without a prompt: goals, moments, going back, what objects show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
import trio

from ksmactors.diagnose.lookup import canonical, find
from ksmactors.diagnose.moments import AtDeparture, AtEnd, AtEvent, AtMoment, AtStep, AtTouch, Goal, goal_of
from ksmactors.diagnose.objects import _HIDDEN, _own_slots, fields_of, listed, name_of_object
from ksmactors.diagnose.replaying import Recorded, recorded
from ksmactors.diagnose.standing import actors_of, locks_of, moment_text, trees_of
from ksmactors.diagnose.stepping import Answer, Back, Quit, Walker, walk
from ksmactors.ksm.structs import RmapItem, StableNode
from ksmactors.mm.frame import Frame
from ksmactors.run.outcome import Outcome
from tests.helpers.stepping import SIGNATURE, shrunk_finding


@pytest.fixture(scope="module")
def then(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """S5e, shrunk to one departure."""
    return recorded(str(shrunk_finding(tmp_path_factory.mktemp("s5e"))))


async def _nothing() -> None:
    """Nothing is done between two replays."""


def walked(then: Recorded, first: Goal, *stops: Callable[[Walker], Answer]) -> Outcome | None:
    """Walk to a goal, then call one function at each stop; quits after the last."""
    left = iter(stops)

    def stop(walker: Walker) -> Answer:
        one = next(left, None)
        return Quit() if one is None else one(walker)

    outcome: Outcome | None = trio.run(partial(walk, then, first, stop, _nothing))
    assert next(left, None) is None, "the walk has stopped fewer times"
    return outcome


def noting(into: list[str], answer: Answer) -> Callable[[Walker], Answer]:
    """A stop that notes the last moment and goes on as said."""

    def stop(walker: Walker) -> Answer:
        assert walker.last is not None
        into.append(f"{walker.last.step} {moment_text(walker.last)}")
        return answer

    return stop


def every_moment(then: Recorded) -> tuple[list[str], Outcome | None]:
    """All moments, one by one, and what came of it."""
    lines: list[str] = []

    def stop(walker: Walker) -> Answer:
        assert walker.last is not None
        lines.append(f"{walker.last.step} {moment_text(walker.last)}")
        return AtMoment(walker.moments + 1) if walker.outcome is None else Quit()

    return lines, trio.run(partial(walk, then, AtMoment(1), stop, _nothing))


def test_stopping_at_every_moment_changes_nothing(then: Recorded) -> None:
    """A replay that stops hundreds of times makes the recorded events, and each step is later than the one before."""
    lines, outcome = every_moment(then)

    assert outcome is not None
    assert then.agrees(outcome)
    assert outcome.defect is not None
    assert outcome.defect.signature == SIGNATURE
    assert outcome.defect.broke is not None
    steps = [int(line.split()[0]) for line in lines]
    assert steps == sorted(steps)
    assert len(set(range(outcome.steps + 1)) - set(steps)) <= 1, "only an actor's first operation is none yet"


def test_back_is_exact(then: Recorded) -> None:
    """Going back shows the moments that were there before."""
    lines, _ = every_moment(then)
    again: list[str] = []

    walked(
        then, AtEnd(), noting(again, Back(AtMoment(100))), noting(again, Back(AtMoment(7))), noting(again, Quit())
    )  # fmt: skip

    assert again == [lines[-1], lines[99], lines[6]]


def test_each_goal_stops_where_it_says(then: Recorded) -> None:
    """A departure, a step, an object by name and by label, an event: each stops right after what it names."""
    seen: list[str] = []

    walked(
        then,
        AtDeparture(),
        noting(seen, AtTouch("stable_node/1")),
        noting(seen, AtTouch("page_lock/2")),
        noting(seen, AtEvent("ksm_migrate_page")),
        noting(seen, AtStep(290)),
        noting(seen, AtTouch("nothing")),
        noting(seen, Quit()),
    )

    assert [line.partition(" in ")[0] for line in seen] == [
        "235 departure: migrationd/1 is left before it writes content/1000000; ksmd runs",
        "248 ksmd reads kpfn/1",
        "275 ksmd takes page_lock/2",
        "277 migrationd/1 writes mapping/2",
        "290 migrationd/1 takes anon_vma/2",
        "301 ksmd reads mapping/2",
    ]


def test_leaving_early_has_no_outcome(then: Recorded) -> None:
    """A walk that is ended on the way says nothing about the schedule."""
    assert walked(then, AtMoment(1)) is None
    assert walked(then, AtMoment(1), lambda _: AtStep(200), lambda _: Quit()) is None


def test_where_everybody_stands(then: Recorded) -> None:
    """At a stop it is known who runs in which kernel functions, who waits for what, and who holds it."""

    def stop(walker: Walker) -> Answer:
        host, ksmd, migrationd = actors_of(walker)
        assert (host.state, host.waits_for) == ("waiting", "the parts to end")
        assert (ksmd.state, ksmd.waits_for, ksmd.held_by) == ("waiting", "page lock of pfn 2", ("migrationd/1",))
        assert ksmd.functions == ("merge_with_found", "cmp_and_merge_page", "ksm_do_scan")
        assert migrationd.state == "running"
        assert migrationd.next == "takes anon_vma/2"
        assert migrationd.functions[:2] == ("rmap_walk_ksm", "rmap_walk")
        lock = next(one for one in locks_of(walker) if one.name == "page lock of pfn 2")
        assert (lock.held_by, lock.waiters, lock.shared) == (("migrationd/1",), ("ksmd",), False)
        return Quit()

    walked(then, AtEvent("ksm_migrate_page"), stop)


def test_the_end_can_be_looked_at(then: Recorded) -> None:
    """After the finding, actors, locks and objects are as they were when it was found."""

    def stop(walker: Walker) -> Answer:
        assert walker.outcome is not None
        states = {one.name: (one.state, one.functions) for one in actors_of(walker)}
        assert states["ksmd"] == ("stopped", ("stable_tree_append",))
        assert states["migrationd/1"] == ("ended", ())
        assert shown(walker, "pfn 2")["mapping"] == "NULL"
        return Quit()

    walked(then, AtEnd(), stop)


def shown(walker: Walker, name: str) -> dict[str, str]:
    """The fields of an object by name."""
    found = find(walker, canonical(name))
    assert found is not None, name
    return dict(found[1])


def test_objects_show_their_fields(then: Recorded) -> None:
    """Every kind of object is found by name, and shows its state under the kernel's names."""

    def stop(walker: Walker) -> Answer:
        page = shown(walker, "page 2")
        assert page["page_count"] == "3"
        assert page["mapping"] == "PAGE_MAPPING_KSM without a node"
        assert page["PG_locked"] == "actor/migrationd/1"
        node = shown(walker, "stable node 1")
        assert (node["kpfn"], node["hlist"]) == ("1000000", "[rmap_item/2, rmap_item/1]")
        assert node["linked in"] == "root_stable_tree[0]"
        item = shown(walker, "rmap_item/3")
        assert (item["address"], item["flag"], item["mm"]) == ("0x10000", "0 (volatile)", "mm/C")
        assert item["linked in"] == "no tree"
        assert shown(walker, "pte/C/0x10000")["page"] == "pfn/2"
        assert shown(walker, "pte/A/65536")["pte"] == "migration entry"
        assert shown(walker, "pte/A/0x99000") == {"pte": "none"}
        assert shown(walker, "mm A")["MMF_VM_MERGEABLE"] == "1"
        assert shown(walker, "mm/1") == shown(walker, "mm/A")
        assert shown(walker, "vma/A/0x10000")["vm_end"] == "0x11000"
        assert shown(walker, "mm_slot/A")["rmap_list"] == "[rmap_item/1]"
        assert shown(walker, "ksm_scan")["mm_slot"] == "mm_slot/C"
        assert shown(walker, "page_lock/2") == {"owner": "actor/migrationd/1", "waiters": "[actor/ksmd]"}
        assert shown(walker, "ksm_thread_mutex")["owner"] == "actor/ksmd"
        assert shown(walker, "ksm_pages_sharing") == {"ksm_pages_sharing": "1"}
        assert shown(walker, "counters")["ksm_run"] == "1"
        assert shown(walker, "actor ksmd")["state"] == "waiting"
        for name in ("anon_vma/1", "node/0", "stable_tree/0", "unstable_tree/1", "mmap_sem/A", "migrate_nodes"):
            assert shown(walker, name)
        for name in ("pfn/77", "stable_node/9", "pte/Z/1", "vma/A", "mm/Z", "swap/1", "stable_tree/5", "", "/", "_x"):
            assert find(walker, canonical(name)) is None, name
        assert walker.machine is not None
        assert "  stable_node/1 kpfn 1000000 on node 1" in list(trees_of(walker.machine.kernel))
        return Quit()

    walked(then, AtEvent("ksm_migrate_page"), stop)


def test_no_field_is_left_out(then: Recorded) -> None:
    """All slots of a structure are shown but those that are said to be hidden."""

    def stop(walker: Walker) -> Answer:
        for cls in (Frame, StableNode, RmapItem):
            obj = next(one for one in walker.seen.values() if isinstance(one, cls))
            slots = {slot for base in type(obj).__mro__ for slot in _own_slots(base)}
            hidden = {slot for base, names in _HIDDEN.items() if isinstance(obj, base) for slot in names}
            assert len(fields_of(obj)) >= len(slots - hidden)
        return Quit()

    walked(then, AtEvent("ksm_migrate_page"), stop)


def test_a_list_with_a_cycle_is_shown() -> None:
    """A stable node whose hlist a race has closed to a ring is cut off, and a freed rmap_item is no error."""
    node, item = StableNode(1), RmapItem(1, None, 0x1000)  # type: ignore[arg-type]  # nobody asks for its mm
    node.hlist_add_head(item)
    item.hnext = item
    item.flag = -1

    assert dict(fields_of(node))["hlist"].endswith("rmap_item/1, ...]")
    assert dict(fields_of(item))["flag"] == "freed"


@pytest.mark.parametrize(
    ("text", "goal"),
    [
        ("17", AtStep(17)),
        ("9" * 5000, AtStep(int("9" * 18))),
        ("ksm_migrate_page", AtEvent("ksm_migrate_page")),
        ("race", AtEvent("race")),
        ("race.stale_node", AtEvent("race.stale_node")),
        ("kpfn/1", AtTouch("kpfn/1")),
        ("race.", AtTouch("race.")),
        ("²", AtTouch("²")),
    ],
)
def test_what_a_goal_is(text: str, goal: Goal) -> None:
    """A number is a step, an event is an event, and everything else an object."""
    assert goal_of(text) == goal


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("page 17", "pfn/17"),
        ("pfn/17", "pfn/17"),
        ("stable node 3", "stable_node/3"),
        ("rmap_item 3", "rmap_item/3"),
        ("pte A 0x1000", "pte/A/0x1000"),
        ("pte/A/4096", "pte/A/0x1000"),
        ("actor migrationd/1", "actor/migrationd/1"),
        ("ksm_run", "ksm_run"),
        ("mmap_sem/A", "mmap_sem/A"),
        ("", ""),
    ],
)
def test_names_are_understood(text: str, name: str) -> None:
    """Objects may be named with spaces, and by what people call them."""
    assert canonical(text) == name


def test_names_need_nothing_of_an_object() -> None:
    """Whatever an operation may be on has a name, or none."""

    def endless() -> Iterator[str]:
        while True:
            yield "x"

    assert name_of_object(None) == ""
    assert name_of_object(object()) == ""
    assert listed(endless()).endswith(", ...]")


def test_a_moment_of_another_actor_is_told_apart(then: Recorded) -> None:
    """What is done before an actor's first operation, and what it does to others, is said."""
    lines, _ = every_moment(then)

    assert "0 host begins" in lines
    assert any("releases page_lock/2" in line and "wakes ksmd" in line for line in lines)
    assert any("takes page_lock/2" in line and "waits for page lock of pfn 2" in line for line in lines)
    assert any(line.endswith("ends") and "migrationd/1" in line for line in lines)
