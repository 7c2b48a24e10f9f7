"""Plug-ins: what is registered, what is named by path or module, and everything that can be wrong with either."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from pathlib import Path

import pytest

from ksmactors import plugins
from ksmactors.errors import PluginError, UsageError
from ksmactors.plugin_kinds import wrong_with
from ksmactors.plugins import available, load, load_workload, names

BUILT_IN = {"exit_race", "fork_storm", "knob_flip", "numa_pingpong", "scenario", "vm_fleet"}

GOOD = """
from ksmactors.workload import Workload

class Twins(Workload):
    '''Two equal pages.

    And more to say about them.
    '''
    async def run(self, host):
        pass

class Empty(Workload):
    pass

class Sync(Workload):
    def run(self, host):
        pass

number = 7
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a package of one module, `{name}_module`, that registers entry points in a group."""
    monkeypatch.syspath_prepend(tmp_path)
    plugins.forget_registered()

    def one(name: str, source: str, *entries: str, group: str = "workloads") -> None:
        (tmp_path / f"{name}_module.py").write_text(source)
        info = tmp_path / f"{name}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[ksmactors.{group}]\n" + "\n".join(entries) + "\n")

    return one


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Write a Python file that is no installed package."""

    def one(source: str) -> Path:
        path = tmp_path / "mine.py"
        path.write_text(source)
        return path

    return one


