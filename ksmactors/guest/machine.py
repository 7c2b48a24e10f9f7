"""A guest as a performer of scenarios: booted when it is needed, and again when its kernel has crashed."""

from __future__ import annotations

import base64
import json
import os
import pickle
import re
import select
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile, mkdtemp
from time import monotonic
from typing import IO, Any, Final

from ksmactors.conformance.language import Scenario
from ksmactors.conformance.places import place_named
from ksmactors.conformance.transcript import Transcript
from ksmactors.errors import UsageError
from ksmactors.escaping import quoted
from ksmactors.files import make_private, write_atomically
from ksmactors.guest import boot
from ksmactors.guest.console import crash, last_words, stopped_by_kvm
from ksmactors.guest.gdb_stub import Stub, StubError
from ksmactors.guest.holds import HeldKernel, Holds
from ksmactors.guest.image import KernelImage
from ksmactors.guest.instructions import find as find_instruction

BOOT_SECONDS: Final = 300
"""How long a boot may take: half a minute on an emulated processor, on a machine with nothing else to do."""

KVM_BOOT_SECONDS: Final = 60
"""The same with KVM. Where KVM is no good, a kernel may also hang without a word."""

BOOT_CHECK_SECONDS: Final = 1
"""How often a guest that boots is asked whether it still does."""

SILENT_SECONDS: Final = 240
"""How long a guest may say nothing while it performs a scenario."""

CRASH_SECONDS: Final = 60
"""How long a guest that has crashed may take to say so on its console."""

NOT_BEGUN: Final = "was not begun"
"""Begins what is said about a scenario whose guest ended before it had done anything."""

STUB: Final = "stub"
"""The name of the socket of qemu's gdb stub."""

CHUNK: Final = 1 << 16


class Gone(Exception):  # no error: how a guest's scenario ended
    """The guest has ended, or says nothing any more (`silent`)."""

    def __init__(self, silent: bool) -> None:
        super().__init__()
        self.silent = silent


class NotBooted(UsageError):
    """The guest did not come up; `silent` if it did not end either."""

    def __init__(self, message: str, *, silent: bool) -> None:
        super().__init__(message)
        self.silent = silent


