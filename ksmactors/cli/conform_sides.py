"""The two sides of a comparison: what `ksmactors conform` performs, on what, and what it is compared with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

from ksmactors.cli.outputs import Input
from ksmactors.cli.screen import echo
from ksmactors.conformance.compare import MEMORY_WATCHERS, Side, is_memory_error
from ksmactors.conformance.emulator import Setting, perform
from ksmactors.conformance.fuzz import Hunt
from ksmactors.conformance.generate import generate
from ksmactors.conformance.generate_holds import generate_with_holds
from ksmactors.conformance.language import Scenario, read_scenario
from ksmactors.conformance.live import Live, has_swap
from ksmactors.conformance.recording import Recording, read_recording, recording_for, scenario_files
from ksmactors.conformance.shrink import TRIES_MAX
from ksmactors.conformance.transcript import Transcript
from ksmactors.errors import UsageError
from ksmactors.guest.machine import Guest
from ksmactors.kernels import KERNELS, kernel_class
from ksmactors.plugins import file_of
from ksmactors.quantity import quantity
from ksmactors.watch import WATCHERS

DEFAULT_KERNEL: Final = "series"
DEFAULT_NODES: Final = 2

FIRST_LIVE: Final = (4, 20)
"""ksmd can be single-stepped since v4.20; a running kernel is never compared with an older one."""


OLDEST_LIVE: Final = "v6.1"
"""The emulated kernel that is nearest to a running one that is older than all of them."""


GUEST_TRIES_MAX: Final = 60
"""Tries to make a scenario shorter on an emulated processor, where each takes some seconds."""


RealKernel: TypeAlias = Live | Guest
"""This machine, or a virtual one."""


@dataclass(frozen=True, slots=True)
class Job:
    """A scenario to be performed, and what it is compared with; `not_run` says why it is not performed."""

    scenario: Scenario
    setting: Setting
    expected: Side | None
    performed: Side
    not_run: str = ""


def _emulator(setting: Setting) -> Side:
    return Side(setting.label, lambda scenario: perform(scenario, setting))


def _real_kernel(machine: RealKernel) -> Side:
    return _guest(machine) if isinstance(machine, Guest) else _this_machine(machine)


def _this_machine(live: Live) -> Side:
    """The running kernel. Each scenario is first performed on the emulator as that kernel; one that ends in a memory
    error there is refused, since it may crash or corrupt the machine."""
    watchers = tuple(name for name in WATCHERS if name in MEMORY_WATCHERS)
    guard = Setting(_kernel_like(live) or OLDEST_LIVE, live.nodes, watchers=watchers)

    async def performed(scenario: Scenario) -> Transcript:
        if not live.lacks(scenario):
            failure = (await perform(scenario, guard)).failure
            if is_memory_error(failure):
                reason = f"is refused on this machine: {guard.kernel} ends in a memory error on the emulator: {failure}"
                return Transcript(scenario, (), missing=reason)
        return live.perform(scenario)

    return Side(f"Linux {live.release}", performed, live=True)


def _guest(guest: Guest) -> Side:
    """A kernel in a virtual machine, which may crash."""

    async def performed(scenario: Scenario) -> Transcript:
        return guest.perform(scenario)

    return Side(f"Linux {guest.release} (guest)", performed, live=True)


def _recorded(recording: Recording) -> Side:
    async def performed(scenario: Scenario) -> Transcript:
        return Transcript(scenario, recording.lines)

    return Side(str(recording.path), performed)


def planned_jobs(files: Sequence[Path], against: Path | None, asked: Setting, real: RealKernel | None) -> Iterator[Job]:
    """Read all that is needed, so that what is wrong with any of it is said before anything is run."""
    if against is not None and not against.is_dir() and len(files) > 1:
        raise UsageError(
            f"{against} is one recording, but there are {quantity(len(files), 'scenario')}; "
            "name a directory of recordings"
        )
    recordings = [None if against is None else recording_for(file, against) for file in files]
    if against is not None and not any(recordings):
        raise UsageError(f"{against}: no recording of any of these scenarios in it, such as {files[0].stem}.out")
    machine = None if real is None else _real_kernel(real)
    for file, path in zip(files, recordings, strict=True):
        scenario = read_scenario(file)
        recording = None if path is None else read_recording(path)
        setting = asked if machine is not None else setting_for(asked, recording)
        expected = _recorded(recording) if recording is not None else machine
        performed = machine if machine is not None and against is not None else _emulator(setting)
        missing = against is not None and recording is None
        not_run = f"has no recording {against / scenario.name}.out" if against is not None and missing else ""
        yield Job(scenario, setting, expected, performed, not_run)


def read_by(
    scenarios: Sequence[Path], against: Path | None, guest: Path | None, variants: Sequence[str]
) -> Iterator[Input]:
    """Yield the files that a comparison reads."""
    for file in scenario_files(scenarios):
        yield file, "a scenario that is performed"
        recording = None if against is None else recording_for(file, against)
        if recording is not None:
            yield recording, "a recording that is compared"
    if guest is not None:
        yield guest, "the kernel of the guest"
    for path in filter(None, map(file_of, variants)):
        yield path, "the code of a variant"


def like_machine(live: RealKernel, asked: Setting, against: Path | None) -> Setting:
    """What is emulated beside a real kernel; with recordings nothing is, and it is the machine itself."""
    if against is not None:
        return Setting(live.release, live.nodes)
    kernel = asked.kernel or _kernel_like(live)
    if not kernel:
        raise UsageError(
            f"{_named(live)} is {live.release}, and no kernel that is emulated is near it; "
            f"choose one of {', '.join(KERNELS)} with --kernel"
        )
    if not asked.kernel and _version_of(kernel) != live.version:
        echo(
            f"ksmactors: Linux {live.release} is compared with {kernel}, the nearest older kernel that is emulated; "
            "--kernel takes another",
            err=True,
        )
    kernel_class(kernel=kernel, without=asked.without, with_=asked.with_)  # what is wrong is said before it starts
    return replace(asked, kernel=kernel, nodes=live.nodes)


def _named(machine: RealKernel) -> str:
    return "--guest: the guest's kernel" if isinstance(machine, Guest) else "--live: the running kernel"


def setting_for(asked: Setting, recording: Recording | None) -> Setting:
    """What was asked for; where nothing was, what the recording says."""
    kernel, nodes = asked.kernel, asked.nodes
    if recording is None:
        return replace(asked, kernel=kernel or DEFAULT_KERNEL, nodes=nodes or DEFAULT_NODES)
    kernel = kernel or recording.kernel_name
    if not asked.kernel and kernel not in KERNELS:
        raise UsageError(
            f"{recording.path}: recorded on {recording.kernel}, and {kernel} is not emulated; "
            f"choose one of {', '.join(KERNELS)} with --kernel"
        )
    return replace(asked, kernel=kernel, nodes=nodes or recording.nodes)


def _kernel_like(live: RealKernel) -> str:
    """The emulated kernel that the running one is compared with: the same, or the nearest older one; empty if all are
    newer."""
    older = [name for name in KERNELS if FIRST_LIVE <= (_version_of(name) or (0, 0)) <= live.version]
    return max(older, key=lambda name: _version_of(name) or (0, 0), default="")


def _version_of(kernel: str) -> tuple[int, int] | None:
    """Major and minor number of an emulated kernel; None for one that is no release."""
    found = re.fullmatch(r"v(\d+)\.(\d+)", kernel)
    return None if found is None else (int(found[1]), int(found[2]))


def hunt_for(setting: Setting, live: RealKernel | None, seed: int, out: Path, *, holds: bool) -> Hunt:
    """Return the random scenarios that were asked for, with `holds` in them or without, and the two sides.

    Memory fails in them, but never that of this machine.
    """
    failures = live is None or isinstance(live, Guest)
    scenarios = partial(generate_with_holds if holds else generate, failures=failures)
    if live is not None:
        swap, word = (live.swap, "guest") if isinstance(live, Guest) else (has_swap(), "live")
        sides = (_real_kernel(live), _emulator(setting))
        tries = GUEST_TRIES_MAX if isinstance(live, Guest) and not live.kvm else TRIES_MAX
        return Hunt(
            *sides, setting.nodes, seed, out, (word, "emulated"), tries=tries, swap=swap, generate=scenarios
        )  # fmt: skip
    walking = _emulator(replace(setting, walking=True))
    return Hunt(_emulator(setting), walking, setting.nodes, seed, out, ("index", "walking"), generate=scenarios)
