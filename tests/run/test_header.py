"""Headers of schedule strings: what the command line would refuse is refused in them, in one line."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import trio

from ksmactors.cli import main
from ksmactors.diagnose.replaying import recorded
from ksmactors.errors import ScheduleFormatError, UsageError
from ksmactors.interleave.schedule_string import Schedule, decode, encode
from ksmactors.run.header import checked_header
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject

DEEP: list[Any] = []
for _ in range(500):
    DEEP = [DEEP]


@cache
def schedule_string() -> str:
    """A schedule of a built-in workload."""
    return trio.run(lambda: run_schedule(make_subject("exit_race"), 2, "random", keep=True)).schedule


def changed(**values: object) -> str:
    """The same string with another header; a value of None leaves it out."""
    schedule = decode(schedule_string())
    header = {key: value for key, value in (schedule.header | values).items() if value is not None}
    return encode(Schedule(header, None, schedule.draws, schedule.departures, runs=schedule.runs))


REFUSED = [
    ({"nodes": 0}, "nodes must be a whole number from 1 to 64, not 0"),
    ({"nodes": 65}, "nodes must be a whole number from 1 to 64, not 65"),
    ({"nodes": True}, "nodes must be a whole number from 1 to 64, not true"),
    ({"nodes": 2.0}, "nodes must be a whole number from 1 to 64, not a fraction"),
    ({"nodes": "2"}, "nodes must be a whole number"),
    ({"nodes": 10**4000}, "not a number of 13288 bits"),
    ({"seed": -1}, "seed must be a whole number from 0 to 9223372036854775807, not -1"),
    ({"seed": 1 << 63}, "seed must be a whole number"),
    ({"seed": None}, "has no seed"),
    ({"max_steps": 0}, "max_steps must be a whole number from 1"),
    ({"max_steps": "x"}, "max_steps must be a whole number from 1"),
    ({"max_steps": 1 << 63}, "max_steps must be a whole number from 1"),
    ({"workload": ""}, "workload must be a text of 1 to 4096 characters"),
    ({"workload": ["exit_race"]}, "workload must be a text of 1 to 4096 characters, not a list"),
    ({"workload": "x" * 5000}, "workload must be a text of 1 to 4096 characters"),
    ({"workload": "nowhere\0.py:Class"}, "workload must be a text of 1 to 4096 characters"),
    ({"workload": "nosuch"}, "no workload 'nosuch'"),
    ({"kernel": "v1.0"}, "no kernel 'v1.0'"),
    ({"kernel": 3}, "kernel must be a text"),
    ({"params": [1]}, "params must be an object of texts, not a list"),
    ({"params": {"pages": 3}}, "params must be an object of texts, not an object"),
    ({"params": {"pages": ["3"]}}, "params must be an object of texts"),
    ({"params": {"pages": "9" * 5000}}, "params must be an object of texts"),
    ({"params": {"pages": "9" * 4000}}, "pages must be a whole number"),
    ({"params": {"page": "3"}}, "did you mean pages"),
    ({"without": "ksm-page-migration"}, "without must be a list of at most 1000 names"),
    ({"without": ["nosuch"]}, "no commit or variant 'nosuch'"),
    ({"with": [["x"]]}, "with must be a list of at most 1000 names"),
    ({"with": ["x"] * 2000}, "with must be a list of at most 1000 names"),
    ({"with": DEEP}, "with must be a list of at most 1000 names, not a list"),
    ({"watch": "all"}, "watch must be a list of at most 1000 names, not 'all'"),
    ({"watch": ["nosuch"]}, "no watcher 'nosuch'"),
    ({"inject": 7}, "inject must be a text, not 7"),
    ({"inject": "kill=2/1"}, "--inject kill=2/1"),
    ({"strategy": "nosuch"}, "no strategy 'nosuch'"),
    ({"strategy": "pct:depth=x"}, "depth must be a whole number"),
    ({"strategy": "metrics:of=nosuch"}, "no strategy 'nosuch'"),
    ({"strategy": {}}, "strategy must be a text"),
    ({"thorough": 1}, "thorough must be true or false, not 1"),
    ({"digest": "xyz"}, "digest must be hexadecimal, not 'xyz'"),
    ({"digest": "ab" * 100}, "digest must be hexadecimal"),
    ({"digest": None}, "has no digest"),
]


@pytest.mark.parametrize(("values", "said"), REFUSED, ids=[said[:40] for _, said in REFUSED])
def test_what_the_command_line_refuses(
    values: dict[str, object], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A header with a wrong type, a value out of range or an unknown name: status 2, one line, no traceback."""
    assert main(["replay", changed(**values)]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_a_lone_surrogate_is_no_text() -> None:
    """What UTF-8 cannot hold is refused where it is read, and where a subject is made."""
    header = decode(schedule_string()).header
    with pytest.raises(ScheduleFormatError, match="workload must be a text"):
        checked_header(header | {"workload": "\udcff"})
    with pytest.raises(UsageError, match="UTF-8"):
        make_subject("vm_fleet", params={"image": "/tmp/\udcff"})


def test_what_is_right_is_taken() -> None:
    """The header that a recording writes is the one that is read, and keys of later versions do no harm."""
    then = recorded(changed(later={"x": [1]}))
    assert (then.seed, then.strategy, then.subject.name) == (2, "random", "exit_race")


def test_what_python_gives_is_in_the_same_range() -> None:
    """A subject that a header could not name is not made."""
    for given in ({"nodes": 65}, {"nodes": 0}, {"max_steps": 1 << 63}, {"max_steps": -1}):
        with pytest.raises(UsageError):
            make_subject("exit_race", **given)  # type: ignore[arg-type]  # mypy does not know which is which
