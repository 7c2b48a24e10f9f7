"""Campaigns on a Dask cluster: what comes out is what one process gives, and what differs there is said."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from ksmactors.campaign import dask_client, shipping
from ksmactors.campaign.dask_client import cluster_at
from ksmactors.campaign.driving import Drive
from ksmactors.campaign.executors import WorkerLost
from ksmactors.campaign.store_files import open_to_read
from ksmactors.campaign.stress import Plan
from ksmactors.campaign.summary import Summary
from ksmactors.campaign.worker_pool import ATTEMPTS, shared_work_of, workers_of
from ksmactors.campaign.workers import SharedWork
from ksmactors.cli import main
from ksmactors.errors import UsageError
from ksmactors.run.subject import Subject, make_subject
from tests.helpers.children import descendants_of, started, wait_until, wait_until_gone

pytest.importorskip("distributed", reason="the extra [dask] is not installed")

import trio

PROGRAMS = Path(__file__).with_name("programs.py")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of this machine with two workers. What Dask sets for them, as PYTHONHASHSEED, does not stay here."""
    before = set(os.environ)
    dask_client._silence()
    with dask_client._local_cluster(2) as cluster:
        assert set(os.environ) > before
        yield cluster.scheduler_address
    assert set(os.environ) == before


def run(address: str, plan: Plan, during: Callable[[Drive], None] = lambda _: None) -> Summary:
    """Run a campaign on a cluster; `during` is called after its first schedule."""
    with cluster_at(address, 2) as cluster:
        workers = workers_of(plan, 2, executor=cluster)
        assert workers is not None
        assert list(cluster.check(workers.shared)) == []
        drive = Drive(plan, workers=workers)
        said = iter([during])
        drive.campaign.on_schedule = lambda _: next(said, lambda _: None)(drive)
        trio.run(drive.run)
        workers.close()
    assert drive.seeds_left == ""
    return drive.tally


def alone(plan: Plan) -> Summary:
    """Run a campaign in this process."""
    drive = Drive(plan)
    trio.run(drive.run)
    return drive.tally


def sums(tally: Summary) -> dict[str, Any]:
    """What a campaign says."""
    return tally.as_json() | {"unseen": tally.unseen, "locks": list(tally.locks.edges.values())}


def subject_in(directory: Path, source: str, name: str, **given: Any) -> Subject:
    """A workload in a file."""
    file = directory / "sent.py"
    file.write_text(source)
    return make_subject(f"{file}:{name}", **given)


def below(pid: int) -> list[tuple[int, int]]:
    """The processes that a process has started, and those that these have: each with its parent."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # it has ended meanwhile
            for child in map(int, (task / "children").read_text().split()):
                found += [(child, pid), *below(child)]
    return found


SENT = """
from ksmactors.parameters import FilePath
from ksmactors.workload import Host, Workload

class Sent(Workload):
    "reads a file, takes a lock twice with some seeds, and raises nothing"
    file = FilePath(None, "some text")
    async def run(self, host: Host) -> None:
        text = self.file.read_text() if self.file else ""
        for name in text.split():
            host.process(name).spawn(self.live, host)
    async def live(self, process, host: Host) -> None:
        region = await process.map(1)
        await process.write(region, 0, 1 + host.draw("content", 2))
"""


def test_sums_are_those_of_one_process_without_its_files(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code and a parameter's file are sent: the sums are equal although the workers cannot read either."""
    (tmp_path / "names.txt").write_text("A B C")
    sent = subject_in(tmp_path, SENT, "Sent", params={"file": str(tmp_path / "names.txt")})
    plan = Plan([sent, make_subject("classic.abba"), make_subject(f"{PROGRAMS}:Deadlock")], range(3, 36), "portfolio")
    expected = sums(alone(plan))

    def packed_away(shared: SharedWork) -> shipping.Shipment:
        shipment = shipping.shipment_of(shared)
        for path in ("names.txt", "sent.py"):
            (tmp_path / path).unlink()
        return shipment

    monkeypatch.setattr(dask_client, "shipment_of", packed_away)
    tally = run(address, plan)
    assert sums(tally) == expected
    assert tally.found


