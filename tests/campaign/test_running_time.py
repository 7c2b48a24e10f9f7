"""Times of a store: pauses do not count, and clocks that jump do no harm."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from ksmactors.campaign import store as store_module
from ksmactors.campaign.curves import curves_of
from ksmactors.campaign.overview import overview_of
from ksmactors.campaign.rows import moment_of
from ksmactors.campaign.running_time import RunningTime
from ksmactors.campaign.store_files import FILE, open_to_read
from ksmactors.cli import main


def test_pauses_do_not_count() -> None:
    """Time between the last block of a command and the start of the next one is left out."""
    running = RunningTime(100.0, [100.0, 1000.0], [110.0, 120.0, 1010.0])
    assert [running.at(when) for when in (100.0, 110.0, 120.0, 1000.0, 1010.0)] == [0.0, 10.0, 20.0, 20.0, 30.0]


def test_times_out_of_order() -> None:
    """A clock that went back gives no negative time, and later times are never less than earlier ones."""
    moments = [500.0, 90.0, 95.0, 510.0, 40.0]
    running = RunningTime(100.0, [100.0, 80.0], moments)
    times = [running.at(when) for when in sorted(moments)]
    assert times[0] == 0.0
    assert times == sorted(times)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 1e300, "1", None, b"x"])
def test_what_is_no_time(value: object) -> None:
    """Values that a store can hold and that are no time are refused."""
    with pytest.raises(ValueError, match="is no time"):
        moment_of(value)


def campaign(out: Path, seeds: str, *more: str) -> None:
    """Run a small campaign with a store."""
    main(["stress", "classic.abba", "--seeds", seeds, "--out", str(out), "-q", "--jobs", "1", *more])


def times(out: Path) -> list[float]:
    """The times of a store's blocks, in the order in which they were written."""
    with sqlite3.connect(out / FILE) as db:
        found = [at for (at,) in db.execute("SELECT at FROM blocks ORDER BY first")]
    db.close()
    return found


def test_the_wall_clock_goes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the wall clock does during a campaign and before it is gone on with, times in the store only grow."""
    clock = iter(range(10**9, 0, -1000))
    monkeypatch.setattr(store_module, "time", lambda: float(next(clock)))
    campaign(tmp_path, "60")
    campaign(tmp_path, "200", "--resume")
    assert times(tmp_path) == sorted(times(tmp_path))
    with open_to_read(tmp_path) as store:
        view = overview_of(store, tmp_path)
    assert 0 <= view.seconds < 1000


def test_a_store_with_times_out_of_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What another clock has written is shown: no negative time, all schedules, curves in order."""
    campaign(tmp_path, "200")
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("UPDATE blocks SET at = at - 7200 WHERE first IN (40, 100)")
        db.execute("UPDATE findings SET at = at - 90000")
    db.close()
    with open_to_read(tmp_path) as store:
        view = overview_of(store, tmp_path)
        curves = curves_of(store, view)
    assert all(after >= 0 for after in view.found_after.values())
    for points in (curves.done["classic.abba"], curves.rate, curves.found):
        assert [at for at, _ in points] == sorted(at for at, _ in points)
        assert all(value >= 0 for _, value in points)
    assert curves.done["classic.abba"][-1][1] == 200
    capsys.readouterr()
    assert main(["campaign", str(tmp_path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["seconds"] >= 0


def test_a_time_that_is_none_is_damage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An infinite time is one clear line and exit status 2."""
    campaign(tmp_path, "40")
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("UPDATE blocks SET at = 9e999 WHERE first = 20")
    db.close()
    capsys.readouterr()
    assert main(["campaign", str(tmp_path)]) == 2
    assert "inf is no time" in capsys.readouterr().err
