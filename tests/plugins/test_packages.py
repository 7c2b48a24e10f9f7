"""Several plug-ins of one name, plug-ins that fail, and plug-ins that are installed in one place and not in another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.plugins.installed import install, ksmactors

SOURCE = '''
from ksmactors.variant import Ksm
from ksmactors.watcher import Watcher
from ksmactors.workload import Host, Workload


class Twins(Workload):
    """twins of PACKAGE"""

    async def run(self, host: Host) -> None:
        host.always(False, "PACKAGE runs")


class Sleepy(Ksm):
    """Sleeps, as in PACKAGE."""


class Shadow(Watcher):
    """A watcher with the name of ours."""

    name = "shadow"
    summary = "that of PACKAGE"
'''


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Two packages that register the same names, and one that cannot be imported."""
    folder = tmp_path / "site"
    for package in ("alpha", "beta"):
        install(
            folder, package, SOURCE.replace("PACKAGE", package), workloads="twins = Twins", variants="sleepy = Sleepy"
        )
    install(folder, "broken", "import nowhere_to_be_found", workloads="broken = Broken", watchers="ill = Ill")
    return folder


@pytest.mark.slow
def test_two_of_one_name(site: Path, tmp_path: Path) -> None:
    """The first is used; lists and runs say so, and how to name the other, which works."""
    listed = ksmactors("list", "workloads", site=site, cwd=tmp_path)
    ran = ksmactors(
        "stress", "twins", "--with", "sleepy", "--seeds", "1", "--out", "a", site=site, cwd=tmp_path, status=1
    )
    other = ksmactors("stress", "beta_module:Twins", "--seeds", "1", "--out", "b", site=site, cwd=tmp_path, status=1)

    assert "twins of alpha" in listed.stdout
    assert (
        "plug-in 'twins' of beta 1.2 (ksmactors.workloads) is ignored: alpha 1.2 has registered that" in listed.stderr
    )
    assert "name this one beta_module:Twins" in listed.stderr
    assert "workload/alpha_runs@run" in ran.stdout
    for line in (
        "workload twins: that of alpha 1.2 is used; beta 1.2 has one of this name, too: name it beta_module:Twins",
        "variant sleepy: that of alpha 1.2 is used; beta 1.2 has one of this name, too: name it beta_module:Sleepy",
    ):
        assert f"ksmactors: {line}\n" in ran.stderr
    assert "workload/beta_runs@run" in other.stdout
    assert "has one of this name" not in other.stderr
    assert not any(name in ran.stderr for name in ("broken", "ill"))  # nobody has asked for these


@pytest.mark.slow
def test_one_with_the_name_of_ours(tmp_path: Path) -> None:
    """Ours is used, and the other can be named by its module."""
    site = tmp_path / "site"
    install(site, "gamma", SOURCE, watchers="shadow = Shadow")

    ran = ksmactors("stress", "exit_race", "--seeds", "1", "--out", "a", site=site, cwd=tmp_path)
    listed = ksmactors("list", "watchers", site=site, cwd=tmp_path)
    shown = ksmactors("list", "watchers", "gamma_module:Shadow", site=site, cwd=tmp_path)

    said = "watcher shadow: that of ksmactors is used; gamma 1.2 has one of this name, too: name it gamma_module:Shadow"
    assert said in ran.stderr
    assert "ksmactors has that name already; name this one gamma_module:Shadow" in listed.stderr
    assert "that of PACKAGE" in shown.stdout


@pytest.mark.slow
def test_one_that_cannot_be_imported(site: Path, tmp_path: Path) -> None:
    """It is named with the reason, by lists and where it is asked for; all others are there."""
    listed = ksmactors("list", "workloads", "--json", site=site, cwd=tmp_path)
    asked = ksmactors("run", "broken", site=site, cwd=tmp_path, status=2)
    watching = ksmactors("run", "twins", "--watch", "ill", site=site, cwd=tmp_path, status=2)

    names = {row["name"] for row in json.loads(listed.stdout)}
    assert {"twins", "vm_fleet"} <= names
    assert "broken" not in names
    for said, group, name in (
        (listed.stderr, "workloads", "broken"), (asked.stderr, "workloads", "broken"),
        (watching.stderr, "watchers", "ill"),
    ):  # fmt: skip
        line = (
            f"plug-in '{name}' of broken 1.2 (ksmactors.{group}) cannot be loaded: ModuleNotFoundError: No module named"
        )
        assert line in said


@pytest.mark.slow
def test_installed_here_and_not_there(tmp_path: Path) -> None:
    """A finding names the package it needs; one of another version is said, and used."""
    here, there, newer = (tmp_path / name for name in ("here", "there", "newer"))
    source = SOURCE.replace("PACKAGE", "alpha")
    install(here, "alpha", source, workloads="twins = Twins", variants="sleepy = Sleepy")
    install(newer, "alpha", source, version="1.3", workloads="twins = Twins", variants="sleepy = Sleepy")
    there.mkdir()
    line = ("stress", "twins", "--with", "sleepy", "--seeds", "1", "--out", "out")
    ksmactors(*line, site=here, cwd=tmp_path, status=1)
    (file,) = (tmp_path / "out").glob("*.json")

    again = ksmactors("replay", str(file), site=here, cwd=tmp_path, status=1)
    missing = ksmactors("replay", str(file), site=there, cwd=tmp_path, status=2)
    other = ksmactors("replay", str(file), site=newer, cwd=tmp_path, status=1)
    resumed = ksmactors(*line, "--resume", site=newer, cwd=tmp_path, status=2)
    shown = ksmactors("campaign", "out", site=there, cwd=tmp_path, status=1)

    assert json.loads(file.read_text())["plugins"] == {"variant sleepy": "alpha 1.2", "workload twins": "alpha 1.2"}
    assert "the same finding, event by event" in again.stderr
    assert "1.2" not in again.stderr
    assert missing.stderr.startswith(
        "ksmactors: the finding was made with the workload twins of alpha 1.2, which is not installed here"
    )
    assert "the workload twins is that of alpha 1.3; the finding was made with that of alpha 1.2" in other.stderr
    assert "its variant sleepy is that of alpha 1.2, not that of alpha 1.3" in resumed.stderr
    assert "alpha_runs" in shown.stdout


@pytest.fixture(scope="module")
def finding(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What a finding file says."""
    place = tmp_path_factory.mktemp("lost")
    ksmactors("stress", "classic.lost", "--strategy", "random", "--seeds", "9", "--out", "out", cwd=place, status=1)
    (file,) = (place / "out").glob("*.json")
    content: dict[str, object] = json.loads(file.read_text())
    return content


@pytest.mark.slow
@pytest.mark.parametrize("plugins", [[], {"workload twins": 7}, {"x" * 5000: "y" * 200_000}, "text"])
def test_packages_of_a_hostile_file(finding: dict[str, object], tmp_path: Path, plugins: object) -> None:
    """What a finding says about packages may be anything."""
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(finding | {"plugins": plugins}))

    done = ksmactors("replay", str(changed), cwd=tmp_path, status=2)

    assert "Traceback" not in done.stderr
