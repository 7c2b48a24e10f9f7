"""The options of what is run: one object, whatever the road on which they come."""

from __future__ import annotations

import inspect
from dataclasses import fields

import click
import pytest

import ksmactors
from ksmactors.cli.stress import stress
from ksmactors.errors import UsageError
from ksmactors.run.options import DEFAULTS, GivenOptions, SubjectOptions


def test_keywords_and_fields_are_the_same() -> None:
    """What may be given by keyword is what the object holds."""
    assert list(GivenOptions.__annotations__) == [field.name for field in fields(SubjectOptions)]


def test_the_command_line_has_the_same_defaults() -> None:
    """A command that gets no option makes the object of defaults."""
    for name in ("kernel", "nodes", "watch", "max_steps", "inject"):
        assert next(one for one in stress.params if one.name == name).get_default(click.Context(stress)) == getattr(
            DEFAULTS, name
        )


def test_names_may_stand_alone() -> None:
    """A text is one name, not a sequence of letters; no parameters are none."""
    options = SubjectOptions.of(without="foll-migration", with_="quick", params=None)
    assert (options.without, options.with_, options.params) == (("foll-migration",), ("quick",), {})


def test_a_wrong_keyword_is_said_where_it_is_given() -> None:
    """The public functions refuse an option that does not exist, as any function does."""
    for function in (ksmactors.stress, ksmactors.explore):
        assert "options" in inspect.signature(function).parameters
        with pytest.raises(TypeError, match="kernels"):
            function("exit_race", kernels="series")  # type: ignore[call-arg]  # that is the point


def test_a_range_is_checked_before_anything_is_loaded() -> None:
    """The numbers are checked by the object itself."""
    for given in ({"nodes": 0}, {"nodes": 65}, {"max_steps": -1}, {"max_steps": 1 << 63}):
        with pytest.raises(UsageError):
            SubjectOptions(**given)  # type: ignore[arg-type]  # mypy does not know which is which
    assert SubjectOptions(max_steps=0).max_steps == 0