class Guest:
    """A kernel in a virtual machine, ready to run scenarios. It is booted at the first one.

    `consoles` is the directory for the consoles of crashed guests; `notice` shows a line to the user.
    """

    def __init__(self, image: KernelImage, nodes: int, consoles: Path, notice: Callable[[str], None]) -> None:
        boot.check_tools()
        self.image, self.nodes, self.release = image, nodes, image.release
        self.consoles, self.notice = consoles, notice
        self.kvm = boot.kvm_works()
        self.swap = False
        self._process: subprocess.Popen[bytes] | None = None
        self._console: IO[bytes] | None = None
        self._received = b""
        self._directory = Path()
        self._holds: Holds | None = None
        self._noticed: set[str] = set()
        self._unbooted = False
        """Whether the last scenario had no guest: two in a row end the run."""

    @property
    def version(self) -> tuple[int, int]:
        """Major and minor number of the kernel."""
        found = re.match(r"(\d+)\.(\d+)", self.release)
        assert found is not None, "the image's release was checked"
        return int(found[1]), int(found[2])

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Boot the guest; end it at the end of the block, whatever happens.

        Raises:
            UsageError: it does not come up, or cannot be used.
        """
        try:
            self._boot()
            yield
        finally:
            self._end()

    def perform(self, scenario: Scenario) -> Transcript:
        """Run a scenario. If the kernel crashes, the transcript says how; the next scenario has a new guest.

        A guest that ends before the first line has done nothing of the scenario: another one is tried, once.
        """
        transcript = self._perform_once(scenario)
        if transcript.missing.startswith(NOT_BEGUN) and self._process is None:
            self.notice(f"{scenario.name} {transcript.missing}; trying once more")
            transcript = self._perform_once(scenario)
        return transcript

    def _perform_once(self, scenario: Scenario) -> Transcript:
        if self._process is None:
            try:
                self._boot()
            except NotBooted as failure:
                if self._unbooted:
                    raise
                self._unbooted = True
                return Transcript(scenario, (), missing=f"was not run: {failure}")
        lines: list[str] = []
        self._send(scenario=base64.b64encode(pickle.dumps(scenario)).decode(), places=_kernel_places(scenario))
        try:
            while True:
                answer = self._receive(SILENT_SECONDS)
                if "line" in answer:
                    lines.append(str(answer["line"]))
                elif "ask" in answer:
                    self._send(**self._answer(answer))
                else:
                    break
        except Gone as gone:
            return self._ended(scenario, tuple(lines), gone)
        except StubError as error:
            self._end()
            return Transcript(scenario, tuple(lines), missing=f"was not finished: {error}")
        missing = str(answer.get("missing", ""))
        if failed := answer.get("failed"):
            missing = f"could not be performed by the guest: {failed}"
        return Transcript(scenario, tuple(lines), missing=missing)

    def _ended(self, scenario: Scenario, lines: tuple[str, ...], gone: Gone) -> Transcript:
        """The guest has crashed or hangs: keep its console."""
        if gone.silent:
            self._end(keep_console=True)
        else:
            self._wait()
        text = self._said()
        file = self._keep(scenario.name, text)
        self._end()
        how = crash(text)
        if how and lines:
            return Transcript(scenario, lines, crash=f"kernel crashed: {how}", console=str(file))
        what = f"said nothing for {SILENT_SECONDS} seconds" if gone.silent else how or "has ended"
        point = (
            f"was not finished: the guest {what} after {quoted(lines[-1])}"
            if lines
            else f"{NOT_BEGUN}: the guest {what}"
        )
        return Transcript(scenario, lines, missing=f"{point} (its console: {file})")

    def _answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """Answer a question about holds; the first one says where the guest's kernel has what they need."""
        if question["ask"] == "kernel":
            if self._holds is None:
                needed = {name: value for name, value in question.items() if name != "ask"}
                self._holds = Holds(Stub(self._directory / STUB), HeldKernel(**needed))
                self._holds.stub.go()
            return {}
        if question["ask"] == "instruction":
            return {"offset": self._instruction(**{name: value for name, value in question.items() if name != "ask"})}
        if self._holds is None:  # no task was ever held in this guest
            return {"held": {}, "leaving": [], "log": [], "unmet": [], "released": False}
        return self._holds.answer(question)

    def _instruction(self, code: str, rule: str, member: int, nth: int) -> int | None:
        """Look for an instruction in the code of a function of the guest's kernel."""
        try:
            return find_instruction(bytes.fromhex(code), rule, member, nth)
        except UsageError as lacking:
            if str(lacking) not in self._noticed:
                self._noticed.add(str(lacking))
                self.notice(str(lacking))
            return None

    # -- starting and ending ------------------------------------------------------------------------------------

    def _boot(self) -> None:
        """Boot; a guest that ends while it does so is tried once more.

        Raises:
            NotBooted: it does not come up.
            UsageError: it has come up, and cannot be used.
        """
        try:
            self._boot_once(1)
        except NotBooted as failure:
            if not failure.silent:
                self.notice(f"{failure}; trying once more")
            elif self.kvm:
                self.kvm = False
                self.notice(f"{failure}; trying once more without KVM: the processor is emulated, and slow")
            else:
                raise
            self._boot_once(2)

    def _boot_once(self, attempt: int) -> None:
        if not self.kvm and attempt == 1:
            self.notice(
                f"booting Linux {self.release} without KVM, which this machine does not offer: "
                "the processor is emulated, and slow"
            )
        self._console = TemporaryFile()  # noqa: SIM115  # read when the guest has ended
        self._received = b""
        self._directory = Path(mkdtemp(prefix="ksmactors-guest-"))
        self._process = boot.start(
            boot.command_line(self.image, self.nodes, kvm=self.kvm, stub=self._directory / STUB),
            self._console,
            self._directory,
        )
        try:
            answer = self._first_answer()
        except Gone as gone:
            self._refuse_boot(gone.silent, attempt)
        if refused := answer.get("refused"):
            raise UsageError(f"--guest: Linux {self.release} in the guest: {str(refused).removeprefix('--live: ')}")
        if answer.get("nodes") != self.nodes:
            raise UsageError(
                f"--guest: Linux {self.release} has {answer.get('nodes')} NUMA nodes with memory in the guest, "
                f"not {self.nodes}; does it have CONFIG_NUMA?"
            )
        self._unbooted = False
        self.swap = bool(answer.get("swap"))
        if unreadable := answer.get("unreadable"):
            self.notice(f"Linux {self.release} does not show KSM's structures, which are left out: {unreadable}")

    def _first_answer(self) -> dict[str, Any]:
        """Return the guest's first answer; qemu goes on, and never gives one, when KVM cannot run the kernel.

        Raises:
            Gone: there is none.
        """
        until = monotonic() + self._boot_seconds()
        while True:
            try:
                return self._receive(min(BOOT_CHECK_SECONDS, max(until - monotonic(), 0)))
            except Gone as gone:
                if not gone.silent or monotonic() >= until or stopped_by_kvm(self._said()):
                    raise

    def _boot_seconds(self) -> int:
        return KVM_BOOT_SECONDS if self.kvm else BOOT_SECONDS

    def _refuse_boot(self, silent: bool, attempt: int) -> None:
        if not silent:
            self._wait()
        text = self._said()
        file = self._keep("boot" if attempt == 1 else f"boot-{attempt}", text)
        self._end()
        stopped = stopped_by_kvm(text)
        how = f"did not boot in {self._boot_seconds()} seconds" if silent and not stopped else "did not boot"
        reason = stopped or crash(text) or last_words(text)
        modules = "" if self.image.modules or stopped else "; there are no modules for it, which 9p and virtio may need"
        raise NotBooted(
            f"--guest: Linux {self.release}: guest {how}: {reason or 'it said nothing'}{modules} (console: {file})",
            silent=silent,
        )

    def _wait(self) -> None:
        """Wait until all of its console has been written."""
        assert self._process is not None
        try:
            self._process.wait(CRASH_SECONDS)
        except subprocess.TimeoutExpired:
            boot.end(self._process)

    def _end(self, *, keep_console: bool = False) -> None:
        if self._process is not None:
            process, self._process = self._process, None
            boot.end(process)
            shutil.rmtree(self._directory, ignore_errors=True)
        if self._holds is not None:
            self._holds.stub.close()
            self._holds = None
        if self._console is not None and not keep_console:
            self._console.close()
            self._console = None

    def _said(self) -> str:
        """Return what is on the console, at whose end qemu may be writing."""
        assert self._console is not None
        console = self._console.fileno()
        return os.pread(console, os.fstat(console).st_size, 0).decode("utf-8", "replace")

    def _keep(self, name: str, text: str) -> Path:
        """Write a console to a file of its own."""
        make_private(self.consoles, self.consoles.parent)
        file = self.consoles / f"{name}.{self.release}.console.txt"
        write_atomically(file, text.encode())
        return file

    def _holds_event(self) -> None:
        """A task has come to a place. A stub that has gone is noticed by the end of the guest's output, too."""
        assert self._holds is not None
        try:
            if self._holds.stub.stopped():
                self._holds.event()
        except StubError:
            self._holds.stub.close()
            self._holds = None

    # -- messages -----------------------------------------------------------------------------------------------

    def _send(self, **request: Any) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write((json.dumps(request) + "\n").encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended, which is noticed when its answer is awaited

    def _receive(self, seconds: float) -> dict[str, Any]:
        """Return the next answer.

        Raises:
            Gone: there is none.
        """
        assert self._process is not None
        assert self._process.stdout is not None
        stream = self._process.stdout.fileno()
        until = monotonic() + seconds
        while True:
            line, newline, rest = self._received.partition(b"\n")
            if newline:
                self._received = rest
                if answer := _answer(line):
                    return answer
                continue
            watched: list[int | Stub] = [stream, *([self._holds.stub] if self._holds is not None else [])]
            ready = select.select(watched, [], [], max(until - monotonic(), 0))[0]
            if not ready:
                raise Gone(silent=True)
            if self._holds is not None and self._holds.stub in ready:
                self._holds_event()
            if stream not in ready:
                continue
            data = os.read(stream, CHUNK)
            if not data:
                raise Gone(silent=False)
            self._received += data


def _answer(line: bytes) -> dict[str, Any] | None:
    """Return the answer on a line; None for other output of the guest."""
    try:
        answer = json.loads(line)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _kernel_places(scenario: Scenario) -> dict[str, list[str]]:
    """Return what kernels call the places in a scenario."""
    named: set[str] = set()
    for operation in scenario.operations:
        if operation.name == "hold":
            named |= {operation.word, operation.value} - {""}
    return {name: list(place_named(name).kernels) for name in sorted(named)}
