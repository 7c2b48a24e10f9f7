"""Beside other plug-ins, fixtures and hypothesis."""

from __future__ import annotations

import pytest

from tests.pytest_plugin.project import Run, replay_of

pytest_plugins = ("pytester",)


BESIDE = """
import pytest
import trio as real
from ksmactors.model import trio
{head}

class TestBoth:
    def setup_method(self):
        self.there = True

    @pytest.mark.interleave(seeds=3)
    async def test_schedules(self, tmp_path, monkeypatch):
        assert self.there and tmp_path.is_dir()
        await trio.sleep(1)

    {mark}
    async def test_trio(self, nursery):
        assert self.there
        await real.sleep(0)
"""


@pytest.mark.parametrize(
    ("head", "mark", "ini"),
    [
        ("", "", "trio_mode = true"),
        ("", "@pytest.mark.trio", ""),
        ("pytestmark = pytest.mark.trio", "", ""),
    ],
)
def test_beside_pytest_trio(run_beside: Run, head: str, mark: str, ini: str) -> None:
    """Tests of pytest-trio stay its own, and marked ones are not, in its mode and with its marker on the module."""
    result = run_beside(BESIDE.format(head=head, mark=mark), ini=f"filterwarnings = error\n{ini}")

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*3 schedules,*"])


def test_awaiting_real_trio(run_beside: Run) -> None:
    """A marked test that awaits trio itself fails with the line that does."""
    test = "import pytest, trio\n\n@pytest.mark.interleave\nasync def test_one():\n    await trio.sleep(0)\n"
    result = run_beside(test)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["  host awaits sleep in test_one", "*from ksmactors.model import trio*"])


def test_a_forgotten_await(run_beside: Run) -> None:
    """A marked test that does not await an operation fails, and names the line."""
    test = "import pytest\n\n@pytest.mark.interleave\nasync def test_one(host):\n    host.sleep(1)\n"
    result = run_beside(test)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*.py:5: 'Host.sleep' was never awaited*"])


STANDING_IN = """
import pytest

@pytest.fixture
def fleet(host):
    return lambda: host.process("A")

@pytest.mark.interleave(seeds=2)
async def test_function(fleet):
    assert fleet().name == "A"

@pytest.fixture
def early(host):
    return host.process("A")

@pytest.mark.interleave(seeds=2)
async def test_early(early): ...

def test_unmarked(host):
    host.process("A")

@pytest.fixture
def table():
    return "mine"

@pytest.mark.interleave(seeds=2)
async def test_own(table):
    assert table == "mine"
"""


def test_fixtures_that_take_the_host(run_beside: Run) -> None:
    """They may use it in functions that the test calls, not while no schedule runs; a fixture of that name of the
    project's own goes first."""
    result = run_beside(STANDING_IN)

    result.assert_outcomes(passed=2, failed=1, errors=1)
    assert sum("`host` is only there while a schedule runs" in line for line in result.outlines) >= 2


GIVEN = """
import pytest
from hypothesis import given, settings, strategies as st
from ksmactors.model import trio

@pytest.mark.interleave(seeds=5, strategy="pos")
@settings(deadline=None, database=None, derandomize=True, max_examples=10)
@given(adding=st.integers(1, 4))
async def test_sum(tmp_path_factory, adding):
    total = 0

    async def add():
        nonlocal total
        seen = total
        await trio.lowlevel.checkpoint()
        total = seen + 1

    async with trio.open_nursery() as nursery:
        for _ in range(adding):
            nursery.start_soon(add)
    assert total == adding
"""


@pytest.mark.parametrize("ini", ["", "trio_mode = true"])
def test_with_hypothesis(run_beside: Run, ini: str) -> None:
    """Each example runs under all schedules; the smallest one that fails is shown with its interleaving."""
    result = run_beside(GIVEN, ini=ini)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*adding=2*", "*test/AssertionError@test_sum", "replay: *"])
    again = run_beside("", *replay_of(result), ini=ini)
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["*adding=2*", "this is the recorded schedule"])
    run_beside(GIVEN.replace("st.integers(1, 4)", "st.just(1)")).assert_outcomes(passed=1)
