"""The marks that stand in the source of a class."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from ksmactors.marks import written_in

SOURCE = """
def make(scene):
    class Same:
        def run(self, host):
            host.sometimes(True, "inside of a function")
    return Same

class Same:
    async def run(self, host):
        host.sometimes(True, "second", ) if host else host.sometimes(False, text="first")

    class Inner:
        def run(self, host):
            host.sometimes(True, "inner")

class Heir(Same):
    def more(self, host):
        host.sometimes(1, "more")
        host.sometimes(1, "put" + " together")
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    path = tmp_path / "marked.py"
    path.write_text(SOURCE)
    spec = spec_from_file_location("marked", path)
    assert spec is not None
    assert spec.loader is not None
    made = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "marked", made)
    spec.loader.exec_module(made)
    return made


def test_the_marks_of_a_class_are_those_in_its_own_lines(module: ModuleType) -> None:
    """Also of one inside of another one or of a function, and of one that inherits."""
    assert written_in(module.make(None)) == ("inside of a function",)
    assert written_in(module.Same.Inner) == ("inner",)
    assert written_in(module.Heir) == ("more", "second", "first", "inner")


def test_a_class_that_is_not_in_its_file_has_none(module: ModuleType) -> None:
    """Nor has one whose file is gone, or that a program made."""
    made = type("Made", (), {"__module__": "marked"})
    assert written_in(made) == ()
    assert written_in(type("Nowhere", (), {"__module__": "no_such_module"})) == ()
    Path(str(module.__file__)).unlink()
    assert written_in(module.Same) == ()
