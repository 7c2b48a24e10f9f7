"""Recordings: the results of a scenario on a kernel, as text; look-up and comparison.

Lines that start with `# kernel`, `# start` or `# log` describe the recording machine, not the results, and are not
compared. Lines that start with `=     ` show KSM's own structures; not every recording has them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Final

from ksmactors.conformance.transcript import UNMET
from ksmactors.errors import UsageError
from ksmactors.files import MIB, read_text

STRUCTURE: Final = "=     "
RECORDING_MAX: Final = 64 * MIB
"""Bytes of a recording."""

ABSOLUTE: Final[tuple[str, ...]] = ("# kernel", "# start", "# log")
VERSION: Final = re.compile(r"(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class Recording:
    """The lines of a recording, and its head: `kernel` as written there, `nodes` of the machine."""

    path: Path
    lines: tuple[str, ...]
    kernel: str
    nodes: int

    @property
    def kernel_name(self) -> str:
        """The emulated kernel of that version: 3.9.6 is `v3.9`; 3.10 did the same in every scenario."""
        if self.kernel.startswith("ksmactors "):
            return self.kernel.split()[1]
        version = VERSION.match(self.kernel)
        if version is None:
            raise UsageError(f"{self.path}: '# kernel {self.kernel}' names no version; choose one with --kernel")
        name = f"v{version[1]}.{version[2]}"
        return "v3.9" if name == "v3.10" else name

    def differences(self, performed: Sequence[str], *, performer: str) -> list[str]:
        """Return a unified diff from this recording to `performed` lines; empty if they are equal."""
        return differences(self.lines, performed, (str(self.path), performer))


def differences(
    expected: Sequence[str], performed: Sequence[str], names: tuple[str, str], *, live: bool = False
) -> list[str]:
    """Return a unified diff from expected to performed lines, under their names; empty if they are equal.

    KSM's own structures are compared where the expected lines have them; if a side is a `live` kernel, only if both
    sides have some, since not every kernel shows them. A live machine's number of nodes is left out, too: what a
    scenario needs it `requires`.
    """
    return list(unified_diff(*compared(expected, performed, live=live), *names, lineterm=""))


def compared(
    expected: Sequence[str], performed: Sequence[str], *, live: bool = False
) -> tuple[list[str], list[str]]:  # fmt: skip
    """Return the lines of both sides that are compared."""
    leave_out = ABSOLUTE
    if live:
        leave_out += ("# nodes",)
    shown = [any(line.startswith(STRUCTURE) for line in lines) for lines in (expected, performed)]
    if not shown[0] or (live and not shown[1]):
        leave_out += (STRUCTURE,)
    first, second = (
        [UNMET if line.startswith(UNMET) else line.rstrip() for line in lines if not line.startswith(leave_out)]
        for lines in (expected, performed)
    )
    return first, second


def read_recording(path: Path) -> Recording:
    """Read a recording.

    Raises:
        UsageError: it cannot be read, or is not a recording.
    """
    lines = tuple(read_text(path, RECORDING_MAX, "recording").splitlines())
    kernel, nodes = _head(lines, "# kernel "), _head(lines, "# nodes ")
    if kernel is None or nodes is None or not re.fullmatch("[0-9]{1,4}", nodes):
        raise UsageError(
            f"{path}: not a recording: it has no lines '# kernel ...' and '# nodes N'; "
            "conform without --against writes one"
        )
    return Recording(path, lines, kernel, int(nodes))


def _head(lines: Sequence[str], key: str) -> str | None:
    return next((line.removeprefix(key).strip() for line in lines if line.startswith(key)), None)


def scenario_files(paths: Sequence[Path]) -> list[Path]:
    """Return the scenario files that were named: a directory stands for its *.txt, in the order of their names.

    Raises:
        UsageError: a path does not exist, or a directory has none.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(path.glob("*.txt"))
            if not inside:
                raise UsageError(f"{path}: has no scenario; scenarios are files named NAME.txt")
            files += inside
        elif path.exists():
            files.append(path)
        else:
            raise UsageError(f"{path}: no such file or directory; name a scenario (NAME.txt) or a directory of them")
    return files


def recording_for(scenario: Path, against: Path) -> Path | None:
    """Return the recording of a scenario: `against` itself, or NAME.out in it; None if that directory has none.

    Raises:
        UsageError: `against` does not exist.
    """
    if against.is_dir():
        path = against / f"{scenario.stem}.out"
        return path if path.exists() else None
    if not against.exists():
        raise UsageError(f"{against}: no such file or directory; name a recording (NAME.out) or a directory of them")
    return against
