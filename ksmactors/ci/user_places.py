"""Where in the user's repository a finding belongs: the line of a workload or a variant, or the class of one."""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ksmactors import plugins
from ksmactors.campaign.summary import Found
from ksmactors.ci.checks import Check
from ksmactors.errors import ScheduleFormatError, UsageError
from ksmactors.files import read_text
from ksmactors.interleave.schedule_string import header_of
from ksmactors.plugins import SOURCE_MAX
from ksmactors.run.header import checked_header

_LINE: Final = re.compile(r"(?P<path>.+):(?P<line>[1-9][0-9]{0,8})", re.DOTALL)
"""A place in a finding."""


@dataclass(frozen=True, slots=True)
class UserPlace:
    """A line of a file in a repository; `path` is relative to the repository's root, with slashes."""

    path: str
    line: int


@dataclass(frozen=True, slots=True)
class Workspace:
    """The user's repository. `root` is absolute; `workflow` the path of the workflow that runs, if one does."""

    root: Path
    workflow: str = ""

    @classmethod
    def here(cls, environment: Mapping[str, str] = os.environ) -> Workspace:
        """The repository that GitHub has checked out, else the one around the current folder, else this folder."""
        given = environment.get("GITHUB_WORKSPACE", "")
        here = Path.cwd()
        if Path(given).is_absolute():
            root = Path(given)
        else:
            root = next((one for one in (here, *here.parents) if (one / ".git").exists()), here)
        return cls(Path(os.path.realpath(root)), _workflow(environment.get("GITHUB_WORKFLOW_REF", "")))

    def place_of(self, found: Found) -> UserPlace | None:
        """Return where a finding belongs: the innermost line of the user's code in the actor that met it, else the
        class of the user's variant, else that of the workload. None if none of them is in the repository."""
        line = _LINE.fullmatch(found.defect.place)
        inside = self.at(Path(line["path"]), int(line["line"])) if line is not None else None
        return inside or next((place for place in self._classes(found) if place is not None), None)

    def place_of_check(self, check: Check) -> UserPlace | None:
        """Return where a check belongs: its finding, else the file that was checked. None if it is in no file of the
        repository."""
        place = self.place_of(check.found) if check.found is not None else None
        return place or (self.at(check.file, 1) if check.file is not None else None)

    def fallback(self, found: Found) -> UserPlace | None:
        """Return a file of the repository that stands for a finding that has no place in it: its finding file, or the
        workflow that runs. GitHub shows no result without one."""
        if found.file is not None and (place := self.at(found.file, 1)) is not None:
            return place
        return UserPlace(self.workflow, 1) if self.workflow else None

    def at(self, path: Path, line: int) -> UserPlace | None:
        """Return a line of a file, or None if that is not in the repository."""
        try:
            real = Path(os.path.realpath(path))
            if not real.is_relative_to(self.root) or not real.is_file():
                return None
        except (OSError, ValueError):  # a name that is too long, or has a NUL
            return None
        return UserPlace(real.relative_to(self.root).as_posix(), line)

    def _classes(self, found: Found) -> Iterator[UserPlace | None]:
        """Yield the places of the classes that a finding was met with, the variants' first."""
        try:
            header = checked_header(header_of(found.outcome.schedule))
            specs = [*(("variants", name) for name in reversed(header.with_)), ("workloads", header.workload)]
        except ScheduleFormatError:
            specs = [("workloads", found.outcome.workload)]
        for group, spec in specs:
            path, name = _source_of(group, spec)
            if path is not None and self.at(path, 1) is not None:
                yield self.at(path, _line_of_class(path, name))


def _workflow(reference: str) -> str:
    """The path of a workflow, of `owner/repository/PATH@reference`."""
    parts = reference.partition("@")[0].split("/", 2)
    path = parts[2] if len(parts) == _OWNER_REPOSITORY_PATH else ""
    return path if path and ".." not in path.split("/") else ""


_OWNER_REPOSITORY_PATH: Final = 3


def _source_of(group: str, spec: str) -> tuple[Path | None, str]:
    """The file that a class is in, and its name; no file if that cannot be said.

    A finding may have been read from a store, which may come from another person. So nothing is loaded here: the module
    of a class that was run has been imported before.
    """
    spec = plugins.value_of(group, spec) or spec
    place, _, name = spec.rpartition(":")
    return plugins.file_of(spec) or _file_of_module(place), name


def _file_of_module(name: str) -> Path | None:
    """The file of a module that has been imported."""
    file = getattr(sys.modules.get(name), "__file__", None)
    return Path(file) if isinstance(file, str) else None


def _line_of_class(path: Path, name: str) -> int:
    """The line on which a class begins; the first one of the file if that cannot be said."""
    try:
        tree = ast.parse(read_text(path, SOURCE_MAX, "source"))
    except (UsageError, SyntaxError, ValueError, RecursionError):
        return 1
    lines = (node.lineno for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    return next(lines, 1)
