"""The operations of a scenario as statements of C, each with the process that does it."""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NoReturn

from ksmactors.conformance.language import Operation, Scenario
from ksmactors.errors import UsageError
from ksmactors.escaping import quoted
from ksmactors.reproduce.names import Names
from ksmactors.reproduce.prediction import Prediction, Quantity, fewer_frames

MAIN: Final = "MAIN"
"""The process that turns the knobs and looks; the others are the scenario's."""

CRASH_NOTE: Final = "A kernel with the defect may crash now."

IGNORED: Final = frozenset({"requires", "trees", "ktrace", "drain", "counters", "frames", "shared", "procstat", "where",
                            "get", "check", "checkrange", "checkseq", "device"})  # fmt: skip
"""Operations that change nothing, so that only what is observed of them is written."""

NOT_IN_C: Final = {
    "exec": "the program would have to execute itself",
    "prctl": "the advice would apply to the whole program",
    "offline": "it takes memory away from the whole machine",
    "online": "it takes memory away from the whole machine",
    "hwpoison": "the memory would be lost until the next boot",
    "softoffline": "the memory would be lost until the next boot",
}
"""Operations that no program has, and why."""

ADVICE: Final = {
    "mergeable": "MADV_MERGEABLE", "unmergeable": "MADV_UNMERGEABLE", "dontneed": "MADV_DONTNEED",
    "swapout": "MADV_PAGEOUT", "free": "MADV_FREE",
}  # fmt: skip

CALLS: Final = {
    "mremap": "mremap", "munmap": "munmap", "mlock": "mlock", "munlock": "munlock",
    "process_vm_readv": "process_vm_readv", **dict.fromkeys(ADVICE, "madvise"),
}  # fmt: skip
"""The system call of an operation."""


@dataclass(slots=True)
class ProgramStep:
    """What one process does before another one has its turn. `ends` if the next statement is for other processes."""

    actor: str
    statements: list[str] = field(default_factory=list)
    ends: bool = False


