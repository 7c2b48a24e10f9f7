"""A guest as a performer, with programs that stand for booted kernels."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ksmactors.conformance.language import parse
from ksmactors.errors import UsageError
from ksmactors.guest import boot, machine
from ksmactors.guest.image import KernelImage
from ksmactors.guest.machine import Guest

READY = """\
import json, os, sys, time
def send(**answer):
    print(json.dumps(answer), flush=True)
open(sys.argv[1], "a").write(f"{os.getpid()}\\n")
print("other output of the guest", flush=True)
send(ready=True, nodes=2, release="6.12.1", swap=True, unreadable="")
for request in sys.stdin:
    request = json.loads(request)
    send(line="> counters")
"""

GOOD = READY + "    send(line='= counters'); send(done=True, missing='')\n"
CRASHES = (
    READY
    + """\
    sys.stderr.write("[ 1.0] BUG: kernel NULL pointer dereference, address: 0\\n[ 1.1] RIP: 0010:down_read+0x1/0x2\\n")
    sys.exit(1)
"""
)
ENDS = READY + "    sys.exit(0)\n"
HANGS = READY + "    time.sleep(1000)\n"
FAILS = READY + "    send(failed='no such thing')\n"
REFUSED = (
    "import json; print(json.dumps({'refused': '--live: there is no /sys/kernel/mm/ksm; it needs'}), flush=True)\n"
)
ONE_NODE = READY.replace("nodes=2", "nodes=1")
BLIND = GOOD.replace("unreadable=''", "unreadable='no types'").replace('unreadable=""', 'unreadable="no types"')
STOPPED = """\
import sys, time
open(sys.argv[1], "a").write("0\\n")
sys.stderr.write("KVM internal error. Suberror: 1\\nemulation failure\\n")
sys.stderr.flush()
time.sleep(60)
"""
DEAD = "import sys; sys.exit('virtme-run: a statically linked busybox could not be found')\n"

MakeGuest = Callable[[str], Guest]


@pytest.fixture
def started(tmp_path: Path) -> Path:
    """The file in which each boot notes its PID."""
    return tmp_path / "pids"


@pytest.fixture
def make(tmp_path: Path, started: Path, monkeypatch: pytest.MonkeyPatch) -> MakeGuest:
    """Makes a guest out of a program; notices are in its attribute `said`."""
    monkeypatch.setattr(boot, "check_tools", lambda: None)
    monkeypatch.setattr(boot, "kvm_works", lambda: False)

    def made(program: str) -> Guest:
        monkeypatch.setattr(boot, "command_line", lambda *_, **__: [sys.executable, "-c", program, str(started)])
        said: list[str] = []
        guest = Guest(KernelImage(Path("/k"), "6.12.1", None), 2, tmp_path / "state" / "consoles", said.append)
        guest.said = said  # type: ignore[attr-defined]
        return guest

    return made


def pids(started: Path) -> list[int]:
    """The processes of the guests that were booted."""
    return [int(line) for line in started.read_text().split()]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_several_scenarios_share_a_boot_and_nothing_is_left(make: MakeGuest, started: Path) -> None:
    """The lines are those that were sent; without KVM that is said once a boot."""
    guest = make(GOOD)
    with guest.taken():
        for _ in range(3):
            transcript = guest.perform(parse("counters\n"))
            assert transcript.lines == ("> counters", "= counters")
            assert (transcript.missing, transcript.crash) == ("", "")
        assert guest.swap
        (pid,) = pids(started)
        assert is_running(pid)
    assert not is_running(pid)
    assert guest.said == [  # type: ignore[attr-defined]
        "booting Linux 6.12.1 without KVM, which this machine does not offer: the processor is emulated, and slow"
    ]


def test_a_kvm_that_cannot_run_the_kernel_is_done_without(
    make: MakeGuest, started: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """qemu reports it on the console, and stays: it is not awaited, and the next boot emulates the processor."""
    monkeypatch.setattr(machine, "BOOT_CHECK_SECONDS", 0.05)
    guest = make(GOOD)
    guest.kvm = True
    booted = boot.command_line
    command = [sys.executable, "-c", STOPPED, str(started)]
    monkeypatch.setattr(boot, "command_line", lambda *given, kvm, **named: command if kvm else booted(*given, **named))
    with guest.taken():
        assert guest.perform(parse("counters\n")).lines == ("> counters", "= counters")
    (said,) = guest.said  # type: ignore[attr-defined]
    assert "guest did not boot: KVM of this machine cannot run it (KVM internal error) (console: " in said
    assert said.endswith("; trying once more without KVM: the processor is emulated, and slow")
    assert not guest.kvm
    assert len(pids(started)) == 2


def test_a_crash_is_a_result_and_the_next_scenario_has_a_new_guest(make: MakeGuest, started: Path) -> None:
    """The console is kept in a file of the scenario's name."""
    guest = make(CRASHES)
    with guest.taken():
        for boots in (1, 2):
            transcript = guest.perform(parse("counters\n", name="h2"))
            assert transcript.lines == ("> counters",)
            assert transcript.crash == "kernel crashed: NULL dereference in down_read"
            assert Path(transcript.console).name == "h2.6.12.1.console.txt"
            assert "RIP: 0010:down_read" in Path(transcript.console).read_text()
            assert len(pids(started)) == boots
    assert not any(map(is_running, pids(started)))


