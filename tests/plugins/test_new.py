"""`ksmactors new`: a package of each kind that installs, is found and passes its own test; and what cannot be made."""

from __future__ import annotations

import ast
import json
import os
import re
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.build import build_wheel

from ksmactors.cli import main, new_files
from ksmactors.cli.new_files import KINDS
from tests.plugins.installed import ROOT, ksmactors

pytest_plugins = ("pytester",)

Capsys = pytest.CaptureFixture[str]

FILES = ["README.md", "my_thing.py", "pyproject.toml", "test_my_thing.py"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that commands run in."""
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    return empty


def names_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def install_wheel(package: Path, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Build the wheel as pip does and unpack it, without a network."""
    with monkeypatch.context() as patch:
        patch.chdir(package)
        wheel = build_wheel("dist")
    with zipfile.ZipFile(package / "dist" / wheel) as files:
        assert not any("test_" in name for name in files.namelist())
        files.extractall(site)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["workload", *(pytest.param(one, marks=pytest.mark.nightly) for one in [*KINDS][1:])])
def test_a_package_works(folder: Path, monkeypatch: pytest.MonkeyPatch, pytester: pytest.Pytester, kind: str) -> None:
    """Made in an empty folder and installed, it is listed with its package, runs on two cores, and passes its test."""
    site = folder.parent / "site"
    steps = json.loads(ksmactors("new", kind, "my_thing", "--json", cwd=folder).stdout)["next"]
    assert names_in(folder / "my_thing") == FILES
    install_wheel(folder / "my_thing", site, monkeypatch)

    group = KINDS[kind].group
    row = json.loads(ksmactors("list", group, "my_thing", "--json", site=site, cwd=folder).stdout)
    (line,) = (step for step in steps if step.startswith("ksmactors stress "))
    campaign = line.replace("--seeds 50", "--seeds 4 --jobs 2 --json --out out").split()[1:]
    done = json.loads(ksmactors(*campaign, site=site, cwd=folder).stdout)
    pytester.syspathinsert(site)
    test = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:hypothesispytest", folder / "my_thing")

    assert (row["name"], row["origin"]) == ("my_thing", "my-thing 0.1.0")
    assert row["summary"].lower() == KINDS[kind].summary.lower()
    assert (done["verdict"], done["schedules"], done["never_reached"]) == ("sampled", 4, [])
    assert test.ret == 0
    assert test.parseoutcomes().keys() == {"passed"}


