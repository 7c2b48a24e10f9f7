"""Nothing from a file, a plug-in, an argument or an exception reaches a terminal raw: control characters are shown."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

import ksmactors
from ksmactors.cli.report import COMMAND, INDENT, _folded
from ksmactors.escaping import escaped, escaped_lines
from ksmactors.events.terminal import PersonForm
from ksmactors.interleave.schedule_string import Schedule, decode, encode
from tests.helpers.terminal import on_terminal
from tests.run.test_header import changed

EVIL = "\x1b]0;title\x07\x1b[2J\x9b31m\u202egnp.exe\u2066\x08\x7f\x85"
"""An OSC, a CSI in seven and in eight bits, bidirectional controls, a backspace, DEL and NEL."""

SEEN = r"\x1b]0;title\x07\x1b[2J\x9b31m\u202egnp.exe\u2066\x08\x7f\x85"

PLUGIN = f"""
from ksmactors.errors import Finding
from ksmactors.watch.base import Watcher
from ksmactors.workload import Host, Workload

EVIL = {EVIL!r}


class Pages(Workload):
    "Some pages."

    expect_marks = (EVIL,)

    async def run(self, host: Host) -> None:
        host.mark("a" + EVIL)
        process = host.process("A" + EVIL)
        await process.write(await process.map(4), 0, 1)


class Crash(Workload):
    "Raises."

    async def run(self, host: Host) -> None:
        raise KeyError(EVIL)


class Never(Watcher):
    name = "n" + EVIL
    summary = "reports always"

    def at_quiescence(self) -> None:
        raise Finding(self.name, EVIL, EVIL, EVIL)


class Fails(Watcher):
    name = "fails" + EVIL
    summary = "fails"

    def at_quiescence(self) -> None:
        raise OSError(EVIL)
"""


def own_controls_removed(text: str) -> str:
    """Without what the progress bar does to its own line: move there, clear it, hide the cursor."""
    return re.sub("\r|\x1b\\[(?:[?]25[lh]|[12]K|1A)", "", text)


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A file of somebody who means no good."""
    path = tmp_path / "plugin.py"
    path.write_text(PLUGIN)
    return path


def test_long_lines_are_folded_to_fit() -> None:
    """The rest of a long line is indented below it, and no name is broken; a command to copy stays one line."""
    line = "held until step 8122; broken for good at 8123: ksmd in remove_rmap_item_from_tree < " + "a < " * 40

    parts = _folded(line.strip(), 80)

    assert all(len(part) + INDENT <= 80 for part in parts)
    assert all(part.startswith(" " * INDENT) for part in parts[1:])
    assert " ".join(" ".join(parts).split()) == line.strip()
    assert _folded(f"{COMMAND}{line}", 80) == [f"{COMMAND}{line}"]


COMMANDS = [
    (["run", "plugin.py:Pages", "--watch", "plugin.py:Never"], 1),
    (["run", "plugin.py:Pages", "--watch", "plugin.py:Never", "--json", "-q"], 1),
    (["run", "plugin.py:Pages", "--log", "-", "-q"], 0),
    (["stress", "plugin.py:Pages", "--watch", "plugin.py:Never", "--seeds", "2"], 1),
    (["stress", "plugin.py:Pages", "--watch", "shadow", "--seeds", "2"], 0),
    (["stress", "plugin.py:Crash", "--seeds", "2"], 3),
    (["run", "plugin.py:Pages", "--watch", "plugin.py:Fails"], 3),
    (["run", f"no{EVIL}"], 2),
    (["run", f"{EVIL}.py:X"], 2),
    (["run", f"plugin.py:{EVIL}"], 2),
    (["run", "exit_race", "--kernel", EVIL], 2),
    (["run", "exit_race", f"--{EVIL}"], 2),
    (["run", "exit_race", "--nodes", EVIL], 2),
    (["run", "exit_race", "-p", f"{EVIL}=3"], 2),
    (["run", "exit_race", "--log", f"/nowhere/{EVIL}"], 2),
    (["run", "exit_race", "--strategy", f"pos:{EVIL}"], 2),
    (["explore", "exit_race", "--algorithm", EVIL], 2),
    ([EVIL], 2),
    (["list", EVIL], 2),
    (["replay", EVIL], 2),
    (["corpus", EVIL], 2),
    (["docs", EVIL], 2),
    (["conform", EVIL], 2),
    (["conform", "scenario.txt"], 2),
    (["conform", "comment.txt"], 0),
    (["estimate", EVIL], 2),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "status"), COMMANDS, ids=[" ".join(args)[:40].encode("unicode_escape").decode() for args, _ in COMMANDS]
)
def test_nothing_is_performed(args: list[str], status: int, plugin: Path) -> None:
    """On a pseudo-terminal, each command shows what a hostile name, message or exception holds, and performs none."""
    plugin.with_name("scenario.txt").write_text(f"proc A\n{EVIL.replace(chr(0x85), '')} A\n")
    plugin.with_name("comment.txt").write_text(f"# {EVIL.replace(chr(0x85), '')}\nproc A\n")
    got, said = on_terminal(*args, cwd=plugin.parent)

    assert got == status, said
    shown = own_controls_removed(said)
    assert escaped_lines(shown) == shown
    assert "title" in shown
    if "--json" not in args and "-" not in args:
        assert r"\x1b]0;title\x07" in shown