class ProgramSteps:
    """Writes the steps of a scenario, up to the last operation at which something is observed.

    Raises:
        UsageError: an operation cannot be done by a C program; or nothing tells the kernels apart.
    """

    def __init__(self, scenario: Scenario, prediction: Prediction) -> None:
        self.scenario = scenario
        self.prediction = prediction.different
        self.names = Names()
        self.steps: list[ProgramStep] = []
        self.bound = any(operation.node >= 0 for operation in scenario.operations)
        """Whether memory is bound to nodes."""
        self.pins: list[tuple[str, str, int]] = []
        self.observed = 0
        self._operation: Operation
        self._index = 0
        self._write()

    def _write(self) -> None:
        operations = list(self.scenario.operations)
        last = self._last(operations)
        for self._index, self._operation in enumerate(operations[: last + 1]):
            self._write_operation()

    def _write_operation(self) -> None:
        """Write one operation outside of a race."""
        operation = self._operation
        if operation.name in IGNORED:
            self._refuse_impossible(operation)
            self._look()
            return
        write = self._writer(operation)
        if self._index == self.prediction.crash:
            self._announce()
        write(self, operation)

    def _announce(self) -> None:
        self._add(MAIN, f'note("{CRASH_NOTE}");')

    def _refuse_impossible(self, operation: Operation) -> None:
        if operation.name in NOT_IN_C:
            self._refuse(f"a C program cannot do {operation.name}: {NOT_IN_C[operation.name]}")
        if operation.flags == ("none",):
            self._refuse("a C program cannot do device none: it would take away the machine's swap")

    def _writer(self, operation: Operation) -> Callable[[ProgramSteps, Operation], None]:
        """Return what writes an operation."""
        self._refuse_impossible(operation)
        write = WRITERS.get(operation.name)
        if write is None:
            self._refuse(f"a C program cannot do {operation.name}")
        return write

    def _last(self, operations: list[Operation]) -> int:
        """Return the index of the last operation that is needed."""
        crash = self.prediction.crash
        if crash >= 0:
            while crash + 1 < len(operations) and operations[crash + 1].name in SCANS:
                crash += 1
            return crash
        observed = [index for index in range(len(operations)) if any(map(self._is_observed, self._keys(index)))]
        if not observed:
            raise UsageError(
                f"{self.scenario.origin}: a program cannot see a difference between the two kernels; add operations "
                "that show it: migrate, where, counters, frames, check, set merge_across_nodes"
            )
        return observed[-1]

    def _keys(self, index: int) -> list[tuple[int, Quantity]]:
        return [(index, quantity) for quantity in self.prediction.seen[index]]

    def _is_observed(self, key: tuple[int, Quantity]) -> bool:
        """Whether a quantity is compared; an operation that must succeed anyway is not."""
        index, quantity = key
        if quantity not in self.prediction.seen[index]:
            return False
        return self.prediction.repaired or quantity.kind != "error" or not self.prediction.answered[index]

    def _refuse(self, what: str) -> NoReturn:
        raise UsageError(f"{self.scenario.origin}:{self._operation.line}: {what}")

    def _add(self, actor: str, statement: str, *, ends: bool = False) -> None:
        if not self.steps or self.steps[-1].actor != actor or self.steps[-1].ends:
            self.steps.append(ProgramStep(actor))
        self.steps[-1].statements.append(statement)
        self.steps[-1].ends = ends

    def _expect(self, actor: str, quantity: Quantity, what: str, expression: str) -> None:
        broken, repaired = self.both(quantity)
        self.observed += 1
        what = f"{self.observed}. {what}"
        if self.prediction.repaired:
            self._add(actor, f'expect("{what}", {expression}, {broken}, {repaired});')
        else:
            self._add(actor, f'expect_value("{what}", {expression}, {broken});')

    def both(self, quantity: Quantity) -> tuple[str, str]:
        """Return the values of a quantity with the defect and without, in C."""
        broken, repaired = self.prediction.seen[self._index][quantity]
        return _number(broken), _number(repaired)

    def _do(self, actor: str, what: str, expression: str, *, kind: str = "error") -> None:
        """Do something whose answer is observed, must be 0, or does not matter."""
        quantity = Quantity(kind)
        if self._is_observed((self._index, quantity)):
            self._expect(actor, quantity, what, expression)
        elif kind == "error" and self.prediction.answered[self._index]:
            self._add(actor, f'must({expression}, "{what}");')
        else:
            self._add(actor, f"{expression};")

    def _look(self) -> None:
        """Write what is observed of an operation that changes nothing."""
        operation = self._operation
        for quantity in fewer_frames(self.prediction.seen[self._index]):
            pages = [
                f"{self.names.process(process)}, {self.names.page(process, region, index)}"
                for process, region, index in quantity.pages
            ]
            if quantity.kind == "counter":
                self._expect(MAIN, quantity, quantity.about[0], f'knob("{quantity.about[0]}")')
            elif quantity.kind == "value":
                name = in_c(operation.word)
                self._expect(MAIN, quantity, name, f'knob("{name}")')
            elif quantity.kind == "status":
                process, (name,) = self.names.process(operation.process), quantity.about
                self._expect(MAIN, quantity, f"{name} of {operation.process}", f'ksm_stat({process}, "{name}")')
            elif quantity.kind == "node":
                self._expect(MAIN, quantity, f"node of {self._named()}", f"node_of({pages[0]})")
            elif quantity.kind == "one_frame":
                (one, two) = (".".join(map(str, page)) for page in quantity.pages)
                self._expect(MAIN, quantity, f"{one} and {two} share a page", f"one_frame({', '.join(pages)})")
            elif quantity.kind == "wrong":
                call = f"wrong_pages({self._pages()}, {operation.token}UL, {self._stride()})"
                self._expect(self._actor(), quantity, f"pages of {self._named()} that hold something else", call)

    # -- what operations name ---------------------------------------------------------------------------------------

    def _actor(self) -> str:
        return self.names.process(self._operation.process)

    def _pages(self) -> str:
        operation = self._operation
        return f"{self.names.at(operation)}, {operation.end - operation.first}"

    def _stride(self) -> int:
        return int(self._operation.name.endswith("seq"))

    def _named(self) -> str:
        operation = self._operation
        return f"{operation.process}.{operation.region}.{operation.first}"

    def _must_succeed(self) -> None:
        if not self.prediction.answered[self._index]:
            self._refuse(f"a C program cannot do {quoted(self._operation.text)}, which fails")

    # -- operations -------------------------------------------------------------------------------------------------

    def _proc(self, operation: Operation) -> None:
        self.names.begin(operation.word)
        self._add(MAIN, f"start({self.names.process(operation.word)});", ends=True)

    def _fork(self, operation: Operation) -> None:
        self._must_succeed()
        self.names.begin(operation.word, operation.process)
        self._add(self._actor(), f"start({self.names.process(operation.word)});", ends=True)

    def _exit(self, operation: Operation) -> None:
        self._add(MAIN, f"end({self._actor()});")

    def _map(self, operation: Operation) -> None:
        self._must_succeed()
        where = f"{self.names.add(operation, operation.number)}, {operation.number}"
        bound = f"map({where}, {max(operation.node, 0)});"
        self._add(self._actor(), bound if self.bound else f"map_anywhere({where});")

    def _fill(self, operation: Operation) -> None:
        self._must_succeed()
        self._add(self._actor(), f"fill({self._pages()}, {operation.token}UL, {self._stride()});")

    def _read(self, operation: Operation) -> None:
        self._must_succeed()
        self._add(self._actor(), f"touch({self._pages()});")

    def _madvise(self, operation: Operation) -> None:
        self._call(f"advise({self._pages()}, {ADVICE[operation.name]})")

    def _call(self, expression: str, actor: str = "") -> None:
        what = f"{CALLS[self._operation.name]} of {self._operation.process}.{self._operation.region}"
        self._do(actor or self._actor(), what, expression)

    def _munmap(self, operation: Operation) -> None:
        self._call(f"unmap({self._pages()})")

    def _mlock(self, operation: Operation) -> None:
        self._call(f"{'lock_pages' if operation.name == 'mlock' else 'unlock_pages'}({self._pages()})")

    def _mremap(self, operation: Operation) -> None:
        self._must_succeed()
        pages = self._pages()
        to = self.names.add(operation, operation.end - operation.first)
        self._call(f"move_mapping({pages}, {to})")

    def _process_vm_readv(self, operation: Operation) -> None:
        self._call(f"read_remotely({self._actor()}, {self._pages()})", MAIN)

    def _pin(self, operation: Operation) -> None:
        self._must_succeed()
        self.pins.append((operation.process, operation.region, operation.first))
        self._add(self._actor(), f"pin({len(self.pins) - 1}, {self.names.at(operation)});")

    def _unpin(self, operation: Operation) -> None:
        self._must_succeed()
        number = next(
            number for number in range(len(self.pins) - 1, -1, -1)
            if (self.pins[number][0], self.pins[number][2]) == (operation.process, operation.first)
        )  # fmt: skip
        self.pins[number] = ("", "", -1)
        self._add(self._actor(), f"unpin({number});")

    def _migrate(self, operation: Operation) -> None:
        flag = "MPOL_MF_MOVE_ALL" if operation.name == "migrate" else "MPOL_MF_MOVE"
        call = f"move_page({self._actor()}, {self.names.at(operation)}, {operation.node}, {flag})"
        self._do(MAIN, f"{self._named()} not moved to node {operation.node}", call, kind="moved")

    def _set(self, operation: Operation) -> None:
        knob, value = in_c(operation.word), in_c(operation.value)
        self._do(MAIN, f"error of {knob} = {value}", f'set_knob("{knob}", "{value}")')
        if operation.word in REST:
            self._add(MAIN, f'set_knob("{operation.word}", "{REST[operation.word]}");')
        self._add(MAIN, "rest();")

    def _scan(self, operation: Operation) -> None:
        self._add(MAIN, f"scan({operation.number});")

    def _step(self, operation: Operation) -> None:
        self._add(MAIN, f'batch("{operation.number}");' if operation.number > 1 else "steps(1);")

    def _trace(self, operation: Operation) -> None:
        self._add(MAIN, f"steps({operation.number});")

    def _reclaim(self, operation: Operation) -> None:
        self._add(MAIN, f'reclaim("{operation.value}");')

    def _sleep(self, operation: Operation) -> None:
        self._add(MAIN, f"usleep({operation.number * 1000}UL);")


