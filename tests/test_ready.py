"""A command that is forked from a server is the command that a new interpreter would be."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.children import descendants, wait_until
from tests.helpers.ready import ksmactors_line
from tests.helpers.ready_server import Server

SHOWS = """
import os, signal, sys
from ksmactors.model import Model, Table

GIVEN = sys.stdin.read()

class Shows(Model):
    "says what a process can say of itself"

    async def run(self, table: Table) -> None:
        ours = {name: value for name, value in os.environ.items() if name.startswith("OURS")}
        print(GIVEN, sys.argv[1:], os.getcwd(), ours, sys.path[:3], sys.modules["__main__"].__spec__.name)
        for one in (sys.stdin, sys.stdout, sys.stderr):
            print(one.fileno(), one.encoding, one.errors, one.isatty(), one.line_buffering, file=sys.stderr)
        print([signal.getsignal(number) is signal.SIG_IGN for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE)])
        print([os.path.exists(f"/proc/self/fd/{fd}") for fd in range(3)])
"""


@pytest.mark.slow
def test_it_is_what_a_new_interpreter_is(tmp_path: Path) -> None:
    """Words, directory, environment, path, streams, signals, output and status are the same."""
    (tmp_path / "shows.py").write_text(SHOWS)
    environment = os.environ | {
        "PYTHONPATH": f"{Path(__file__).parents[1]}:/nowhere", "OURS": "π", "XDG_STATE_HOME": str(tmp_path),
    }  # fmt: skip
    ends = [
        subprocess.run(
            [*line, "run", "shows.py:Shows", "--quiet"], cwd=tmp_path, env=environment, input="given",
            capture_output=True, text=True, check=False,
        )
        for line in (ksmactors_line(), [sys.executable, "-m", "ksmactors"])
    ]  # fmt: skip
    assert "given" in ends[0].stdout
    assert "'OURS': 'π'" in ends[0].stdout
    assert [(end.returncode, end.stdout, end.stderr) for end in ends[:1]] == [
        (end.returncode, end.stdout, end.stderr) for end in ends[1:]
    ]


def test_a_status_comes_back() -> None:
    """A usage error is 2, with its line on standard error."""
    done = subprocess.run(ksmactors_line("nothing"), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("ksmactors: no command 'nothing'")


ENDLESS = """
from ksmactors.model import Model, Table

class Endless(Model):
    "never ends"

    async def run(self, table: Table) -> None:
        print(__import__("os").getpid(), flush=True)
        while True:
            await table.step()
"""


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_reaches_it(tmp_path: Path, sent: signal.Signals) -> None:
    """What can be handled is, and the status says so; what cannot ends the command, too."""
    (tmp_path / "endless.py").write_text(ENDLESS)
    line = ksmactors_line("run", "endless.py:Endless", "--max-steps", "1000000000", "--quiet")
    with subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert pid != process.pid
        process.send_signal(sent)
        process.communicate(timeout=60)
    assert process.returncode == (130 if sent == signal.SIGTERM else -signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


def test_another_interpreter_is_another(tmp_path: Path) -> None:
    """A variable that the interpreter reads when it starts is obeyed: then it is no fork."""
    (tmp_path / "endless.py").write_text(ENDLESS)
    line = ksmactors_line("run", "endless.py:Endless", "--max-steps", "9", "--quiet")
    environment = os.environ | {"PYTHONHASHSEED": "4711"}
    with subprocess.Popen(line, cwd=tmp_path, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == process.pid
    assert descendants(process.pid) == []


def test_a_server_leaves_nothing(tmp_path: Path) -> None:
    """One whose tests were killed ends, too, and takes the directory of its socket along."""
    directory = tmp_path / "ready"
    directory.mkdir()
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(directory / "door"))
        if (pid := os.fork()) == 0:
            Server(door)._end()
        os.waitpid(pid, 0)
    assert not directory.exists()
