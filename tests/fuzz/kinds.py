"""The kinds of files that are read: samples of each, how they are mutated, and what reads them.

A reader may refuse with an error of ksmactors, which is one line for the user. Whatever else it raises is a failure.
"""

from __future__ import annotations

import gzip
import json
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

import anyio

from ksmactors.analysis.reading import LogReader
from ksmactors.campaign.findings import slug
from ksmactors.campaign.stress import Campaign, Plan
from ksmactors.conformance.emulator import Setting, perform
from ksmactors.conformance.language import parse, read_scenario
from ksmactors.errors import USAGE
from ksmactors.estimate.reader import Reader, Request
from ksmactors.events.logs import open_log
from ksmactors.interleave.schedule_string import PREFIX, Schedule, decode, encode
from ksmactors.run.subject import make_subject
from tests.estimate.cores import Load, core
from tests.fuzz.commanding import Broken, performed
from tests.fuzz.hostile import TEXTS, deep, doubled_key, hostile_header
from tests.fuzz.kind import FORMS, Kind
from tests.fuzz.mutating import Change, mutated, mutated_json
from tests.fuzz.stores import Stores

STATE_FILES: Final = "exploration-*.json"

SCENARIOS: Final = Path(__file__).parents[1] / "conformance" / "scenarios"


def _strings() -> list[str]:
    """Schedules of small workloads, with and without a finding."""

    def played(workload: str, seed: int, **subject: Any) -> str:
        plan = Plan([make_subject(workload, **subject)], range(seed, seed + 1), "portfolio", keep=True)
        campaign = Campaign(plan)
        anyio.run(campaign.run, backend="trio")
        assert campaign.last is not None
        return campaign.last.schedule

    return [
        played("classic.lost", 1),
        played("classic.abba", 3),
        played("classic.twostage", 2),
        played("litmus.scan_meets_exit", 5, watch="shadow,naming", inject="trylock=1/4"),
    ]


class Schedules(Kind):
    """Schedule strings: damaged, or with another stream or header in a sound wrapping."""

    name = "schedules"

    @cached_property
    def samples(self) -> list[bytes]:
        return [string.encode() for string in _strings()]

    def mutant(self, sample: int, changes: Sequence[Change]) -> bytes:
        text = self.samples[sample % len(self.samples)].decode()
        way = changes[0][1] % 7
        if way == 0:
            return mutated(text.encode(), self.samples, changes)
        if way == 1:
            return _with_header(text, changes)
        if way in (4, 5, 6):
            return _with_hostile_header(text, changes, cut=way == 6)
        packed = urlsafe_b64decode(text[len(PREFIX) :] + "==")[4:]
        streams = [zlib.decompress(urlsafe_b64decode(one.decode()[len(PREFIX) :] + "==")[4:]) for one in self.samples]
        stream = mutated(zlib.decompress(packed), streams, changes)
        return _wrapped(zlib.compress(stream)) if way == 2 else _wrapped(mutated(packed, [packed], changes))

    def read(self, path: Path, data: bytes) -> bool:
        return performed(["replay", str(path), *FORMS[zlib.crc32(data) % len(FORMS)]]) != USAGE


def _with_header(text: str, changes: Sequence[Change]) -> bytes:
    schedule = decode(text)
    header = mutated_json(schedule.header, changes)
    try:
        return encode(Schedule(header, schedule.turns, schedule.draws, schedule.departures)).encode()
    except (ValueError, TypeError):  # no JSON, or no text: nobody can write it either
        return text.encode()


def _with_hostile_header(text: str, changes: Sequence[Change], *, cut: bool) -> bytes:
    """The string with another header, and without its choices if they are cut off."""
    schedule = decode(text)
    runs = [] if cut else schedule.runs
    other = Schedule(hostile_header(schedule.header, changes), None, schedule.draws, schedule.departures, runs=runs)
    return encode(other).encode()


