"""One word for one thing: words that were given up are in nothing that a user sees."""

from __future__ import annotations

import ast
import io
import re
import tokenize
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
    "cut to the bone": "reduce", "chronicle": "narrator", "futile": "would block", "audience": "observers",
    "somebody": "another actor, the user", "nobody": "no actor", "anybody": "any actor", "of ours": "of ksmactors",
    "deed": "operation", "deeds": "operations", "oracle": "watcher", "rehearsal": "calibration", "guilty": "failing",
    "innocent": "unrelated", "come to its end": "ended", "comes to its end": "ends", "came to its end": "ended",
    "private method": "seam", "layers": "variants",
}  # fmt: skip
"""Words given up, with those that stand for them (`ksmactors docs contributing`)."""

WORDS = re.compile(rf"\b({'|'.join(RETIRED)})\b", re.IGNORECASE)

BETWEEN = re.compile(r"""["'\s]+f?["'\s]*|\\n""")
"""What may stand between two words of one text in a source: such a text is looked for before the source is parsed."""

ALLOWED = {
    ("docs/design.md", "tape"),  # the document explains what the choice tape is, which schedule strings record
    ("docs/design.md", "layers"),  # a heading: what variants are made of
    ("docs/README.md", "somebody"),  # a person, and no actor
    ("actors/nemesis.py", "misfortune.delay"),  # the label of a choice: recorded schedules have it
    ("history/cases/follow_up.py", "r5-nobody-waits"),  # the name of a mutant, which finding files have
    ("history/mutants/__init__.py", "r5-nobody-waits"),
}
"""(File, text): where such a word stays, with the reason."""


def documents() -> list[Path]:
    """The README and the documents of the package."""
    return [ROOT / "README.md", *sorted((PACKAGE / "docs").glob("*.md"))]


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The texts of a module that can be shown: all strings but docstrings, comments in the form of strings, and names
    of attributes in slots."""
    source = path.read_text("utf-8")
    if not WORDS.search(BETWEEN.sub(" ", source)):
        return
    tree = ast.parse(source)
    passed_over = set()
    for node in ast.walk(tree):  # a statement before what is in it
        if isinstance(node, ast.Expr):
            passed_over.add(id(node.value))
        elif isinstance(node, ast.Assign) and any(
            isinstance(at, ast.Name) and at.id == "__slots__" for at in node.targets
        ):
            passed_over.update(map(id, ast.walk(node.value)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in passed_over:
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


HEADLESS = re.compile(r"\b(somebody|nobody|anybody|everybody|whoever|anew|told|in vain|for want of)\b", re.IGNORECASE)
"""Words of a tale: a docstring or comment names the actor, the reader or the caller instead."""

ROOMS = ("events", "history", "interleave", "ksm", "later", "mm", "run", "watch")
"""Rooms whose docstrings and comments have none of them."""


def headless(source: str) -> list[str]:
    """Such words in the strings and comments of a module; in names, a hyphen before or after makes no word of them."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    texts = (token.string for token in tokens if token.type in (tokenize.COMMENT, tokenize.STRING))
    return [word for text in texts for word in HEADLESS.findall(re.sub(r"\w+-\w+(-\w+)*", "", text))]


@pytest.mark.parametrize("room", ROOMS)
def test_docstrings_and_comments(room: str) -> None:
    """The kernel, the conductor and the watchers are described without such words."""
    found = [
        f"{path.relative_to(PACKAGE)}: {word}"
        for path in sorted((PACKAGE / room).rglob("*.py"))
        for word in headless(path.read_text("utf-8"))
    ]
    assert found == []


def test_such_a_word_is_noticed() -> None:
    """The rule can fail; the name of a mutant does not make it fail."""
    assert headless('"""Nobody waits."""\ntold = "r5-nobody-waits"  # searched in vain\n') == ["Nobody", "in vain"]


@pytest.mark.parametrize("what", ["workloads", "strategies", "variants", "watchers", "events", "commits"])
def test_lists(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    """No list of what there is uses one."""
    assert main(["list", what]) == 0
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) > 5
    assert WORDS.findall(shown.replace("r5-nobody-waits", "")) == []
