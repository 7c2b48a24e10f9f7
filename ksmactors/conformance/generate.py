"""Random scenarios, in the mix of the recorded `90_fuzz1` and `95_fuzz2`.

A few small processes with few different contents, so that pages often merge, collide and part again; ksmd in short
traces in between, with memory changes in the middle of its scans. At the end all state is shown, and every page is
checked for what was written into it last. A scenario depends on its seed and number, the number of nodes, whether there
is swap, whether memory may fail, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final, TypeVar

from ksmactors.conformance.contents import GONE, ExpectedContents
from ksmactors.conformance.language import Operation, Scenario, parse
from ksmactors.interleave.strategies.base import below

T = TypeVar("T")

NAMES: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

PROCESSES_MAX: Final = 6
"""Processes alive at a time: enough for a chain of forks beside some others, few enough to read."""

UNIQUE: Final = 100
"""Tokens from here on are unique."""


class Generator:
    """Writes one scenario.

    Args:
        rng: where the choices come from; only whole random bits are taken, so that every Python draws the same.
        nodes: NUMA nodes; with more than one, pages are spread over the first two and migrated between them.
        swap: whether the machine has swap; without it the scenario says so.
        failures: whether memory may fail: never on a host whose memory is wanted afterwards.
    """

    def __init__(self, rng: Random, nodes: int, swap: bool, failures: bool = False) -> None:
        self.rng, self.nodes, self.swap, self.failures = rng, min(nodes, 2), swap, failures
        self.tokens = 7 if self.nodes > 1 and self.chance(1, 2) else 4
        self.lines: list[str] = []
        self.contents = ExpectedContents()
        self.named = 0
        self.split: set[tuple[str, str]] = set()
        """Regions of which a part was advised, locked or unmapped: kernels differ in whether mremap can move them."""
        self.pinned: list[tuple[str, str, int]] = []
        self.swapped = False
        """Whether pages were swapped out."""

    # -- drawing ------------------------------------------------------------------------------------------------

    def number(self, low: int, high: int) -> int:
        """Return a number from low to high."""
        return low + below(self.rng, high - low + 1)

    def chance(self, times: int, of: int) -> bool:
        """Return True with probability times/of."""
        return below(self.rng, of) < times

    def one(self, of: Sequence[T]) -> T:
        """One of several."""
        return of[below(self.rng, len(of))]

    def token(self) -> int:
        """Return a content; one in four is unique."""
        return UNIQUE + self.number(1, 29) if self.chance(1, 4) else self.number(0, self.tokens - 1)

    def page(self, *, written: bool = False) -> tuple[str, str, int] | None:
        """Return a mapped page, or None; with `written` one that has something other than zeros in it."""
        pages = [
            (process, region, page)
            for process, regions in self.contents.processes.items()
            for region, tokens in regions.items()
            for page, token in enumerate(tokens)
            if (token > 0 if written else token != GONE)
        ]
        return self.one(pages) if pages else None

    # -- writing ------------------------------------------------------------------------------------------------

    def say(self, *words: object) -> None:
        """Write a line that changes nothing in memory."""
        self.lines.append(" ".join(map(str, words)))

    def do(self, operation: Operation, *words: object) -> None:
        """Write a line that changes memory."""
        self.say(operation.name, *words)
        self.contents.apply(operation)

    def scenario(self, name: str) -> Scenario:
        """Return the whole scenario."""
        self.begin()
        for _ in range(self.number(20, 45)):
            self.act()
        return self.finish(name)

    def begin(self) -> None:
        """Write the start: knobs, some processes, and the first scans."""
        self._knobs()
        for _ in range(self.number(2, 3)):
            self.new_process()
        self.say("set run 1")
        self.say("scan", self.number(1, 3))
        self.say("counters")

    def act(self) -> None:
        """Write one action, in a line or some."""
        self.one(WITH_FAILURES if self.failures else ACTIONS)(self)

    def finish(self, name: str) -> Scenario:
        """Write the end, where all is looked at, and return the scenario."""
        self._look()
        self._check()
        return parse("\n".join(self.lines) + "\n", name=name, origin=name)

    def _knobs(self) -> None:
        if not self.swap:
            self.say("device none")
        if self.nodes > 1:
            self.say("requires nodes", self.nodes)
            self.say("set merge_across_nodes", 0 if self.chance(7, 8) else 1)
        if self.chance(1, 4):
            self.say("set smart_scan 1")
        if self.chance(1, 3):
            self.say("set max_page_sharing", self.one((2, 3, 4)))
        if self.chance(1, 6):
            self.say("set stable_node_chains_prune_millisecs 1000000000")
        if self.chance(1, 6):
            self.say("set use_zero_pages 1")

    def _look(self) -> None:
        for line in ("counters", "frames", "trees", "tracescan 3 frames trees", "frames"):
            self.say(line)
        for process in self.contents.processes:
            self.say("procstat", process)

    def _check(self) -> None:
        for process, regions in self.contents.processes.items():
            for region, tokens in regions.items():
                for page, token in enumerate(tokens):
                    if token >= 0:
                        self.say("check", process, region, page, token)

    # -- operations --------------------------------------------------------------------------------------------

    def new_process(self) -> None:
        """A process with one or two regions, most pages written, most regions advised."""
        if not self._room():
            return
        process = self._name()
        self.do(Operation("proc", 0, "", word=process), process)
        for region in ("r", "s")[: self.number(1, 2)]:
            self.new_region(process, region)

    def _room(self) -> bool:
        return self.named < len(NAMES) and len(self.contents.processes) < PROCESSES_MAX

    def _name(self) -> str:
        self.named += 1
        return NAMES[self.named - 1]

    def new_region(self, process: str, region: str) -> None:
        """A region with its first contents."""
        pages = self.number(2, 5)
        node = ("node", below(self.rng, self.nodes)) if self.nodes > 1 else ()
        self.do(Operation("map", 0, "", process=process, word=region, number=pages), process, region, pages, *node)
        for page in range(pages):
            if self.chance(11, 12):
                self._fill(process, region, page, below(self.rng, self.tokens))
        if self.chance(9, 10):
            self.say("mergeable", process, region)

    def _fill(self, process: str, region: str, page: int, token: int) -> None:
        operation = Operation("fill", 0, "", process=process, region=region, first=page, end=page + 1, token=token)
        self.do(operation, process, region, page, token)

    def trace(self) -> None:
        """A few single steps."""
        self.say("trace", self.number(1, 9), "frames trees")

    def step(self) -> None:
        """One batch of some pages."""
        self.say("step", self.number(4, 12))
        self.say("counters")

    def scan(self) -> None:
        """To the end of the scan."""
        self.say("scan 1")
        self.say("counters")

    def fill(self) -> None:
        """Write a page, shared or not."""
        if found := self.page():
            self._fill(*found, self.token())

    def read(self) -> None:
        """Read a page, which may map the zero page."""
        if found := self.page():
            process, region, page = found
            self.say("read", process, region, page, page + 1)

    def advise(self) -> None:
        """Give or take advice, for a region or a part of it."""
        if found := self.page():
            process, region, page = found
            part = (page, page + 1) if self.chance(1, 4) else ()
            if part:
                self.split.add((process, region))
            self.say("mergeable" if self.chance(2, 5) else "unmergeable", process, region, *part)

    def drop(self) -> None:
        """MADV_DONTNEED for a page, or munmap of a region or of a page of it."""
        if (found := self.page()) is None:
            return
        process, region, page = found
        name = self.one(("dontneed", "munmap"))
        whole = name == "munmap" and self.chance(4, 5)
        first, end = (0, len(self.contents.processes[process][region])) if whole else (page, page + 1)
        if name == "munmap":
            self.split.add((process, region))
        operation = Operation(name, 0, "", process=process, region=region, first=first, end=end)
        self.do(operation, process, region, *(() if whole else (first, end)))

    def move(self) -> None:
        """mremap a region."""
        if (found := self.page()) is None:
            return
        process, region, _ = found
        if (process, region) in self.split:
            return
        self.unpin_all(process, region)
        new = region + "m"
        end = len(self.contents.processes[process][region])
        self.do(Operation("mremap", 0, "", process=process, region=region, end=end, word=new), process, region, new)

    def lock(self) -> None:
        """mlock or munlock a region, or a page of it."""
        if found := self.page():
            process, region, page = found
            part = (page, page + 1) if self.chance(1, 2) else ()
            if part:
                self.split.add((process, region))
            self.say("mlock" if self.chance(2, 3) else "munlock", process, region, *part)

    def merge_any(self) -> None:
        """PR_SET_MEMORY_MERGE, or taking it back."""
        if self.contents.processes:
            process = self.one(list(self.contents.processes))
            self.say("prctl", process, "on" if self.chance(2, 3) else "off")

    def pin(self) -> None:
        """Pin a page for a while, or only as long as it takes to read it."""
        if self.pinned and self.chance(1, 2):
            process, region, page = self.pinned.pop(below(self.rng, len(self.pinned)))
            self.say("unpin", process, region, page)
        elif found := self.page():
            process, region, page = found
            if self.chance(1, 3):
                self.say("process_vm_readv", process, region, page, page + 1)
            else:
                self.pinned.append(found)
                self.say("pin", *found)

    def unpin_all(self, process: str, region: str = "") -> None:
        """Unpin pages before their names disappear."""
        for pinned in [one for one in self.pinned if one[0] == process and region in ("", one[1])]:
            self.pinned.remove(pinned)
            self.say("unpin", *pinned)

    def free(self) -> None:
        """MADV_FREE a page, or reclaim all of a region that no other process maps."""
        if (found := self.page()) is None:
            return
        process, region, page = found
        if self.chance(1, 2):
            end = len(self.contents.processes[process][region])
            self.swapped = True
            self.say("swapout", process, region, 0, end)
        else:
            operation = Operation("free", 0, "", process=process, region=region, first=page, end=page + 1)
            self.do(operation, process, region, page, page + 1)

    def execute(self) -> None:
        """Have a process execute another program, which maps something."""
        if not self.contents.processes:
            return
        process = self.one(list(self.contents.processes))
        self.unpin_all(process)
        self.do(Operation("exec", 0, "", process=process), process)
        self.split = {(owner, region) for owner, region in self.split if owner != process}
        if self.chance(3, 4):
            self.new_region(process, "r")

    def migrate(self) -> None:
        """Move a page to another node, sometimes followed by a scan step."""
        if self.nodes > 1 and (found := self.page()):
            name = "migrate" if self.chance(7, 8) else "migrate1"
            self.say(name, *found, below(self.rng, self.nodes))
            if self.chance(1, 2):
                self.say("trace 1 frames trees")

    def fork(self) -> None:
        """Fork a process."""
        if self.contents.processes and self._room():
            process, child = self.one(list(self.contents.processes)), self._name()
            self.do(Operation("fork", 0, "", process=process, word=child), process, child)
            self.split |= {(child, region) for owner, region in self.split if owner == process}

    def exit(self) -> None:
        """Have a process exit."""
        if self.contents.processes:
            process = self.one(list(self.contents.processes))
            self._forget_pins(process)
            self.do(Operation("exit", 0, "", process=process), process)

    def _forget_pins(self, process: str) -> None:
        self.pinned = [pinned for pinned in self.pinned if pinned[0] != process]

    def fail(self) -> None:
        """Let the memory of a page fail, or take it out of use before; in the first case some kernels kill the process
        that says so, which may be a fork of the page's process.

        Never the memory of a page that may be the zero page: a guest has one for all scenarios. Nor that of a page that
        may have come back from swap: a failure shows whether it is still in the swap cache, and from a RAM disk that
        differs between kernels in a way that is not emulated for those after v6.18.
        """
        if (found := self.page(written=True)) is None:
            return
        if self.swapped or self.chance(1, 3):
            self.say("softoffline", *found)
            return
        process, region, page = found
        if self._room() and self.chance(1, 2):
            child = self._name()
            self.do(Operation("fork", 0, "", process=process, word=child), process, child)
            process = child
        self.say("hwpoison", process, region, page)
        self.lose(process)

    def lose(self, process: str) -> None:
        """Ask nothing more of a process that may have been killed; now and then something, which is ESRCH if it was."""
        if self.chance(3, 4):
            self._forget_pins(process)
            del self.contents.processes[process]

    def unmerge(self) -> None:
        """run=2, and merging again."""
        for line in ("set run 2", "counters", "set run 1"):
            self.say(line)

    def switch(self) -> None:
        """Change a knob, which is refused while pages are shared."""
        knob, values = self.one((("merge_across_nodes", (0, 1)), ("max_page_sharing", (2, 3, 256))))
        self.say("set", knob, self.one(values))

    def look(self) -> None:
        """Show KSM's counters of a process."""
        if self.contents.processes:
            self.say("procstat", self.one(list(self.contents.processes)))


