"""Holds, with a stub that stands for qemu's: when a task is put to sleep, when it must not be, how it goes on."""

from __future__ import annotations

from typing import Any

import pytest

from ksmactors.guest.gdb_stub import FLAGS, GENERAL, RDI, RIP, RSP, Registers, _plain
from ksmactors.guest.holds import HeldKernel, Holds
from ksmactors.guest.kernel_places import KernelPlaces

KERNEL = HeldKernel(task=0x10, preempt=0x20, pid=0x30, rcu=0x40, state=0x50, sleep=0x9999)
GS, TASK, PID, PLACE, STACK, CALLER = 0x100000, 0x200000, 45, 0x7000, 0x300000, 0x8800
HOLD: dict[str, Any] = {
    "ask": "hold", "task": "ksmd", "pid": PID, "where": "at f", "address": PLACE, "caller": None, "times": 1,
    "after": False,
}  # fmt: skip


class MadeStub:
    """A machine with one processor, at a place; what is written to it is kept."""

    def __init__(self) -> None:
        self.running = True
        self.memory = {
            GS + KERNEL.task: TASK, GS + KERNEL.preempt: 1 << 31, TASK + KERNEL.pid: PID, TASK + KERNEL.rcu: 0,
            TASK + KERNEL.state: 0, STACK: CALLER,
        }  # fmt: skip
        self.words = [*range(100, 100 + GENERAL), PLACE, 0x246]
        self.words[RSP] = STACK
        self.breakpoints: set[int] = set()
        self.steps = 0

    def stop(self) -> bool:
        self.running = False
        return False

    def wait(self) -> bool:
        self.running = False
        return True

    def go(self) -> None:
        self.running = True

    def step(self) -> None:
        self.steps += 1

    def set_breakpoint(self, address: int) -> None:
        self.breakpoints.add(address)

    def clear_breakpoint(self, address: int) -> None:
        self.breakpoints.remove(address)

    def read(self, address: int, size: int) -> bytes:
        return b"\xf3\x0f\x1e\xfa\x90"

    def number(self, address: int, size: int = 8, *, signed: bool = False) -> int:
        return self.memory[address]

    def write(self, address: int, value: int) -> None:
        self.memory[address] = value

    def registers(self) -> Registers:
        return Registers(tuple(self.words), GS)

    def set_register(self, number: int, value: int) -> None:
        self.words[number] = value

    def wakes_up(self) -> None:
        """The nap is over: it returns to the place, with other registers."""
        self.words = [7] * GENERAL + [PLACE, 0x202]
        self.words[RSP] = STACK


@pytest.fixture
def stub() -> MadeStub:
    """A machine whose ksmd has come to the place."""
    return MadeStub()


@pytest.fixture
def holds(stub: MadeStub) -> Holds:
    """Its holds, none yet."""
    return Holds(stub, KERNEL)  # type: ignore[arg-type]


def held(holds: Holds) -> dict[str, str]:
    found: dict[str, str] = holds.answer({"ask": "held"})["held"]
    return found


def test_a_held_task_sleeps_until_it_is_released_and_has_its_registers_back(stub: MadeStub, holds: Holds) -> None:
    """It calls the sleep as if the place did; each time that it wakes up, it is sent to sleep again."""
    holds.answer(HOLD)
    assert stub.breakpoints == {PLACE}
    before = list(stub.words)
    for _ in range(3):
        holds.event()
        assert held(holds) == {"ksmd": "at f"}
        assert (stub.words[RIP], stub.words[RSP], stub.words[RDI]) == (KERNEL.sleep, STACK - 8, 5)
        assert stub.memory[STACK - 8] == PLACE
        assert stub.running
        stub.wakes_up()
    assert holds.answer({"ask": "release", "task": "ksmd"}) == {"released": True}
    holds.event()
    assert stub.words[:RIP] + stub.words[FLAGS:] == before[:RIP] + before[FLAGS:]
    assert stub.words[RIP] == PLACE + 4, "behind the endbr64 that the breakpoint lies on"
    assert held(holds) == {}
    assert stub.breakpoints == set()
    assert holds.answer({"ask": "release", "task": "ksmd"}) == {"released": False}


