"""KSM's structures in the form of recordings, whether they are an emulated kernel's or a real one's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from ksmactors.conformance.page_map import NamedPages
from ksmactors.mm.const import PAGE_SIZE

UNKNOWN: Final = "?"
"""In place of the name of a page, or of a process whose creation has not ended."""


class NodeSight(NamedTuple):
    """A stable node: the node of its frame, or None if it is stale; the tree that it was in; its items' pages."""

    frame_nid: int | None
    nid: int
    items: Sequence[str]


class TreeSights(NamedTuple):
    """KSM's trees, each in order; an entry that is a list is a chain, of its dups. The unstable ones only within a
    scan."""

    stable: Iterable[Iterable[NodeSight | list[NodeSight]]]
    migrate: Iterable[NodeSight]
    unstable: Iterable[Sequence[str]]


def trees(seen: TreeSights) -> list[str]:
    """Return the stable trees, the migrate_nodes list, and the unstable trees."""
    lines = [
        _line(f"stable.{nid}", words) for nid, root in enumerate(seen.stable) for node in root for words in _entry(node)
    ]
    lines += [_line("migrate", _node(node, nid=True)) for node in seen.migrate]
    lines += [_line(f"unstable.{nid}", items) for nid, items in enumerate(seen.unstable) if items]
    return lines


def scan_order(processes: Iterable[NamedPages | None], at: NamedPages | None, address: int | None) -> list[str]:
    """Return the lines `processes` and `cursor`: in process `at` the next address is `address`, None between scans."""
    return [
        _line("processes", [UNKNOWN if process is None else process.label for process in processes]),
        f"cursor {'start' if address is None else _cursor(at, address)}",
    ]


def _cursor(process: NamedPages | None, address: int) -> str:
    # The address may lie behind the end of its region: the page before it, the last one scanned, has the name.
    if process is None:
        return UNKNOWN
    last = process.page(address - PAGE_SIZE)
    return str(last._replace(page=last.page + 1))


def _entry(node: NodeSight | list[NodeSight]) -> Iterator[Iterable[str]]:
    """Yield the lines of an entry: a plain node has one; a chain one, and one for each of its dups."""
    if isinstance(node, list):
        yield ["chain:"]
        for dup in node:
            yield ["  dup", *_node(dup)]
    else:
        yield _node(node)


def _node(node: NodeSight, *, nid: bool = False) -> Iterator[str]:
    yield "stale" if node.frame_nid is None else f"node={node.frame_nid}"
    if nid:
        yield f"nid={node.nid}"
    yield f"len={len(node.items)}:"
    yield from node.items


def _line(head: str, words: Iterable[str]) -> str:
    return " ".join([head, *words])