class TestRegistered:
    def test_built_in_workloads_are_registered_like_anybody_elses(self) -> None:
        """The built-in workloads come through entry points, with the package and version they come from."""
        plugins, problems = available("workloads")

        assert problems == []
        assert {plugin.name for plugin in plugins} >= BUILT_IN
        assert {plugin.origin.split()[0] for plugin in plugins if plugin.name in BUILT_IN} == {"ksmactors"}

    def test_every_built_in_class_bears_its_registered_name(self) -> None:
        """A workload's own name is the one it is registered under, and it says what it is."""
        ours = [plugin for plugin in available("workloads")[0] if plugin.name in BUILT_IN]
        assert {plugin.name for plugin in ours} == set(BUILT_IN)
        for plugin in ours:
            assert plugin.name == plugin.value.name
            assert plugin.value.summary

    def test_all_that_we_register_can_be_used(self) -> None:
        """What a workload of another package is checked for when it is loaded holds for each of ours."""
        ours = [plugin for plugin in available("workloads")[0] if plugin.origin.startswith("ksmactors ")]
        assert len(ours) >= 100
        assert {plugin.name: wrong_with(plugin.value, "workloads") for plugin in ours} == {p.name: "" for p in ours}

    def test_an_installed_plugin_is_found(self, install: Install) -> None:
        """A plug-in of another package is listed with its origin, and loads by its name."""
        install("good", GOOD, "twins = good_module:Twins")

        plugin = load("workloads", "twins")

        assert (plugin.name, plugin.origin) == ("twins", "good 1.2")
        assert plugin in available("workloads")[0]
        assert plugin.value is load_workload("twins")
        assert plugin.value.summary == "Two equal pages"

    @pytest.mark.parametrize("source", ["raise RuntimeError('no such luck')", "raise SystemExit('no such luck')"])
    def test_a_plugin_that_raises_takes_nobody_down(self, install: Install, source: str) -> None:
        """A plug-in that raises on import is reported in one line, and all others are there."""
        install("bad", source, "bad = bad_module:Bad")

        plugins, problems = available("workloads")

        assert {plugin.name for plugin in plugins} >= BUILT_IN
        assert len(problems) == 1
        assert problems[0].startswith("plug-in 'bad' of bad 1.2 (ksmactors.workloads) cannot be loaded: ")
        assert problems[0].endswith("no such luck (bad_module.py:1)")
        assert "\n" not in problems[0]

    def test_a_plugin_that_raises_is_an_error_for_who_asks(self, install: Install) -> None:
        """Asked for by name, a plug-in that cannot be loaded is a usage error with the reason."""
        install("bad", "import nowhere_to_be_found", "bad = bad_module:Bad")

        with pytest.raises(PluginError, match=r"'bad' of bad 1.2.*ModuleNotFoundError.*nowhere_to_be_found") as caught:
            load("workloads", "bad")

        assert caught.value.exit_status == 2

    def test_a_plugin_that_registers_something_else(self, install: Install) -> None:
        """What is registered as a workload and is none is reported, and says why."""
        entries = [f"{name.lower()} = odd_module:{name}" for name in ("Empty", "Gone", "number", "Sync")]
        install("odd", GOOD, *entries)

        problems = available("workloads")[1]

        assert len(problems) == 4
        assert problems[0].endswith("odd_module:Empty has no method run(host)")
        assert "Gone" in problems[1]
        assert problems[2].endswith(
            "odd_module:number is not a subclass of ksmactors.workload.Workload or ksmactors.model.Model"
        )
        assert problems[3].endswith("odd_module:Sync has a run that is no coroutine (write: async def run(self, host))")

    def test_a_name_registered_twice(self, install: Install) -> None:
        """Nobody can take a built-in name away; who tries is told."""
        install("thief", GOOD, "vm_fleet = thief_module:Twins")

        plugins, problems = available("workloads")

        assert load("workloads", "vm_fleet").origin.startswith("ksmactors ")
        assert [plugin.name for plugin in plugins].count("vm_fleet") == 1
        assert len(problems) == 1
        assert "'vm_fleet' of thief 1.2" in problems[0]

    def test_a_name_registered_by_a_plugin_that_fails(self, install: Install) -> None:
        """Another one of that name is not taken silently: the message says how to name it."""
        install("bad", "1 / 0", "twins = bad_module:Twins")
        install("good", GOOD, "twins = good_module:Twins")

        with pytest.raises(
            PluginError, match=r"ZeroDivisionError.*; others have the name, too: name that of good 1\.2 as"
        ):
            load("workloads", "twins")

        assert load_workload("good_module:Twins").__name__ == "Twins"

    @pytest.mark.parametrize(
        ("line", "why"),
        [
            ("name = 7", "has a name that is no text"),
            ("summary = None", "has a summary that is no text"),
            ("expect_marks = 'moved'", "has an expect_marks that is no tuple of texts"),
            ("events = ['moved']", "cannot declare its events: Twins.events must be a tuple of PluginEvent"),
        ],
    )
    def test_a_plugin_that_says_something_odd_about_itself(self, install: Install, line: str, why: str) -> None:
        """It is refused where it is loaded, before a list or a campaign would stumble over it."""
        package = f"odd_{line.partition(' ')[0]}"
        source = GOOD.replace("    async def run", f"    {line}\n    async def run", 1)
        install(package, source, f"twins = {package}_module:Twins")

        with pytest.raises(PluginError, match=why):
            load("workloads", "twins")

    def test_an_unknown_name(self) -> None:
        """An unknown name is a usage error that lists near names, and says where all are listed."""
        with pytest.raises(
            UsageError, match=r"no workload 'vmfleet' \(did you mean vm_fleet\?\); see `ksmactors list workloads`"
        ):
            load_workload("vmfleet")

    def test_a_package_that_is_installed_meanwhile(self, install: Install) -> None:
        """What is registered is read once; a package installed later is found when it is asked to be read again."""
        assert "twins" not in names("workloads")
        install("good", GOOD, "twins = good_module:Twins")
        assert "twins" not in names("workloads")

        plugins.forget_registered()

        assert "twins" in names("workloads")

    def test_metadata_is_parsed_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """However often plug-ins are asked for, entry points are read once, and so is each package's metadata."""
        reads: list[str] = []
        metadata = importlib.metadata.Distribution.metadata.fget  # type: ignore[attr-defined]

        def counted(package: importlib.metadata.Distribution) -> object:
            reads.append("metadata")
            return metadata(package)

        monkeypatch.setattr(importlib.metadata.Distribution, "metadata", property(counted))
        names("workloads")
        before = len(reads)

        for group in ("workloads", "variants", "strategies", "watchers"):
            names(group)
        load("workloads", "vm_fleet")

        assert len(reads) == before

    def test_names_load_nothing(self, install: Install) -> None:
        """Names can be had of plug-ins that cannot be loaded, in order."""
        install("bad", "raise RuntimeError", "a_bad_one = bad_module:Bad", group="strategies")

        assert "a_bad_one" in names("strategies")
        assert sorted(names("workloads")) == names("workloads")


