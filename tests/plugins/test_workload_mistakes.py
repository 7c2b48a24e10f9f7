"""Mistakes in workloads: refused where the class is loaded or made, and else named as the author's."""

from __future__ import annotations

from pathlib import Path

import pytest

from ksmactors.cli import main

SOURCE = """
from ksmactors.litmus import Litmus
from ksmactors.model import Model
from ksmactors.workload import Workload

class Base(Workload):
    async def run(self, host):
        host.process("A").spawn(self.live, host)

    async def live(self, process, host):
        await process.map(1)

class NoHost(Base):
    async def run(self):
        pass

class NoScene(Litmus):
    async def run(self):
        pass

class MoreTables(Model):
    async def run(self, table, another):
        pass

class NoRun(Litmus):
    pass

class Late(Base):
    async def prepare(self):
        pass

class NoFile(Base):
    def prepare(self):
        open("/nowhere")

class Exits(Base):
    def __init__(self, **values):
        raise SystemExit(0)

class NoValues(Base):
    def __init__(self):
        pass

class Another(Base):
    def __new__(cls, **values):
        return 3

class LivesAlone(Base):
    async def live(self):
        pass

class LivesAtOnce(Base):
    def live(self, process, host):
        pass

class RaisesAtOnce(Base):
    def live(self, process, host):
        raise LookupError("gone")

class ActsAtOnce(Model):
    async def run(self, table):
        await table.concurrent({"one": self.act()})

    def act(self):
        return 3

class ActsUnnamed(Litmus):
    async def run(self, scene):
        await scene.concurrent([1])
"""


MUTE = """
class Mute(BaseException):
    def __str__(self):
        raise SystemExit(0)
    __repr__ = __str__
"""
"""An exception that cannot say what it is."""


def told(tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, cls: str, *words: str) -> tuple[int, str]:
    """Run one schedule of a class of a file; returns the exit status, and standard error."""
    file = tmp_path / "mine.py"
    file.write_text(source)
    status = main(["run", f"{file}:{cls}", "--quiet", "--out", str(tmp_path), *words])
    error = capsys.readouterr().err
    assert "defect of ksmactors" not in error
    return status, error


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        ("NoHost", "NoHost has a run that cannot be called as the overridden one is (too many positional arguments)"),
        ("NoHost", ": async def run(self, host: Host) -> None"),
        ("NoScene", "(too many positional arguments): async def run(self, scene: Scene) -> None"),
        ("MoreTables", "(missing a required argument: 'another'): async def run(self, table: Table) -> None"),
        ("NoRun", "NoRun has no method run(scene)"),
        ("Late", "Late has a prepare that must not be async: def prepare(self) -> None"),
    ],
)
def test_a_workload_of_another_shape_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cls: str, message: str
) -> None:
    """A workload is loaded if ksmactors can call its methods: the message shows the method it should have."""
    status, error = told(tmp_path, capsys, SOURCE, cls)
    assert status == 2
    assert message in error


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (
            "NoFile",
            "NoFile cannot be made: FileNotFoundError: [Errno 2] No such file or directory: '/nowhere' (mine.py:",
        ),
        ("Exits", "Exits cannot be made: SystemExit: 0 (mine.py:"),
        ("NoValues", "NoValues cannot be made: TypeError: NoValues.__init__() got an unexpected keyword argument"),
        ("Another", "Another cannot be made: its __new__ returned 3"),
    ],
)
def test_a_workload_that_cannot_be_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cls: str, message: str
) -> None:
    """An exception of an author's `prepare` or constructor is a usage error of one line, with the author's line."""
    status, error = told(tmp_path, capsys, SOURCE, cls, "-p", "balance_us=0")
    assert (status, error.count("\n")) == (2, 1)
    assert error.startswith(f"ksmactors: workload {message}")


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        ("LivesAlone", "LivesAlone.live() takes 1 positional argument but 3 were given (mine.py:"),
        ("LivesAtOnce", "LivesAtOnce.live is not async; write async def (mine.py:"),
        ("RaisesAtOnce", "raised LookupError: gone (mine.py:"),
    ],
)
def test_a_thread_of_another_shape_is_the_workloads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cls: str, message: str
) -> None:
    """A function for `spawn` that takes other arguments, or is not async, is a crash of the workload at its line."""
    status, error = told(tmp_path, capsys, SOURCE, cls)
    assert status == 3
    assert f"workload {cls} raised " in error
    assert message in error
    assert "in live)" in error


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        ("ActsAtOnce", "actor one is 3, and no coroutine; is its function async? (mine.py:"),
        ("ActsUnnamed", "concurrent takes actors by name, as {'name': function()}, not [1] (mine.py:"),
    ],
)
def test_actors_of_another_shape_are_the_workloads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cls: str, message: str
) -> None:
    """What is no coroutine cannot be run concurrently: the workload has crashed at its own line."""
    status, error = told(tmp_path, capsys, SOURCE, cls)
    assert status == 3
    assert f"workload {cls} raised TypeError: {message}" in error


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise GeneratorExit", "cannot be loaded: GeneratorExit:  (mine.py:1)"),
        (
            f"{MUTE}\nraise Mute",
            "cannot be loaded: Mute: (its text cannot be had: __str__ raised SystemExit) (mine.py:",
        ),
        ("def __getattr__(name): raise LookupError(name)", "cannot be loaded: LookupError: Mine (mine.py:1 in "),
    ],
)
def test_a_module_that_raises(tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, message: str) -> None:
    """Whatever a module raises, when it is run or when it is asked for the class, becomes one line."""
    status, error = told(tmp_path, capsys, source, "Mine")
    assert (status, error.count("\n")) == (2, 1)
    assert message in error


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        ("Mute()", "Mute: (its text cannot be had: __str__ raised SystemExit) (mine.py:"),
        ("ExceptionGroup('g', [ValueError('never raised')])", "ExceptionGroup: g (1 sub-exception) (mine.py:"),
        ("MemoryError('none left')", "MemoryError: none left (mine.py:"),
        ("SystemExit(0)", "SystemExit: 0 (mine.py:"),
    ],
)
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_whatever_an_actor_raises_is_the_workloads(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], raised: str, message: str, jobs: str
) -> None:
    """An exception without a text, a group of what was never raised, and what ends other programs, are crashes."""
    file = tmp_path / "mine.py"
    file.write_text(
        f"{SOURCE}{MUTE}\nclass Odd(Base):\n    async def live(self, process, host):\n        raise {raised}\n"
    )
    line = ["stress", f"{file}:Odd", "--seeds", "3", "--quiet", "--out", str(tmp_path), "--jobs", jobs]
    assert main(line) == 3
    error = capfd.readouterr().err
    assert f"ksmactors: workload Odd raised {message}" in error
    assert "defect of ksmactors" not in error