def test_a_hostile_finding_file(plugin: Path) -> None:
    """A finding whose every text is hostile: refused, or replayed with --trust, and shown either way."""
    content = dict.fromkeys(("kind", "watcher", "message", "workload", "strategy", "verdict", "digest", EVIL), EVIL)
    for key in ("workload", "kernel", "strategy", "inject"):
        path = plugin.with_name("finding.json")
        path.write_text(json.dumps({**content, "signature": EVIL, "schedule": changed(**{key: f"x{EVIL}"})}))
        status, said = on_terminal("replay", str(path), cwd=plugin.parent)
        assert status == 2
        assert escaped_lines(said) == said
        assert SEEN[:20] in said

    status, said = on_terminal(
        "run", "plugin.py:Pages", "--watch", "plugin.py:Never", "-q", "--json", cwd=plugin.parent
    )
    schedule = json.loads(said[said.index("{") : said.rindex("}") + 1])["schedule"]
    path.write_text(json.dumps({**content, "signature": EVIL, "schedule": schedule}))
    status, said = on_terminal("replay", "--trust", str(path), cwd=plugin.parent)
    assert status == 1
    assert escaped_lines(said) == said
    assert f"instead of {SEEN}" in said


def test_names_in_a_schedule_are_shown(plugin: Path) -> None:
    """The names of departures, which `shrink` tells, and labels of draws, which a diverging replay tells."""
    schedule = decode(changed())
    schedule.draws[:0] = [(EVIL, 3, 1)]
    status, said = on_terminal(
        "replay", encode(Schedule(schedule.header, schedule.turns, schedule.draws)), cwd=plugin.parent
    )
    assert status == 1
    assert escaped_lines(said) == said
    assert "draw 0 of" in said


def test_json_on_a_terminal_is_the_same_json(plugin: Path) -> None:
    """It reads back to the very texts; in a pipe the bytes are as ever."""
    _, said = on_terminal("run", "plugin.py:Pages", "--watch", "plugin.py:Never", "--json", "-q", cwd=plugin.parent)
    content = json.loads(said[: said.rindex("\n}") + 2])
    assert content["findings"][0]["message"] == EVIL
    _, said = on_terminal("run", "plugin.py:Pages", "--log", "-", "-q", cwd=plugin.parent)
    assert f"a{EVIL}" in [json.loads(line).get("name", json.loads(line).get("mark")) for line in said.splitlines()]


def test_an_actor_is_shown() -> None:
    """The person's form of an event: actors bear names that workloads give them."""
    line = PersonForm().line("info", {"event": "run.end", "actor": EVIL, "step": 1, "now": 2, "verdict": EVIL})
    assert escaped(line) == line
    assert line.count("title") == 2


def prints(source: str) -> list[int]:
    """Lines of a module that print: with `print`, `click.echo`, a rich console of their own, or a standard stream."""
    found = []
    for node in ast.walk(ast.parse(source)):
        name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        if name in ("print", "click.echo", "click.secho", "Console", "rich.print") or re.fullmatch(
            r"sys\.(__)?std(out|err)(__)?(\.buffer)?\.write(lines)?", name
        ):
            found.append(node.lineno)
    return found


def test_one_place_prints() -> None:
    """Commands print through `cli/screen.py`, which shows what is not printable."""
    folder = Path(ksmactors.__file__).parent / "cli"
    assert [p.name for p in folder.glob("*.py") if prints(p.read_text())] == ["screen.py"]
    assert prints("print(1)\nclick.echo(2)\nsys.stderr.write(3)\nConsole()\necho(4)\n") == [1, 2, 3, 4]
