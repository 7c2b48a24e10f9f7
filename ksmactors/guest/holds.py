"""Holds on a guest: a task is made to sleep at an instruction of the kernel, until it is released.

A breakpoint of qemu's gdb stub lies on the place. When the task that is meant comes to it, its registers are kept, and
it calls schedule_timeout_uninterruptible() as if the place had called that: its return address is the place itself.
Back at the place it is sent to sleep again, until it is released; then it has its registers back and goes on. So the
task sleeps, and no processor stands: interrupts between processors, RCU, and draining work while it is held.

A task can be held only where it may sleep. That is checked at the place: no spinlock and no other section that
forbids preemption, interrupts on, no RCU read section, and the task not about to sleep already.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from ksmactors.guest.gdb_stub import FLAGS, RDI, RIP, RSP, Registers, Stub

NAP_JIFFIES: Final = 5
"""How long a held task sleeps at a time."""

NEED_RESCHED: Final = 1 << 31
"""The bit of the preemption count that is set when nothing needs the processor: it counts nothing."""

SKIPPED: Final = (b"\xf3\x0f\x1e\xfa", b"\x0f\x1f\x44\x00\x00")
"""endbr64, and the nop where ftrace calls: instructions at a function's entry that may be passed by."""

WORD: Final = (1 << 64) - 1


@dataclass(slots=True)
class HeldKernel:
    """Where the kernel of the guest has what holds need. `task` and `preempt` are the addresses of per-CPU variables
    (the current task, the preemption count), the others offsets in task_struct, and a function."""

    task: int
    preempt: int
    pid: int
    rcu: int
    state: int
    sleep: int


@dataclass(slots=True)
class TaskHold:
    """A hold of one task: at the `times`-th visit of `address`, called from within `caller` (two addresses), or when
    the function that begins there returns (`after`)."""

    task: str
    pid: int
    where: str
    address: int
    times: int
    caller: tuple[int, int] | None = None
    after: bool = False
    returns: tuple[int, int] | None = None
    """For `after`, once it is inside: the return address, and the stack pointer behind it."""
    kept: Registers | None = None
    """The registers of the task while it is held."""
    released: bool = False

    @property
    def place(self) -> int:
        """Where the breakpoint is now."""
        return self.address if self.returns is None else self.returns[0]


