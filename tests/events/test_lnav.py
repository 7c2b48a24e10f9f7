"""The format for lnav that the package has."""

from __future__ import annotations

import json
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from ksmactors.cli import main
from ksmactors.events.catalogue import CATALOGUE
from ksmactors.events.logs import ALWAYS

FORMAT = files("ksmactors.events") / "ksmactors.lnav.json"

LNAV = shutil.which("lnav")


def test_its_fields_are_those_of_logs() -> None:
    """Each field that it names is one that every line or some event has."""
    described = json.loads(FORMAT.read_text())["ksmactors"]
    known = {*ALWAYS, *(field.name for event in CATALOGUE for field in event.fields)}

    named = {value for key, value in described.items() if key.endswith("-field")}
    named |= {part["field"] for part in described["line-format"] if isinstance(part, dict)} | described["value"].keys()
    assert named - known == set()


@pytest.mark.skipif(LNAV is None, reason="lnav is not installed")
def test_lnav_reads_a_log_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line of a log becomes a row of lnav's table, with its level and its actor."""
    assert LNAV is not None
    monkeypatch.setenv("HOME", str(tmp_path))
    log = tmp_path / "story.jsonl"
    assert main(["run", "numa_pingpong", "--seed", "1", "-q", "--log", str(log)]) == 0
    subprocess.run([LNAV, "-i", str(FORMAT)], check=True, timeout=60, stdin=subprocess.DEVNULL)
    query = ";SELECT count(*) AS lines FROM ksmactors WHERE actor IS NOT NULL AND log_level IS NOT NULL"
    told = subprocess.run(
        [LNAV, "-n", "-c", query, str(log)], check=True, timeout=60, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert told.stdout.split()[-1] == str(len(log.read_text().splitlines()))
