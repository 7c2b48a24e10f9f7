"""Packages with plug-ins, as an installer leaves them: a folder with modules and their metadata."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from tempfile import TemporaryFile

from tests.helpers.ready import run_ready

ROOT = Path(__file__).parents[2]


def install(site: Path, package: str, source: str, *, version: str = "1.2", **entries: str) -> None:
    """Put a package of one module, `PACKAGE_module`, into a folder.

    Args:
        site: the folder.
        package: its name.
        source: the module.
        version: its version.
        entries: for a group (`workloads`), the lines of its entry points: `NAME = CLASS`.
    """
    site.mkdir(exist_ok=True)
    (site / f"{package}_module.py").write_text(source)
    info = site / f"{package}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    lines = []
    for group, names in entries.items():
        lines.append(f"[ksmactors.{group}]")
        for line in names.splitlines():
            name, _, cls = line.partition(" = ")
            lines.append(f"{name} = {package}_module:{cls}")
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def ksmactors(*line: str, site: Path | None = None, cwd: Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command with the packages of a folder installed; its exit status is checked."""
    path = [str(ROOT), *([str(site)] if site is not None else [])]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path), "XDG_STATE_HOME": str(cwd / "state"), "NO_COLOR": "1",
    }  # fmt: skip
    with Path(os.devnull).open("rb") as nothing, TemporaryFile() as stdout, TemporaryFile() as stderr:
        files = [stream.fileno() for stream in (nothing, stdout, stderr)]
        returned = run_ready(*line, files=files, cwd=cwd, environment=environment)()
        texts = [os.pread(fd, os.fstat(fd).st_size, 0).decode() for fd in files[1:]]
    done = subprocess.CompletedProcess(line, returned, *texts)
    assert done.returncode == status, f"{line}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done
