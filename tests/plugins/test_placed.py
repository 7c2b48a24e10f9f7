"""Classes of each kind named by file: listed, run on all cores, resumed, and replayed with trust only."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.plugins.installed import ksmactors

MINE = '''
from collections.abc import Sequence

from ksmactors.strategy import Actor, Int, Strategy, below
from ksmactors.variant import Frame, Ksm, RmapItem
from ksmactors.watcher import Machine, Watcher, events
from ksmactors.workload import Host, Process, Workload


class Moves(Workload):
    """processes with equal pages, which move"""

    async def run(self, host: Host) -> None:
        for node, name in enumerate("AB"):
            host.process(name, node=node).spawn(self.live, host)

    async def live(self, process: Process, host: Host) -> None:
        region = await process.map(2)
        await process.mergeable(region)
        for page in range(2):
            await process.write(region, page, 7)
        await host.sleep(300)
        await process.migrate(region, 0, host.draw("node", host.nodes))


class Merges(Watcher):
    """reports a third merge"""

    name = "merges"
    summary = "no third merge"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self.count = 0
        machine.trace.listen(events.STABLE_TREE_APPEND, self._appended)

    def _appended(self, *fields: object) -> None:
        self.count += 1
        self.always(self.count < 3, "there are two merges")


class OddFirst(Ksm):
    """Pages at odd addresses are left to the next scan, once."""

    async def should_skip_rmap_item(self, page: Frame, item: RmapItem) -> bool:
        return bool(item.address >> 12 & 1) and not self.ksm_scan.seqnr


class Drawn(Strategy):
    """Draws."""

    name = "drawn"
    summary = "draws each choice"
    most = Int(8, "choices among so many", low=1)

    def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        return ready[below(self.rng, min(self.most, len(ready)))]
'''

LINE = (
    "stress", "mine.py:Moves", "--watch", "all,mine.py:Merges", "--with", "mine.py:OddFirst", "--strategy",
    "mine.py:Drawn:most=3", "--json",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file of one class of each kind."""
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "cls", "summary"),
    [
        ("workloads", "Moves", "processes with equal pages, which move"),
        ("watchers", "Merges", "no third merge"),
        ("variants", "OddFirst", "Pages at odd addresses are left to the next scan, once"),
        ("strategies", "Drawn", "draws each choice"),
    ],
)
def test_each_is_listed(folder: Path, what: str, cls: str, summary: str) -> None:
    """`list WHAT path.py:Class` shows it, with the file as its origin."""
    row = json.loads(ksmactors("list", what, f"mine.py:{cls}", "--json", cwd=folder).stdout)
    shown = ksmactors("list", what, f"mine.py:{cls}", cwd=folder).stdout

    assert (row["name"], row["summary"], row["origin"]) == (f"mine.py:{cls}", summary, "mine.py")
    assert shown.startswith(f"mine.py:{cls}: {summary}\n")


@pytest.mark.slow
def test_what_cannot_be_listed(folder: Path) -> None:
    """A wrong class, a wrong kind and a list without code are usage errors that say what there is."""
    wrong = ksmactors("list", "watchers", "mine.py:Moves", cwd=folder, status=2).stderr
    assert "Moves is not a subclass of ksmactors.watcher.Watcher; its watchers are: Merges" in wrong
    assert "only workloads, strategies" in ksmactors("list", "cases", "mine.py:Moves", cwd=folder, status=2).stderr
    assert "no class 'No'" in ksmactors("list", "events", "mine.py:No", cwd=folder, status=2).stderr


@pytest.mark.slow
def test_all_at_once_with_jobs_and_resume(folder: Path) -> None:
    """One process, two, and a campaign that is gone on with come to the same; its findings replay with trust only."""
    one = json.loads(ksmactors(*LINE, "--seeds", "6", "--jobs", "1", "--out", "one", cwd=folder, status=1).stdout)
    two = json.loads(ksmactors(*LINE, "--seeds", "6", "--jobs", "2", "--out", "two", cwd=folder, status=1).stdout)
    ksmactors(*LINE, "--seeds", "3", "--jobs", "2", "--out", "three", cwd=folder, status=1)
    resumed = [*LINE, "--seeds", "6", "--jobs", "2", "--out", "three", "--resume"]
    three = json.loads(ksmactors(*resumed, cwd=folder, status=1).stdout)

    assert one["digest"] == two["digest"] == three["digest"]
    (finding,) = one["findings"]
    assert finding["signature"].startswith("merges/there_are_two_merges@")
    assert [other["findings"][0]["count"] for other in (two, three)] == [finding["count"]] * 2

    refused = ksmactors("replay", finding["file"], cwd=folder, status=2).stderr
    assert "which would run the file" in refused
    assert refused.endswith(f"give --trust (trust=True from Python): ksmactors replay --trust {finding['file']}\n")
    content = json.loads((folder / finding["file"]).read_text())
    assert content["replay"].startswith("ksmactors replay --trust ")
    again = ksmactors(*content["replay"].split()[1:], "--json", cwd=folder, status=1)
    assert json.loads(again.stdout)["findings"][0]["signature"] == finding["signature"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "option", ["--with", *(pytest.param(one, marks=pytest.mark.nightly) for one in ("--watch", "--strategy"))]
)
def test_a_changed_file_is_no_campaign_to_go_on_with(folder: Path, option: str) -> None:
    """The store knows what each watcher, variant and strategy was, not only the workload."""
    spec = LINE[LINE.index(option) + 1]
    line = ("stress", "classic.lost", option, spec, "--seeds", "1", "--out", "out", "--quiet")
    ksmactors(*line, cwd=folder)
    ksmactors(*line, "--resume", cwd=folder)
    (folder / "mine.py").write_text(MINE.replace("Pages at", "The pages at"))

    refused = ksmactors(*line, "--resume", cwd=folder, status=2)

    assert "files had another content" in refused.stderr


@pytest.mark.slow
def test_a_module_names_them_too(folder: Path) -> None:
    """package.module:Class works for each kind."""
    package = folder / "mypackage"
    package.mkdir()
    (package / "__init__.py").touch()
    shutil.move(folder / "mine.py", package / "mine.py")
    line = [part.replace("mine.py", "mypackage.mine") for part in LINE]

    found = json.loads(ksmactors(*line, "--seeds", "2", "--jobs", "2", site=folder, cwd=folder, status=1).stdout)
    row = json.loads(ksmactors("list", "variants", "mypackage.mine:OddFirst", "--json", site=folder, cwd=folder).stdout)

    assert found["findings"][0]["signature"].startswith("merges/")
    assert row["origin"] == "mypackage.mine"
