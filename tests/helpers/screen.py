"""What a terminal shows of what it was sent: enough of one for lines that are kept up to date."""

from __future__ import annotations

import re

_SEQUENCE = re.compile("\x1b\\[(\\??)([0-9;]*)([A-Za-z])")


class Screen:
    """A terminal that folds long lines, and folds them again when it gets another width, as most do.

    Attributes:
        lines: what it shows, logical lines; each takes as many rows as it needs.
        modes: what was switched on or off and is neither a colour nor a movement.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self.lines = [""]
        self.modes: list[str] = []
        self._line = self._at = 0

    def send(self, text: str) -> None:
        """Show what a program writes."""
        at = 0
        while at < len(text):
            if found := _SEQUENCE.match(text, at):
                self._perform(found[1], found[2], found[3])
                at = found.end()
                continue
            if text[at] == "\n":
                self._next_row()
            elif text[at] == "\r":
                self._at = self._start
            else:
                self._put(text[at])
            at += 1

    @property
    def rows(self) -> list[str]:
        """What it shows, row by row."""
        return [row for line in self.lines for row in self._rows_of(line)]

    def _rows_of(self, line: str) -> list[str]:
        return [line[at : at + self.width] for at in range(0, len(line), self.width)] or [""]

    @property
    def _start(self) -> int:
        """Where the row of the cursor begins in its line; right after a full row it is still in that."""
        full = self._at and self._at % self.width == 0 and self._at == len(self.lines[self._line])
        return (self._at - 1 if full else self._at) // self.width * self.width

    def _perform(self, private: str, given: str, what: str) -> None:
        if private or what not in "mAK":
            self.modes.append(f"{private}{given}{what}")
        elif what == "A":
            for _ in range(int(given or 1)):
                self._up()
        elif what == "K":
            self._erase_row()

    def _up(self) -> None:
        column = self._at - self._start
        if self._start:
            self._at = self._start - self.width + column
        elif self._line:
            self._line -= 1
            self._at = (len(self._rows_of(self.lines[self._line])) - 1) * self.width + column

    def _erase_row(self) -> None:
        """Empty the row of the cursor; one of a folded line is a line of its own then."""
        start, line = self._start, self.lines[self._line]
        before, after = line[:start], line[start + self.width :]
        self.lines[self._line : self._line + 1] = [*([before] if start else []), "", *([after] if after else [])]
        self._line += bool(start)
        self._at = min(self._at - start, self.width - 1)

    def _put(self, character: str) -> None:
        line = self.lines[self._line].ljust(self._at)
        self.lines[self._line] = line[: self._at] + character + line[self._at + 1 :]
        self._at += 1

    def _next_row(self) -> None:
        start = self._start + self.width
        if start < len(self.lines[self._line]):
            self._at = start
            return
        if self._line == len(self.lines) - 1:
            self.lines.append("")
        self._line += 1
        self._at = 0
