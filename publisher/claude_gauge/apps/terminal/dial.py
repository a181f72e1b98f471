"""One round gauge drawn into a canvas of braille dots: arc, zones, marks and needle by the scales' own angles."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from claude_gauge.contract.scales import COLOURS, Gauge, Role, angle
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
        """Return whether nothing is drawn yet where a text of this length would stand."""
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


DIM, INK, NEEDLE = "#8a8a8a", "#e4e4e4", "#ff8700"
ASCII_ZONES: dict[Role | None, str] = {None: ".", "cool": "~", "good": "=", "caution": "+", "danger": "#"}
THICK = 0.75  # of the needle's length is two dots wide
FIGURES_FROM = 22  # columns; a smaller face would be crowded


@dataclass(frozen=True)
class Place:
    """Where a dial stands: its left column, its top row and its width; a character is one wide and two high."""

    left: int
    top: int
    width: int

    @property
    def radius(self) -> float:
        """The outer radius of the scale."""
        return self.width / 2 - 0.5

    def point(self, degrees: float, radius: float) -> tuple[float, float]:
        """Return the point at an angle (clockwise from twelve o'clock) and a distance from the hub."""
        turn = math.radians(degrees)
        return (
            self.left + self.width / 2 + radius * math.sin(turn),
            2 * self.top + self.radius + 0.5 - radius * math.cos(turn),
        )


def height(width: int) -> int:
    """Return how many rows a dial of this width needs; its scale leaves the bottom quarter open."""
    radius = width / 2 - 0.5
    return math.ceil((radius * (1 + math.sin(math.radians(45))) + 1) / 2)


def width(height_: int) -> int:
    """Return the widest dial that fits so many rows."""
    return next((each for each in range(4 * height_, 0, -1) if height(each) <= height_), 0)


@dataclass(frozen=True)
class Pen:
    """Draws points into a canvas: Braille dots, or one ASCII character each; `dark` takes the colours away."""

    canvas: Canvas
    ascii_only: bool = False
    dark: bool = False

    def dot(self, point: tuple[float, float], character: str, colour: str = DIM) -> None:
        """Draw one point."""
        x, y = point
        shade = DIM if self.dark else colour
        if self.ascii_only:
            self.canvas.put(int(x // 1), int(y // 2), character, shade)
        else:
            self.canvas.dot(x, y, shade)


def draw(pen: Pen, place: Place, gauge: Gauge, share: float | None) -> None:
    """Draw a face and its needle; a needle without a share rests on the stop."""
    _needle(pen, place, angle(share))
    figures = list(_figures(pen.canvas, place, gauge)) if place.width >= FIGURES_FROM else []
    for degrees in _turn(angle(0), angle(1), place.radius):
        role = gauge.role((degrees - angle(0)) / (angle(1) - angle(0)) * gauge.high)
        for inward in (0, 0.5) if role and not pen.ascii_only else (0,):
            pen.dot(place.point(degrees, place.radius - inward), ASCII_ZONES[role], COLOURS[role] if role else DIM)
    for tick in gauge.majors:
        for inward in () if pen.ascii_only else (0.5, 1.0, 1.5):
            pen.dot(place.point(angle(gauge.share(tick.value)), place.radius - inward), "", INK)
    for left, row, figure in figures:
        pen.canvas.text(left, row, figure, DIM)
    _needle(pen, place, angle(share))  # again, on top


def _turn(start: float, end: float, radius: float) -> Iterator[float]:
    count = max(8, round(radius * 12))
    return (start + (end - start) * n / count for n in range(count + 1))


def _figures(canvas: Canvas, place: Place, gauge: Gauge) -> Iterator[tuple[int, int, str]]:
    """Place the figures, without the one that the needle points at: half a figure would mislead."""
    for tick in gauge.majors:
        x, y = place.point(angle(gauge.share(tick.value)), place.radius - 3.2)
        left, row = round(x - len(tick.figure) / 2), int(y // 2)
        if canvas.blank(left, row, len(tick.figure)):
            yield left, row, tick.figure


def _needle(pen: Pen, place: Place, degrees: float) -> None:
    length = place.radius - 1
    for n in range(round(length * 4) + 1):
        pen.dot(place.point(degrees, n / 4), "*", NEEDLE)
        if not pen.ascii_only and n / 4 < length * THICK:
            pen.dot(place.point(degrees + math.degrees(math.atan2(0.5, max(n / 4, 0.5))), n / 4), "*", NEEDLE)
    for around in range(0, 360, 45):
        pen.dot(place.point(around, 0.5), "o", NEEDLE)