Action = Callable[[Generator], None]

WEIGHTS: Final[dict[Action, int]] = {
    Generator.trace: 14, Generator.fill: 9, Generator.migrate: 6, Generator.scan: 2, Generator.step: 2,
    Generator.advise: 2, Generator.drop: 2, Generator.fork: 1, Generator.exit: 1, Generator.new_process: 1,
    Generator.unmerge: 1, Generator.switch: 1, Generator.move: 1, Generator.read: 1, Generator.look: 1,
    Generator.lock: 1, Generator.merge_any: 1, Generator.pin: 2, Generator.free: 2, Generator.execute: 1,
}  # fmt: skip
"""How often what happens, as in the recorded ones; what follows the unmerging is added to them."""

ACTIONS: Final = tuple(action for action, weight in WEIGHTS.items() for _ in range(weight))

WITH_FAILURES: Final = (*ACTIONS, Generator.fail, Generator.fail)
"""Two in three of the scenarios that may have failures of memory have some."""


def generate(seed: int, number: int, *, nodes: int, swap: bool = True, failures: bool = False) -> Scenario:
    """Return the random scenario of a seed and a number, both 0 or more, for a machine with that many nodes, with swap
    or without; with `failures` memory may fail in it."""
    rng = Random(f"scenario {seed} {number}")
    return Generator(rng, nodes, swap, failures).scenario(f"random-{seed}-{number}")
