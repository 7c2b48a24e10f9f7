"""Shards: parts of a campaign's seeds whose stores, merged, are the store of the whole campaign."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksmactors.campaign import store, store_files
from ksmactors.campaign.blocks import SCHEDULES_MAX, block_ends
from ksmactors.campaign.shards import Shard, parse_shard, shard_of
from ksmactors.campaign.store_files import FILE
from ksmactors.cli import main
from ksmactors.errors import UsageError

PROGRAMS = Path(__file__).with_name("programs.py")

CAMPAIGN = (
    "stress",
    f"{PROGRAMS}:Quiet",
    f"{PROGRAMS}:Deadlock",
    "classic.abba",
    "--strategy",
    "random",
    "-q",
    "--jobs",
    "1",
)

SEED_MAX = (1 << 63) - 1


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The default directories are temporary ones."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def said_of(directory: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What a store says, apart from times and places."""
    capsys.readouterr()
    main(["campaign", str(directory), "--json"])
    said: dict[str, Any] = orjson.loads(capsys.readouterr().out)
    for key in ("seconds", "slowest", "found_after"):
        del said[key]
    for rate in said["rates"]:
        del rate["cpu_seconds"], rate["per_second"]
    for finding in said["findings"]:
        finding["file"] = finding["file"] and Path(finding["file"]).name
    return said


@given(st.integers(0, SEED_MAX), st.integers(1, SEED_MAX), st.integers(1, 1 << 40), st.data())
def test_shards_are_all_seeds_in_order(first: int, size: int, count: int, data: st.DataObject) -> None:
    """Each seed is in one shard; a shard ends where the next one begins, and is at most half a shard too large."""
    whole = range(first, min(first + size, 1 << 63))
    count = min(count, whole.stop - whole.start)
    number = data.draw(st.integers(1, count))
    one = shard_of((number, count), whole, "random", 1).seeds
    start = whole.start if number == 1 else shard_of((number - 1, count), whole, "random", 1).seeds.stop
    stop = whole.stop if number == count else shard_of((number + 1, count), whole, "random", 1).seeds.start
    assert (one.start, one.stop) == (start, stop)
    size = whole.stop - whole.start
    assert 0 < one.stop - one.start <= size // count * 3 // 2 + 1


@pytest.mark.parametrize("strategy", ["random", "guided:family=40"])
def test_shards_begin_with_a_block(strategy: str) -> None:
    """Blocks are not cut where shards are large enough, also those of a strategy that learns."""
    end = block_ends(strategy, 1)
    starts = [shard_of((number, 7), range(5, 4_000), strategy, 1).seeds.start for number in range(2, 8)]
    assert starts == [end(start - 1) for start in starts]
    small = [len(shard_of((number, 5), range(SCHEDULES_MAX), strategy, 1).seeds) for number in range(1, 6)]
    assert small == [4] * 5


@pytest.mark.parametrize("text", ["", "1", "/", "1/", "/2", "0/2", "3/2", "-1/2", "1/2/3", "1/0", "1 /2", "a/b", "1/²"])
def test_a_shard_that_is_none_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A bad `--shard` is one line and exit status 2."""
    assert main([*CAMPAIGN, "--shard", text]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--shard" in line


def test_more_shards_than_seeds_are_refused() -> None:
    """Each shard has a seed."""
    assert parse_shard("5/5") == (5, 5)
    assert shard_of((5, 5), range(10, 15), "random", 1) == Shard(5, 5, range(10, 15), range(14, 15))
    with pytest.raises(UsageError, match="only 5"):
        shard_of((5, 6), range(10, 15), "random", 1)


@pytest.mark.slow
@pytest.mark.parametrize("order", [(3, 1, 2), pytest.param((1, 2, 3), marks=pytest.mark.nightly)])
def test_merged_shards_are_the_campaign(
    order: tuple[int, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Totals, findings with their files, digest and all other sums of three shards are those of one campaign."""
    for number in order:
        main([*CAMPAIGN, "--seeds", "10:70", "--shard", f"{number}/3", "--out", str(tmp_path / str(number))])
    merged, whole = tmp_path / "merged", tmp_path / "whole"
    stores = [str(tmp_path / str(number)) for number in order]
    assert main(["campaign", "merge", *stores, "--out", str(merged)]) == 1
    assert main([*CAMPAIGN, "--seeds", "10:70", "--out", str(whole)]) == 1
    said = said_of(merged, capsys)
    assert said == said_of(whole, capsys)
    assert (said["schedules"], said["left"], said["shards"]) == (60, 0, [])
    assert said["findings"]
    files = [{path.name for path in one.glob("*.json")} for one in (merged, whole)]
    assert files[0] == files[1] != set()


