"""A marked test under its schedules, and how it fails, in projects that each test makes."""

from __future__ import annotations

import re

import pytest

from tests.pytest_plugin.project import LOST, Run, with_second

pytest_plugins = ("pytester",)


def test_a_test_runs_under_its_seeds(run: Run) -> None:
    """The function is called once for each seed, and the summary counts the schedules, of each test with -v."""
    test = """
import pytest
calls = []

@pytest.mark.interleave(seeds=7, strategy="pos")
async def test_one(table):
    calls.append(1)
    await table.step()

def test_calls():
    assert len(calls) == 7
"""
    result = run(test, "-v")

    result.assert_outcomes(passed=2)
    shown = ["*7 schedules, 1 distinct: test_it.py::test_one", "*7 schedules, 1 distinct, of 1 test"]
    result.stdout.fnmatch_lines(shown)


def test_a_failed_assertion(run: Run) -> None:
    """It is shown as pytest shows it, from the author's frame on, then the interleaving, then how to replay it."""
    result = run(LOST)

    result.assert_outcomes(failed=1)
    lines = result.outlines
    assert ">       assert counter.value == 2" in lines
    assert not any("ksmactors/program.py" in line for line in lines)
    story = lines.index(next(line for line in lines if "- interleaving -" in line))
    assert lines[story + 1] == "test/AssertionError@test_lost"
    assert any(re.fullmatch(r"== departure 1 of 1: add(/2)? gets the turn =+", line) for line in lines[story:])
    assert any("lets others go (test_it.py:10)" in line for line in lines[story:])
    assert lines.count("the count is 1") == 1, "of all schedules, the output of the one that is shown"
    assert all(len(line) <= 80 for line in lines[story:] if not line.startswith("replay: "))


MACHINE = """
import pytest
from ksmactors.workload import Host

@pytest.mark.interleave(seeds=3, strategy="pos", params={{"balance_us": 0}}{options})
@pytest.mark.parametrize("pages", [1, 2])
async def test_fleet(host, machine, pages):
    assert isinstance(host, Host) and machine is host.machine and host.nodes == machine.nodes

    async def live(process):
        region = await process.map(pages)
        await process.mergeable(region)
        await process.write(region, 0, 7)
        await host.sleep(400)
        await host.migrate(process, region, 0, 1)
        assert await process.read(region, 0)

    for name in "AB":
        host.process(name).spawn(live)
"""


def test_on_the_machine(run: Run) -> None:
    """A test that takes the host or the machine has those of each schedule, with parametrized values beside them."""
    result = run(MACHINE.format(options=""))

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*6 schedules, 6 distinct, of 2 tests"])


@pytest.mark.slow
def test_a_finding_of_a_watcher(run: Run) -> None:
    """A commit undone fails the test; the story stands in place of a traceback."""
    options = ', without="merge-across-nodes-migration", nodes=2'
    test = MACHINE.format(options=options).replace('"balance_us": 0', '"balance_us": 0, "merge_across_nodes": 0')
    result = run(test, "-k", "1", "--interleave-shrink", "5", "--interleave-seeds", "20")

    result.assert_outcomes(failed=1)
    assert not any("Traceback" in line for line in result.outlines)
    replay = "replay: pytest *test_fleet?1?* --interleave-replay *"
    result.stdout.fnmatch_lines(["*/*@*", "The promise that broke:", replay])


def test_the_closest_marker_decides(run: Run) -> None:
    """A class's marker gives what the function's does not say; the command line overrides the seeds."""
    test = """
import pytest

@pytest.mark.interleave(seeds=5, strategy="pos")
class TestIt:
    async def test_five(self, table):
        await table.step()

    @pytest.mark.interleave(seeds="3:6")
    async def test_three(self, table):
        await table.step()
"""
    run(test).stdout.fnmatch_lines(["*8 schedules,*of 2 tests"])
    run("", "--interleave-seeds", "10:12").stdout.fnmatch_lines(["*4 schedules,*of 2 tests"])
    assert run("", "--interleave-seeds", "many").ret == pytest.ExitCode.USAGE_ERROR


ENDINGS = """
import pytest
from ksmactors.errors import Finding

mark = pytest.mark.interleave(seeds=5)

@mark
async def test_skips():
    pytest.skip("not today")

@mark
async def test_fails():
    pytest.fail("no good")

@mark
@pytest.mark.xfail(raises=KeyError, strict=True)
async def test_expected():
    {}["key"]

@mark
@pytest.mark.xfail(raises=Finding, strict=True)
async def test_expected_finding(table):
    table.check(False, "wrong", "it does not hold")

@pytest.mark.interleave(seeds=5, max_steps=50)
async def test_endless(table):
    while True:
        await table.step()
"""


def test_how_a_test_may_end(run: Run) -> None:
    """skip, fail and xfail mean what they always mean. A schedule that runs out of steps fails the test: green is for
    schedules that have ended."""
    result = run(ENDINGS)

    result.assert_outcomes(skipped=1, failed=2, xfailed=2)
    result.stdout.fnmatch_lines(["*no good*", "inconclusive: seed 0 ran out of steps; raise max_steps*", "replay: *"])


def test_two_runs_are_equal(run: Run) -> None:
    """All that is printed is the same in two runs, and in another order of the tests."""
    more = with_second(LOST, "test_lost")
    first, second = (run(more, "--durations=0", "-p", "no:cacheprovider", "--interleave-out", out) for out in "ab")
    run.pytester.makeconftest("def pytest_collection_modifyitems(items):\n    items.reverse()\n")
    third = run("", "-p", "no:cacheprovider", "--interleave-out", "c")

    def stories(result: pytest.RunResult) -> list[str]:
        text = re.sub(r"replay .*", "", result.stdout.str())
        return sorted(re.findall(r"^test/Assert.*?^schedule [^\n]*", text, re.DOTALL | re.MULTILINE))

    assert len(stories(first)) == 2
    assert stories(first) == stories(second) == stories(third)
