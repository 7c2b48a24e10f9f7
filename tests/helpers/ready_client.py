"""`python -I -S ready_client.py SOCKET WORDS...`: run `ksmactors WORDS...` in a fork of a server that has imported it.

What the command reads, writes and inherits is this process's: standard streams, directory, environment, ignored
signals. SIGINT, SIGTERM and SIGHUP are passed on, and this process ends as the command does. It imports next to
nothing, so it costs some milliseconds. If the environment would change the interpreter itself, it becomes the real
command.
"""

from __future__ import annotations

import _signal
import _socket
import marshal
import os
import sys


def main() -> None:
    """Have the command run, and end as it does."""
    path, *words = sys.argv[1:]
    passed_on = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP)
    ignored = [int(number) for number in passed_on if _signal.getsignal(number) is _signal.SIG_IGN]
    request = marshal.dumps((words, os.getcwdb(), dict(os.environb), ignored, False))  # noqa: PTH109  # pathlib costs more than all the rest
    server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    server.connect(path)
    streams = b"".join(fd.to_bytes(4, sys.byteorder) for fd in range(3))
    server.sendmsg([len(request).to_bytes(8, "big")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
    server.sendall(request)
    pid = int.from_bytes(server.recv(8, _socket.MSG_WAITALL), "big")
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-m", "ksmactors", *words])
    for number in passed_on:
        if number not in ignored:
            _signal.signal(number, lambda number, _frame: os.kill(pid, number))
    status = os.waitstatus_to_exitcode(int.from_bytes(server.recv(8, _socket.MSG_WAITALL), "big"))
    if status < 0:
        if -status != _signal.SIGKILL:
            _signal.signal(-status, _signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


main()
