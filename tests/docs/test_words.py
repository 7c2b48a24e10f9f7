"""One word for one thing: words that were given up are in nothing that a user sees."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import ksmactors
from ksmactors.cli import main

PACKAGE = Path(ksmactors.__file__).parent
ROOT = PACKAGE.parent

RETIRED = {
    "witness": "watcher", "witnesses": "watchers", "conviction": "finding", "convictions": "findings",
    "convict": "report", "convicts": "reports", "convicted": "reported", "offence": "finding", "meeting": "concurrent",
    "tape": "schedule string", "crew": "kthreads", "troupe": "task pool", "misfortune": "nemesis",
    "told": "reported, notified", "whoever": "the actor that", "everybody": "every actor", "anew": "again",
    "in vain": "without effect", "by right": "correctly", "for want of": "without", "at the hands of": "by",
    "cut to the bone": "reduce", "chronicle": "narrator", "futile": "would block",
}  # fmt: skip
"""Words given up, with those that stand for them (`ksmactors docs contributing`)."""

WORDS = re.compile(rf"\b({'|'.join(RETIRED)})\b", re.IGNORECASE)

ALLOWED = {
    ("docs/design.md", "tape"),  # the document explains what the choice tape is, which schedule strings record
    ("actors/nemesis.py", "misfortune.delay"),  # the label of a choice: recorded schedules have it
}
"""(File, text): where such a word stays, with the reason."""


def documents() -> list[Path]:
    """The README and the documents of the package."""
    return [ROOT / "README.md", *sorted((PACKAGE / "docs").glob("*.md"))]


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The texts of a module that can be shown: all strings but docstrings and comments in the form of strings."""
    tree = ast.parse(path.read_text("utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    comments = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings | comments:
            yield node.lineno, node.value


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_documents(path: Path) -> None:
    """No document uses a word that was given up."""
    allowed = {word for file, word in ALLOWED if file == f"docs/{path.name}"}
    found = [f"line {number}: {word}" for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
             for word in WORDS.findall(line) if word.lower() not in allowed]  # fmt: skip
    assert found == []


def test_messages() -> None:
    """No message, help or catalogue entry uses one."""
    found = [
        f"{path.relative_to(PACKAGE)}:{number}: {text}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for number, text in texts(path)
        if WORDS.search(text) and (str(path.relative_to(PACKAGE)), text) not in ALLOWED
    ]
    assert found == []


@pytest.mark.parametrize("what", ["workloads", "strategies", "variants", "watchers", "events", "commits"])
def test_lists(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    """No list of what there is uses one."""
    assert main(["list", what]) == 0
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) > 5
    assert WORDS.findall(shown) == []
