"""The public API is what `public_api.txt` lists: a change of it is made on purpose, and seen in review."""

from __future__ import annotations

import difflib
import os
import re
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import ksmactors
import ksmactors.trio
import workloads
from ksmactors import model, watcher
from tests.helpers.public_api import MODULES, describe, listing

FILE = Path(__file__).with_name("public_api.txt")

HOW = (
    "The public API has changed, as shown. If that is meant, renew the list with\n"
    "    UPDATE_PUBLIC_API=1 pytest -n 0 tests/test_public_api.py\n"
    "and say in the changelog what authors of plug-ins have to do."
)


def compare(before: str, now: str) -> None:
    """Fail with the difference of two lists, and how to renew the one on file."""
    lines = difflib.unified_diff(before.splitlines(), now.splitlines(), "public_api.txt", "now", n=1, lineterm="")
    difference = "\n".join(lines)
    if difference:
        pytest.fail(f"{HOW}\n\n{difference}", pytrace=False)


def test_the_public_api_is_what_is_listed() -> None:
    """Every public name and every member of a public class, with signatures (UPDATE_PUBLIC_API=1 renews the list)."""
    if os.environ.get("UPDATE_PUBLIC_API"):
        FILE.write_text(listing())
    compare(FILE.read_text(), listing())


def test_a_change_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that goes, one that comes and an argument that is added are in the message, with how to renew the list."""

    def check(self: object, holds: bool, kind: str, message: str, loud: bool = False) -> None: ...

    monkeypatch.setattr(model.Table, "check", check)
    monkeypatch.setattr(watcher, "__all__", [name for name in watcher.__all__ if name != "frame_at"])

    with pytest.raises(pytest.fail.Exception) as caught:
        compare(FILE.read_text(), listing())

    said = str(caught.value)
    assert "UPDATE_PUBLIC_API=1" in said
    assert "+    check(self: object, holds: bool, kind: str, message: str, loud: bool = False) -> None" in said
    assert re.search(r"^-  frame_at\(", said, re.MULTILINE)
    changed = [line for line in said.splitlines() if re.match(r"[+-] ", line)]
    assert len(changed) == 3


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_there_and_sorted(module: str) -> None:
    """`__all__` names what exists, each once."""
    found = import_module(module)
    assert len(set(found.__all__)) == len(found.__all__)
    for name in found.__all__:
        assert list(describe(name, getattr(found, name)))


IMPORTS = re.compile(r"^\s*(?:from|import) (ksmactors[\w.]*)", re.MULTILINE)


def sources() -> list[Path]:
    """What shows authors how to write a plug-in: templates, examples, and documents."""
    package = Path(ksmactors.__file__).parent
    return [
        *sorted((package / "templates").rglob("*.in")),
        *sorted((Path(workloads.__file__).parent / "examples").glob("*.py")),
        package / "docs" / "plugins.md",
        *(package / f"{name}.py" for name in ("litmus", "model", "strategy", "variant", "watcher", "workload")),
    ]


@pytest.mark.parametrize("path", sources(), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_examples_use_public_modules_only(path: Path) -> None:
    """Templates, examples, the document about plug-ins and the docstrings of public modules import nothing deeper."""
    text = path.read_text()
    if path.parent.name == "ksmactors":
        text = text.partition('"""')[2].partition('"""')[0]
    found = set(IMPORTS.findall(text))
    assert found - set(MODULES) == set()


@pytest.mark.parametrize("module", [ksmactors, model, ksmactors.trio], ids=lambda module: module.__name__)
def test_what_is_loaded_when_it_is_asked_for_is_listed(module: ModuleType) -> None:
    """`dir` has every public name, once, also those that a module's `__getattr__` imports."""
    listed = dir(module)

    assert set(module.__all__) <= set(listed)
    assert len(listed) == len(set(listed))
