"""`ksmactors new`: a package for a plug-in, of a few files that work."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

import click

from ksmactors.cli.new_files import KINDS, check_name, rendered, write
from ksmactors.cli.options import NamedPath, output_options
from ksmactors.cli.screen import echo, echo_json


@click.command()
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.argument("name")
@click.option(
    "--out", type=NamedPath(path_type=Path), metavar="DIR",
    help="The directory of the package, which must be empty or not there yet [default: NAME in the current directory].",
)  # fmt: skip
@output_options
def new(kind: str, name: str, out: Path | None, as_json: bool, quiet: bool, color: str) -> int:  # noqa: ARG001  # nothing is coloured
    """Make a package for a plug-in: a workload, a variant, a watcher or a strategy called NAME.

    It has one module with a small, complete example, its tests, a README and a pyproject.toml that registers the name.
    Install it with `pip install -e`, and it is found by every command.
    """
    check_name(kind, name)
    directory = out if out is not None else Path(name)
    texts = rendered(kind, name)
    write(texts, directory)
    made = [str(directory / file) for file in sorted(texts)]
    steps = [f"pip install -e {quote(str(directory))}", f"ksmactors list {KINDS[kind].group} {name}",
             KINDS[kind].try_it.replace("${name}", name), f"pytest {quote(str(directory))}"]  # fmt: skip
    if as_json:
        import orjson

        echo_json(orjson.dumps({"directory": str(directory), "files": made, "next": steps}).decode())
    elif not quiet:
        for file in made:
            echo(f"made {file}")
        echo("next:")
        for step in steps:
            echo(f"  {step}")
    return 0