def _wrapped(packed: bytes) -> bytes:
    return PREFIX.encode() + urlsafe_b64encode(zlib.crc32(packed).to_bytes(4, "big") + packed).rstrip(b"=")


class Findings(Schedules):
    """Finding files: damaged JSON, other values in it, a mutated schedule string in it."""

    name = "findings"

    @cached_property
    def samples(self) -> list[bytes]:
        for seed, workload in enumerate(("classic.lost", "classic.abba", "classic.twostage")):
            plan = Plan([make_subject(workload)], range(seed, seed + 40), "random", self.place)
            anyio.run(Campaign(plan).run, backend="trio")
        return [path.read_bytes() for path in sorted(self.place.glob("*.json"))]

    def mutant(self, sample: int, changes: Sequence[Change]) -> bytes:
        data = self.samples[sample % len(self.samples)]
        way, where, what = changes[0][1] % 6, changes[0][1] >> 8, changes[0][2]
        if way == 0:
            return mutated(data, self.samples, changes)
        content = json.loads(data)
        if way == 3:
            content["schedule"] = _with_hostile_header(content["schedule"], changes, cut=what % 2 == 0).decode()
            return json.dumps(content).encode()
        if way == 4:
            return doubled_key(data.decode(), where, what).encode()
        if way == 5:
            content[list(content)[where % len(content)]] = TEXTS[what % len(TEXTS)]
            text = json.dumps(content)
            return (text if where % 3 else text.replace('"x"', deep((500, 1500, 200_000)[what % 3]))).encode()
        if way == 1:
            return json.dumps(mutated_json(content, changes)).encode()
        content["schedule"] = _with_header(content["schedule"], changes).decode()
        return json.dumps(content).encode()


class Scenarios(Kind):
    """Scenario files; those that are small are performed as well."""

    name = "scenarios"

    @cached_property
    def samples(self) -> list[bytes]:
        files = sorted(SCENARIOS.glob("*.txt"), key=lambda path: path.stat().st_size)
        return [path.read_bytes() for path in files[:40]]

    def read(self, path: Path, data: bytes) -> bool:
        scenario = read_scenario(path)
        operations = list(scenario.operations)
        numbers = [one.number for one in operations if one.name != "requires"]
        if len(operations) < 60 and max(numbers, default=0) <= 64 and zlib.crc32(data) % 8 == 0:
            performed = anyio.run(partial(perform, scenario, Setting()), backend="trio")
            if performed.failure is not None and getattr(performed.failure, "exit_status", 3) == 3:
                raise Broken(str(performed.failure)) from performed.failure
        parse(data.decode("utf-8", "replace"))
        return zlib.crc32(data) % 64 != 0 or performed(["conform", str(path), "-q"]) != USAGE