NAMES = """
from ksmactors.litmus import Litmus
from ksmactors.model import Model
from ksmactors.workload import Workload

class Drawn(Workload):
    async def run(self, host):
        host.draw(1, 5)

class Undrawable(Workload):
    async def run(self, host):
        host.draw("pause", 2.5)

class Unnamed(Workload):
    async def run(self, host):
        host.process(7)

class Unwritable(Workload):
    async def run(self, host):
        host.process("\\udcff")

class Scened(Litmus):
    async def run(self, scene):
        await scene.process("A", "text")

class Acted(Litmus):
    async def run(self, scene):
        await scene.concurrent({5: None})

class Tabled(Model):
    async def run(self, table):
        table.draw(None, 5)
"""


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        ("Drawn", "the label of a draw is a text, not 1"),
        ("Undrawable", "draw('pause', 2.5): give a whole number, 1 or more"),
        ("Unnamed", "the name of a process is a text, not 7"),
        ("Unwritable", "the name of a process is a text, not '\\udcff'"),
        ("Scened", "process A: the content of a page is a whole number, not 'text'"),
        ("Acted", "the name of an actor is a text, not 5"),
        ("Tabled", "the label of a draw is a text, not None"),
    ],
)
def test_names_of_another_kind_are_the_workloads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cls: str, message: str
) -> None:
    """What a schedule or its events cannot have as a name, label or number is refused where it is given."""
    status, error = told(tmp_path, capsys, NAMES, cls)
    assert status == 3
    assert f"raised ValueError: {message} (mine.py:" in error


@pytest.mark.parametrize("text", ["5", "'\\udcff'"])
def test_texts_of_a_finding_are_texts(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    """A kind or message of another type, or that is not UTF-8, is written out."""
    source = (
        f"{NAMES}\nclass Found(Model):\n    async def run(self, table):\n        table.check(False, {text}, {text})\n"
    )
    status, error = told(tmp_path, capsys, source, "Found")
    assert status == 1
    assert f"model/{text[:6].strip(chr(39))}" in error
