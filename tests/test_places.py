"""Error messages point at the author's line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ksmactors.cli import main

PROGRAM = '''"""Programs with a mistake each."""
import json

from ksmactors.litmus import Litmus
from ksmactors.model import Model
from ksmactors.parameters import Int


class Parses(Model):
    async def run(self, table):
        json.loads("{")  # line 11


class Migrates(Litmus):
    async def run(self, scene):
        proc = await scene.process("vm", 1)
        await scene.move(proc, 0, 7)  # line 17


class Sleeps(Model):
    async def run(self, table):
        import trio
        await trio.sleep(0)  # line 23


class Prints(Model):
    async def run(self, table):
        print("hello")
        await table.concurrent({"one": table.step(), "two": table.step()})
'''


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file with the programs."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = tmp_path / "mistaken.py"
    path.write_text(PROGRAM)
    return str(path)


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("Parses", 3, "in double quotes: line 1 column 2 (char 1) (mistaken.py:11 in run)"),
        ("Migrates", 2, "there is no node 7 on a machine of 2 (--nodes) (mistaken.py:17 in run)"),
        ("Sleeps", 3, "mistaken.py:23), which does not go through the conductor"),
    ],
)  # fmt: skip
def test_messages_name_the_authors_line(
    name: str, status: int, said: str, program: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What Python, trio or ksmactors raised is told with the line of the workload that called it."""
    assert main(["run", f"{program}:{name}", "-q"]) == status
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "place"), [("def f(:\n", "broken.py:1"), ("\nimport json\njson.loads('{')\n", "broken.py:3")]
)
def test_a_file_that_cannot_be_loaded(
    text: str, place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """So is what loading a file raised, and a syntax error."""
    path = tmp_path / "broken.py"
    path.write_text(text)
    assert main(["run", f"{path}:Class"]) == 2
    assert f"({place}" in capsys.readouterr().err


def test_a_calibration_is_not_heard(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What a workload prints in a schedule that nobody asked for is not shown."""
    assert main(["run", f"{program}:Prints", "--strategy", "surw"]) == 0
    assert capsys.readouterr().out.count("hello\n") == 1