def test_a_guest_that_hangs_or_ends_is_one_line(
    make: MakeGuest, started: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is left running."""
    monkeypatch.setattr(machine, "SILENT_SECONDS", 0.2)
    for program, what in [(HANGS, "said nothing for 0.2 seconds"), (ENDS, "has ended")]:
        guest = make(program)
        with guest.taken():
            missing = guest.perform(parse("counters\n")).missing
            assert missing.startswith(f"was not finished: the guest {what} after '> counters' (its console: ")
            assert not any(map(is_running, pids(started)))


def test_what_the_guest_cannot_perform_is_not_run(make: MakeGuest) -> None:
    """It says why."""
    guest = make(FAILS)
    with guest.taken():
        assert guest.perform(parse("counters\n")).missing == "could not be performed by the guest: no such thing"


def test_a_kernel_that_hides_its_structures_is_named(make: MakeGuest) -> None:
    """That is said when it is booted."""
    guest = make(BLIND)
    with guest.taken():
        assert guest.said[-1].endswith("does not show KSM's structures, which are left out: no types")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (REFUSED, "--guest: Linux 6.12.1 in the guest: there is no /sys/kernel/mm/ksm; it needs"),
        (ONE_NODE, "has 1 NUMA nodes with memory in the guest, not 2; does it have CONFIG_NUMA?"),
        (
            DEAD,
            "Linux 6.12.1: guest did not boot: virtme-run: a statically linked busybox could not be found; there are",
        ),
        ("import time; time.sleep(1000)\n", "guest did not boot in 0.3 seconds: it said nothing"),
    ],
)
def test_a_guest_that_does_not_come_up_is_refused(
    make: MakeGuest, monkeypatch: pytest.MonkeyPatch, program: str, said: str
) -> None:
    """In one line that says what is missing."""
    monkeypatch.setattr(machine, "BOOT_SECONDS", 0.3 if "sleep(1000)" in program else 30)
    guest = make(program)
    with pytest.raises(UsageError) as refused, guest.taken():
        pass
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


DIES_ONCE = "import os, sys\nfirst = not os.path.exists(sys.argv[1])\n"
DIES_BOOTING = DIES_ONCE + READY.replace("send(ready", "if first: sys.exit('[ 2.5] Kernel panic')\nsend(ready", 1)
DIES_BEFORE_IT_BEGINS = DIES_ONCE + GOOD.replace(
    '    send(line="> counters")', '    if first: sys.exit(1)\n    send(line="> counters")'
)


def test_a_guest_that_dies_while_it_boots_is_tried_once_more(make: MakeGuest, started: Path, tmp_path: Path) -> None:
    """That is said, and its console kept; the scenario runs on the second guest."""
    guest = make(DIES_BOOTING + "    send(done=True, missing='')\n")
    with guest.taken():
        assert guest.perform(parse("counters\n")).lines == ("> counters",)
    said = guest.said[1]  # type: ignore[attr-defined]
    assert said.startswith("--guest: Linux 6.12.1: guest did not boot: ")
    assert said.endswith("boot.6.12.1.console.txt); trying once more")
    assert (tmp_path / "state" / "consoles" / "boot.6.12.1.console.txt").read_text().strip() == "[ 2.5] Kernel panic"
    assert len(pids(started)) == 2


def test_a_guest_that_dies_before_the_scenario_starts_is_tried_once_more(make: MakeGuest, started: Path) -> None:
    """A guest that dies every time is one line."""
    guest = make(DIES_BEFORE_IT_BEGINS)
    with guest.taken():
        assert guest.perform(parse("counters\n", name="x")).lines == ("> counters", "= counters")
    assert len(pids(started)) == 2
    assert guest.said[1].startswith("x was not begun: the guest has ended (its console: ")  # type: ignore[attr-defined]
    started.unlink()
    guest = make(DIES_BEFORE_IT_BEGINS.replace("if first: sys.exit(1)", "sys.exit(1)"))
    with guest.taken():
        assert guest.perform(parse("counters\n", name="x")).missing.startswith("was not begun: the guest has ended")
    assert len(pids(started)) == 2


def test_a_guest_that_no_longer_boots_ends_the_run(make: MakeGuest, started: Path) -> None:
    """After a crash: the first scenario without a guest says so, the second one ends the run."""
    once = "import os, sys\nif os.path.exists(sys.argv[1]): sys.exit('no room')\n"
    guest = make(once + CRASHES)
    with guest.taken():
        assert guest.perform(parse("counters\n")).crash
        missing = guest.perform(parse("counters\n")).missing
        assert missing.startswith("was not run: --guest: Linux 6.12.1: guest did not boot: no room")
        with pytest.raises(UsageError, match="guest did not boot: no room"):
            guest.perform(parse("counters\n"))


def test_an_interruption_ends_the_guest(make: MakeGuest, started: Path) -> None:
    """As Ctrl-C does."""
    guest = make(HANGS)
    with pytest.raises(KeyboardInterrupt), guest.taken():
        raise KeyboardInterrupt
    assert not any(map(is_running, pids(started)))


def test_the_guest_gets_the_scenario_as_it_was_parsed(make: MakeGuest) -> None:
    """With its line numbers, and what kernels call the places in it."""
    echo = (
        READY
        + """\
    import base64, pickle
    scenario = pickle.loads(base64.b64decode(request["scenario"]))
    numbers = [line.line for line in scenario.lines]
    send(done=True, missing=f"{numbers} {request['places']}")
"""
    )
    guest = make(echo)
    with guest.taken():
        text = "# head\n\n\nproc A\nhold ksmd at get_ksm_page\n"
        assert guest.perform(parse(text)).missing == "[1, 4, 5] {'get_ksm_page': ['ksm_get_folio', 'get_ksm_page']}"
