"""What the plug-in refuses at collection."""

from __future__ import annotations

import re

import pytest

from tests.pytest_plugin.project import Run

pytest_plugins = ("pytester",)


WRONG = (
    ("seed=3", "no option of @pytest.mark.interleave 'seed' (did you mean seeds?)"),
    ("200", "takes keywords only, as seeds=200, not 200"),
    ("seeds=0", "seeds 0: there is no seed in that range"),
    ("seeds=True", "seeds must be a number or 'A:B', not True"),
    ("seeds='x'", "seeds must be N or A:B"),
    ("strategy='pso'", "no strategy 'pso' (did you mean pos"),
    ("strategy=5", "strategy must be a text, not 5"),
    ("kernel='v9'", "no kernel 'v9'"),
    ("nodes=65", "a machine has 1 to 64 NUMA nodes, not 65"),
    ("nodes='2'", "nodes must be a whole number, not '2'"),
    ("max_steps=-1", "a step limit is at least 1"),
    ("without=['nothing']", "'nothing'"),
    ("with_=3", "with_ must be a text or a list of texts, not 3"),
    ("watch='nobody'", "no watcher 'nobody'"),
    ("inject='rain'", "rain"),
    ("params={'pages': 3}", "has no parameter 'pages'"),
    ("params=[]", "params must be a mapping, not []"),
)


def test_wrong_options(run: Run) -> None:
    """Each is an error of collection with one line, and other modules are collected."""
    for number, (options, _) in enumerate(WRONG):
        test = f"import pytest\n\n@pytest.mark.interleave({options})\nasync def test_one(host): ...\n"
        run.pytester.makepyfile(**{f"test_wrong_{number}": test})
    run.pytester.makepyfile(test_other="def test_other(): ...")
    result = run("", "--continue-on-collection-errors")

    result.assert_outcomes(passed=1, errors=len(WRONG))
    text = result.stdout.str()
    said = dict(
        re.findall(r"^_+ ERROR collecting test_wrong_(\d+)\.py _+\n(.*?)(?=^[_=]{3})", text, re.DOTALL | re.MULTILINE)
    )
    assert [
        (options, said.get(str(number)))
        for number, (options, message) in enumerate(WRONG)
        if not any(message in line for line in said.get(str(number), "").splitlines())
    ] == []
    assert not any("Traceback" in line or "INTERNALERROR" in line for line in result.outlines + result.errlines)


REFUSED = (
    ("@mark\ndef test_one(host): ...", "is for `async def` tests"),
    ("@mark(kernel='v6.1', nodes=1)\nasync def test_one(): ...", "kernel and nodes is about the emulated machine"),
    (
        "@pytest.fixture\nasync def slow(): ...\n\n@mark\nasync def test_one(slow): ...",
        "the fixture slow is async, and would run outside of the schedules",
    ),
    (
        "import unittest\n\nclass TestOne(unittest.TestCase):\n    @mark\n    async def test_one(self): ...",
        "is for functions and for methods of plain classes",
    ),
)


@pytest.mark.parametrize(("test", "message"), REFUSED)
def test_no_test_for_schedules(run: Run, test: str, message: str) -> None:
    """What cannot run under a schedule is refused at collection."""
    result = run(f"import pytest\n\nmark = pytest.mark.interleave\n\n{test}\n")

    assert result.ret in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.USAGE_ERROR)
    assert any(message in line for line in result.outlines + result.errlines), result.stdout.str()