@pytest.mark.slow
def test_a_shard_that_is_missing_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the second of three shards, its seeds are left; `--resume` runs them, and the campaign is whole."""
    for number in (1, 3):
        main([*CAMPAIGN, "--seeds", "60", "--shard", f"{number}/3", "--out", str(tmp_path / str(number))])
    merged = tmp_path / "merged"
    main(["campaign", "merge", str(tmp_path / "1"), str(tmp_path / "3"), "--out", str(merged)])
    assert "shard 1/3, 3/3 of seeds 0:60" in capsys.readouterr().out
    said = said_of(merged, capsys)
    assert (said["left"], said["seeds_left"]) == (20, "20:40")
    assert [shard["seeds"] for shard in said["shards"]] == ["0:20", "40:60"]
    main([*CAMPAIGN, "--resume", "--out", str(merged)])
    main([*CAMPAIGN, "--seeds", "60", "--out", str(tmp_path / "whole")])
    assert said_of(merged, capsys) | {"shards": []} == said_of(tmp_path / "whole", capsys)


@pytest.mark.slow
def test_a_shard_is_gone_on_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--resume` with or without the shard runs its seeds again; with another one it is refused."""
    line = [*CAMPAIGN, "--out", str(tmp_path)]
    main([*line, "--seeds", "60:180", "--shard", "2/3", "--json"])
    once = orjson.loads(capsys.readouterr().out)
    assert once["shard"] == "2/3"
    assert once["schedules"] == 40
    for more in ([], ["--shard", "2/3"], ["--shard", "2/3", "--seeds", "60:180"]):
        main([*line, "--resume", "--json", *more])
        assert orjson.loads(capsys.readouterr().out)["digest"] == once["digest"]
    for more in (["--shard", "1/3"], ["--shard", "2/3", "--seeds", "180"]):
        assert main([*line, "--resume", *more]) == 2
        assert "holds shard 2/3 of seeds 60:180" in capsys.readouterr().err


@pytest.mark.parametrize(
    "listed", ["5", "[[1, 2, 0, 9]]", "[[3, 2, 0, 9, 0, 9]]", "[[1, 2, 0, 9, 5, 5]]", '["abcdef"]']
)
def test_a_store_with_damaged_shards_is_refused(
    listed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a store says of its shards is checked when it is read."""
    main([*CAMPAIGN, "--seeds", "2", "--shard", "1/2", "--out", str(tmp_path)])
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("UPDATE about SET value = ? WHERE name = 'shards'", (listed,))
    db.close()
    capsys.readouterr()
    assert main(["campaign", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "damaged" in line


def test_seeds_without_an_end_to_speak_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A store that was asked for 2**63 - 1 seeds can be shown; one seed more is refused."""
    line = ["stress", f"{PROGRAMS}:Quiet", "--seconds", "0.1", "-q", "--out", str(tmp_path)]
    assert main([*line, "--seeds", str((1 << 63) - 1), "--jobs", "1"]) == 0
    assert main(["campaign", str(tmp_path)]) == 0
    said = said_of(tmp_path, capsys)
    assert said["asked"] == (1 << 63) - 1
    assert said["left"] + said["schedules"] == (1 << 63) - 1
    assert main([*line, "--seeds", str(1 << 63)]) == 2
    assert "2**63" in capsys.readouterr().err


def test_a_clock_that_jumps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wall clock that goes back between and within runs changes no sum, and no time is negative."""
    hours = iter(range(1_000_000, 0, -1))
    for module in (store, store_files):
        monkeypatch.setattr(module, "time", lambda: next(hours) * 3600.0)
    line = [*CAMPAIGN, "--out", str(tmp_path / "jumps"), "--jobs", "1"]
    main([*line, "--seeds", "25"])
    main([*line, "--seeds", "50", "--resume"])
    capsys.readouterr()
    assert main(["campaign", str(tmp_path / "jumps")]) == 1
    assert main(["campaign", str(tmp_path / "jumps"), "--json"]) == 1
    shown, _, text = capsys.readouterr().out.partition("\n{")
    assert re.search(r"done, in \d+\.\d s\n", shown)
    said = orjson.loads("{" + text)
    assert 0 <= said["seconds"] < 3600
    assert all(0 <= after <= said["seconds"] for after in said["found_after"].values())
    monkeypatch.undo()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    main([*CAMPAIGN, "--out", str(tmp_path / "still"), "--seeds", "50"])
    assert said_of(tmp_path / "jumps", capsys) == said_of(tmp_path / "still", capsys)
