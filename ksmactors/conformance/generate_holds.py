"""Random directed schedules: scenarios whose tasks are held at random places while another task goes on.

The memory is small, and what ksmd visits next is often a page that merges. Each round holds one task at a place, starts
it, starts one other task, and releases the first. So at most two tasks run at a time after a release, and who of them
is faster seldom matters. Where it does, a real kernel does not repeat itself, which a comparison finds out.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Final, NamedTuple

from typing_extensions import override

from ksmactors.conformance.forms import KERNEL_TASKS
from ksmactors.conformance.generate import Generator
from ksmactors.conformance.language import Operation, Scenario

TOKENS: Final = 2
"""Contents of pages: with so few most pages merge."""

HELD_AT: Final[dict[str, tuple[str, ...]]] = {
    "step": (
        "get_ksm_page", "get_ksm_page.GK1", "get_ksm_page.GK3", "get_ksm_page.GK4", "get_ksm_page.GK5",
        "get_ksm_page.stale", "memcmp_pages in ksm_do_scan", "memcmp_pages in try_to_merge_one_page",
        "try_to_merge_with_ksm_page", "try_to_merge_one_page", "write_protect_page", "stable_tree_append", "break_cow",
        "remove_node_from_stable_tree",
    ),
    "migrate": (
        "migrate_pages", "try_to_migrate", "move_to_new_page", "migrate_page_copy", "migrate.W5",
        "remove_migration_ptes",
    ),
    "set": ("break_ksm", "remove_stable_node"),
    "unmergeable": ("break_ksm",),
    "exit": ("exit_mmap",),
    "mergeable": ("__ksm_enter",),
    "hwpoison": ("rmap_walk_ksm",),
}  # fmt: skip
"""Places of `places.txt` at which a task can sleep, by the operation that comes to them.