@pytest.mark.nightly
def test_lost_workers_cost_nothing(address: str, tmp_path: Path) -> None:
    """A Dask worker that is killed in a campaign, and a process that runs blocks: both are made good for."""
    plan = Plan([make_subject(f"{PROGRAMS}:Quiet")], range(160), "random")
    expected = sums(alone(plan))

    def kill(_: Drive) -> None:
        ours = below(os.getpid())
        blocks = [pair for pair in ours if b"anyio.to_process" in Path(f"/proc/{pair[0]}/cmdline").read_bytes()]
        (one, _), (_, dask_worker) = blocks[0], blocks[-1]
        assert dask_worker != os.getpid()
        for pid in (one, dask_worker):
            os.kill(pid, signal.SIGKILL)

    assert sums(run(address, plan, kill)) == expected


KILLING = 34
"""The first seed whose draw kills."""

KILLER = """
import os, signal
from ksmactors.workload import Host, Workload

class Killer(Workload):
    "kills its process with a draw of 7, unless that is the first process of the campaign"
    async def run(self, host: Host) -> None:
        if host.draw("kill", 40) == 7 and os.getpid() != {parent}:
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.nightly
def test_what_kills_its_process_is_a_finding(address: str, tmp_path: Path) -> None:
    """Its block is run again, then its seeds one by one, as on this machine; no Dask worker is lost by it."""
    plan = Plan(
        [subject_in(tmp_path, KILLER.format(parent=os.getpid()), "Killer")], range(KILLING - 2, KILLING + 3), "random"
    )
    tally = run(address, plan)
    (found,) = tally.found.values()
    assert (found.defect.kind, found.outcome.seed, tally.schedules) == ("worker_died", KILLING, 5)


def test_a_plugin_that_a_worker_does_not_have(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker is named, and what to install there, before any schedule."""
    plan = Plan([make_subject("exit_race")], range(40), "random")
    ours = shipping.shipment_of
    monkeypatch.setattr(
        dask_client, "shipment_of", lambda shared: replace(ours(shared), origins={"watcher acme": "acme 1.0"})
    )
    with pytest.raises(UsageError, match=r"the worker tcp://.* does not have the plug-in watcher acme of acme 1.0"):
        run(address, plan)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ksmactors": "9.9"}, "has ksmactors .*, not 9.9"),
        ({"source": "0"}, "has another state of ksmactors"),
        ({"hashes": {"watchers json:W": "0"}}, "has other code for the watcher json:W"),
        ({"hashes": {"watchers acme:W": "0"}}, "does not have the code of the watcher acme:W"),
    ],
)
def test_what_differs_on_a_worker_is_said(change: dict[str, Any], said: str) -> None:
    """Another version, another source, a package that is missing or has other code: each is named."""
    shared = shared_work_of(Plan([make_subject("exit_race")], range(40), "random"))
    shipment = shipping.shipment_of(shared)
    shipping.refuse_difference(shipment, shared.headers, shared.strategy)
    with pytest.raises(UsageError, match=said):
        shipping.refuse_difference(replace(shipment, **change), shared.headers, shared.strategy)


def test_a_plugin_of_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """The versions of a plug-in on both machines are said; one that only the worker has counts, too."""
    shared = shared_work_of(Plan([make_subject("exit_race")], range(40), "random"))
    shipment = shipping.shipment_of(shared)
    monkeypatch.setattr(shipping, "packages_of", lambda _: {"watcher acme": "acme 1.1"})
    for here, said in ({"watcher acme": "acme 1.0"}, "acme 1.1, not of acme 1.0"), ({}, "acme 1.1, not of ksmactors"):
        with pytest.raises(UsageError, match=f"has the watcher acme of {said}"):
            shipping.refuse_difference(replace(shipment, origins=here), shared.headers, shared.strategy)