@pytest.mark.parametrize(
    ("where", "value", "reason"),
    [
        (GS + KERNEL.preempt, 1 << 31 | 1, "it must not sleep there (preemption count 0x1)"),
        (TASK + KERNEL.rcu, 1, "it must not sleep there (in an RCU read section)"),
        (TASK + KERNEL.state, 2, "it is about to sleep already"),
        (None, 0x46, "it must not sleep there (interrupts are off)"),
    ],
)
def test_a_task_is_not_held_where_it_must_not_sleep(
    stub: MadeStub, holds: Holds, where: int | None, value: int, reason: str
) -> None:
    """The hold is refused, which is said, and the task goes on."""
    if where is None:
        stub.words[FLAGS] = value
    else:
        stub.memory[where] = value
    holds.answer(HOLD)
    holds.event()
    answer = holds.answer({"ask": "held"})
    assert answer["log"] == [f"# log ksmd: not held at f: {reason}"]
    assert (answer["held"], answer["unmet"]) == ({}, ["ksmd at f"])
    assert stub.words[RIP] == PLACE + 4


def test_other_tasks_and_earlier_visits_pass(stub: MadeStub, holds: Holds) -> None:
    """And calls from other functions."""
    holds.answer(HOLD | {"times": 2, "caller": [CALLER - 1, CALLER + 1]})
    for changed, value in ((TASK + KERNEL.pid, PID + 1), (STACK, CALLER + 1), (STACK, CALLER)):
        stub.words[RIP] = PLACE
        before, stub.memory[changed] = stub.memory[changed], value
        holds.event()
        stub.memory[changed] = before
        assert held(holds) == {}
        assert stub.words[RIP] == PLACE + 4
    stub.words[RIP] = PLACE
    holds.event()
    assert held(holds) == {"ksmd": "at f"}


def test_after_a_function_is_where_it_returns_to(stub: MadeStub, holds: Holds) -> None:
    """In the same call: the stack pointer tells."""
    holds.answer(HOLD | {"after": True, "where": "after f"})
    holds.event()
    assert (held(holds), stub.breakpoints) == ({}, {CALLER})
    stub.words[RIP], stub.words[RSP] = CALLER, STACK + 800
    holds.event()
    assert held(holds) == {}
    stub.words[RIP], stub.words[RSP] = CALLER, STACK + 8
    holds.event()
    assert held(holds) == {"ksmd": "after f"}


def test_holds_of_a_task_are_met_one_after_the_other(stub: MadeStub, holds: Holds) -> None:
    """And can be forgotten, and learn later which task they mean."""
    holds.answer(HOLD | {"pid": 0})
    holds.answer(HOLD | {"address": PLACE + 64, "where": "at g"})
    assert stub.breakpoints == {PLACE}
    holds.event()
    assert held(holds) == {}
    stub.words[RIP] = PLACE
    holds.answer({"ask": "begins", "task": "ksmd", "pid": PID})
    holds.event()
    assert held(holds) == {"ksmd": "at f"}
    holds.answer({"ask": "disarm", "task": "ksmd"})
    assert not holds.answer({"ask": "held"})["unmet"]
    stub.wakes_up()
    holds.answer({"ask": "end"})
    assert stub.breakpoints == set()


KALLSYMS = """\
0000000000000100 A pcpu_hot
ffffffff81000000 T schedule_timeout_uninterruptible
ffffffff81000100 t ksm_get_folio
ffffffff81000100 t alias_of_it
ffffffff81000180 t rmap_walk
ffffffff81000200 t migrate_folio_move.constprop.0
ffffffff81000300 t other
ffffffffc0000000 t ksm_do_scan\t[module]
"""


