"""The rules of the house, as `design.md` draws it: imports go down only, and what may be used where."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

import ksmactors
import workloads
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.shared import SharedState
from ksmactors.mm.core import MmCore
from ksmactors.mm.kernel import MmKernel

ROOT = Path(ksmactors.__file__).parent

STOREYS = (
    ("cli", "__main__", "pytest_plugin", "testing"),
    ("report", "ci"),
    ("compare", "reproduce"),
    ("campaign", "diagnose"),
    ("run",),
    ("guest",),
    ("conformance",),
    ("analysis", "estimate", "images"),
    ("plugins",),
    ("plugin_kinds",),
    ("litmus", "model", "strategy", "variant", "watcher", "workload"),
    ("trio",),
    ("program",),
    ("actors",),
    ("watch",),
    ("machine",),
    ("injection",),
    ("kernels",),
    ("history",),
    ("later",),
    ("layers",),
    ("ksm",),
    ("mm",),
    ("interleave",),
    ("events",),
    ("parameters",),
    ("files",),
    ("marks",),
    ("failed_call", "overrides"),
    ("call_stack",),
    ("places",),
    ("errors",),
    ("seams",),
    ("interruption", "garbage"),
    ("escaping", "quantity", "aside", "bytecode"),
)
"""The folders and single modules of ksmactors, top down. A part imports from its own storey or from one below."""

LEVEL = {part: level for level, storey in enumerate(reversed(STOREYS)) for part in storey}

OUTER = frozenset({
    "interleave", "actors", "run", "campaign", "diagnose", "compare", "cli", "interruption", "trio", "pytest_plugin",
    "testing",
})  # fmt: skip
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


@cache
def nodes_of(path: Path) -> list[ast.AST]:
    """All nodes of a module: each rule looks at them, and walking through a tree takes longer than making it."""
    return list(ast.walk(tree_of(path)))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """What a module imports anywhere in it: (line, dotted name)."""
    for node in nodes_of(path):
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
    """Only interleave/, actors/, run/, campaign/, diagnose/, compare/ and cli/ import trio or anyio."""
    assert imported(lambda part: part not in OUTER, frozenset({"trio", "anyio"})) == []


def test_the_kernel_is_closed() -> None:
    """The emulated kernel imports no run loop, no logger, no clock and no randomness."""
    assert imported(lambda part: part in KERNEL, KERNEL_FORBIDS) == []


def test_nothing_hangs_on_addresses_or_salt() -> None:
    """id() and hash() differ from run to run, so nobody calls them."""
    calls = [
        f"{name_of(path)}:{node.lineno} calls {node.func.id}()"
        for path in modules()
        for node in nodes_of(path)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"id", "hash"}
    ]

    assert calls == []


def test_nothing_is_done_in_an_assertion() -> None:
    """`python -O` drops assertions, and must not drop steps with them: the schedules would be others."""
    does = (ast.Await, ast.NamedExpr, ast.Yield, ast.YieldFrom)
    doing = [
        f"{path}:{node.lineno}"
        for path in (*modules(), *Path(workloads.__path__[0]).rglob("*.py"))
        for node in nodes_of(path)
        if isinstance(node, ast.Assert) and any(isinstance(part, does) for part in ast.walk(node))
    ]
    assert doing == []


def test_call_stacks_are_walked_in_one_place() -> None:
    """No module goes from a frame to its caller, or along a coroutine that waits, but `call_stack`."""
    walkers = {
        name_of(path)
        for path in modules()
        for node in nodes_of(path)
        if isinstance(node, ast.Attribute) and node.attr in {"f_back", "cr_await", "tb_next"}
    }

    assert walkers == {"call_stack.py"}


def too_long(folder: Path) -> dict[str, int]:
    """Modules in and below a folder that have too many lines, and how many."""
    lengths = {
        path.relative_to(folder).as_posix(): len(path.read_text("utf-8").splitlines()) for path in folder.rglob("*.py")
    }
    return {name: length for name, length in sorted(lengths.items()) if length > LINES_MAX}


@pytest.mark.parametrize("folder", [ROOT, Path(workloads.__file__).parent, Path(__file__).parent], ids=lambda f: f.name)
def test_modules_are_short(folder: Path) -> None:
    """No module of the package, the workloads or the tests is longer than can be read in one sitting."""
    assert too_long(folder) == {}


def test_a_long_module_is_noticed(tmp_path: Path) -> None:
    """The rule can fail."""
    (tmp_path / "right.py").write_text("\n" * LINES_MAX)
    (tmp_path / "long.py").write_text("\n" * (LINES_MAX + 1))

    assert too_long(tmp_path) == {"long.py": LINES_MAX + 1}


def test_everything_says_what_it_is() -> None:
    """Every package and module starts by saying what lives there."""
    assert [name_of(path) for path in modules() if not ast.get_docstring(tree_of(path))] == []


def test_folders_are_packages() -> None:
    """Every folder with modules in it is a package."""
    assert [name_of(path) for path in modules() if not (path.parent / "__init__.py").exists()] == []


MM_TYPES = frozenset({"address_space", "anon_vma", "frame", "node", "secondary", "swap_device"})
"""The structures of mm/ name each other, as those of the kernel do in mm_types.h: the one circle of imports."""


def import_graph() -> dict[str, set[str]]:
    """The modules of the package by dotted name, each with those that it imports, for types alone or not."""
    paths = {".".join(path.relative_to(ROOT.parent).with_suffix("").parts): path for path in modules()}
    graph: dict[str, set[str]] = {}
    for name, path in paths.items():
        wanted = set()
        for node in nodes_of(path):
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


BASES: dict[str, tuple[tuple[type, ...], type]] = {
    "mm": (MmKernel.__bases__, MmCore),
    "ksm": (Ksm.__bases__[:-1], SharedState),
}
"""The classes that make up the kernel, by folder, and what each of them builds on."""

ACROSS = frozenset({("fault", "gup")})
"""Modules beside each other of which one imports a constant or a plain function of the other."""


def functions_of(cls: type) -> set[str]:
    """The functions that a class defines itself, but for its constructor."""
    return {name for name, value in vars(cls).items() if callable(value) and not name.startswith("__")}


@pytest.mark.parametrize("folder", BASES)
def test_the_files_of_the_kernel_stand_side_by_side(folder: str) -> None:
    """Each class of the kernel builds on the shared state alone, and none overrides what another defines."""
    siblings, base = BASES[folder]
    assert [cls.__name__ for cls in siblings if cls.__bases__ != (base,)] == []
    everything = [name for cls in siblings for name in functions_of(cls)]
    assert sorted({name for name in everything if everything.count(name) > 1}) == []


@pytest.mark.parametrize("folder", BASES)
def test_the_files_of_the_kernel_import_no_other(folder: str) -> None:
    """What one calls in another is declared: only `kernel` imports the classes."""
    siblings = {cls.__module__.rpartition(".")[2] for cls in BASES[folder][0]}
    graph = import_graph()
    found = {
        (name, target)
        for name in siblings
        for target in siblings
        if f"ksmactors.{folder}.{target}" in graph[f"ksmactors.{folder}.{name}"]
    }
    assert found == {pair for pair in ACROSS if set(pair) <= siblings}


@pytest.mark.parametrize("folder", BASES)
def test_what_is_declared_crosses_files(folder: str) -> None:
    """Each declared function is defined in one module of the folder, and called from another one of the kernel's."""
    declared = {
        node.name
        for node in nodes_of(ROOT / folder / "internal.py")
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name != "__init__"
    }
    paths = [path for part in BASES for path in (ROOT / part).glob("*.py") if path.stem != "internal"]
    home = {name: cls.__module__ for cls in BASES[folder][0] for name in functions_of(cls)}
    assert declared - home.keys() == set()
    called = {
        node.attr
        for path in paths
        for node in nodes_of(path)
        if isinstance(node, ast.Attribute)
        and home.get(node.attr) not in {None, ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)}
    }
    assert declared - called == set()


def class_names(paths: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """The name of each class, nested ones too, without a leading underscore; and where it is."""
    for path in paths:
        for node in nodes_of(path):
            if isinstance(node, ast.ClassDef):
                yield node.name.lstrip("_"), f"{name_of(path)}:{node.lineno}"


def used_twice(paths: Iterable[Path]) -> dict[str, list[str]]:
    """Names that more than one class has, and where these are."""
    homes: dict[str, list[str]] = {}
    for name, place in class_names(paths):
        homes.setdefault(name, []).append(place)
    return {name: places for name, places in homes.items() if len(places) > 1}


def test_a_name_is_one_class() -> None:
    """A reader who meets the name of a class anywhere in the package need not ask which one it is."""
    assert used_twice(modules()) == {}


def test_a_name_of_two_classes_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule can fail: for a nested class, and for a private one beside a public one."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    one, other = tmp_path / "one.py", tmp_path / "other.py"
    one.write_text("class Reader:\n    class Line: ...\n")
    other.write_text("class _Reader: ...\n\n\nclass Line: ...\n")

    assert used_twice([one, other]) == {"Reader": ["one.py:1", "other.py:1"], "Line": ["one.py:2", "other.py:4"]}
