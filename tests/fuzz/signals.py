"""Signals at random moments of a command's life, from the first import to the last line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Final

from tests.helpers.ready import ksmactors_line

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

COMMANDS: Final = {
    "run": ["run", "vm_fleet"],
    "stress": ["stress", "--seeds", "200"],
    "explore": ["explore", "classic.reorder_10", "--max-schedules", "3000"],
    "replay": ["replay", "{finding}"],
    "shrink": ["shrink", "{finding}"],
    "analyze": ["analyze", "{log}"],
    "sql": ["analyze", "{log}", "--sql", "SELECT count(*) FROM range(100000000) a, range(100000000) b"],
    "corpus": ["corpus"],
    "conform": ["conform", "--random", "300"],
    "estimate": ["estimate", "{image}"],
    "list": ["list", "workloads"],
}
"""Commands that run for a while, by a name."""

SECONDS_MAX: Final = 30
"""After which a command that was told to end counts as hanging, if it has had time to: see CPU_MAX."""

CPU_MAX: Final = 10
"""Seconds of CPU time that a command needs at most to end. A machine under load may not give it as much for long."""

PATIENCE: Final = 10
"""How many times SECONDS_MAX are waited for that."""

EARLY: Final = "before Python came to the first line of ksmactors"
"""What comes then is not ours to handle."""

EARLIEST: Final = 0.03
"""Seconds after which the first signals come."""


@dataclass(frozen=True, slots=True)
class Files:
    """What the commands read."""

    finding: str
    log: str
    image: str

    @classmethod
    def make(cls, place: Path) -> Files:
        """Make them with the commands themselves."""
        log, image = place / "log.ndjson", place / "image"
        image.write_bytes(bytes(range(256)) * 16 * 4096)
        subprocess.run(ksmactors_line("run", "fork_storm", "-q", "--log", str(log)), check=True, timeout=120)
        out = place / "findings"
        subprocess.run(
            ksmactors_line("stress", "classic.twostage", "-q", "--seeds", "40", "--out", str(out)),
            check=False, timeout=120, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        return cls(str(next(out.glob("*.json"))), str(log), str(image))


def strike(
    command: str, number: signal.Signals, after: float, files: Files, place: Path, *, ignored: bool,
    program: Callable[[], list[str]] = lambda: [sys.executable, "-m", "ksmactors"],
) -> str:  # fmt: skip
    """Signal a command after some seconds; what is wrong with how it ended, empty if nothing.

    `ignored`: it starts with SIGINT ignored, as in the background of a shell without job control.
    `program`: how the command begins; with `ksmactors_line`, it has imported all when it starts.
    """
    words = [word.format(finding=files.finding, log=files.log, image=files.image) for word in COMMANDS[command]]
    # Python resets no signal that was ignored when it started, and a child inherits that.
    preface = "from signal import *; import os, sys; signal(SIGINT, SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    start = [sys.executable, "-c", preface] if ignored else []
    with subprocess.Popen(
        [*start, *program(), *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"XDG_STATE_HOME": str(place)},
    ) as process:  # fmt: skip
        time.sleep(after + (0.05 if ignored else 0))
        process.send_signal(number)
        at = _cpu_seconds(process.pid)
        for _ in range(PATIENCE):
            try:
                _, err = process.communicate(timeout=SECONDS_MAX)
                break
            except subprocess.TimeoutExpired:
                if _cpu_seconds(process.pid) - at > CPU_MAX:
                    process.kill()
                    return "hangs"
        else:
            process.kill()
            return f"hangs, or had no {CPU_MAX} s of CPU time in {PATIENCE * SECONDS_MAX} s"
    if process.returncode == -number:
        return EARLY  # the interpreter itself has died of it
    return wrong_with(process.returncode, err)


def _cpu_seconds(pid: int) -> float:
    """CPU time that a process has used; 0 if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wrong_with(status: int, err: str) -> str:
    """What is wrong with how a command ended that was interrupted, or had ended before."""
    if "Traceback" in err and f"ksmactors{os.sep}" not in err:
        return EARLY
    for word in ("Traceback", "defect of ksmactors", "Exception ignored", "Fatal Python"):
        if word in err:
            return f"exit {status}, says {word!r}: {err[-1500:]}"
    return "" if status in (130, 0, 1, 4) else f"exit {status}: {err[-300:]}"


def many(count: int, seed: int) -> int:
    """Signal commands at random moments and print what came of it; 1 if anything was wrong."""
    # A sweep in the background of a shell without job control has SIGINT ignored, and its commands would have, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    random = Random(seed)
    statuses: Counter[str] = Counter()
    with TemporaryDirectory(prefix="ksmactors-signals-") as name:
        place = Path(name)
        files = Files.make(place)
        for index in range(count):
            command = list(COMMANDS)[index % len(COMMANDS)]
            ignored = random.random() < 0.2
            number = SIGNALS[1 + random.randrange(2)] if ignored else random.choice(SIGNALS)
            after = EARLIEST + random.random() * 4
            wrong = strike(command, number, after, files, place, ignored=ignored)
            statuses["early" if wrong == EARLY else "wrong" if wrong else "well"] += 1
            if wrong not in ("", EARLY):
                print(f"{command} {number.name} after {after:.2f} s: {wrong}", flush=True)  # noqa: T201
    print(f"signals: {count} at random moments, {statuses['wrong']} ended wrong, {statuses['early']} {EARLY}")  # noqa: T201
    return int(statuses["wrong"] > 0)