class MadeMemory:
    """Types that have what holds need."""

    class btf:  # noqa: N801
        @staticmethod
        def layout(_: str) -> dict[str, int]:
            return {"pid": 1, "rcu_read_lock_nesting": 2, "__state": 3, "current_task": 0, "preempt_count": 8}

    @staticmethod
    def read(address: int, size: int) -> bytes:
        return f"{address:x} {size}".encode()


def no_instruction(*_: Any) -> None:
    """The code of a function does not have what a rule looks for."""


def test_places_are_found_in_the_running_kernel(tmp_path: Any) -> None:
    """The first name that it has; instructions only of the build that they were found in."""
    (tmp_path / "kallsyms").write_text(KALLSYMS)
    places = KernelPlaces(
        MadeMemory(), "6.12.117+deb12-amd64", "#1 SMP PREEMPT_DYNAMIC", no_instruction, tmp_path / "kallsyms"
    )  # type: ignore[arg-type]
    assert places.needed == {
        "pid": 1, "rcu": 2, "state": 3, "task": 0x100, "preempt": 0x108, "sleep": 0xFFFFFFFF81000000,
    }  # fmt: skip
    folio = 0xFFFFFFFF81000100
    assert places.spot(["gone", "ksm_get_folio"], None) == (folio, None)
    assert places.spot(["6.12.11:ksm_get_folio+0x1", "6.12.117:ksm_get_folio+0x31"], None) == (folio + 0x31, None)
    assert places.spot(["6.12.118:ksm_get_folio+0x31"], None) is None
    assert places.spot(["ksm_do_scan"], None) is None, "a module's"
    moving = (0xFFFFFFFF81000200, 0xFFFFFFFF81000300)
    assert places.spot(["rmap_walk<gone", "rmap_walk<migrate_folio_move"], None) == (0xFFFFFFFF81000180, moving)
    assert places.spot(["ksm_get_folio"], ["rmap_walk"]) == (folio, (0xFFFFFFFF81000180, 0xFFFFFFFF81000200))
    assert places.spot(["rmap_walk"], ["ksm_get_folio"]) == (0xFFFFFFFF81000180, (folio, 0xFFFFFFFF81000180))
    assert places.spot(["ksm_get_folio"], ["gone"]) is None


def test_an_instruction_of_an_unknown_build_is_found_in_its_code(tmp_path: Any) -> None:
    """The guest sends the code of the function and the offset of the member; a known build comes first."""
    (tmp_path / "kallsyms").write_text(KALLSYMS)
    asked: list[tuple[Any, ...]] = []

    def decode(*question: Any) -> int | None:
        asked.append(question)
        return 0x27 if question[1] == "kept" else None

    class Typed(MadeMemory):
        class btf:  # noqa: N801
            @staticmethod
            def layout(*names: str, having: str = "") -> dict[str, int]:
                return {"kpfn": 0x30, "mapping": 0x18} if having else MadeMemory.btf.layout(names[0])

    places = KernelPlaces(Typed(), "6.12.1", "#1 SMP PREEMPT_DYNAMIC", decode, tmp_path / "kallsyms")  # type: ignore[arg-type]
    folio = 0xFFFFFFFF81000100
    names = ["6.12.117:ksm_get_folio+0x31", "get_ksm_page?kept:kpfn", "ksm_get_folio?kept:kpfn"]
    assert places.spot(names, None) == (folio + 0x27, None)
    assert places.spot(["6.12.1:ksm_get_folio+0x31", *names], None) == (folio + 0x31, None)
    assert places.spot(["ksm_get_folio?load:mapping:2"], None) is None
    code = f"{folio:x} {0x80}".encode()
    assert asked == [(code, "kept", 0x30, 1), (code, "load", 0x18, 2)]


def test_packets_are_decoded() -> None:
    """Escapes and runs of the remote protocol."""
    assert _plain(b"0* ") == b"0000"
    assert _plain(b"a}\x03b") == b"a#b"
    assert _plain(b"") == b""
