"""The whole cluster as text, from a payload alone: four gauges, five lamps, a sparkline and the details."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from claude_gauge.apps.terminal import dial
from claude_gauge.apps.terminal.details import details
from claude_gauge.apps.terminal.dial import DIM, INK, Canvas, Place
from claude_gauge.contract.history import Slice
from claude_gauge.contract.scales import COLOURS, LAMPS, Gauge, Lamp, gauges
from claude_gauge.contract.usage import Usage

ALARM, LIVE = "#ff3b30", "#34d058"
BLOCKS = " ▁▂▃▄▅▆▇█"
ASCII_BLOCKS = " _.-=+*#@"
SMALLEST_DIAL, WIDEST_DIAL = 13, 44
ROOMY = 6  # rows for the strip above which an empty one stands before it
BESIDE = 7  # rows for title, warning, lamps and details around the dials


@dataclass(frozen=True)
class Look:
    """How the picture is drawn: the terminal's size, what it can show, and the scales' settings."""

    columns: int = 80
    rows: int = 24
    colour: bool = True
    ascii_only: bool = False
    redline: float = 1_000_000
    cache_floor: float | None = None

    @property
    def faces(self) -> tuple[Gauge, ...]:
        """The four gauges by these settings."""
        return gauges(self.redline, self.cache_floor)


@dataclass(frozen=True)
class Scene:
    """What is shown: the payload, why it can't be believed ("" while it can), the time, and the last minutes.

    `needles` holds where the needles are just now, as shares of their scales; without it they are where they should be.
    """

    usage: Usage | None
    stale: str = ""
    now: float = 0.0
    node: str = ""
    strip: Sequence[Slice | None] = ()
    span: str = ""
    needles: Sequence[float | None] | None = None
    footer: str = ""

    @property
    def dark(self) -> bool:
        """Whether the payload is stale: needles rest, figures are hidden, only STALL shines."""
        return bool(self.stale) or self.usage is None


def draw(scene: Scene, look: Look) -> str:
    """Draw a scene: as many lines as the look has rows, none longer than its columns."""
    canvas = Canvas(look.columns, look.rows)
    _title(canvas, scene, look)
    top = _gauges(canvas, scene, look, 2 if look.rows >= 10 else 1)  # noqa: PLR2004 - room to breathe
    top = _lamps(canvas, scene, look, top)
    texts = details(scene.usage, scene.now, look.columns - 2)
    room = look.rows - top - len(texts) - (1 if scene.footer else 0)
    if room > ROOMY:
        top, room = top + 1, room - 1
    top += _strip(canvas, scene, look, (top, min(room, max(8, look.rows // 3))))
    for offset, text in enumerate(texts):
        canvas.text(1, top + offset, text, DIM if scene.dark else INK)
    canvas.text(1, look.rows - 1, scene.footer, DIM)
    return "\n".join(canvas.lines(colour=look.colour))


def _title(canvas: Canvas, scene: Scene, look: Look) -> None:
    node = scene.node or (scene.usage.node if scene.usage else "") or ""
    x = canvas.text(1, 0, "CLAUDE GAUGE", INK)
    live = "" if scene.dark or not scene.usage else f"LIVE {scene.usage.updated_at[11:19]} UTC"
    room = look.columns - x - len(live) - 7
    canvas.text(x + 2, 0, node if len(node) <= room else node[: max(0, room - 1)] + "~", DIM)
    if live:
        canvas.text(look.columns - len(live) - 3, 0, f"{'*' if look.ascii_only else '●'} {live}", LIVE)
        return
    warning = f" STALE: {scene.stale or 'nothing received yet'} "
    hatch = "/" if look.ascii_only else "\N{BOX DRAWINGS LIGHT DIAGONAL UPPER RIGHT TO LOWER LEFT}"
    canvas.text(0, 1, hatch * 3 + warning + hatch * look.columns, ALARM)


def _gauges(canvas: Canvas, scene: Scene, look: Look, top: int) -> int:
    across = 4 if look.columns >= 4 * (SMALLEST_DIAL + 2) else 2
    down = 4 // across
    rows = (look.rows - BESIDE - 2 * down) // down
    width = min(look.columns // across - 2, dial.width(rows), WIDEST_DIAL)
    if width < SMALLEST_DIAL:
        return _bars(canvas, scene, look, top)
    cell, high = look.columns // across, dial.height(width) + 2
    for number, gauge in enumerate(look.faces):
        left = number % across * cell
        place = Place(left + (cell - width) // 2, top + number // across * high + 1, width)
        _dial(canvas, place, gauge, (scene, look, number))
    return top + down * high


def _dial(canvas: Canvas, place: Place, gauge: Gauge, shown: tuple[Scene, Look, int]) -> None:
    scene, look, number = shown
    pen = dial.Pen(canvas, ascii_only=look.ascii_only, dark=scene.dark)
    dial.draw(pen, place, gauge, _needle(scene, gauge, number))
    middle = place.left + place.width / 2
    bottom = place.top + dial.height(place.width) - 1
    value, colour = _value(scene, gauge)
    canvas.text(round(middle - len(gauge.label) / 2), place.top - 1, gauge.label, DIM if scene.dark else INK)
    canvas.text(round(middle - len(value) / 2), bottom, value, colour)
    if gauge.factor < 1:  # the figures on the face are thousands, or more
        note = gauge.note.replace("\N{MULTIPLICATION SIGN}", "x") if look.ascii_only else gauge.note
        above = 2 if place.width >= dial.FIGURES_FROM else 1  # clear of the scale's last figure
        canvas.text(round(middle - len(note) / 2), bottom - above, note, DIM)


def _needle(scene: Scene, gauge: Gauge, number: int) -> float | None:
    if scene.needles is not None:
        return scene.needles[number]
    return None if scene.dark or scene.usage is None else gauge.of(scene.usage)


def _value(scene: Scene, gauge: Gauge) -> tuple[str, str]:
    value = None if scene.dark or scene.usage is None else gauge.value(scene.usage)
    if value is None:
        return "--", DIM
    role = gauge.role(value)
    return gauge.text(value), COLOURS[role] if role else INK


def _bars(canvas: Canvas, scene: Scene, look: Look, top: int) -> int:
    room = look.columns - 16 - 10
    for row, gauge in enumerate(look.faces):
        value, colour = _value(scene, gauge)
        share = max(0.0, _needle(scene, gauge, row) or 0.0)
        canvas.text(1, top + row, gauge.label, INK)
        if room >= 4:  # noqa: PLR2004 - fewer show nothing
            full = round(share * room)
            canvas.text(17, top + row, "#" * full if look.ascii_only else "━" * full, colour)
            canvas.text(17 + full, top + row, ("-" if look.ascii_only else "┈") * (room - full), DIM)
        canvas.text(look.columns - len(value) - 1, top + row, value, colour)
    return top + 4


def _lamps(canvas: Canvas, scene: Scene, look: Look, top: int) -> int:
    texts = [(lamp, _shines(scene, lamp)) for lamp in LAMPS]
    on, off = ("(*)", "( )") if look.ascii_only else ("●", "○")
    names = [f"{on if colour else off} {_lamp_name(scene, lamp)}" for lamp, colour in texts]
    wide = sum(map(len, names)) + 3 * len(names) <= look.columns
    gap = max(1, (look.columns - sum(map(len, names))) // (len(names) + 1)) if wide else 1
    x, y = gap, top
    for (_lamp, colour), name in zip(texts, names, strict=True):
        if x + len(name) > look.columns:
            x, y = gap, y + 1
        x = canvas.text(x, y, name, colour or DIM) + gap
    return y + 1


def _lamp_name(scene: Scene, lamp: Lamp) -> str:
    model = scene.usage.last_model if scene.usage and not scene.dark else ""
    return model.upper() if lamp.field == "last_model" and model else lamp.name


def _shines(scene: Scene, lamp: Lamp) -> str | None:
    if scene.dark or scene.usage is None:
        return lamp.colour if lamp.field == "stall" else None
    return lamp.shines(scene.usage)


def _strip(canvas: Canvas, scene: Scene, look: Look, at: tuple[int, int]) -> int:
    """Draw the sparkline between a caption and an empty row, and return how many rows that took."""
    top, rows = at
    if rows < 3 or not scene.strip:  # noqa: PLR2004 - one row each
        return 0
    tach = look.faces[1]
    blocks, bars = ASCII_BLOCKS if look.ascii_only else BLOCKS, rows - 2
    strip = _resampled(scene.strip, look.columns - 2)
    highest = max((rate for rate in strip if rate is not None), default=0) or 1
    canvas.text(
        1, top, f"TOKENS/MIN{scene.span and ', ' + scene.span}, highest {tach.text(highest if any(strip) else 0)}", DIM
    )
    for x, rate in enumerate(strip):
        eighths = 0 if rate is None else round(rate / highest * bars * 8)
        colour = DIM if scene.dark else COLOURS["danger" if (rate or 0) > look.redline else "good"]
        for row in range(bars):
            part = min(8, max(0, eighths - 8 * (bars - 1 - row)))
            canvas.put(1 + x, top + 1 + row, blocks[part], colour)
    return rows


def _resampled(strip: Sequence[Slice | None], columns: int) -> list[float | None]:
    """Make one figure per column: the highest of the slices that fall into it."""
    highest: list[float | None] = []
    for x in range(columns):
        part = strip[x * len(strip) // columns : max(x * len(strip) // columns + 1, (x + 1) * len(strip) // columns)]
        rates = [each.rate for each in part if each is not None]
        highest.append(max(rates) if rates else None)
    return highest
