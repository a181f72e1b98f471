"""A grid of characters, each with a colour; what is drawn outside of it is cut off."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from itertools import groupby

from claude_gauge.system.plain_text import harmless

BRAILLE = 0x2800
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # by row and column inside a Braille character


class Canvas:
    """Characters and colours (`#rrggbb`, or "" for the terminal's own)."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns = columns
        self.rows = rows
        self._characters = [[" "] * columns for _ in range(rows)]
        self._colours = [[""] * columns for _ in range(rows)]

    def put(self, x: int, y: int, character: str, colour: str = "") -> None:
        """Set one character."""
        if 0 <= x < self.columns and 0 <= y < self.rows:
            self._characters[y][x] = character
            self._colours[y][x] = colour

    def text(self, x: int, y: int, text: str, colour: str = "") -> int:
        """Write a text from `x` on and return the column after it."""
        for offset, character in enumerate(_one_column(text)):
            self.put(x + offset, y, character, colour)
        return x + len(text)

    def blank(self, x: int, y: int, length: int) -> bool:
        """Tell whether nothing is drawn yet where a text of this length would stand."""
        return 0 <= y < self.rows and set(self._characters[y][max(0, x) : x + length]) <= {" "}

    def dot(self, x: float, y: float, colour: str = "") -> None:
        """Set one Braille dot; a character is one wide and two high, so that a circle is round."""
        column, row = int(x // 1), int(y // 2)
        if not (0 <= column < self.columns and 0 <= row < self.rows):
            return
        bit = DOTS[int((y - 2 * row) * 2)][int((x - column) * 2)]
        there = ord(self._characters[row][column])
        self.put(column, row, chr(max(there, BRAILLE) | bit), colour)

    def lines(self, *, colour: bool) -> Iterator[str]:
        """Return the rows as text, with colours as the 256 that every terminal knows, or without any."""
        for characters, colours in zip(self._characters, self._colours, strict=True):
            if not colour:
                yield "".join(characters).rstrip()
                continue
            pairs = zip(colours, characters, strict=True)
            yield "".join(_painted(shade, "".join(c for _, c in run)) for shade, run in groupby(pairs, lambda p: p[0]))


def _painted(colour: str, text: str) -> str:
    return f"\x1b[38;5;{cube(colour)}m{text}\x1b[0m" if colour and text.strip() else text


def cube(colour: str) -> int:
    """Find the nearest of a terminal's 256 colours: its colour cube, or its greys."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    if max(red, green, blue) - min(red, green, blue) < 16:  # noqa: PLR2004 - so little colour is a grey
        return 232 + min(23, max(0, (red - 8) // 10))
    levels = [0 if each < 48 else 1 if each < 115 else (each - 35) // 40 for each in (red, green, blue)]  # noqa: PLR2004 - the cube's own edges
    return 16 + 36 * levels[0] + 6 * levels[1] + levels[2]


def _one_column(text: str) -> str:
    """Replace what could move the cursor or upset the columns: controls, wide and combining characters."""
    return "".join(
        "?" if unicodedata.east_asian_width(each) in "WF" or unicodedata.combining(each) else each
        for each in harmless(text)
    )