@pytest.mark.slow
def test_the_code_is_clean(folder: Path) -> None:
    """mypy --strict and ruff have nothing to say about any of them, nor has the formatter."""
    for kind in KINDS:
        assert main(["new", kind, f"my_{kind}", "--quiet"]) == 0
    environment = os.environ | {"MYPYPATH": str(ROOT)}
    for line in (
        [
            "mypy",
            "--strict",
            "--follow-imports",
            "silent",
            "--no-site-packages",
            "--no-incremental",
            "--cache-dir",
            os.devnull,
            *sorted(map(str, folder.glob("*/*.py"))),
        ],
        ["ruff", "check", "--no-cache", "."],
        ["ruff", "format", "--check", "--no-cache", "."],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *line], cwd=folder, capture_output=True, text=True, check=False, timeout=110,
            env=environment,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_said(folder: Path, capsys: Capsys) -> None:
    """The files, and the commands that follow; or nothing, or an object."""
    assert main(["new", "watcher", "my_thing"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:4] == [f"made my_thing/{file}" for file in FILES]
    assert said[5:] == [
        "  pip install -e my_thing", "  ksmactors list watchers my_thing",
        "  ksmactors stress vm_fleet --watch all,my_thing --seeds 50", "  pytest my_thing",
    ]  # fmt: skip

    assert main(["new", "watcher", "other_thing", "--json", "--out", "deep/er"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["directory"] == "deep/er"
    assert [Path(file).name for file in answer["files"]] == sorted(names_in(folder / "deep" / "er"))
    assert main(["new", "watcher", "third_thing", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_templates_have_no_gaps() -> None:
    """Every placeholder is filled, whatever the kind, and the class has a name of its own."""
    for kind in KINDS:
        for name in ("thing", "process", "watcher", "mm_slot", "plugin_event", "exception", "my_2nd"):
            texts = new_files.rendered(kind, name)
            assert not any("${" in text or "$name" in text for text in texts.values())
            classes = [node for node in ast.parse(texts[f"{name}.py"]).body if isinstance(node, ast.ClassDef)]
            imported = set(re.findall(r"\w+", " ".join(re.findall(r"import (.*)", texts[f"{name}.py"]))))
            assert [one.name for one in classes if one.name in imported] == []
            assert len(classes) == 1


def test_files_are_as_the_umask_says(folder: Path) -> None:
    """Other users may read what the user's other files let them read."""
    before = os.umask(0o027)
    try:
        assert main(["new", "strategy", "my_thing", "--quiet"]) == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / "my_thing").stat().st_mode) == 0o750
    assert {stat.S_IMODE(file.stat().st_mode) for file in (folder / "my_thing").iterdir()} == {0o640}


@pytest.mark.parametrize(
    ("kind", "name", "why"),
    [
        (
            "workload",
            "Twins",
            "a name is that of a Python module: a letter, then letters, digits and _; twins",
        ),
        ("workload", "my-thing", "; my_thing would do"),
        ("workload", "2nd", "; nd would do"),
        ("workload", "", "a name is that of a Python module"),
        ("workload", "../up", "; up would do"),
        ("workload", "_own", "; own would do"),
        ("workload", "thing_", "; thing would do"),
        ("workload", "\u00e4", "a name is that of a Python module"),
        ("workload", "a\nb", "; a_b would do"),
        ("workload", "x" * 65, "a name of 65 characters; at most 64 are allowed"),
        ("workload", "class", "class is a word of Python"),
        ("workload", "match", "match is a word of Python"),
        ("workload", "ksmactors", "the name ksmactors is reserved"),
        ("watcher", "all", "the name all is reserved"),
        ("workload", "test_it", "the name test_it is reserved"),
        (
            "workload",
            "vm_fleet",
            "there is a workload of that name already; take another one, see `ksmactors list",
        ),
        ("watcher", "shadow", "there is a watcher of that name already"),
        ("strategy", "pos", "there is a strategy of that name already"),
        ("strategy", "replay", "there is a strategy of that name already"),
        ("workload", "json", "there is a Python module of that name already (of Python itself)"),
        ("variant", "trio", "there is a Python module of that name already (/"),
    ],
)
def test_a_name_that_cannot_be(folder: Path, capsys: Capsys, kind: str, name: str, why: str) -> None:
    """It is refused in one line, and nothing is made."""
    assert main(["new", kind, name]) == 2

    said = capsys.readouterr().err
    assert why in said
    assert said.count("\n") == 1
    assert names_in(folder) == []


@pytest.mark.parametrize(
    ("out", "why"),
    [
        ("full", "--out full: is not empty (a and 1 more); name another directory"),
        ("file", "--out file: is there, and is no directory"),
        ("link", "--out link: is there, and is no directory"),
        ("file/in/it", "--out file/in/it: cannot be written (Not a directory); nothing was made"),
        ("n" * 300, "cannot be written (File name too long); nothing was made"),
    ],
)
def test_a_folder_that_cannot_be(folder: Path, capsys: Capsys, out: str, why: str) -> None:
    """One with something in it, a file, a dangling link, or none at all: refused, and left as it was."""
    (folder / "full").mkdir()
    (folder / "full" / "a").touch()
    (folder / "full" / "b").touch()
    (folder / "file").touch()
    (folder / "link").symlink_to("nowhere")
    before = sorted(str(path) for path in folder.rglob("*"))

    assert main(["new", "workload", "my_thing", "--out", out]) == 2

    said = capsys.readouterr().err
    assert why in said
    assert said.count("\n") == 1
    assert sorted(str(path) for path in folder.rglob("*")) == before


def test_an_empty_folder_is_filled(folder: Path) -> None:
    """Also the current one, which stays the same folder."""
    inode = folder.stat().st_ino
    assert main(["new", "workload", "my_thing", "--quiet", "--out", "."]) == 0
    assert names_in(folder) == FILES
    assert folder.stat().st_ino == inode


@pytest.mark.parametrize("out", ["deep/er/still", "there"])
@pytest.mark.parametrize("at", range(4))
def test_a_full_disk_leaves_nothing(
    folder: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch, out: str, at: int
) -> None:
    """Whichever file cannot be written, the folder is as it was, and the line says why."""
    (folder / "there").mkdir()
    written = []

    def failing(path: Path, data: bytes) -> None:
        if len(written) == at:
            raise OSError(28, "No space left on device")
        written.append(path)
        path.write_bytes(data)

    monkeypatch.setattr(new_files, "write_new", failing)

    assert main(["new", "workload", "my_thing", "--out", out]) == 2

    assert f"--out {out}: cannot be written (No space left on device); nothing was made" in capsys.readouterr().err
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) == ["there"]


def test_ctrl_c_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interruption in the middle is as clean as an error."""

    def interrupted(path: Path, data: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(new_files, "write_new", interrupted)

    assert main(["new", "workload", "my_thing"]) == 130
    assert names_in(folder) == []
