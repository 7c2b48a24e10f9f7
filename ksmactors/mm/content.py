"""Page contents: immutable values with memcmp's order and a checksum; equal contents are one object."""

from __future__ import annotations

from typing import Final

from typing_extensions import override

from ksmactors.mm.const import PAGE_SIZE

TOKEN_BYTES: Final = 8


class Content:
    """4096 bytes. Made by `InternedContents` only, so that equality is identity.

    `checksum` says whether a page was written between two visits: the number of the content, from 1. v3.9 has 32 bits
    of jhash2 in this place; the emulator's has no collisions, and is never 0, which means "not computed yet".
    """

    __slots__ = ("checksum", "data")

    def __init__(self, data: bytes, checksum: int) -> None:
        self.data = data
        self.checksum = checksum

    @override
    def __repr__(self) -> str:
        return f"<Content {self.data[:TOKEN_BYTES].hex()}...>"


class InternedContents:
    """The contents of one machine, interned. Looking one up takes no point: contents are values, not state."""

    def __init__(self) -> None:
        self._known: dict[bytes, Content] = {}
        self.zero = self.of(bytes(PAGE_SIZE))

    def of(self, data: bytes) -> Content:
        """The content with these bytes.

        Args:
            data: exactly 4096 bytes.

        Raises:
            ValueError: another length.
        """
        known = self._known.get(data)
        if known is None:
            if len(data) != PAGE_SIZE:
                raise ValueError(f"a page has {PAGE_SIZE} bytes, not {len(data)}")
            known = self._known[data] = Content(data, len(self._known) + 1)
        return known

    def token(self, token: int) -> Content:
        """The page that a scenario's token stands for: pages compare as their tokens do, token 0 is zeros.

        Args:
            token: 0 to 2**64 - 1.
        """
        return self.of(token.to_bytes(TOKEN_BYTES, "big") * (PAGE_SIZE // TOKEN_BYTES))


def memcmp_pages(one: Content, other: Content) -> int:
    """Byte-wise comparison: negative, 0 or positive (mm/ksm.c, v3.9)."""
    if one is other:
        return 0
    return -1 if one.data < other.data else 1
