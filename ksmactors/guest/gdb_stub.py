"""A client of qemu's gdb stub: the little of the remote protocol that holds need.

While the machine stands, memory and registers of the processor that stopped can be read and written.
"""

from __future__ import annotations

import re
import select
import socket
from pathlib import Path
from time import monotonic, sleep
from typing import Final, NamedTuple

from ksmactors.escaping import quoted

ANSWER_SECONDS: Final = 60
CONNECT_SECONDS: Final = 10

RDI: Final = 5
RSP: Final = 7
RIP: Final = 16
FLAGS: Final = 17
GENERAL: Final = 16
"""General registers; RIP and the flags follow them."""

GS_BASE: Final = slice(172, 180)
"""Where the base of GS is in a packet of registers: behind the flags, six segments and the base of FS."""


_STOPPED: Final = re.compile(r"T[0-9a-f]{2}thread:")


class StubError(Exception):
    """The stub does not answer, or refuses."""


class Registers(NamedTuple):
    """The 16 general registers in gdb's order (RAX, RBX, RCX, RDX, RSI, RDI, RBP, RSP, then by number), RIP, flags."""

    words: tuple[int, ...]
    gs_base: int

    @property
    def rsp(self) -> int:
        """The stack pointer."""
        return self.words[RSP]

    @property
    def rip(self) -> int:
        """The instruction that is next."""
        return self.words[RIP]

    @property
    def interrupts(self) -> bool:
        """Whether interrupts are on."""
        return bool(self.words[FLAGS] & 0x200)


class Stub:
    """A connection to a stub. Connecting stops the machine.

    Raises:
        StubError: there is no stub.
    """

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        until = monotonic() + CONNECT_SECONDS
        while True:
            try:
                self._socket.connect(str(path))
                break
            except OSError as error:
                if monotonic() > until:
                    raise StubError(f"qemu's gdb stub at {path}: {error.strerror}") from None
                sleep(0.05)
        self._received = b""
        self.running = False
        self.ask("qSupported:xmlRegisters=i386")
        self.ask("qXfer:features:read:target.xml:0,ffb")  # without it, single registers cannot be written

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def fileno(self) -> int:
        """The socket, for select."""
        return self._socket.fileno()

    # -- running and standing ---------------------------------------------------------------------------------------

    def go(self) -> None:
        """Let the machine run."""
        self._send("c")
        self.running = True

    def stop(self) -> bool:
        """Stop the machine: True if it came to a breakpoint meanwhile."""
        if not self.running:
            return False
        self._socket.sendall(b"\x03")
        return self.wait()

    def wait(self) -> bool:
        """Wait until the machine stands: True if it is at a breakpoint."""
        reply = self._packet(ANSWER_SECONDS)
        self.running = False
        thread = reply.partition("thread:")[2].partition(";")[0]
        if thread:
            self.ask(f"Hg{thread}")
        return reply.startswith("T05")

    def step(self) -> None:
        """Let the processor that stopped do one instruction."""
        self._send("s")
        self.running = True
        self.wait()

    # -- breakpoints, memory, registers -----------------------------------------------------------------------------

    def set_breakpoint(self, address: int) -> None:
        """Stop the machine whenever a processor comes to an instruction."""
        self._acknowledged(f"Z0,{address:x},1")

    def clear_breakpoint(self, address: int) -> None:
        """No longer stop there."""
        self._acknowledged(f"z0,{address:x},1")

    def read(self, address: int, size: int) -> bytes:
        """Return memory."""
        return self._bytes(f"m{address & (1 << 64) - 1:x},{size:x}")

    def number(self, address: int, size: int = 8, *, signed: bool = False) -> int:
        """Return a number in memory."""
        return int.from_bytes(self.read(address, size), "little", signed=signed)

    def write(self, address: int, value: int) -> None:
        """Write 8 bytes of memory."""
        self._acknowledged(f"M{address:x},8:{value.to_bytes(8, 'little').hex()}")

    def registers(self) -> Registers:
        """Return the registers of the processor that stopped."""
        data = self._bytes("g")
        words = [int.from_bytes(data[start : start + 8], "little") for start in range(0, 8 * (GENERAL + 1), 8)]
        flags = int.from_bytes(data[8 * (GENERAL + 1) :][:4], "little")
        return Registers((*words, flags), int.from_bytes(data[GS_BASE], "little"))

    def set_register(self, number: int, value: int) -> None:
        """Write a register of the processor that stopped."""
        size = 4 if number == FLAGS else 8
        self._acknowledged(f"P{number:x}={value.to_bytes(size, 'little').hex()}")

    def stopped(self) -> bool:
        """Whether the machine has reported that it stopped; to be asked when there is something to read."""
        self._receive()
        return self._whole()

    # -- packets ----------------------------------------------------------------------------------------------------

    def ask(self, text: str) -> str:
        """Send a packet and return the answer. Connecting stops the machine, which is reported in between."""
        self._send(text)
        while _STOPPED.match(answer := self._packet(ANSWER_SECONDS)):
            pass
        return answer

    def _bytes(self, text: str) -> bytes:
        answer = self.ask(text)
        try:
            return bytes.fromhex(answer)
        except ValueError:
            raise StubError(f"qemu's gdb stub answers {quoted(answer)} to {quoted(text)}") from None

    def _acknowledged(self, text: str) -> None:
        if (answer := self.ask(text)) != "OK":
            raise StubError(f"qemu's gdb stub answers {quoted(answer)} to {quoted(text)}")

    def _send(self, text: str) -> None:
        data = text.encode()
        self._socket.sendall(b"$" + data + b"#" + f"{sum(data) % 256:02x}".encode())

    def _packet(self, seconds: float) -> str:
        until = monotonic() + seconds
        while not self._whole():
            if not select.select([self._socket], [], [], max(until - monotonic(), 0))[0]:
                raise StubError(f"qemu's gdb stub says nothing for {seconds} seconds")
            self._receive()
        packet, _, rest = self._received[1:].partition(b"#")
        self._received = rest[2:]
        self._socket.sendall(b"+")
        return _plain(packet).decode("latin-1")

    def _whole(self) -> bool:
        """Whether a packet has been received; what is before it is an acknowledgement."""
        start = self._received.find(b"$")
        self._received = self._received[start:] if start >= 0 else b""
        end = self._received.find(b"#")
        return 0 < end <= len(self._received) - 3

    def _receive(self) -> None:
        data = self._socket.recv(1 << 16)
        if not data:
            raise StubError("qemu's gdb stub has gone")
        self._received += data


def _plain(packet: bytes) -> bytes:
    """Undo escapes and run-length encoding."""
    out = bytearray()
    position = 0
    while position < len(packet):
        byte = packet[position]
        if byte == 0x7D and position + 1 < len(packet):
            out.append(packet[position + 1] ^ 0x20)
            position += 2
        elif byte == 0x2A and out and position + 1 < len(packet):
            out += bytes([out[-1]]) * (packet[position + 1] - 29)
            position += 2
        else:
            out.append(byte)
            position += 1
    return bytes(out)
