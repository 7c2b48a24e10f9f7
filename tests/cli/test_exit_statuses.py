"""Each exit status of each command, in one table."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final

import anyio
import anyio.lowlevel
import click
import orjson
import pytest

from ksmactors.analysis.reading import LogReader
from ksmactors.campaign import corpus
from ksmactors.campaign.stress import Campaign, Plan
from ksmactors.cli import COMMANDS, cli, main
from ksmactors.conformance.compare import ScenarioComparison
from ksmactors.conformance.emulator import Transcript
from ksmactors.conformance.language import Scenario
from ksmactors.estimate.files import FileReader
from ksmactors.run import calibration
from ksmactors.run.subject import make_subject
from tests.helpers.ready import run_ready
from tests.helpers.status_folders import make_folders, named

PROGRAMS: Final = Path(__file__).parents[1] / "helpers" / "statuses.py"
SCENARIO: Final = Path(__file__).parents[1] / "conformance" / "scenarios" / "01_merge2.txt"
RECORDING: Final = Path(__file__).parents[1] / "conformance" / "results" / "v3.9" / "01_merge2.out"

FOUND, USAGE, CRASHED, INCONCLUSIVE, INTERRUPTED, CLOSED = 1, 2, 3, 4, 130, 141

TABLE: Final = [
    ("run {Fine}", 0),
    ("run {Finds}", FOUND),
    ("run nowhere", USAGE),
    ("run {Fine} --log {tmp}/none/log", USAGE),
    ("run exit_race -p generations=1 --log /dev/full", USAGE),
    ("run {Crashes}", CRASHED),
    ("run {Finds} --junit {tmp}/run.xml --sarif {tmp}/run.sarif", FOUND),
    ("run {Finds} --junit {tmp}/none/run.xml", USAGE),
    ("run {Endless} --max-steps 50", INCONCLUSIVE),
    ("run {Interrupted}", INTERRUPTED),
    ("stress {Fine} --seeds 3", 0),
    ("stress {Finds} --seeds 3", FOUND),
    ("stress {Finds} --jobs 1 --seeds 3 --stop-at-first", FOUND),
    ("stress {Finds} --jobs 1 --seeds 3 --log /dev/full", FOUND),
    ("stress {Fine} --seeds 0", USAGE),
    ("stress exit_race -p generations=1 --jobs 1 --seeds 1 --log /dev/full", USAGE),
    ("stress {Crashes} --seeds 3", CRASHED),
    ("stress {Fine} --jobs 1 --seeds 3 --junit {tmp}/s.xml --sarif {tmp}/s.sarif", 0),
    ("stress {Finds} --jobs 1 --seeds 3 --junit {tmp}/s.xml --sarif {tmp}/s.sarif", FOUND),
    ("stress {Crashes} --jobs 1 --seeds 3 --junit {tmp}/s.xml --sarif {tmp}/s.sarif", CRASHED),
    ("stress {Interrupted} --jobs 1 --seeds 3 --junit {tmp}/s.xml --sarif {tmp}/s.sarif", INTERRUPTED),
    ("stress {Finds} --jobs 1 --seeds 3 --junit {tmp}/none/s.xml", USAGE),
    ("stress {Finds} --jobs 1 --seeds 3 --sarif {tmp}", USAGE),
    ("stress {Finds} --jobs 1 --seeds 3 --junit /dev/full", USAGE),
    ("stress {Finds} --jobs 1 --seeds 3 --junit {tmp}/s --sarif {tmp}/s", USAGE),
    ("stress {Fine} --jobs 1 --seeds 3 --junit {tmp}/s.xml [full]", USAGE),
    ("stress {Finds} --jobs 1 --seeds 3 --junit {tmp}/s.xml [full]", FOUND),
    ("stress {Endless} --jobs 1 --seeds 3 --max-steps 50", INCONCLUSIVE),
    ("stress {Interrupted} --jobs 1 --seeds 3", INTERRUPTED),
    ("explore {Fine}", 0),
    ("explore {Finds}", FOUND),
    ("explore {Fine} --preemptions -1", USAGE),
    ("explore {Fine} --resume --out {tmp}/other", USAGE),
    ("explore {Crashes}", CRASHED),
    ("explore classic.reorder_10 --max-schedules 2", INCONCLUSIVE),
    ("explore {Endless} --seconds 0.02 --max-steps 1000000000", INCONCLUSIVE),
    ("explore {Interrupted}", INTERRUPTED),
    ("explore {Finds} --junit {tmp}/e.xml --sarif {tmp}/e.sarif", FOUND),
    ("explore {Finds} --junit {tmp}/none/e.xml", USAGE),
    ("replay {fine}", 0),
    ("replay {found} --trust", FOUND),
    ("replay {found}", USAGE),
    ("replay {tmp}/none", USAGE),
    ("replay {crashed} --trust", CRASHED),
    ("replay {endless} --trust", INCONCLUSIVE),
    ("replay {interrupted} --trust", INTERRUPTED),
    ("replay {found_store} --trust", 0),
    ("replay {found_store} --trust --junit {tmp}/r.xml --sarif {tmp}/r.sarif", 0),
    ("replay {found_store} --trust --junit {tmp}/none/r.xml", USAGE),
    ("replay {found_store}", USAGE),
    ("replay {found_store} --explain", USAGE),
    ("replay {no_findings}", USAGE),
    ("replay {passes} --trust", FOUND),
    ("replay {passes} {damaged} --trust", USAGE),
    ("replay {damaged}", USAGE),
    ("replay {crashes} --trust", CRASHED),
    ("replay {endless_folder} --trust", INCONCLUSIVE),
    ("replay {interrupted_folder} --trust", INTERRUPTED),
    ("replay {kept} --set-expected passes", 0),
    ("replay {fine} --set-expected passes", USAGE),
    ("replay {no_findings} --set-expected passes", USAGE),
    ("replay {damaged} --set-expected passes", USAGE),
    ("replay {found} --trust --junit {tmp}/f.xml --sarif {tmp}/f.sarif", FOUND),
    ("replay {found} --trust --until 1 --junit {tmp}/f.xml", USAGE),
    ("replay {interrupted} --trust --junit {tmp}/i.xml --sarif {tmp}/i.sarif", INTERRUPTED),
    ("shrink {found} --trust", FOUND),
    ("shrink {found}", USAGE),
    ("shrink {tmp}/none", USAGE),
    ("shrink {gone}", INCONCLUSIVE),
    ("shrink {crashed} --trust", CRASHED),
    ("shrink {interrupted} --trust", INTERRUPTED),
    ("analyze {clean}", 0),
    ("analyze {clean} --sql 'SELECT 1'", 0),
    ("analyze {log}", FOUND),
    ("analyze {log} --sql 'SELECT 1'", FOUND),
    ("analyze {log} {tmp}/none", FOUND),
    ("analyze {empty}", USAGE),
    ("analyze {cut}", USAGE),
    ("analyze {clean} {empty}", USAGE),
    ("analyze {clean} --sql nonsense", USAGE),
    ("analyze {clean} [interrupted]", INTERRUPTED),
    ("report {clean} --html {tmp}/clean.html", 0),
    ("report {log} --html {tmp}/log.html", FOUND),
    ("report {found} --html {tmp}/found.html --trust --max-schedules 5", FOUND),
    ("report {found} --html {tmp}/untrusted.html", USAGE),
    ("report {clean} {empty} --html {tmp}/both.html", USAGE),
    ("report {empty} --html {tmp}/empty.html", USAGE),
    ("report {clean}", USAGE),
    ("report {clean} --html {clean}", USAGE),
    ("report {clean} --html {tmp}/interrupted.html [interrupted]", INTERRUPTED),
    ("stress {Fine} --jobs 1 --seeds 3 --resume --out {tmp}/other", USAGE),
    ("campaign {fine_store}", 0),
    ("campaign {found_store}", FOUND),
    ("campaign {found_store} --export {tmp}/parquet", FOUND),
    ("campaign merge {fine_store} {found_store} --out {tmp}/merged", USAGE),
    ("campaign merge {fine_store} {later_store} --out {tmp}/both", 0),
    ("campaign {tmp}/none", USAGE),
    ("campaign {fine_store} {found_store}", USAGE),
    ("campaign {fine_store} [interrupted]", INTERRUPTED),
    ("compare {Fine} --with chains --seeds 3", 0),
    ("compare {Finds} --with chains --seeds 3", FOUND),
    ("compare {Fine} --with chains --seeds 0", USAGE),
    ("compare {Fine} --with nothing", USAGE),
    ("compare {Fine}", USAGE),
    ("compare {Fine} --with restart-on-stale", USAGE),
    ("compare {Fine} --with chains --without chains", USAGE),
    ("compare {Fine} --with chains --html {tmp}/none/page.html", USAGE),
    ("compare {Crashes} --with chains --seeds 3", CRASHED),
    ("compare {Endless} --jobs 1 --with chains --seeds 3 --max-steps 50", INCONCLUSIVE),
    ("compare {Interrupted} --with chains --jobs 1 --seeds 3", INTERRUPTED),
    ("corpus S1a", 0),
    ("corpus S1a [unseen]", FOUND),
    ("corpus S99", USAGE),
    ("corpus S1a --junit {tmp}/c.xml", 0),
    ("corpus S1a --junit {tmp}/c.xml [unseen]", FOUND),
    ("corpus S1a --junit {tmp}/none/c.xml", USAGE),
    ("corpus S1a [interrupted]", INTERRUPTED),
    ("conform {scenario}", 0),
    ("conform {scenario} --against {recording}", 0),
    ("conform {scenario} --against {other}", FOUND),
    ("conform {tmp}/none", USAGE),
    ("conform {scenario} --against {tmp}", USAGE),
    ("conform {scenario} [not run]", INCONCLUSIVE),
    ("conform {scenario} --against {other} --junit {tmp}/s.xml", FOUND),
    ("conform {scenario} --around 2 --junit {tmp}/s.xml", 0),
    ("conform {scenario} --junit {tmp}/none/s.xml", USAGE),
    ("conform {scenario} [interrupted]", INTERRUPTED),
    ("reproduce H7 --c {tmp}/h7.c --report {tmp}/h7.txt", 0),
    ("reproduce {scenario}", 0),
    ("reproduce nowhere", USAGE),
    ("reproduce S5a", USAGE),
    ("reproduce H7 --c {tmp}/none/h7.c", USAGE),
    ("reproduce {found} --trust", USAGE),
    ("estimate {image}", 0),
    ("estimate {tail}", 0),
    ("estimate {tmp}/none", USAGE),
    ("estimate {image} {tmp}/none", USAGE),
    ("estimate {image} [interrupted]", INTERRUPTED),
    ("new watcher my_thing --out {tmp}/my_thing", 0),
    ("new watcher shadow --out {tmp}/shadow", USAGE),
    ("new nothing my_thing", USAGE),
    ("list events", 0),
    ("list nothing", USAGE),
    ("list events [interrupted]", INTERRUPTED),
    ("docs", 0),
    ("docs protocol", 0),
    ("docs ST3d", 0),
    ("docs nothing", USAGE),
    ("docs [interrupted]", INTERRUPTED),
]
"""Words in braces are made by `files`; one in brackets is an accident, which `happens` prepares."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the table names."""
    tmp = tmp_path_factory.mktemp("statuses")
    known = {name: f"{PROGRAMS}:{name}" for name in ("Fine", "Finds", "Crashes", "Endless", "Interrupted")}
    made = {"tmp": str(tmp), "scenario": str(SCENARIO), "recording": str(RECORDING)}

    def write(name: str, content: bytes | str) -> None:
        made[name] = str(tmp / name)
        (tmp / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    def schedule(workload: str, **more: Any) -> str:
        campaign = Campaign(Plan([make_subject(workload, **more)], range(1), "random", keep=True))
        anyio.run(campaign.run, backend="trio")
        assert campaign.last is not None
        return campaign.last.schedule

    write("fine", schedule("classic.lost"))
    write("found", schedule(known["Finds"]))
    write("crashed", schedule(known["Crashes"]))
    write("endless", schedule(known["Endless"], max_steps=50))
    write("interrupted", named(schedule(known["Fine"]), known["Interrupted"]))
    for name, workload in (("clean", "Fine"), ("log", "Finds")):
        made[name] = str(tmp / name)
        assert main(["run", known[workload], "-q", "--log", made[name]]) in (0, 1)
    for name, workload, seeds in (("fine", "Fine", "3"), ("found", "Finds", "3"), ("later", "Fine", "3:6")):
        made[f"{name}_store"] = str(tmp / f"{name}_store")
        main(["stress", known[workload], "-q", "--jobs", "1", "--seeds", seeds, "--out", made[f"{name}_store"]])
    write("gone", json.dumps({"schedule": schedule("classic.lost"), "signature": "model/lost_update@run"}))
    make_folders(made, tmp)
    write("empty", b"")
    write("cut", Path(made["clean"]).read_bytes()[:40])
    write("other", RECORDING.read_text().replace("pages_sharing", "pages_other", 1).replace("merge2", "merge3"))
    write("image", bytes(8192))
    write("tail", bytes(8192 + 5))
    return known | made


def _full(path: Path, *_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _press(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


async def _press_later(*_: Any, **__: Any) -> Any:
    signal.raise_signal(signal.SIGINT)
    await anyio.lowlevel.checkpoint()


async def _unseen(measure: Any, *args: Any, on_row: Callable[[corpus.Row], None], **more: Any) -> None:
    await measure(*args, on_row=lambda row: on_row(replace(row, directed=False)), **more)


async def _not_run(scenario: Scenario, *_: Any) -> ScenarioComparison:
    return ScenarioComparison(scenario, None, Transcript(scenario, ()), not_run="needs more")


def _happens(accident: str, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prepare what is in brackets."""
    if accident == "unseen":
        monkeypatch.setattr("ksmactors.cli.corpus.measure", partial(_unseen, corpus.measure))
    elif accident == "full":
        monkeypatch.setattr("ksmactors.cli.ci_output.write_atomically", _full)
    elif accident == "not run":
        monkeypatch.setattr("ksmactors.cli.conform.compare", _not_run)
    elif command in ("analyze", "report"):
        monkeypatch.setattr(LogReader, "blocks", _press)
    elif command == "corpus":
        monkeypatch.setattr("ksmactors.cli.corpus.measure", _press_later)
    elif command == "conform":
        monkeypatch.setattr("ksmactors.cli.conform.compare", _press_later)
    elif command == "estimate":
        before = FileReader.read

        def read(self: FileReader, *args: Any, **more: Any) -> Any:
            signal.raise_signal(signal.SIGINT)
            return before(self, *args, **more)

        monkeypatch.setattr(FileReader, "read", read)
    elif command == "campaign":
        monkeypatch.setattr("ksmactors.campaign.store.CampaignStore.about", _press)
    elif command == "docs":
        monkeypatch.setattr("ksmactors.cli.docs.documents", _press)
    else:
        monkeypatch.setitem(sys.modules["ksmactors.cli.listed"]._LISTS, "events", _press)


@pytest.mark.parametrize(("line", "status"), TABLE, ids=[f"{line} is {status}" for line, status in TABLE])
def test_exit_status(
    line: str, status: int, files: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:  # fmt: skip
    """A command ends with its status; a traceback is there only for code that raised, and 2 is told in lines."""
    import shlex

    import ksmactors.cli.listed  # noqa: F401

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(calibration, "CALIBRATION_STEPS", 1000)  # of what never ends
    line, _, accident = line.partition(" [")
    words = [word.format(**files) for word in shlex.split(line)]
    if accident:
        _happens(accident.rstrip("]"), words[0], monkeypatch)
    assert main(words) == status
    err = capsys.readouterr().err
    assert ("Traceback" in err) == (status == CRASHED)
    assert "defect of ksmactors" not in err


def test_the_table_has_every_command() -> None:
    """Each command is in the table with every status that it can have."""
    has: dict[str, set[int]] = {}
    for line, status in TABLE:
        has.setdefault(line.split()[0], set()).add(status)
    assert has.keys() == set(COMMANDS)
    everything = {0, FOUND, USAGE, CRASHED, INCONCLUSIVE, INTERRUPTED}
    assert all(has[name] == everything for name in ("run", "stress", "explore", "replay", "compare"))
    assert has["shrink"] == everything - {0}
    assert all(
        {0, USAGE, INTERRUPTED} <= has[name]
        for name in ("analyze", "report", "campaign", "corpus", "conform", "estimate", "list", "docs")
    )
    assert all(FOUND in has[name] for name in ("analyze", "report", "campaign", "corpus", "conform"))


@pytest.mark.parametrize("name", COMMANDS)
def test_our_own_defects(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What no command expects ends each of them with 3, a traceback, and the request to report it."""

    def fails(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    command = cli.get_command(click.Context(cli), name)
    monkeypatch.setattr(command, "callback", fails)
    monkeypatch.setattr(command, "params", [])
    assert main([name]) == CRASHED
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "this is a defect of ksmactors" in err


NOBODY_READS: Final[dict[str, Callable[[dict[str, str]], list[str]]]] = {
    "run": lambda _: ["run", "litmus.scan_meets_exit"],
    "stress": lambda _: ["stress", "classic.abba", "--seeds", "1"],
    "explore": lambda files: ["explore", files["Fine"]],
    "replay": lambda files: ["replay", files["fine"]],
    "shrink": lambda files: ["shrink", files["found"], "--trust"],
    "analyze": lambda files: ["analyze", files["clean"]],
    "campaign": lambda files: ["campaign", files["fine_store"]],
    "compare": lambda files: ["compare", files["Fine"], "--with", "chains", "--seeds", "1"],
    "corpus": lambda _: ["corpus", "S1a"],
    "list": lambda _: ["list", "events"],
    "docs": lambda _: ["docs", "protocol"],
    "conform": lambda files: ["conform", files["scenario"]],
    "estimate": lambda files: ["estimate", files["image"]],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NOBODY_READS)
def test_nobody_reads(name: str, files: dict[str, str], tmp_path: Path) -> None:
    """A command whose standard output nobody reads ends with 141, without a word of that."""
    reader, writer = os.pipe()
    os.close(reader)
    with Path(os.devnull).open("rb") as nothing, os.fdopen(writer, "wb") as stdout, TemporaryFile() as stderr:
        status = run_ready(
            *NOBODY_READS[name](files), files=[stream.fileno() for stream in (nothing, stdout, stderr)],
            cwd=tmp_path, environment=os.environ | {"XDG_STATE_HOME": str(tmp_path)},
        )()  # fmt: skip
        said = os.pread(stderr.fileno(), os.fstat(stderr.fileno()).st_size, 0)
    assert b"Broken" not in said
    assert status == CLOSED


@pytest.mark.parametrize(("redirection", "status"), [(">&-", 2), ("<&-", 0), ("2>&-", 0), (">/dev/full", 2)])
@pytest.mark.slow
def test_closed_streams(redirection: str, status: int) -> None:
    """A standard stream that is closed, or cannot be written, is no traceback."""
    command = f"'{sys.executable}' -m ksmactors list events {redirection}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status
    assert "Traceback" not in done.stderr


def test_stop_at_first(files: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """`--stop-at-first` runs no schedule after the first finding, and says which seeds are left."""
    args = ["stress", files["Finds"], "--seeds", "2:9", "--json", "--stop-at-first", "--out", str(tmp_path)]
    assert main(args) == FOUND
    captured = capsys.readouterr()
    content = orjson.loads(captured.out)
    assert (content["schedules"], content["first_finding_at"], content["verdict"]) == (1, 1, "finding")
    assert content["seeds_left"] == "3:9"
    assert captured.err.endswith("ksmactors: stopped at the first finding; go on with --seeds 3:9\n")


@pytest.mark.parametrize("line", ["run {Fine}", "stress {Fine} --seeds 3", "explore {Fine}", "replay {fine}",
                                  "analyze {clean}", "explore classic.reorder_10 --max-schedules 2"])  # fmt: skip
def test_quiet_is_quiet(line: str, files: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """With -q, a command that has found nothing says nothing."""
    words = [word.format(**files) for word in line.split()]
    main([*words, "-q", *(["--out", str(tmp_path)] if words[0] in ("run", "stress", "explore") else [])])
    assert capsys.readouterr() == ("", "")
