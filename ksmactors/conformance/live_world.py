"""The processes of a scenario on a real kernel, their mappings, and the names of both."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ksmactors.conformance.live_ksm import Disturbed
from ksmactors.conformance.live_pages import Pages
from ksmactors.conformance.live_structures import LiveStructures
from ksmactors.conformance.page_map import NamedPages, NamedRegion, PageName, PageState
from ksmactors.mm.const import PAGE_SIZE

ARENA: Final = 1 << 38
"""Where regions start: free of programs, heaps and libraries on any machine with at least 39 address bits."""

FATAL: Final = b"Fatal Python error: "
"""The first message of a process that a signal ends (`live_process.report_faults`); the second one names the signal."""

SIGNALS: Final = {b"Bus error": "SIGBUS", b"Segmentation fault": "SIGSEGV"}
"""By what a process says of itself."""


class Killed(Exception):  # no error: the result of an operation
    """A signal has ended the process that was to do an operation."""

    def __init__(self, signal: str) -> None:
        super().__init__(signal)
        self.signal = signal


@dataclass(slots=True)
class LiveProcess:
    """A process of a scenario: a real one, controlled over a socket.

    `started` is None for a fork, which its parent waits for. `holes` are the addresses of pages of its regions that are
    not mapped any more; `top` is where its next region may start, bytes.
    """

    name: str
    pid: int
    orders: socket.socket
    started: subprocess.Popen[bytes] | None = None
    holes: set[int] = field(default_factory=set)
    top: int = ARENA
    names: NamedPages = field(default_factory=lambda: NamedPages(""))

    @property
    def regions(self) -> dict[str, NamedRegion]:
        """Its regions by name."""
        return self.names.regions

    def ask(self, request: str, *numbers: int, descriptors: tuple[int, ...] = ()) -> int:
        """Send a request and return the answer, negative for an errno.

        Raises:
            Killed: a fault of its own memory has ended the process.
            Disturbed: the process is gone for another reason.
        """
        message = " ".join([request, *map(str, numbers)]).encode()
        try:
            socket.send_fds(self.orders, [message], descriptors)
            answer = self.orders.recv(64)
            if answer == FATAL:
                raise Killed(self._last_words())
        except OSError as error:
            raise Disturbed(f"process {self.name} (PID {self.pid}) could not be asked: {error.strerror}") from error
        if not answer:
            raise Disturbed(f"process {self.name} (PID {self.pid}) has died; was it killed, or is memory short?")
        return int(answer)

    def _last_words(self) -> str:
        """Return the signal that ends it, when its memory is gone."""
        said = self.orders.recv(64)
        while self.orders.recv(1 << 12):
            pass
        self.orders.close()
        if self.started is not None:
            self.started.wait()
        return SIGNALS.get(said, "SIGKILL")

    def ping(self) -> None:
        """Wait until it answers.

        Raises:
            Disturbed: the process is gone.
        """
        self.ask("read", 0, 0)

    def exit(self) -> None:
        """Let it exit, and wait until its memory is gone: its end of the socket is closed after that.

        Raises:
            Disturbed: the process was gone already.
        """
        try:
            self.ping()
            self.orders.shutdown(socket.SHUT_WR)
            while self.orders.recv(64):
                pass
        finally:
            self.orders.close()
            if self.started is not None:
                self.started.wait()

    def execute(self) -> int:
        """Let it execute its program again: 0 and it has no regions any more, or a negative errno."""
        error = self.ask("exec")
        if not error:
            self.names.exited = True
            self.names = NamedPages(self.name)
            self.holes.clear()
            self.top = ARENA
        return error

    def add(self, region: NamedRegion) -> None:
        """A region has come to be, at the place that was free."""
        self.names.add(region)
        self.top = region.start + (region.pages + 1) * PAGE_SIZE

    def move(self, region: NamedRegion, moved: NamedRegion, first: int = 0) -> None:
        """The pages of a region from `first` on, as many as `moved` has, are somewhere else now, with their holes. If
        these were not all, the region stays, with holes in their place."""
        start = region.start + first * PAGE_SIZE
        inside = range(start, start + moved.pages * PAGE_SIZE, PAGE_SIZE)
        if moved.pages == region.pages:
            del self.regions[region.name]
        self.add(moved)
        distance = moved.start - start
        self.holes = {hole + distance if hole in inside else hole for hole in self.holes}
        if moved.pages < region.pages:
            self.holes.update(inside)

    def pages(self) -> Iterator[tuple[PageName, int]]:
        """Every mapped page by address, with its name."""
        for region in sorted(self.regions.values(), key=lambda region: region.start):
            for page in range(region.pages):
                address = region.start + page * PAGE_SIZE
                if address not in self.holes:
                    yield PageName(self.name, region.name, page), address


def launch(name: str) -> LiveProcess:
    """Execute the program of a process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        started = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("live_process.py")), str(theirs.fileno())],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True,
            pass_fds=(theirs.fileno(),),
        )  # fmt: skip
    return LiveProcess(name, started.pid, ours, started, names=NamedPages(name))


def fork_of(parent: LiveProcess) -> tuple[int, socket.socket]:
    """Fork a process: the child's PID and the socket for its requests; or a negative errno and a closed socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        pid = parent.ask("fork", descriptors=(theirs.fileno(),))
    if pid < 0:
        ours.close()
    return pid, ours


class World:
    """All living processes of one scenario, in the order of their creation."""

    def __init__(self, pages: Pages, inside: LiveStructures | None = None) -> None:
        self._pages, self._inside = pages, inside
        self.living: dict[str, LiveProcess] = {}

    def start(self, name: str) -> None:
        """Start a process."""
        process = self.living[name] = self.new_process(name)
        process.ping()
        self.know(process)

    def new_process(self, name: str) -> LiveProcess:
        """Return a new process, which may not answer yet."""
        return launch(name)

    def know(self, process: LiveProcess) -> None:
        """Note which address space a process has, where the kernel's memory can be read."""
        if self._inside is not None:
            self._inside.began(process.pid, process.names)

    def fork(self, parent: LiveProcess, name: str) -> int:
        """Fork a process: 0 or a negative errno."""
        pid, ours = fork_of(parent)
        if pid < 0:
            return pid
        names = NamedPages(name, dict(parent.regions), list(parent.names.named))
        self.living[name] = LiveProcess(name, pid, ours, None, set(parent.holes), parent.top, names)
        self.know(self.living[name])
        return 0

    def exit(self, name: str) -> None:
        """Let the process exit."""
        process = self.living.pop(name)
        process.exit()
        process.names.exited = True

    def forget(self, name: str) -> None:
        """The process has been killed."""
        self.living.pop(name).names.exited = True

    def end(self) -> None:
        """End the remaining processes, also after errors."""
        while self.living:
            with suppress(Disturbed):
                self.living.popitem()[1].exit()

    def sights(self) -> Iterator[tuple[PageName, PageState]]:
        """Yield every mapped page with its state."""
        for process in self.living.values():
            names = list(process.pages())
            sights = self._pages.sights(process.pid, [address for _, address in names])
            yield from ((name, sight) for (name, _), sight in zip(names, sights, strict=True))

    def status(self, process: LiveProcess) -> dict[str, str]:
        """Return /proc/PID/ksm_stat; empty where the kernel does not have it."""
        try:
            text = Path(f"/proc/{process.pid}/ksm_stat").read_text()
        except FileNotFoundError:
            return {}
        return dict(line.replace(":", "").split() for line in text.splitlines())
