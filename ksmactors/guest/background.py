"""Background operations of a scenario in a guest: each is done by a thread, or by a process of the scenario, and may
be held by the host."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread, get_native_id
from time import monotonic, sleep
from typing import Final

STILL_SECONDS: Final = 0.1
"""A task that has been asleep so long without a context switch is blocked."""

LOOKS: Final = 4
"""So many looks in a row must be alike."""

SETTLE_SECONDS: Final = 60

OTHERS: Final = {1} if (os.cpu_count() or 1) > 1 else {0}
"""The processor of threads that do what the kernel's tasks do; processes are on processor 0."""

WAITS: Final = (
    (r"(__)?migration_entry_wait\w*", "migration entry"),
    (r"folio_wait_bit_common|__folio_lock|__lock_page|wait_on_page_bit", "page lock"),
    (r"rmap_walk\w*|unlink_anon_vmas|anon_vma_\w+|folio_lock_anon_vma_read|stable_tree_append", "anon_vma lock"),
    (r"run_store|\w+_store|ksm_memory_callback|wait_while_offlining", "ksm_thread_mutex"),
    (r"exc_page_fault|do_user_addr_fault|lock_mm_and_find_vma|__ksm_enter", "mmap_lock (read)"),
    (r"kernel_move_pages|do_pages_move|add_\w*_for_migration", "mmap_lock (read)"),
    (r"__ksm_exit|exit_mm\w*|mmput|dup_mm\w*|copy_process", "mmap_lock (write)"),
    (r"do_madvise|madvise\w*|vm_munmap|__vm_munmap|\w*mremap\w*|mlock\w*|vm_mmap\w*", "mmap_lock (write)"),
)  # fmt: skip
"""What a task waits for, by the functions on top of its stack. Locks themselves are left out of stacks."""


class BackgroundThread:
    """A thread that does one operation after the other. It is there before the first one: starting a thread needs
    pages, and would take the frame that the operation before has freed."""

    def __init__(self, processors: set[int]) -> None:
        self._orders: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._busy = False
        self.tid = 0
        ready = Event()

        def body() -> None:
            os.sched_setaffinity(0, processors)
            self.tid = get_native_id()
            ready.set()
            while True:
                order = self._orders.get()
                order()
                self._busy = False

        self.thread = Thread(target=body, daemon=True)
        self.thread.start()
        ready.wait()

    def do(self, order: Callable[[], None]) -> None:
        """Begin an operation."""
        self._busy = True
        self._orders.put(order)

    @property
    def idle(self) -> bool:
        """Whether the last operation is over."""
        return not self._busy


@dataclass(slots=True)
class BackgroundTask:
    """An operation in the background: `pid` of who does it in the kernel; `answer` when it is over."""

    pid: int
    answer: str | None = None
    thread: BackgroundThread | None = None
    poll: Callable[[], str | None] | None = None
    """For ksmd, which is no thread of ours: its answer, if it is over."""

    def ended(self) -> bool:
        """Whether it is over."""
        if self.poll is not None and self.answer is None:
            self.answer = self.poll()
        return self.answer is not None and (self.thread is None or self.thread.idle)


@dataclass(slots=True)
class Background:
    """All tasks of a scenario. `held` asks the host: which are held and where; which are about to go on."""

    held: Callable[[], tuple[dict[str, str], list[str]]]
    begins: Callable[[str, int], None]
    """Tells the host which task does an operation, before it does it."""
    mutex_owner: Callable[[], int]
    named: list[str] = field(default_factory=list)
    running: dict[str, BackgroundTask] = field(default_factory=dict)
    workers: dict[str, BackgroundThread] = field(default_factory=dict)
    _reported: dict[str, str] = field(default_factory=dict)

    def mention(self, name: str) -> None:
        """Note that a task is named: reports list tasks in this order."""
        if name not in self.named:
            self.named.append(name)

    def add(self, name: str, task: BackgroundTask) -> None:
        """Add a task that has been started."""
        self.mention(name)
        self._reported.pop(name, None)
        self.running[name] = task

    def start(self, name: str, work: Callable[[], str], pid: int = 0) -> None:
        """Have a thread do an operation; `pid` is that of the process that does it, else the thread's own."""
        worker = self.workers.get(name)
        if worker is None:
            worker = self.workers[name] = BackgroundThread({0} if pid else OTHERS)
        task = BackgroundTask(pid or worker.tid, thread=worker)
        self.add(name, task)
        self.begins(name, task.pid)
        worker.do(lambda: setattr(task, "answer", work()))

    def forget_report(self, name: str) -> None:
        """The next report says how a task is, whatever it was before."""
        self._reported.pop(name, None)

    def settle(self) -> list[str]:
        """Wait until each task has ended, is held, or is blocked; return the new states: lines."""
        until = monotonic() + SETTLE_SECONDS
        alike, before = 0, None
        switches: dict[str, tuple[int, float]] = {}
        while alike < LOOKS:
            now = self._look(switches)
            alike = alike + 1 if None not in now.values() and now == before else 0
            before = now
            if monotonic() > until:
                break
            sleep(0.03)
        assert before is not None
        return list(self._news(before))

    def _look(self, switches: dict[str, tuple[int, float]]) -> dict[str, str | None]:
        """Return the state of each task, None if it goes on."""
        held, leaving = self.held()
        return {name: self._state(name, task, held, leaving, switches) for name, task in self.running.items()}

    def _state(
        self, name: str, task: BackgroundTask, held: dict[str, str], leaving: list[str],
        switches: dict[str, tuple[int, float]],
    ) -> str | None:  # fmt: skip
        if name in held:
            return f"held {held[name]}"
        if name in leaving:
            return None
        if task.ended():
            return f"done {task.answer}".rstrip()
        try:
            proc = Path(f"/proc/{task.pid}")
            state = (proc / "stat").read_text().rpartition(")")[2].split()[0]
            count = sum(map(int, re.findall(r"ctxt_switches:\s+(\d+)", (proc / "status").read_text())))
            stack = (proc / "stack").read_text()
        except OSError:
            return None
        last, since = switches.get(name, (-1, 0.0))
        if state not in "SD" or count != last:
            switches[name] = (count, monotonic())
            return None
        if monotonic() - since < STILL_SECONDS or "unix_" in stack or "sock_" in stack:
            return None
        return f"blocked: {self._waits_for(name, stack)}"

    def _waits_for(self, name: str, stack: str) -> str:
        functions = re.findall(r"\] ([\w.]+)\+0x", stack)
        if name == "ksmd" and functions[:1] == ["ksm_scan_thread"]:
            owner = self.mutex_owner()
            return "ksm_thread_mutex" if owner and owner != self.running[name].pid else "mmap_lock (read)"
        for function in functions:
            for pattern, what in WAITS:
                if re.fullmatch(pattern, function.split(".")[0]):
                    # run_store may have what it calls with the mutex inlined
                    has_it = what == "ksm_thread_mutex" and self.mutex_owner() == self.running[name].pid
                    return "mmap_lock (read)" if has_it else what
        return functions[0] if functions else "something"

    def _news(self, states: dict[str, str | None]) -> list[str]:
        lines: list[str] = []
        for name in self.named:
            state = states.get(name)
            if name not in self.running:
                continue
            if state is None:
                state = "runs"
            if state.startswith("done"):
                del self.running[name]
            if state != self._reported.get(name):
                self._reported[name] = state
                lines.append(f"{name}: {state}")
        return lines
