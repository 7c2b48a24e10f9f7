"""Folders of findings, for the table of exit statuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ksmactors.interleave.schedule_string import Schedule, decode, encode


def make_folders(made: dict[str, str], tmp: Path) -> None:
    """Make folders of findings of the schedules that `made` has the files of, and add their names to it."""

    def folder(name: str, *findings: dict[str, Any] | None) -> None:
        made[name] = str(tmp / f"folder_{name}")
        Path(made[name]).mkdir()
        for number, finding in enumerate(findings):
            Path(made[name], f"{number}.json").write_text("{" if finding is None else json.dumps(finding))

    other = {"signature": "model/other@run"}
    found = {"schedule": Path(made["found"]).read_text(), "signature": "model/wrong@run"}
    folder("no_findings")
    folder("passes", found | {"expected": "passes"})
    folder("kept", found)
    folder("damaged", None)
    folder("crashes", other | {"schedule": Path(made["crashed"]).read_text()}, found | {"expected": "passes"}, None)
    folder("endless_folder", other | {"schedule": Path(made["endless"]).read_text()})
    folder("interrupted_folder", other | {"schedule": Path(made["interrupted"]).read_text()})


def named(schedule: str, workload: str) -> str:
    """The schedule of a program as one of another workload."""
    then = decode(schedule)
    header = then.header | {"workload": workload}
    return encode(Schedule(header, then.turns, then.draws, then.departures))