@dataclass(slots=True)
class Holds:
    """The holds of one scenario."""

    stub: Stub
    kernel: HeldKernel
    pending: list[TaskHold] = field(default_factory=list)
    held: list[TaskHold] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    refused: list[TaskHold] = field(default_factory=list)
    _set: set[int] = field(default_factory=set)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what the program in the guest asks for; the machine runs afterwards."""
        what, task = request["ask"], request.get("task", "")
        if what == "hold":
            caller = request["caller"]
            self._change(
                lambda: self.pending.append(
                    TaskHold(
                        task, request["pid"], request["where"], request["address"], request["times"],
                        None if caller is None else (caller[0], caller[1]), request["after"],
                    )
                )
            )  # fmt: skip
        elif what == "begins":
            self._change(lambda: self._begins(task, request["pid"]))
        elif what == "end":
            self.end()
        elif what == "disarm":
            self._change(lambda: self._forget(task))
        elif what == "release":
            found = [hold for hold in self.held if hold.task == task and not hold.released]
            for hold in found:
                hold.released = True
            return {"released": bool(found)}
        elif what == "held":
            log, self.log = self.log, []
            return {
                "held": {hold.task: hold.where for hold in self.held if not hold.released},
                "leaving": [hold.task for hold in self.held if hold.released],
                "log": log,
                "unmet": [f"{hold.task} {hold.where}" for hold in (*self.refused, *self.pending)],
            }
        return {}

    def end(self) -> None:
        """Release every task and forget every hold."""
        self.pending.clear()
        for hold in self.held:
            hold.released = True
        while self.held:
            if not self.stub.running:
                self.stub.go()
            self.event()
        self._change(lambda: None)

    def event(self) -> None:
        """The machine has stopped, or is about to: see to it, and let it run."""
        if self.stub.wait():
            self._breakpoint()
        self._go()

    # -- breakpoints ------------------------------------------------------------------------------------------------

    def _change(self, change: Any) -> None:
        """Change what is waited for, while the machine stands."""
        if self.stub.stop():
            self._breakpoint()
        change()
        self._go()

    def _begins(self, task: str, pid: int) -> None:
        for hold in self.pending:
            if hold.task == task:
                hold.pid = pid

    def _forget(self, task: str) -> None:
        self.pending = [hold for hold in self.pending if hold.task != task]

    def _first(self) -> list[TaskHold]:
        """Return the holds that count now: the first of each task that is not held."""
        busy = {hold.task for hold in self.held if not hold.released}
        first: dict[str, TaskHold] = {}
        for hold in self.pending:
            if hold.task not in busy:
                first.setdefault(hold.task, hold)
        return list(first.values())

    def _go(self) -> None:
        wanted = {hold.place for hold in (*self._first(), *self.held)}
        for address in sorted(self._set - wanted):
            self.stub.clear_breakpoint(address)
        for address in sorted(wanted - self._set):
            self.stub.set_breakpoint(address)
        self._set = wanted
        self.stub.go()

    def _breakpoint(self) -> None:
        """A task has come to a place."""
        registers = self.stub.registers()
        task = self.stub.number(registers.gs_base + self.kernel.task & WORD)
        pid = self.stub.number(task + self.kernel.pid, 4)
        for hold in self.held:
            if hold.pid == pid and hold.place == registers.rip and hold.kept is not None:
                if registers.rsp != hold.kept.rsp:
                    continue  # it does not come from its sleep
                if hold.released:
                    self._let_go(hold, hold.kept)
                else:
                    self._send_to_sleep(hold.kept)
                return
        for hold in self._first():
            if hold.pid == pid and hold.place == registers.rip and self._counts(hold, registers):
                if reason := self._forbids(registers, task):
                    self.refused.append(hold)
                    self.pending.remove(hold)
                    self.log.append(f"# log {hold.task}: not held {hold.where}: {reason}")
                    break
                hold.kept = registers
                self.pending.remove(hold)
                self.held.append(hold)
                self._send_to_sleep(registers)
                return
        self._pass(registers.rip)

    def _counts(self, hold: TaskHold, registers: Registers) -> bool:
        """Whether this is the visit that is waited for."""
        if hold.returns is not None:
            return registers.rsp == hold.returns[1]
        if hold.caller is not None or hold.after:
            origin = self.stub.number(registers.rsp)
            if hold.caller is not None and not hold.caller[0] <= origin < hold.caller[1]:
                return False
        hold.times -= 1
        if hold.times > 0:
            return False
        if hold.after:
            hold.returns = (origin, registers.rsp + 8)
            return False
        return True

    def _forbids(self, registers: Registers, task: int) -> str:
        """Return why a task must not sleep where it is; empty if it may."""
        count = self.stub.number(registers.gs_base + self.kernel.preempt & WORD, 4) & ~NEED_RESCHED
        if count:
            return f"it must not sleep there (preemption count {count:#x})"
        if not registers.interrupts:
            return "it must not sleep there (interrupts are off)"
        if self.stub.number(task + self.kernel.rcu, 4, signed=True):
            return "it must not sleep there (in an RCU read section)"
        if self.stub.number(task + self.kernel.state, 4):
            return "it is about to sleep already"
        return ""

    def _send_to_sleep(self, kept: Registers) -> None:
        stack = kept.rsp - 8
        self.stub.write(stack, kept.rip)
        self.stub.set_register(RSP, stack)
        self.stub.set_register(RDI, NAP_JIFFIES)
        self.stub.set_register(RIP, self.kernel.sleep)

    def _let_go(self, hold: TaskHold, kept: Registers) -> None:
        for number, value in enumerate(kept.words):
            if number not in (RIP, FLAGS):
                self.stub.set_register(number, value)
        self.stub.set_register(FLAGS, kept.words[FLAGS])
        self.held.remove(hold)
        self._pass(kept.rip)

    def _pass(self, address: int) -> None:
        """Pass by the instruction that the breakpoint lies on."""
        code = self.stub.read(address, 5)
        for skipped in SKIPPED:
            if code.startswith(skipped):
                self.stub.set_register(RIP, address + len(skipped))
                return
        self.stub.step()
