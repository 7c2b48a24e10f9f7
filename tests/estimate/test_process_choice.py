"""--all and --comm: which processes they mean."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ksmactors.errors import UsageError
from ksmactors.estimate.process_choice import choose


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """Two processes of qemu, one of them a kernel thread's equal without memory, a shell, and this process."""
    root = tmp_path / "proc"
    line = "10000-12000 rw-p 00000000 00:00 0 [heap]\n"
    for pid, comm, maps in (
        (10, "qemu-system-x86", line), (11, "qemu-nbd", ""), (12, "sh", line), (os.getpid(), "qemu-self", line),
    ):  # fmt: skip
        directory = root / str(pid)
        directory.mkdir(parents=True)
        (directory / "comm").write_text(comm + "\n")
        for name, text in (("maps", maps), ("pagemap", ""), ("mem", "")):
            (directory / name).write_text(text)
    (root / "self").mkdir()
    return root


def test_all(proc: Path) -> None:
    """Every process but this one, in order; those without memory are passed over, and that is said."""
    chosen = choose(every=True, comms=(), proc=proc)
    assert chosen.pids == (10, 12)
    assert chosen.warnings == (
        "--all: 1 process was passed over: kernel threads, or not to be read by this user",
    )  # fmt: skip


def test_by_name(proc: Path) -> None:
    """A name stands for all that begin with it; one longer than the kernel keeps is cut off as the kernel does."""
    assert choose(every=False, comms=("qemu",), proc=proc).pids == (10,)
    assert choose(every=False, comms=("qemu-system-x86_64", "sh"), proc=proc).pids == (10, 12)


@pytest.mark.parametrize(
    ("comms", "said"),
    [
        (("nothing",), "--comm nothing: no process has a name that begins so"),
        (("sh", "nothing"), "--comm nothing: no process"),
        (("",), "--comm '': a name is needed"),
        (("qemu-nbd",), "--comm qemu-nbd: the process cannot be read; try as root"),
        (("qemu-self",), "--comm qemu-self: no process"),
    ],
)
def test_no_such_process(proc: Path, comms: tuple[str, ...], said: str) -> None:
    """A name that no readable process has is refused."""
    with pytest.raises(UsageError) as error:
        choose(every=False, comms=comms, proc=proc)
    assert said in str(error.value)


def test_too_few_open_files(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the limit of open files cannot be raised far enough, that is said before anything is read."""
    monkeypatch.setattr("resource.getrlimit", lambda _: (16, 16))
    with pytest.raises(UsageError, match="open files are needed, and 16 are allowed; raise it with ulimit -Hn"):
        choose(every=True, comms=(), proc=proc)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[str]]:
    """A process that waits."""
    with subprocess.Popen(
        [sys.executable, "-c", "print('ready', flush=True); input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_a_real_process(child: subprocess.Popen[str]) -> None:
    """A process is found by the name that the kernel has for it."""
    comm = Path(f"/proc/{child.pid}/comm").read_text().rstrip("\n")
    assert child.pid in choose(every=False, comms=(comm,)).pids