class LogFiles(Kind):
    """Logs, packed or not; some are loaded and asked everything as well."""

    name = "logs"

    @cached_property
    def samples(self) -> list[bytes]:
        logs = []
        for number, (workload, seed) in enumerate((("classic.lost", 1), ("litmus.scan_meets_exit", 2))):
            path = self.place / f"{number}.ndjson"
            with open_log(str(path)) as log:
                plan = Plan([make_subject(workload)], range(seed, seed + 2), "random", log=log)
                anyio.run(Campaign(plan).run, backend="trio")
            lines = path.read_bytes().splitlines(keepends=True)
            logs.append(b"".join([*lines[:20], *lines[-5:]]))
        import zstandard

        return [*logs, gzip.compress(logs[1]), zstandard.compress(logs[1])]

    def mutant(self, sample: int, changes: Sequence[Change]) -> bytes:
        data = super().mutant(sample, changes)
        if changes[0][1] % 5 == 0:  # damage within a sound wrapping
            return gzip.compress(mutated(self.samples[sample % 2], self.samples, changes))
        return data

    def read(self, path: Path, data: bytes) -> bool:
        for _ in (reader := LogReader(str(path))).events():
            pass
        if reader.result()[0].events and zlib.crc32(data) % 32 == 0:
            form = FORMS[zlib.crc32(data) // 32 % len(FORMS)]
            return performed(["analyze", str(path), *form]) != USAGE
        return True


class Cores(Kind):
    """ELF cores of both classes and byte orders, and what is none after all."""

    name = "elf"

    @cached_property
    def samples(self) -> list[bytes]:
        loads = [Load(0x1000 * (1 + 8 * n), bytes([n]) * 4096 * 3, more=4096 * n) for n in range(3)]
        files = [(0x1000, 0x3000, 0, "/lib/x"), (0x9000, 0xA000, 1, "/lib/y")]
        return [
            core(loads, wide=wide, order=order, files=files, xnum=xnum)
            for wide, order, xnum in ((True, "<", False), (False, "<", False), (True, ">", False), (True, "<", True))
        ]

    def mutant(self, sample: int, changes: Sequence[Change]) -> bytes:
        data = self.samples[sample % len(self.samples)]
        head, rest = data[:1200], data[1200:]
        if changes[0][1] % 3:
            return mutated(head, self.samples, changes) + rest
        return mutated(data, self.samples, changes)

    def read(self, path: Path, data: bytes) -> bool:
        if zlib.crc32(data) % 32 == 0:
            return performed(["estimate", str(path), *FORMS[zlib.crc32(data) // 32 % len(FORMS)]]) != USAGE
        gathering = Reader(Request([str(path)], []), lambda *_: None)
        gathering.read()
        return True


class States(Kind):
    """States of explorations; those that are accepted go on for some schedules."""

    name = "states"

    @staticmethod
    def command(number: int, out: Path) -> list[str]:
        """What makes a state of a kind, and goes on with it with `--resume`."""
        workload, algorithm = (("classic.lost", "dpor"), ("classic.reorder_3", "bounded"), ("classic.abba", "dpor"))[
            number
        ]
        return ["explore", workload, "--algorithm", algorithm, "--out", str(out), "--max-schedules"]

    @cached_property
    def samples(self) -> list[bytes]:
        made = []
        for number in range(3):
            out = self.place / f"state{number}"
            performed([*self.command(number, out), "2"])
            (path,) = out.glob(STATE_FILES)
            made.append(path.read_bytes())
        return made

    def mutant(self, sample: int, changes: Sequence[Change]) -> bytes:
        data = self.samples[sample % len(self.samples)]
        way, where, what = changes[0][1] % 5, changes[0][1] >> 8, changes[0][2]
        if way == 0:
            return mutated(data, self.samples, changes)
        content = json.loads(data)
        if way == 1:
            key = ("search", "tally", "found", "again", "digests")[where % 5]
            content[key] = "HERE"
            return json.dumps(content).replace('"HERE"', deep((500, 1500, 200_000)[what % 3])).encode()
        part = ("search", "search", "tally", "found")[changes[0][2] % 4]
        if way == 2 and isinstance(content[part], dict):
            content[part] = "HERE"
            inside = doubled_key(json.dumps(json.loads(data)[part]), where, what)
            return json.dumps(content).replace('"HERE"', inside).encode()
        content[part] = mutated_json(content[part], changes)
        return json.dumps(content).encode()

    def read(self, path: Path, data: bytes) -> bool:
        for number in range(3):
            out = self.place / f"state{number}"
            workload = self.command(number, out)[1]
            if f'"{workload}"'.encode() in data or number == 2:
                break
        for old in out.iterdir():
            old.unlink()
        (out / f"exploration-{slug(workload)}.json").write_bytes(data)
        form = FORMS[zlib.crc32(data) % len(FORMS)]
        return performed([*self.command(number, out), "6", "--resume", *form]) != USAGE


KINDS: Final[dict[str, type[Kind]]] = {
    kind.name: kind for kind in (Schedules, Findings, Scenarios, LogFiles, Cores, States, Stores)
}
