"""The documents of the package: each has a title, is shipped, and can be read on a narrow terminal."""

from __future__ import annotations

import re
from pathlib import Path
from zipfile import ZipFile

import pytest

from ksmactors.cli.docs import documents, rendered

ROOT = Path(__file__).parents[2]


def words(text: str) -> list[str]:
    """The words of a document or of its rendered form, without what draws tables and headings."""
    return re.findall(r"\w+", text)


@pytest.mark.parametrize("topic", documents())
def test_a_document_renders_at_80_columns(topic: str) -> None:
    """Nothing is wider than 80 columns, and no word of a table is cut off."""
    text = rendered(documents()[topic], "never", 80)
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("…") == documents()[topic].text.count("…")
    assert len("".join(words(text))) > 0.9 * len("".join(words(documents()[topic].text)))


@pytest.mark.parametrize("topic", documents())
def test_a_document_starts_with_its_title(topic: str) -> None:
    """The first line is the one heading of its level, short enough for the list of topics."""
    text = documents()[topic].text
    assert text.startswith("# ")
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    assert len(re.findall("^# ", outside, re.MULTILINE)) == 1
    assert 10 <= len(documents()[topic].title) <= 65


@pytest.mark.slow
def test_the_wheel_has_the_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel built from this tree, as pip builds it, holds every document."""
    build = pytest.importorskip("hatchling.build")
    monkeypatch.chdir(ROOT)
    with ZipFile(tmp_path / build.build_wheel(str(tmp_path))) as archive:
        shipped = {name for name in archive.namelist() if name.startswith("ksmactors/docs/")}
    assert {f"ksmactors/docs/{topic}.md" for topic in documents()} <= shipped
