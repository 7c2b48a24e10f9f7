"""`ksmactors docs`: the documents that are shipped in the package."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from importlib.resources import files
from textwrap import fill
from typing import TYPE_CHECKING, Final

import click
import orjson
from typing_extensions import override

from ksmactors.aside import stdout
from ksmactors.cli.lookup import Document, Entry, entries_of, no_topic
from ksmactors.cli.options import output_options
from ksmactors.cli.screen import console, echo, echo_json, page
from ksmactors.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.markdown import Markdown

READING_ORDER: Final = (
    "design", "protocol", "kernel-map", "scenario", "guests", "estimate", "log", "plugins", "testing", "compare",
    "corpus", "campaigns", "cluster", "ci", "costs", "findings", "contributing",
)  # fmt: skip
"""The order in which the topics are listed. A document that is not named here comes last."""

WIDTH_MAX: Final = 110
"""Columns. Longer lines of prose are hard to follow with the eye."""


@cache
def documents() -> dict[str, Document]:
    """Return the documents of the package by topic, in reading order: each Markdown file in `docs/` is one."""
    found = {}
    for file in files("ksmactors").joinpath("docs").iterdir():
        topic, dot, suffix = file.name.rpartition(".")
        if (dot, suffix) == (".", "md"):
            text = file.read_text("utf-8")
            found[topic] = Document(topic, text.partition("\n")[0].lstrip("# "), text)
    rank = {topic: number for number, topic in enumerate(READING_ORDER)}
    return {topic: found[topic] for topic in sorted(found, key=lambda topic: (rank.get(topic, len(rank)), topic))}


@click.command()
@click.argument("topic", required=False, metavar="[TOPIC|WORD]")
@click.option("--plain", is_flag=True, help="The Markdown source, without a pager; this is what a pipe gets too.")
@output_options
def docs(topic: str | None, plain: bool, as_json: bool, quiet: bool, color: str) -> int:  # noqa: ARG001  # a document is all there is to say
    """Read the documents: how KSM works, what each label means, how to write a plug-in.

    Without a TOPIC, the topics are listed. On a terminal a document is rendered and shown in a pager (PAGER, or less).
    A WORD shows what the tables of the documents say of it: a label (ST3d, O3, H1), a function of the kernel
    (write_protect_page), a lock (mmap_sem), or a term (keyhole). A function is shown with its steps, and with what a
    variant may override in it.
    """
    known = documents()
    if topic is None:
        _print_topics(known, as_json=as_json)
        return 0
    if topic not in known:
        entries = entries_of(topic, known)
        if not entries:
            raise UsageError(no_topic(topic, known))
        _print_entries(topic, entries, as_json=as_json)
        return 0
    document = known[topic]
    if as_json:
        echo_json(orjson.dumps({"topic": topic, "title": document.title, "text": document.text}).decode())
    elif plain or not stdout().isatty():
        echo(document.text, nl=False)
    else:
        page(rendered(document, color), color)
    return 0


def rendered(document: Document, color: str = "auto", width: int | None = None) -> str:
    """Return a document as text for a terminal; `width` in columns, by default that of the terminal up to a limit."""
    from rich.theme import Theme

    out = console(stdout(), color, width=width)
    if width is None and out.width > WIDTH_MAX:
        out = console(stdout(), color, width=WIDTH_MAX)
    no_background = Theme({"markdown.code": "bold cyan"})  # rich's own is black, which few terminals are
    with out.capture() as capture, out.use_theme(no_background):
        out.print(_markdown()(document.text, code_theme="ansi_dark", hyperlinks=False))
    return capture.get()


@cache
def _markdown() -> type[Markdown]:
    """Rich's Markdown, whose tables break a word that is wider than its column instead of cutting it off."""
    from rich.markdown import Markdown, TableElement
    from rich.table import Table

    class WholeTable(TableElement):
        @override
        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            for renderable in super().__rich_console__(console, options):
                if isinstance(renderable, Table):
                    for column in renderable.columns:
                        column.overflow = "fold"
                yield renderable

    class WholeMarkdown(Markdown):
        elements = {**Markdown.elements, "table_open": WholeTable}  # noqa: RUF012  # as in the class it extends

    return WholeMarkdown


def _print_entries(word: str, entries: list[Entry], *, as_json: bool) -> None:
    """Show what the documents say of a word: for each entry where it stands, then a line for each column."""
    if as_json:
        echo_json(orjson.dumps([{"word": word, **asdict(entry)} for entry in entries]).decode())
        return
    for entry in entries:
        echo(f"{word} ({entry.topic}: {entry.section})")
        for column, cell in entry.columns.items():
            if cell:
                text = f"{column}: {cell}" if column else cell
                echo(fill(text, WIDTH_MAX, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False))


def _print_topics(known: dict[str, Document], *, as_json: bool) -> None:
    """List the topics with a line each."""
    if as_json:
        rows = [{"topic": document.topic, "title": document.title} for document in known.values()]
        echo_json(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode())
        return
    width = max(map(len, known))
    for document in known.values():
        echo(f"{document.topic:<{width}}  {document.title}")