REST: Final = {"pages_to_scan": "0", "sleep_millisecs": "3600000"}
"""What these knobs are again afterwards: the batches of ksmd are made one by one."""

SCANS: Final = frozenset({"step", "scan", "trace", "tracescan"})

WRITERS: Final[dict[str, Callable[[ProgramSteps, Operation], None]]] = {
    "proc": ProgramSteps._proc,
    "fork": ProgramSteps._fork,
    "exit": ProgramSteps._exit,
    "map": ProgramSteps._map,
    "read": ProgramSteps._read,
    **dict.fromkeys(("fill", "fillrange", "fillseq"), ProgramSteps._fill),
    **dict.fromkeys(ADVICE, ProgramSteps._madvise),
    "munmap": ProgramSteps._munmap,
    "mlock": ProgramSteps._mlock,
    "munlock": ProgramSteps._mlock,
    "mremap": ProgramSteps._mremap,
    "process_vm_readv": ProgramSteps._process_vm_readv,
    "pin": ProgramSteps._pin,
    "unpin": ProgramSteps._unpin,
    "migrate": ProgramSteps._migrate,
    "migrate1": ProgramSteps._migrate,
    "set": ProgramSteps._set,
    "step": ProgramSteps._step,
    "scan": ProgramSteps._scan,
    "tracescan": ProgramSteps._scan,
    "trace": ProgramSteps._trace,
    "reclaim": ProgramSteps._reclaim,
    "sleep": ProgramSteps._sleep,
}
"""What writes the statements of an operation."""


def in_c(text: str) -> str:
    """Return the inside of a string literal: what a scenario says may come from anybody."""
    plain = string.ascii_letters + string.digits + " _-+=.,:;/()[]"
    return "".join(chr(byte) if chr(byte) in plain else f"\\{byte:03o}" for byte in text.encode())


def _number(value: str) -> str:
    """Return a value in C: a name of an errno stays, and so does its sign."""
    return f"{value}L" if value.lstrip("-").isdigit() and len(value) > 9 else value
