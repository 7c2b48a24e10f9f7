"""Page contents: immutable values with memcmp's order and a checksum; equal contents are one object."""

from __future__ import annotations

from typing import Final

from typing_extensions import override

from ksmactors.mm.const import PAGE_SIZE

TOKEN_BYTES: Final = 8

HEAD: Final = 14
"""Bytes of a page that are in the order of one that repeats its first 8 bytes. So many, since with a byte more and what
Python has in each bytes object it is a multiple of 16 bytes that the order takes."""

_BELOW, _REPEATED, _ABOVE = b"\0", b"\1", b"\2"
"""What stands in an order behind the head of a page whose head is a repeated one: where the page goes on otherwise, is
it below or above one that repeats its first bytes to its end?"""


class Content:
    """4096 bytes. Made by `InternedContents` only, so that equality is identity.

    `order` compares as the bytes do. It is the very bytes that the content was made of, which are the workload's or the
    image's: they are not in memory twice. But a page that repeats its first 8 bytes, as those of tokens do, is kept as
    its head alone: a million of them take no 4 GiB, and its bytes are made when they are asked for.

    `checksum` says whether a page was written between two visits: the number of the content, from 1. v3.9 has 32 bits
    of jhash2 in this place; the emulator's has no collisions, and is never 0, which means "not computed yet".
    """

    __slots__ = ("checksum", "order")

    def __init__(self, order: bytes, checksum: int) -> None:
        self.order = order
        self.checksum = checksum

    @property
    def data(self) -> bytes:
        """The bytes."""
        order = self.order
        if len(order) <= PAGE_SIZE:
            return order if len(order) == PAGE_SIZE else _repeated(order[:TOKEN_BYTES])
        return order[HEAD + 1 :]

    @override
    def __repr__(self) -> str:
        return f"<Content {self.order[:TOKEN_BYTES].hex()}...>"


class InternedContents:
    """The contents of one machine, interned. Looking one up takes no point: contents are values, not state."""

    def __init__(self) -> None:
        self._known: dict[bytes, Content] = {}
        self.zero = self.token(0)

    def of(self, data: bytes) -> Content:
        """The content with these bytes.

        Args:
            data: exactly 4096 bytes.

        Raises:
            ValueError: another length.
        """
        if len(data) != PAGE_SIZE:
            raise ValueError(f"a page has {PAGE_SIZE} bytes, not {len(data)}")
        return self._interned(_order_of(data))

    def token(self, token: int) -> Content:
        """The page that a scenario's token stands for: pages compare as their tokens do, token 0 is zeros.

        Args:
            token: 0 to 2**64 - 1.
        """
        return self._interned(_head(token.to_bytes(TOKEN_BYTES, "big")) + _REPEATED)

    def _interned(self, order: bytes) -> Content:
        known = self._known.get(order)
        if known is None:
            known = self._known[order] = Content(order, len(self._known) + 1)
        return known


def _repeated(unit: bytes) -> bytes:
    return unit * (PAGE_SIZE // TOKEN_BYTES)


def _head(unit: bytes) -> bytes:
    """The head of a page that repeats these bytes."""
    return (unit + unit)[:HEAD]


def _order_of(data: bytes) -> bytes:
    """What compares as the bytes of pages do.

    Of most pages it is the bytes themselves: within the head, they differ from any page that repeats its first bytes.
    A page that has such a head, and goes on otherwise, is compared with the page that repeats it.
    """
    unit, head = data[:TOKEN_BYTES], data[:HEAD]
    if head != _head(unit):
        return data
    repeated = _repeated(unit)
    if data == repeated:
        return head + _REPEATED
    return head + (_BELOW if data < repeated else _ABOVE) + data


def memcmp_pages(one: Content, other: Content) -> int:
    """Byte-wise comparison: negative, 0 or positive (mm/ksm.c, v3.9)."""
    if one is other:
        return 0
    return -1 if one.order < other.order else 1