class TestByPath:
    def test_a_class_in_a_file(self, write: Callable[[str], Path]) -> None:
        """path.py:Class is the class, and the same one when it is asked for again."""
        path = write(GOOD)

        assert load_workload(f"{path}:Twins").__name__ == "Twins"
        assert load_workload(f"{path}:Twins") is load_workload(f"{path}:Twins")

    def test_no_such_file(self, tmp_path: Path) -> None:
        """A file that is not there is named."""
        with pytest.raises(UsageError, match=r"there is no file .*gone\.py"):
            load_workload(f"{tmp_path / 'gone.py'}:Twins")
        with pytest.raises(UsageError, match=f"{tmp_path} is a directory, not a file"):
            load_workload(f"{tmp_path}:Twins")

    def test_no_such_class(self, write: Callable[[str], Path]) -> None:
        """A class that is not there: the message lists those that are."""
        with pytest.raises(UsageError, match=r"no class 'Tvins'; its workloads are: Twins$"):
            load_workload(f"{write(GOOD)}:Tvins")

    def test_no_class_at_all(self, write: Callable[[str], Path]) -> None:
        """A file without a class: the message says what to write."""
        with pytest.raises(UsageError, match=r"write .*mine\.py:CLASS; its workloads are: Twins$"):
            load_workload(str(write(GOOD)))

    @pytest.mark.parametrize(
        ("name", "why"),
        [("number", "is not a subclass"), ("Empty", r"has no method run\(host\)"), ("Sync", "is no coroutine")],
    )
    def test_a_class_that_is_no_workload(self, write: Callable[[str], Path], name: str, why: str) -> None:
        """A class that cannot be run as a workload: the message says why, and lists those that can."""
        with pytest.raises(UsageError, match=f"{name} .*{why}.*; its workloads are: Twins"):
            load_workload(f"{write(GOOD)}:{name}")

    def test_a_file_without_workloads(self, write: Callable[[str], Path]) -> None:
        """A file with no workload in it says so."""
        with pytest.raises(UsageError, match=r"no class 'Twins'; it has no subclass of Workload or Model"):
            load_workload(f"{write('x = 1')}:Twins")

    @pytest.mark.parametrize(
        ("source", "why"),
        [
            ("x = 1\nx.y", r"AttributeError: .*'y' \(mine\.py:2\)"),
            ("def f(:", r"SyntaxError: .*mine\.py, line 1"),
            ("import sys\nsys.exit(4)", r"SystemExit: 4 \(mine\.py:2\)"),
        ],
    )
    def test_a_file_that_raises(self, write: Callable[[str], Path], source: str, why: str) -> None:
        """A file that raises on import: one line with the error and its place, each time it is asked for."""
        path = write(source)

        for _ in range(2):
            with pytest.raises(PluginError, match=f"cannot be loaded: {why}"):
                load_workload(f"{path}:Twins")


class TestByModule:
    def test_a_class_in_a_module(self) -> None:
        """package.module:Class is the class."""
        assert load_workload("workloads.vm_fleet:VmFleet").name == "vm_fleet"

    def test_no_such_module(self) -> None:
        """A module that is not there is named."""
        with pytest.raises(PluginError, match=r"ModuleNotFoundError: No module named 'workloads.gone'"):
            load_workload("workloads.gone:Gone")

    def test_no_such_class(self) -> None:
        """A class that the module does not have: the message lists those it has."""
        with pytest.raises(UsageError, match=r"no class 'Fleet'; its workloads are: VmFleet"):
            load_workload("workloads.vm_fleet:Fleet")


def test_a_watcher_that_is_none() -> None:
    """A plug-in registered as a watcher that is no Watcher is refused in one line, by name."""
    from ksmactors.run import extensions

    with pytest.raises(UsageError, match=r"watcher odd: .* is not a subclass of ksmactors\.watcher\.Watcher"):
        extensions._watcher(plugins.Plugin("odd", dict, "somewhere 1.0"))
