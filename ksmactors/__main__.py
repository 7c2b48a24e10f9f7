"""`python -m ksmactors` is the same as `ksmactors`.

Nothing but this, `interruption` and `bytecode` is imported before interruptions are taken care of.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Final

from ksmactors import interruption
from ksmactors.bytecode import damaged_bytecode

_STREAMS: Final = (("stdin", "r", os.O_WRONLY), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_WRONLY))

_INTERNAL: Final = 3
"""`errors.INTERNAL`, which may not be there yet."""


def main() -> int:
    """Run the command line of this process and return its exit status."""
    interruption.before_work()
    _replace_closed_streams()
    try:
        from ksmactors.garbage import collect_no_more, collect_seldom

        collect_seldom()  # what is imported now is no garbage either
        from ksmactors.cli import main as run_command
    except Exception as error:
        if damaged := damaged_bytecode(error):
            sys.stderr.write(f"ksmactors: {damaged}\n")
            return _INTERNAL
        raise
    collect_seldom()
    status = run_command()
    interruption.over()
    if status == interruption.STATUS:
        _leave_at_once()
    collect_no_more()
    return status


def _leave_at_once() -> None:
    """End an interrupted process here: where C code ran Python that was interrupted, the interpreter would end with
    SIGINT, and not with our status."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(interruption.STATUS)


def _replace_closed_streams() -> None:
    """Open what the parent has closed: else a log would be opened as standard output, and None has no `write`.

    Reading the new standard input and writing the new standard output fail, as they would on a closed descriptor.
    """
    for fd, (name, mode, flags) in enumerate(_STREAMS):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, flags)
            if opened != fd:
                os.dup2(opened, fd)
                os.close(opened)
            setattr(sys, name, open(fd, mode, closefd=False))  # noqa: SIM115  # a descriptor, for good


if __name__ == "__main__":
    sys.exit(main())
