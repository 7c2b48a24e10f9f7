"""`ksmactors estimate`: what it prints, and how it ends."""

from __future__ import annotations

import os
import pty
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from ksmactors.cli import main
from ksmactors.errors import INTERRUPTED, USAGE
from ksmactors.estimate.units import duration, size
from ksmactors.mm.const import PAGE_SIZE
from tests.estimate.conftest import pages
from tests.estimate.cores import Load, core
from tests.helpers.ready import ksmactors_line

OFF = "Leave KSM off:"
NET = "net of its overhead"
LOCAL = "Set merge_across_nodes to 0: KSM then saves"
ACROSS = "Set merge_across_nodes to 1: KSM then saves"
PRICE = "(--spread interleave is assumed), and have pages reached from another node."
REMOTE = "(--spread interleave is assumed). Its price: some pages are reached from another node."
ONE_NODE = "On one node merge_across_nodes does not matter."
"""Parts of the first line."""


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Eight pages, interleaved: node 0 has 1 1 2 5, node 1 has 0 2 0 6."""
    path = tmp_path / "image"
    path.write_bytes(pages(1, 0, 1, 2, 2, 0, 5, 6))
    return path


def answer(capsys: pytest.CaptureFixture[str], *args: object, status: int = 0) -> Any:
    """The JSON object that a command line prints."""
    assert main(["estimate", "--json", *map(str, args)]) == status
    return orjson.loads(capsys.readouterr().out)


def test_json(capsys: pytest.CaptureFixture[str], image: Path) -> None:
    """The object has what the contract says, with both values of the knob side by side."""
    found = answer(capsys, image)

    assert (found["pages"], found["zero_pages"], found["contents"]) == (8, 2, 5)
    common = {"pages_volatile": 0, "ksm_zero_pages": 0, "full_scans": 2, "asleep_ms": 40, "page_visits": 16}
    assert found["merge_across_nodes"] == {
        "0": common | {
            "pages_shared": 2, "pages_sharing": 2, "pages_unshared": 4, "saved_bytes": 2 * PAGE_SIZE,
            "profit_bytes": 2 * PAGE_SIZE - 8 * 64, "overhead_bytes": 8 * 64 + 2 * 48 + 48,
            "net_bytes": 2 * PAGE_SIZE - (8 * 64 + 2 * 48 + 48),
        },
        "1": common | {
            "pages_shared": 3, "pages_sharing": 3, "pages_unshared": 2, "saved_bytes": 3 * PAGE_SIZE,
            "profit_bytes": 3 * PAGE_SIZE - 8 * 64, "overhead_bytes": 8 * 64 + 3 * 48 + 48,
            "net_bytes": 3 * PAGE_SIZE - (8 * 64 + 3 * 48 + 48),
        },
    }  # fmt: skip
    assert [content["zeros"] for content in found["most_shared"]] == [True, False, False]
    assert found["most_shared"][0]["owners"] == [{"source": str(image), "mapping": "", "pages": 2, "first": PAGE_SIZE}]
    assert found["sources"] == [{"name": str(image), "kind": "file", "pages": 8, "left_out": {}}]
    assert found["problems"] == []
    assert (found["advice"]["run"], found["advice"]["merge_across_nodes"]) == (1, 1)
    assert found["smart_scan"] == {"late_full_scans": 0, "late_ms": 0}


def test_top(capsys: pytest.CaptureFixture[str], image: Path) -> None:
    """--top limits the contents shown; 0 shows none."""
    assert len(answer(capsys, image, "--top", 1)["most_shared"]) == 1
    assert answer(capsys, image, "--top", 0)["most_shared"] == []


def test_later_kernels(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """max_page_sharing and use_zero_pages are those of the kernel, where it has them."""
    path = tmp_path / "image"
    path.write_bytes(pages(*[1] * 300, 0))
    default = answer(capsys, path, "--kernel", "v6.12")
    small = answer(capsys, path, "--kernel", "v6.12", "--max-page-sharing", 3, "--nodes", 1, "--use-zero-pages")

    assert default["max_page_sharing"] == 256
    assert default["merge_across_nodes"]["1"]["pages_shared"] == 2
    assert small["merge_across_nodes"]["1"]["pages_shared"] == 100
    assert small["merge_across_nodes"]["1"]["ksm_zero_pages"] == 1
    assert small["merge_across_nodes"]["1"]["full_scans"] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "estimate: name a FILE (a memory image or an ELF core), or a process with --pid"),
        (
            ["IMAGE", "--max-page-sharing", "9"],
            "--max-page-sharing: kernel series has no such knob; those that have: v6.1, v6.12, v6.18, v7.3",
        ),
        (
            ["IMAGE", "--kernel", "v3.9", "--use-zero-pages"],
            "--use-zero-pages: kernel v3.9 has no such knob; those that have: v6.1, v6.12, v6.18, v7.3",
        ),
        (["IMAGE", "--spread", "actual"], "--spread actual: files do not say on which node a page was; use it with "),
        (["IMAGE", "--kernel", "v5"], "v5"),
        (["/nowhere"], "/nowhere: No such file or directory"),
        (["IMAGE", "--core"], "IMAGE: not an ELF file, so not a core; without --core its bytes are taken as pages"),
        (["--pid", "4194304"], "pid 4194304: there is no such process"),
    ],
)
def test_bad_input(capsys: pytest.CaptureFixture[str], image: Path, arguments: list[str], message: str) -> None:
    """What makes no sense or cannot be read is one line on standard error, and the status of wrong usage."""
    assert main(["estimate", *(argument.replace("IMAGE", str(image)) for argument in arguments)]) == USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert f"ksmactors: {message.replace('IMAGE', str(image))}" in err or message == "v5" in err


@pytest.mark.parametrize("arguments", [["--nodes", "0"], ["--nodes", "65"], ["--top", "-1"], ["--pages-to-scan", "0"]])
def test_impossible_numbers(image: Path, arguments: list[str]) -> None:
    """Numbers that cannot be are refused."""
    assert main(["estimate", str(image), *arguments]) == USAGE


def test_the_rest_is_reported(capsys: pytest.CaptureFixture[str], image: Path, tmp_path: Path) -> None:
    """What can be read is shown though something else cannot; the status says that it is not all."""
    path = tmp_path / "core"
    path.write_bytes(core([Load(0x10000, pages(1, 1, 1))])[:-PAGE_SIZE])
    found = answer(capsys, image, path, "/nowhere", status=USAGE)

    assert found["pages"] == 10
    assert found["problems"] == [
        f"{path}: the core is cut off: 1 of its 3 pages are missing", "/nowhere: No such file or directory",
    ]  # fmt: skip


def test_a_persons_form(capsys: pytest.CaptureFixture[str], image: Path) -> None:
    """First the setting to choose; both values of the knob in one table, who shares what in another; the overhead."""
    assert main(["estimate", str(image), "--pages-to-scan", "2", "--sleep-millisecs", "1000"]) == 0
    out, err = capsys.readouterr()
    rows = [line.split() for line in out.splitlines()]

    assert f"{image}: file, 8 pages" in out
    assert "8 pages (32.0 KiB), 2 of them zeros; 5 different contents; 2 nodes, spread: interleave" in out
    assert ["pages_sharing", "2", "3"] in rows
    assert ["saved", "8.0", "KiB", "12.0", "KiB"] in rows
    assert ["in", "which", "ksmd", "sleeps", "10.0", "s", "10.0", "s"] in rows
    assert ["zeros", "2", "0", "2", str(image), "0x1000", "and", "1", "more"] in rows
    assert out.startswith(
        "Set merge_across_nodes to 1: KSM then saves 3 pages (12.0 KiB), 11.3 KiB net of its overhead; with 0, only "
        "2 pages (--spread interleave is assumed). Its price: some pages are reached from another node.\n"
    )
    assert out.endswith(
        "Overhead: 512 bytes of rmap_items, 144 bytes of stable nodes, 48 bytes of mm_slots. ksmd looks at 16 pages to "
        "get there, then goes on with 2 pages each 1,000 ms as long as run is 1.\n"
    )
    assert err == ""


def test_quiet(capsys: pytest.CaptureFixture[str], image: Path) -> None:
    """--quiet leaves the counters."""
    assert main(["estimate", str(image), "--quiet"]) == 0
    out = capsys.readouterr().out

    assert "pages_sharing" in out
    assert str(image) not in out


@pytest.mark.parametrize(
    ("tokens", "arguments", "sentence", "run", "knob"),
    [
        ((1, 2), (), f"{OFF} no two pages that hold still are equal. Its own overhead would be 176 bytes.", 0, None),
        ((1, 1, *range(2, 70)), (), f"{OFF} it would save 1 page (4.0 KiB), and its own overhead is 4.4 KiB.", 0, None),
        ((1, 2, 1, 2), (), f"{LOCAL} 2 pages (8.0 KiB), 7.6 KiB {NET}; 1 would save no more {PRICE}", 1, 0),
        (
            (*[1] * 24, 2, 2), (),
            f"{LOCAL} 22 pages (88.0 KiB), 86.2 KiB {NET}; 1 would save 2 pages (8.0 KiB) more {PRICE}", 1, 0,
        ),
        (
            (1, 2, 1, 2), ("--nodes", "1"),
            f"Turn KSM on: it saves 2 pages (8.0 KiB), 7.6 KiB {NET}. {ONE_NODE}", 1, None,
        ),
        ((1, 1, 2, 2, 3, 4), (), f"{ACROSS} 2 pages (8.0 KiB), 7.4 KiB {NET}; with 0, none {REMOTE}", 1, 1),
    ],
)  # fmt: skip
def test_the_first_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, tokens: tuple[int, ...], arguments: tuple[str, ...],
    sentence: str, run: int, knob: int | None,
) -> None:  # fmt: skip
    """The first line says which setting to choose and why; `advice` in the JSON object says the same."""
    path = tmp_path / "image"
    path.write_bytes(pages(*tokens))
    assert main(["estimate", str(path), *arguments]) == 0
    assert capsys.readouterr().out.splitlines()[0] == sentence
    advice = answer(capsys, path, *arguments)["advice"]
    assert (advice["run"], advice["merge_across_nodes"], advice["why"]) == (run, knob, sentence)


def test_smart_scan(capsys: pytest.CaptureFixture[str], image: Path) -> None:
    """Where the kernel has smart_scan, how much later a saving may arrive is said, in scans and in time."""
    found = answer(capsys, image, "--kernel", "v6.12", "--sleep-millisecs", 1000)
    assert found["smart_scan"] == {"late_full_scans": 16, "late_ms": 16_000}
    assert main(["estimate", str(image), "--kernel", "v6.12", "--sleep-millisecs", "1000"]) == 0
    assert "merges up to 16 full scans later than without, here 16.0 s" in capsys.readouterr().out
    assert main(["estimate", str(image), "--kernel", "v6.1"]) == 0
    assert "smart_scan delays" not in capsys.readouterr().out


def test_sizes_and_durations() -> None:
    """Units are those that people read."""
    assert [size(count) for count in (0, 1023, 1024, 1 << 20, 3 << 29, 5 << 50, -4096)] == [
        "0 bytes", "1023 bytes", "1.0 KiB", "1.0 MiB", "1.5 GiB", "5.0 PiB", "-4.0 KiB",
    ]  # fmt: skip
    assert [duration(ms) for ms in (0, 999, 59_999, 60_000, 3_599_999, 3_600_000, 90_061_000)] == [
        "0.0 s", "0.9 s", "59.9 s", "1 min 00 s", "59 min 59 s", "1 h 00 min", "25 h 01 min",
    ]  # fmt: skip


@pytest.mark.slow
def test_interrupted(tmp_path: Path) -> None:
    """After Ctrl-C, what was read until then is shown, and the status says so."""
    path = tmp_path / "image"
    with path.open("wb") as file:
        file.write(struct.pack("<4sIQQ8x", b"EMiL", 1, 0, (1 << 40) - 1))  # one range of LiME: it would take hours
        file.truncate(1 << 40)
    with subprocess.Popen(
        [sys.executable, "-m", "ksmactors", "estimate", str(path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    ) as process:  # fmt: skip
        fds = Path(f"/proc/{process.pid}/fd")
        while not any(os.path.realpath(fd) == str(path) for fd in fds.iterdir()):  # the reading is under way
            time.sleep(0.01)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)

    assert process.returncode == INTERRUPTED
    assert err == "ksmactors: interrupted; what was read until then is counted\n"
    assert "of them zeros; 1 different contents" in out


STRIKE = """
import os, signal, sys
from ksmactors.__main__ import main

class Strike:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Strike())
sys.exit(main())
"""
"""A command line in which SIGINT comes amid an import."""


@pytest.mark.parametrize(
    ("module", "status"),
    [("json", INTERRUPTED), ("ksmactors.estimate.reader", INTERRUPTED), ("ksmactors.estimate.advice", 0)],
)
def test_interrupted_by_imports(image: Path, module: str, status: int) -> None:
    """An interruption amid an import ends the process with its status, and loses nothing once all is read."""
    line = [sys.executable, "-c", STRIKE.format(module=module), "estimate", "--json", str(image)]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (status, "")
    assert (orjson.loads(done.stdout)["pages"] == 8) if status == 0 else not done.stdout


@pytest.mark.slow
def test_progress_on_a_terminal(image: Path) -> None:
    """On a terminal, and there only, standard error shows how far the reading is."""
    ours, theirs = pty.openpty()
    done = subprocess.run(
        ksmactors_line("estimate", str(image)),
        stdout=subprocess.PIPE, stderr=theirs, text=True, cwd=Path(__file__).parents[2], check=True, timeout=60,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "100"},
    )  # fmt: skip
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)

    assert "8 pages" in shown
    assert "100%" in shown
    assert "merge_across_nodes" in done.stdout
