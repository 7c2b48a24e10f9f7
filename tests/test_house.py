"""The rules of the house, as `design.md` draws it: imports go down only, and what may be used where."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

import ksmactors

ROOT = Path(ksmactors.__file__).parent

STOREYS = (
    ("cli", "__main__"),
    ("report",),
    ("campaign", "diagnose"),
    ("run",),
    ("conformance",),
    ("analysis", "estimate"),
    ("plugins",),
    ("litmus", "model", "workload"),
    ("program",),
    ("actors",),
    ("watch",),
    ("machine",),
    ("injection",),
    ("kernels",),
    ("history",),
    ("later",),
    ("ksm",),
    ("mm",),
    ("interleave",),
    ("events",),
    ("parameters",),
    ("files",),
    ("places",),
    ("errors",),
    ("seams",),
    ("interruption",),
    ("escaping",),
)
"""The folders and single modules of ksmactors, top down. A part imports from its own storey or from one below."""

LEVEL = {part: level for level, storey in enumerate(reversed(STOREYS)) for part in storey}

OUTER = frozenset({"interleave", "actors", "run", "campaign", "diagnose", "cli", "interruption"})
"""The only parts that may know of trio or anyio: the others await what interleave/ offers."""

KERNEL = frozenset({"mm", "ksm", "history", "later"})

KERNEL_FORBIDS = frozenset(
    {"trio", "anyio", "asyncio", "structlog", "logging", "random", "secrets", "time", "datetime"}
)
"""The emulated kernel has no clock, no dice, no logger and no run loop of its own."""

LINES_MAX = 400


def modules() -> list[Path]:
    """Every module of the package."""
    return sorted(ROOT.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def part_of(path: Path) -> str:
    """The folder or single module of ksmactors that a module is part of; empty for the package itself."""
    first = path.relative_to(ROOT).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """What a module imports anywhere in it: (line, dotted name)."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno} imports by a relative name"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def upward(path: Path) -> Iterator[str]:
    """Imports of a module that go up."""
    part = part_of(path)
    for line, name in imports(path):
        package, _, rest = name.partition(".")
        target = rest.partition(".")[0]
        if package == "workloads":
            yield f"{name_of(path)}:{line} imports {name}: built-in workloads are plug-ins like anybody else's"
        elif package == "ksmactors" and part and LEVEL.get(target, -1) > LEVEL[part]:
            yield f"{name_of(path)}:{line} imports {name}, which is above it"


def imported(parts: Callable[[str], bool], packages: frozenset[str]) -> list[str]:
    """Where modules of some parts import one of some packages."""
    return [
        f"{name_of(path)}:{line} imports {name}"
        for path in modules()
        if parts(part_of(path))
        for line, name in imports(path)
        if name.partition(".")[0] in packages
    ]


def test_every_part_has_its_storey() -> None:
    """A new folder or module of the package is given its place in the order."""
    assert {part_of(path) for path in modules()} - {""} <= LEVEL.keys()


def test_imports_go_down() -> None:
    """No module imports from a part of the house above its own."""
    assert [breach for path in modules() for breach in upward(path)] == []


def test_an_import_that_goes_up_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule can fail, also for an import inside a function."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "mm").mkdir()
    bad = tmp_path / "mm" / "bad.py"
    bad.write_text("def f():\n    from ksmactors.ksm.kernel import Ksm\n    import workloads.vm_fleet\n")

    assert [breach.partition(" ")[0] for breach in upward(bad)] == ["mm/bad.py:2", "mm/bad.py:3"]


def test_who_knows_of_trio() -> None:
    """Only interleave/, actors/, run/, campaign/, diagnose/ and cli/ import trio or anyio."""
    assert imported(lambda part: part not in OUTER, frozenset({"trio", "anyio"})) == []


def test_the_kernel_is_closed() -> None:
    """The emulated kernel imports no run loop, no logger, no clock and no randomness."""
    assert imported(lambda part: part in KERNEL, KERNEL_FORBIDS) == []


def test_nothing_hangs_on_addresses_or_salt() -> None:
    """id() and hash() differ from run to run, so nobody calls them."""
    calls = [
        f"{name_of(path)}:{node.lineno} calls {node.func.id}()"
        for path in modules()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"id", "hash"}
    ]

    assert calls == []


def test_modules_are_short() -> None:
    """No module is longer than can be read in one sitting."""
    lengths = {name_of(path): len(path.read_text("utf-8").splitlines()) for path in modules()}

    assert {name: length for name, length in lengths.items() if length > LINES_MAX} == {}


def test_everything_says_what_it_is() -> None:
    """Every package and module starts by saying what lives there."""
    assert [name_of(path) for path in modules() if not ast.get_docstring(tree_of(path))] == []


def test_folders_are_packages() -> None:
    """Every folder with modules in it is a package."""
    assert [name_of(path) for path in modules() if not (path.parent / "__init__.py").exists()] == []


MM_TYPES = frozenset({"address_space", "anon_vma", "frame", "node", "swap_device"})
"""The structures of mm/ name each other, as those of the kernel do in mm_types.h: the one circle of imports."""


def import_graph() -> dict[str, set[str]]:
    """The modules of the package by dotted name, each with those that it imports, for types alone or not."""
    paths = {".".join(path.relative_to(ROOT.parent).with_suffix("").parts): path for path in modules()}
    graph: dict[str, set[str]] = {}
    for name, path in paths.items():
        wanted = set()
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ImportFrom) and node.module:
                wanted |= {node.module, *(f"{node.module}.{one.name}" for one in node.names)}
        graph[name] = (wanted & paths.keys()) - {name}
    return graph


def reaches(graph: dict[str, set[str]], start: str) -> set[str]:
    """All modules that one imports, directly or not."""
    seen: set[str] = set()
    left = [start]
    while left:
        for name in graph[left.pop()] - seen:
            seen.add(name)
            left.append(name)
    return seen


def test_no_circles() -> None:
    """No module imports itself by way of others, inside of a folder or across, but for the structures of mm/."""
    graph = import_graph()
    circular = {name for name in graph if name in reaches(graph, name)}
    assert circular == {f"ksmactors.mm.{name}" for name in MM_TYPES}
