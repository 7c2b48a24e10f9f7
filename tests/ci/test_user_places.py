"""Where in the user's repository a finding belongs."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import anyio
import pytest

from ksmactors.campaign.stress import Campaign, Plan
from ksmactors.campaign.summary import Found
from ksmactors.ci.user_places import UserPlace, Workspace
from ksmactors.run.subject import make_subject
from tests.ci.made_up import defect, found

WORKLOAD = dedent(
    """
    from ksmactors.model import Model, Table


    class Wrong(Model):
        async def run(self, table: Table) -> None:
            await table.step()
            await self.check(table)

        async def check(self, table: Table) -> None:
            table.check(False, "wrong", "as always")
    """
)

VARIANT = dedent(
    """
    from ksmactors.ksm.kernel import Ksm


    class Other:
        pass


    class Quiet(Ksm):
        summary = "changes nothing"
    """
)


def first(subject_of: str, **more: object) -> Found:
    """The first finding of a workload."""
    subject = make_subject(subject_of, **more)  # type: ignore[arg-type]
    campaign = Campaign(Plan([subject], range(40), "portfolio"), stop_at_first=True)
    anyio.run(campaign.run, backend="trio")
    return next(iter(campaign.tally.found.values()))


def test_the_line_of_a_workload(tmp_path: Path) -> None:
    """A finding that the user's code meets is at that line."""
    (tmp_path / "wrong.py").write_text(WORKLOAD)
    one = first(f"{tmp_path / 'wrong.py'}:Wrong")
    line = WORKLOAD.splitlines().index('        table.check(False, "wrong", "as always")') + 1
    assert Workspace(tmp_path).place_of(one) == UserPlace("wrong.py", line)


@pytest.mark.slow
def test_the_class_of_a_variant(tmp_path: Path) -> None:
    """A finding of the user's variant in a workload that comes with ksmactors is at the variant's class."""
    (tmp_path / "variant.py").write_text(VARIANT)
    variants = {"with_": (f"{tmp_path / 'variant.py'}:Quiet",), "without": ("merge-across-nodes-migration",)}
    one = first("numa_pingpong", params={"contents": 1}, **variants)
    assert Workspace(tmp_path).place_of(one) == UserPlace(
        "variant.py", VARIANT.splitlines().index("class Quiet(Ksm):") + 1
    )


def test_nothing_of_a_built_in_workload(tmp_path: Path) -> None:
    """A finding of a workload that comes with ksmactors is at no place of the user's."""
    assert Workspace(tmp_path).place_of(first("classic.lost")) is None


@pytest.mark.parametrize("workload", ["{tmp}/gone.py:X", "{tmp}/evil.py:X", "no.module:X", "{tmp}/:X", ":", "nothing"])
def test_a_workload_is_not_loaded(workload: str, tmp_path: Path) -> None:
    """A finding may have been read from a store of another person: code that it names is not run."""
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass X: pass\n")
    place = Workspace(tmp_path).place_of(found(workload=workload.format(tmp=tmp_path)))
    assert place == (UserPlace("evil.py", 2) if "evil" in workload else None)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "place", ["", "x", ":", "/:1", "{tmp}/a.py:", "{tmp}/a.py:x", "{tmp}/a.py:1:2", "{tmp}:1", "a\0b:1"]
)
def test_a_place_that_is_none(place: str, tmp_path: Path) -> None:
    """A place that cannot be read is left out."""
    (tmp_path / "a.py").write_text("")
    assert Workspace(tmp_path).place_of(found(defect(place=place.format(tmp=tmp_path)))) is None


def test_links_out_of_the_repository(tmp_path: Path) -> None:
    """A link that leads elsewhere is no file of the repository."""
    root = tmp_path / "repository"
    root.mkdir()
    (tmp_path / "secret.py").write_text("")
    (root / "link.py").symlink_to(tmp_path / "secret.py")
    assert Workspace(root).at(root / "link.py", 1) is None


def test_where_the_repository_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GitHub says where it is; else it is the one around the current folder; else this folder."""
    (tmp_path / "r" / ".git").mkdir(parents=True)
    (tmp_path / "r" / "sub").mkdir()
    (tmp_path / "plain").mkdir()
    monkeypatch.chdir(tmp_path / "r" / "sub")
    assert Workspace.here({}).root == tmp_path / "r"
    assert Workspace.here({"GITHUB_WORKSPACE": "relative"}).root == tmp_path / "r"
    assert Workspace.here({"GITHUB_WORKSPACE": str(tmp_path / "plain")}).root == tmp_path / "plain"


@pytest.mark.parametrize(
    ("reference", "path"),
    [
        ("octocat/hello/.github/workflows/a.yml@refs/heads/main", ".github/workflows/a.yml"),
        ("octocat/hello", ""),
        ("octocat/hello/../a.yml@x", ""),
        ("", ""),
    ],
)
def test_which_workflow_runs(reference: str, path: str) -> None:
    """The path of the workflow is taken from GitHub's reference to it."""
    assert Workspace.here({"GITHUB_WORKFLOW_REF": reference}).workflow == path