Not ksm_migrate_page: kernels call it for every page that moves, and the emulator has it for KSM pages alone. Nor
remove_rmap_item_from_tree: kernels call it for items of no tree, too, where the emulator has no operation."""

HELD: Final = ("step",) * 5 + ("migrate",) * 3 + ("set", "unmergeable", "exit", "mergeable")
"""What is held, the more often the more places there are."""

OTHERS: Final = (
    "step", "migrate", "migrate", "set", "fill", "fill", "unmergeable", "dontneed", "munmap", "exit", "fork",
)  # fmt: skip
"""What is done while a task is held."""

HELD_WITH_FAILURES: Final = (*HELD, "hwpoison")
OTHERS_WITH_FAILURES: Final = (*OTHERS, "hwpoison", "hwpoison")
"""The same where memory may fail."""

WALKS_ONCE: Final = frozenset({"hwpoison"})
"""What is held once: the emulator walks the mappings of a KSM page a second time to find processes to kill, where
kernels have a function of its own for that (collect_procs_ksm)."""

AFTER: Final = frozenset({"get_ksm_page", "write_protect_page"})
"""Places that tasks are held after, too."""


class Started(NamedTuple):
    """A line to be started in the background, and the task that does it."""

    operation: Operation
    line: str
    task: str


class HoldsGenerator(Generator):
    """Writes one scenario with holds."""

    def __init__(self, rng: Random, nodes: int, swap: bool, failures: bool = False) -> None:
        super().__init__(rng, nodes, swap, failures)
        self._node: dict[str, int] = {}
        """By process, the node that its memory was bound to, or was last moved to."""

    @override
    def scenario(self, name: str) -> Scenario:
        self.begin()
        for _ in range(self.number(1, 3)):
            self.round()
        return self.finish(name)

    @override
    def begin(self) -> None:
        """Write the start: merged pages, pages that are about to merge, and ksmd somewhere in its scan."""
        self.tokens = TOKENS
        self._knobs()
        self.say("set run 1")
        for _ in range(self.number(2, 3)):
            self.new_process()
        self.say("scan", self.number(1, 2))
        if self.chance(3, 4):
            self.new_process()
            self.say("scan 1")
        if self.chance(3, 4):
            self.say("step", self.number(1, 4))
        self._look_at_rest()

    @override
    def _knobs(self) -> None:
        if self.nodes > 1:
            self.say("requires nodes", self.nodes)
            if self.chance(1, 2):
                self.say("set merge_across_nodes 0")
        if self.chance(1, 4):
            self.say("set max_page_sharing", self.one((2, 3)))

    @override
    def new_process(self) -> None:
        if not self._room():
            return
        self.say("mergeable", self._unadvised(), "r")

    def _unadvised(self) -> str:
        """Begin a process with pages that KSM has not heard of; return its name."""
        process = self._name()
        self.do(Operation("proc", 0, "", word=process), process)
        pages = self.number(1, 2)
        self._node[process] = self.number(0, self.nodes - 1)
        node = ("node", self._node[process]) if self.nodes > 1 else ()
        self.do(Operation("map", 0, "", process=process, word="r", number=pages), process, "r", pages, *node)
        for page in range(pages):
            self._fill(process, "r", page, self.number(0, self.tokens - 1))
        return process

    def round(self) -> None:
        """Hold a task, start it, start another one, and release the first."""
        word = self.one(HELD_WITH_FAILURES if self.failures else HELD)
        if word == "step" and self.chance(3, 4):
            self._about_to_merge()
        held = self._started(word)
        if held is None:
            return
        self._hold(held.task, word)
        self.say("bg", held.line)
        self._apply(held.operation)
        other = self._started(self.one(OTHERS_WITH_FAILURES if self.failures else OTHERS))
        if other is not None and other.task != held.task:
            self.say("bg", other.line)
            self._apply(other.operation)
        again = self.chance(1, 3) and word != "exit" and word not in WALKS_ONCE
        if again:
            self._hold(held.task, word)
        for _ in range(1 + again):
            self.say("release", held.task)
        self.say("disarm", held.task)
        for _ in range(1 + again):  # a hold that was met between them
            self.say("release", held.task)
        self.say("settle")
        if "run" in (held.operation.word, "" if other is None else other.operation.word):
            self.say("set run 1")
        self._look_at_rest()

    def _apply(self, operation: Operation) -> None:
        """Note what an operation in the background will have done."""
        self.contents.apply(operation)
        if operation.name == "hwpoison":
            self.lose(operation.process)

    def _about_to_merge(self) -> None:
        """Bring ksmd to the pages of a new process: it has their checksums, and visits them after all others."""
        there = sum(token >= 0 for pages in self._all_pages() for token in pages)
        self.say("scan 1")  # from the start of a scan, a new process is the last that it comes to
        self.new_process()
        self.say("scan 1")
        if there > 1:
            self.say("step", self.number(max(1, there - 2), there - 1))  # ksmd passes over what is not advised

    def _all_pages(self) -> Iterator[list[int]]:
        for regions in self.contents.processes.values():
            yield from regions.values()

    def _hold(self, task: str, word: str) -> None:
        place = self.one(HELD_AT[word])
        where = "after" if place in AFTER and self.chance(1, 4) else "at"
        name, *caller = place.split(" ", 1)
        times = (2,) if self.chance(1, 8) and word not in WALKS_ONCE else ()
        self.say("hold", task, where, name, *times, *caller)

    def _started(self, word: str) -> Started | None:
        """Return an operation to be started, on a random page; None if there is none, or no node to migrate to."""
        found = self.page(written=word == "hwpoison")
        if found is None or (word == "migrate" and self.nodes < 2):
            return None
        process, region, page = found
        whole = range(len(self.contents.processes[process][region]))
        one = Operation(word, 0, "", process=process, region=region, first=page, end=page + 1)
        everything = Operation(word, 0, "", process=process, region=region, first=0, end=len(whole))
        about = Operation(word, 0, "", process=process)
        if word == "step":
            return Started(Operation(word, 0, ""), f"step {self.number(1, 5)}", KERNEL_TASKS[word])
        if word == "set":
            return Started(Operation(word, 0, "", word="run"), "set run 2", KERNEL_TASKS[word])
        if word == "migrate":
            other = 1 - self._node.get(process, 0)
            self._node[process] = other if self.chance(7, 8) else 1 - other
            line = f"migrate {process} {region} {page} {self._node[process]}"
            return Started(one, line, KERNEL_TASKS[word])
        if word == "fill":
            token = self.token()
            filled = Operation(word, 0, "", process=process, region=region, first=page, end=page + 1, token=token)
            return Started(filled, f"fill {process} {region} {page} {token}", process)
        if word == "mergeable" and self._room():
            process, region = self._unadvised(), "r"
            return Started(Operation(word, 0, "", process=process), f"mergeable {process} {region}", process)
        if word == "exit":
            return Started(about, f"exit {process}", process)
        if word == "hwpoison":
            return Started(one, f"hwpoison {process} {region} {page}", process)
        if word == "fork":
            if not self._room():
                return None
            child = self._name()
            self._node[child] = self._node.get(process, 0)
            return Started(Operation(word, 0, "", process=process, word=child), f"fork {process} {child}", process)
        if word in ("dontneed", "munmap"):
            return Started(one, f"{word} {process} {region} {page} {page + 1}", process)
        return Started(everything, f"{word} {process} {region}", process)

    def _look_at_rest(self) -> None:
        for line in ("counters", "frames", "trees"):
            self.say(line)


def generate_with_holds(
    seed: int, number: int, *, nodes: int, swap: bool = True, failures: bool = False
) -> Scenario:  # fmt: skip
    """Return the random directed schedule of a seed and a number, both 0 or more; none of them needs swap. With
    `failures` memory may fail in it."""
    return HoldsGenerator(Random(f"holds {seed} {number}"), nodes, swap, failures).scenario(f"holds-{seed}-{number}")