def test_a_log_of_a_cluster(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line with a log: events come back, in order, byte for byte those of one process; nothing of Dask's
    is printed."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    line = ["stress", f"{PROGRAMS}:Quiet", "--seeds", "25", "-q", "--log"]
    assert main([*line, str(tmp_path / "one"), "--jobs", "1"]) == 0
    assert main([*line, str(tmp_path / "two"), "--dask", address]) == 0
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_code_that_a_worker_cannot_load(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that is only on this machine is named before any schedule, with the worker."""
    (tmp_path / "only_here.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    plan = Plan([subject_in(tmp_path, f"import only_here\n{SENT}", "Sent")], range(40), "random")
    with cluster_at(address, 2) as cluster:
        workers = workers_of(plan, 2, executor=cluster)
        assert workers is not None
        lines = cluster.check(workers.shared)
        assert "not only_here beside it" in next(lines)
        with pytest.raises(UsageError, match=r"the worker tcp://.* cannot run this: .*No module named 'only_here'"):
            list(lines)


def test_modules_beside_a_file_are_not_sent(tmp_path: Path) -> None:
    """What a workload file imports from beside it is named before the campaign begins."""
    (tmp_path / "helper.py").write_text("x = 1\n")
    source = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport helper\n{SENT}"
    try:
        plan = Plan([subject_in(tmp_path, source, "Sent")], range(40), "random")
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("helper", None)
    (line,) = shipping.not_sent(shipping.shipment_of(shared_work_of(plan)))
    assert "not helper beside it" in line


def test_what_dask_says_about_a_block() -> None:
    """A block that has killed workers is not given to more; a missing package, and a lost cluster, are said."""
    from distributed import KilledWorker

    cluster = dask_client.DaskCluster("tcp://there:1", None)
    with pytest.raises(WorkerLost) as lost:
        cluster._failure(KilledWorker("block", None, 3))
    assert lost.value.times >= ATTEMPTS
    missing = cluster._failure(ModuleNotFoundError("No module named 'ksmactors'"))
    assert "a worker has no ksmactors; install it there" in str(missing)
    gone = cluster._failure(OSError("closed"))
    assert isinstance(gone, dask_client.ClusterLost)
    assert gone.exit_status == 4
    assert "--resume" in str(gone)


@pytest.mark.parametrize("text", ["", "nowhere", "http://x:80", "a b:1", "tcp://:1", "x:y", "LOCAL"])
def test_an_address_that_is_none(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A text that can be no address is refused at once."""
    assert main(["stress", "classic.abba", "--seeds", "5", "-q", "--dask", text]) == 2
    assert "--dask must be local or the address" in capsys.readouterr().err


@pytest.mark.parametrize("answer", [None, b"", b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_an_address_nobody_answers(
    answer: bytes | None, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No scheduler there, one that says nothing, or something else: one line, soon, and exit status 2."""
    monkeypatch.setattr(dask_client, "CONNECT_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if answer is None:
            server.close()
        elif answer:
            threading.Thread(target=_answer, args=(server, answer), daemon=True).start()
        assert main(["stress", "classic.abba", "--seeds", "5", "-q", "--dask", f"127.0.0.1:{port}"]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "no Dask scheduler has answered there" in line


def _answer(server: socket.socket, answer: bytes) -> None:
    """Answer every connection with the same bytes, until the server is closed."""
    while True:
        try:
            connection, _ = server.accept()
            connection.sendall(answer)
            connection.close()
        except OSError:
            return


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without Dask, one line says what to install."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main(["stress", "classic.abba", "--seeds", "5", "-q", "--dask", "local"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install 'ksmactors[dask]'" in line


def test_jobs_are_about_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    """`--jobs` says nothing about a cluster elsewhere, and a strategy that writes a file cannot run there."""
    assert main(["stress", "classic.abba", "--dask", "127.0.0.1:8786", "--jobs", "2"]) == 2
    assert "--jobs is about this machine" in capsys.readouterr().err
    assert main(["stress", "classic.abba", "--dask", "local", "--strategy", "recording:to=x,of=random"]) == 2
    assert "writes to" in capsys.readouterr().err


def test_ctrl_c_leaves_a_store_to_go_on_with(tmp_path: Path) -> None:
    """Ctrl-C of `--dask local` prints the summary and nothing of Dask's, and ends all processes; `--resume` goes on."""
    line = ["stress", f"{PROGRAMS}:Quiet", "--seeds", "100000", "--out", str(tmp_path / "out"), "--json"]
    with started([*line, "--dask", "local", "--jobs", "1"], tmp_path) as process:
        workers = descendants_of(process.pid, 1)
        wait_until(lambda: "\n" in process.read(1))
        assert process.read(1).startswith("stress ")
        wait_until_done(tmp_path / "out", 1)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    said = orjson.loads(out)
    assert said["seeds_left"]
    assert [text for text in err.splitlines()[1:] if not text.startswith("ksmactors: interrupted")] == []
    assert wait_until_gone(workers) == []


def wait_until_done(out: Path, blocks: int) -> None:
    """Wait until a campaign has stored so many blocks."""
    while True:
        with open_to_read(out) as store:
            if len(store.stored()) >= blocks:
                return
        time.sleep(0.05)
