"""The program that a guest runs: it performs scenarios on the guest's kernel, and sends their lines as they come.

Requests and answers are JSON objects, one a line, on standard input and output. A request has `scenario`, as the host
has parsed it, and the kernels' names of the `places` in it. Answers: `ready` with the machine's properties, or
`refused`; for each scenario any number of `line`, and of `ask` (a question about holds, which the host answers), then
`done` with what was `missing`, or `failed`.

Started on an emulated processor, where each module that is imported costs a tenth of a second, so it imports neither
the emulator nor the command line.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import sys
import traceback
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final

from ksmactors.conformance.language import Scenario
from ksmactors.errors import KsmActorsError
from ksmactors.guest.interleaved import InterleavedPerformer
from ksmactors.guest.own_machine import OwnMachine

PORTS: Final = {"virtme.stdin": (0, os.O_RDONLY), "virtme.stdout": (1, os.O_WRONLY)}
"""virtme-ng's ports to the host: what they become, and how they are opened."""

PORTS_SECONDS: Final = 60
"""How long the kernel may take to find them."""


def send(**answer: Any) -> None:
    """Send one answer. It has left the guest when this returns."""
    os.write(1, (json.dumps(answer) + "\n").encode())


def prepare() -> None:
    """Make the guest what recordings were made on: no NUMA balancing; and have the kernel's last words shown."""
    for path, value in (("/proc/sys/kernel/printk", "7"), ("/proc/sys/kernel/numa_balancing", "0")):
        with suppress(OSError):
            Path(path).write_text(value)


def ask(**question: Any) -> dict[str, Any]:
    """Ask the host, and return its answer."""
    send(**question)
    answer: dict[str, Any] = json.loads(sys.stdin.readline())
    return answer


def perform(live: OwnMachine, request: dict[str, Any]) -> None:
    """Perform a scenario."""
    scenario: Scenario = pickle.loads(base64.b64decode(request["scenario"]))
    live.interleaved = partial(InterleavedPerformer, ask=ask, places=request["places"])
    transcript = live.perform(scenario, lambda line: send(line=line))
    send(done=True, missing=transcript.missing)


def take_ports(ports: Path = Path("/sys/class/virtio-ports"), devices: Path = Path("/dev")) -> None:
    """Open the ports that lead to the host as standard input and output.

    virtme-ng does so by the names that udev gives them. Without udev, or before it has done so, virtme-ng uses the
    console, from which the host hears nothing. The kernel has the names, too.
    """
    until = monotonic() + PORTS_SECONDS
    while True:
        named = {(port / "name").read_text().strip(): port.name for port in ports.glob("*")}
        if named.keys() >= PORTS.keys():
            break
        if monotonic() > until:
            return
        sleep(0.1)
    for name, (fd, mode) in PORTS.items():
        port = os.open(devices / named[name], mode)
        os.dup2(port, fd)
        os.close(port)


def main(modules: str = "") -> None:
    """Serve requests until standard input is closed; `modules` is the directory of the kernel's modules, if any."""
    if os.isatty(0):
        take_ports()
    prepare()
    try:
        live = OwnMachine(Path(modules) if modules else None)
        live.ksm.settle()
    except KsmActorsError as refusal:
        send(refused=str(refusal))
        return
    send(ready=True, release=live.release, nodes=live.nodes, swap=live.swap, unreadable=live.pages.unreadable)
    while line := sys.stdin.readline():
        try:
            perform(live, json.loads(line))
        except KsmActorsError as error:
            send(failed=str(error))
        except Exception:
            traceback.print_exc()
            send(failed=traceback.format_exc().splitlines()[-1])
