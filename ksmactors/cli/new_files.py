"""The files of a new plug-in package, from the templates that are shipped; written all or not at all."""

from __future__ import annotations

import builtins
import keyword
import os
import re
import shutil
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template
from tempfile import mkdtemp
from typing import Final

from ksmactors import plugins
from ksmactors.errors import UsageError
from ksmactors.files import write_new

NAME_MAX: Final = 64
"""Characters of a name: with what is added to it, the name of a file."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")

_RESERVED: Final = frozenset({"all", "none", "ksmactors", "workloads", "test", "tests", "conftest"})
"""Words that options give a meaning, packages that are there, and names that pytest looks for."""


_IMPORTED: Final = frozenset({
    "Actor", "Field", "Host", "Int", "Ksm", "Machine", "MmSlot", "PluginEvent", "Process", "Sequence", "Strategy",
    "Strict", "Watcher", "Workload",
})  # fmt: skip
"""Classes that the modules of the templates use already."""


@dataclass(frozen=True, slots=True)
class PackageTemplate:
    """What can be made: its group, its summary, and the command that tries it out."""

    group: str
    summary: str
    try_it: str
    dependencies: tuple[str, ...] = ()


KINDS: Final = {
    "workload": PackageTemplate(
        "workloads", "processes with equal pages, which they rewrite and read back",
        "ksmactors stress ${name} --seeds 50",
    ),
    "variant": PackageTemplate(
        "variants", "a process that registers is scanned next, not last",
        "ksmactors stress fork_storm --with ${name} --seeds 50", ("typing-extensions>=4.5",),
    ),
    "watcher": PackageTemplate(
        "watchers", "a KSM page has few mappings", "ksmactors stress vm_fleet --watch all,${name} --seeds 50"
    ),
    "strategy": PackageTemplate(
        "strategies", "the actor that was started last, but for one choice in so many",
        "ksmactors stress exit_race --strategy ${name} --seeds 50",
    ),
}  # fmt: skip


def rendered(kind: str, name: str) -> dict[str, str]:
    """Return the texts of the files of a package, by their names.

    Args:
        kind: of KINDS.
        name: as `check_name` allows.
    """
    from importlib.metadata import version

    about = KINDS[kind]
    values = {
        "name": name, "kind": kind, "group": about.group, "summary": about.summary,
        "Class": _class_name(kind, name),
        "Summary": about.summary[0].upper() + about.summary[1:],
        "distribution": name.rstrip("_").replace("_", "-"),
        "try_it": Template(about.try_it).substitute(name=name),
        "dependencies": ", ".join(f'"{one}"' for one in (f"ksmactors>={version('ksmactors')}", *about.dependencies)),
    }  # fmt: skip
    templates = files("ksmactors").joinpath("templates")
    sources = {
        "pyproject.toml": templates / "pyproject.toml.in",
        "README.md": templates / "README.md.in",
        f"{name}.py": templates / kind / "module.py.in",
        f"test_{name}.py": templates / kind / "test.py.in",
    }
    return {file: Template(source.read_text("utf-8")).substitute(values) for file, source in sources.items()}


def _class_name(kind: str, name: str) -> str:
    """The name of the class: that of the module without underscores, unless something else in it is called so."""
    cls = "".join(word.capitalize() for word in name.split("_"))
    return f"{cls}{kind.capitalize()}" if cls in _IMPORTED or hasattr(builtins, cls) else cls


def check_name(kind: str, name: str) -> None:
    """Refuse a name that a package of this kind cannot have.

    Raises:
        UsageError: it is no name of a module, too long, or taken; the message says by what.
    """
    title = f"{kind} {name}"
    if not _NAME.fullmatch(name) or name.endswith("_"):
        better = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_0123456789")
        advice = f"; {better} would do" if _NAME.fullmatch(better) and better not in _RESERVED else ""
        raise UsageError(f"{title}: a name is that of a Python module: a letter, then letters, digits and _{advice}")
    if len(name) > NAME_MAX:
        raise UsageError(f"{kind} {name[:20]}...: a name of {len(name)} characters; at most {NAME_MAX} are allowed")
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise UsageError(f"{title}: {name} is a word of Python; take another name")
    if name in _RESERVED or name.startswith("test_"):
        raise UsageError(f"{title}: the name {name} is reserved; take another one")
    if name in _names(kind):
        listed = f"see `ksmactors list {KINDS[kind].group}`"
        raise UsageError(f"{title}: there is a {kind} of that name already; take another one, {listed}")
    taken = _module(name)
    if taken:
        raise UsageError(f"{title}: there is a Python module of that name already ({taken}); take another name")


def _names(kind: str) -> list[str]:
    """The names that are taken among things of a kind."""
    if kind == "workload":
        return plugins.names("workloads")
    from ksmactors.run.extensions import names

    taken = names(KINDS[kind].group)
    if kind == "variant":
        from ksmactors.history import COMMITS

        return [*taken, *COMMITS]
    if kind == "strategy":
        from ksmactors.run.trust import WITHOUT_CHOICE

        return [*taken, *WITHOUT_CHOICE]
    return taken


def _module(name: str) -> str:
    """Where a module of this name is that a new one would hide; empty if there is none. What is in the current folder
    is none: the package itself may come to be there."""
    if name in sys.stdlib_module_names:
        return "of Python itself"
    here = Path.cwd()
    before = sys.path[:]
    sys.path[:] = [entry for entry in before if entry and Path(entry).absolute() != here]
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return ""
    finally:
        sys.path[:] = before
    if spec is None:
        return ""
    return spec.origin or "a directory on Python's path"


def write(texts: Mapping[str, str], directory: Path) -> None:
    """Write files into a directory that is empty, or not there yet. All of them are there afterwards, or nothing is.

    Raises:
        UsageError: there is something in it, or it cannot be written.
    """
    with ExitStack() as undoing:
        try:
            if _is_there(directory):
                _fill(directory, texts, undoing)
            else:
                _make_parents(directory, undoing)
                stage = Path(mkdtemp(prefix=".ksmactors-new-", dir=directory.parent))
                undoing.callback(shutil.rmtree, stage, ignore_errors=True)
                _fill(stage, texts, undoing)
                stage.chmod(0o777 & ~_umask())
                stage.rename(directory)  # fails if there is something by now
        except UsageError:
            raise
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            reason = getattr(error, "strerror", None) or error
            raise UsageError(f"--out {directory}: cannot be written ({reason}); nothing was made") from None
        undoing.pop_all()


def _make_parents(directory: Path, undoing: ExitStack) -> None:
    missing = [one for one in directory.absolute().parents if not one.exists()]
    for parent in reversed(missing):
        parent.mkdir()
        undoing.callback(_remove_if_empty, parent)


def _remove_if_empty(directory: Path) -> None:
    with suppress(OSError):
        directory.rmdir()


def _fill(directory: Path, texts: Mapping[str, str], undoing: ExitStack) -> None:
    mode = 0o666 & ~_umask()
    for name, text in texts.items():
        write_new(directory / name, text.encode())
        undoing.callback((directory / name).unlink, missing_ok=True)
        (directory / name).chmod(mode)


def _is_there(directory: Path) -> bool:
    """Whether the directory exists; it must be empty then."""
    if not os.path.lexists(directory):
        return False
    if not directory.is_dir():
        raise UsageError(f"--out {directory}: is there, and is no directory; name another one")
    names = sorted(os.listdir(directory))  # noqa: PTH208  # names are all that is wanted
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise UsageError(f"--out {directory}: is not empty ({names[0]}{more}); name another directory")
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
