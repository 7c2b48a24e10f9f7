"""A short run of the fuzz targets; `python -m tests.fuzz --examples 20000` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.kinds import KINDS, Kind
from tests.fuzz.running import MEMORY_MAX, fuzz


@pytest.mark.parametrize(
    "examples", [pytest.param(20, marks=pytest.mark.slow), pytest.param(100, marks=pytest.mark.nightly)]
)
@pytest.mark.parametrize("name", KINDS)
def test_mutated_files_cost_one_line(name: str, examples: int, tmp_path: Path) -> None:
    """No mutated file makes its reader raise anything but an error of ours, hang, or take a gigabyte."""
    figures = fuzz(name, tmp_path, examples)
    assert figures.inputs >= examples
    assert figures.peak < MEMORY_MAX


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_samples_are_accepted(name: str, tmp_path: Path) -> None:
    """What is mutated is sound before: else everything would be refused for the wrong reason."""
    kind = KINDS[name](tmp_path)
    assert kind.samples
    assert all(kind.feed(sample) for sample in kind.samples)


class Careless(KINDS["elf"]):  # type: ignore[misc]
    """A reader that trusts what it reads."""

    name = "careless"

    def read(self, path: Path, data: bytes) -> bool:
        assert data[4] in (1, 2)
        return True


def test_a_careless_reader_is_convicted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The target can fail: a reader with an assertion about its input is found out."""
    kinds: dict[str, type[Kind]] = KINDS
    monkeypatch.setitem(kinds, "careless", Careless)
    with pytest.raises((AssertionError, IndexError)):
        fuzz("careless", tmp_path, 300, shrink=False)
