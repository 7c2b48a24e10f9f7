"""The plug-in in a project of its own, in processes of its own: beside pytest-trio under xdist, and interrupted."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ("pytester",)

FILES = {
    "pyproject.toml": """
[project]
name = "shop"
version = "1"

[tool.pytest.ini_options]
trio_mode = true
testpaths = ["tests"]
pythonpath = ["src"]
filterwarnings = ["error"]
addopts = ["--strict-markers"]
""",
    "src/shop.py": """
import trio

class Till:
    def __init__(self):
        self.money = 0
        self.lock = trio.Lock()

    async def careless(self):
        before = self.money
        await trio.sleep(0)
        self.money = before + 1

    async def careful(self):
        async with self.lock:
            before = self.money
            await trio.sleep(0)
            self.money = before + 1
""",
    "tests/conftest.py": """
import pytest
import shop
from ksmactors.model import trio

@pytest.fixture
def controlled(monkeypatch):
    monkeypatch.setattr(shop, "trio", trio)
    return trio
""",
    "tests/test_shop.py": """
import pytest
import shop
import trio

async def test_with_trio_itself():
    till = shop.Till()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(till.careful)
        nursery.start_soon(till.careful)
    assert till.money == 2

@pytest.mark.interleave(seeds=30, strategy="pos")
@pytest.mark.parametrize("how", ["careless", "careful"])
async def test_two_customers(controlled, how, tmp_path):
    till = shop.Till()
    async with controlled.open_nursery() as nursery:
        nursery.start_soon(getattr(till, how))
        nursery.start_soon(getattr(till, how))
    money = till.money
    assert money == 2
""",
    "tests/test_kernel.py": """
import pytest

@pytest.mark.interleave(seeds=1, params={"balance_us": 0})
class TestMachine:
    async def test_write(self, host):
        async def live(process):
            region = await process.map(1)
            await process.mergeable(region)
            await process.write(region, 0, 7)
            assert await process.read(region, 0)

        host.process("A").spawn(live)
""",
}


PLAIN = ("-p", "no:timeout", "-p", "no:hypothesispytest")


@pytest.fixture
def project(pytester: pytest.Pytester) -> Path:
    """A project that has nothing to do with ksmactors but that its tests use it."""
    for name, text in FILES.items():
        file = pytester.path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    return pytester.path


def environment(**changed: str) -> dict[str, str]:
    """None of the variables by which this run of pytest knows itself."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")} | changed


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_under_xdist(project: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers find the lost update, count the schedules of both, and leave a file that one process replays."""
    monkeypatch.setenv("COLUMNS", "80")
    line = [sys.executable, "-m", "pytest", *PLAIN, "-n", "2"]
    done = subprocess.run(
        line, cwd=project, env=environment(), capture_output=True, text=True, check=False, timeout=500
    )
    text = done.stdout + done.stderr

    assert done.returncode == 1
    assert "1 failed, 3 passed" in text
    assert re.search(r"^ +\d+ schedules, \d+ distinct, of 3 tests$", text, re.MULTILINE)
    story = re.search(r"^test/AssertionError@.*?^replay: pytest ([^\n]*)", text, re.DOTALL | re.MULTILINE)
    assert story is not None
    assert all(len(line) <= 80 for line in story[0].splitlines()[:-1])

    replay = pytester.runpytest_inprocess(*PLAIN, *shlex.split(story[1]))

    assert replay.ret == 1
    again = replay.outlines + replay.errlines
    assert any("this is the recorded schedule" in line for line in again)
    told = story[0].partition("\n\nschedule ")[0].splitlines()
    assert [line for line in told[3:] if line not in again] == []


ENDLESS = """
import pytest

@pytest.mark.interleave(seeds=10**9)
async def test_endless(table, capfd):
    await table.step()
    with capfd.disabled():
        print("under way", flush=True)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_interrupted(tmp_path: Path) -> None:
    """Ctrl-C ends the run as it always does. Other plug-ins, which are long to import, have no part in that."""
    (tmp_path / "test_endless.py").write_text(ENDLESS)
    line = [sys.executable, "-m", "pytest", "-p", "ksmactors.pytest_plugin", "test_endless.py"]
    alone = environment(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    with subprocess.Popen(line, cwd=tmp_path, env=alone, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if "under way" in line:
                break
        running.send_signal(signal.SIGINT)
        rest = running.stdout.read()

    assert running.returncode == pytest.ExitCode.INTERRUPTED
    assert "KeyboardInterrupt" in rest
