"""Drawings as SVG: the wiring plan from the firmware's pins, the dial faces from the scales."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from claude_gauge.contract.scales import COLOURS, LAMPS, Gauge, angle, gauges
from claude_gauge.errors import GaugeError

FONT = "font-family='Helvetica,Arial,sans-serif'"
ROW = 26
BOARD_X, BUFFER_X, DRIVER_X, MOTOR_X = 40, 330, 560, 860
TOP = 110
SIGNAL, STRONG = "#258", "#285"


@dataclass(frozen=True)
class Wire:
    """One output of the board and where it ends."""

    pin: int
    name: str


def wires(settings: Mapping[str, Any]) -> list[Wire]:
    """List the outputs of the quad driver's wiring, top to bottom."""
    found = []
    for number, (name, needle) in enumerate(settings["needles"].items()):
        letter = "ABCD"[number]
        found += [Wire(needle["pins"][0], f"f(scx) {letter}, {name}"), Wire(needle["pins"][1], f"CW/CCW {letter}")]
    return [*found, Wire(settings["reset_pin"], "RESET"), Wire(settings["lamps"]["pins"][0], "lamps DIN")]


def table(settings: Mapping[str, Any]) -> str:
    """Return the wiring as a table in Markdown."""
    labels = {gauge.name: gauge.label for gauge in gauges(1_000_000)}
    rows = ["| GPIO | goes to | GPIO | goes to |", "|---|---|---|---|"]
    shared = Counter(needle["pins"][1] for needle in settings["needles"].values())
    for name, needle in settings["needles"].items():
        step, way = needle["pins"]
        both = " (shared)" if shared[way] > 1 else ""
        rows.append(f"| {step} | step, {labels[name]} | {way} | direction, {labels[name]}{both} |")
    rows.append(
        f"| {settings['reset_pin']} | RESET of the driver | {settings['lamps']['pins'][0]} | data of the lamps |"
    )
    return "\n".join(rows) + "\n"


def plan(settings: Mapping[str, Any]) -> str:
    """Return the plan: board, level shifters, quad driver, movements, lamps, supply."""
    rows = wires(settings)
    height = TOP + ROW * len(rows) + 190
    bottom = TOP + ROW * len(rows) + 10
    parts = [
        _box(BOARD_X, TOP - 40, 150, bottom - TOP + 40, [str(settings["chip"]), "module or board"]),
        _box(BUFFER_X, TOP - 40, 120, bottom - TOP + 40, ["2 x 74AHCT541", "3.3 V in, 5 V out"]),
        _box(DRIVER_X, TOP - 40, 170, ROW * 9 + 44, ["AX1201728SG / X12.017", "or VID6606"]),
    ]
    for number, wire in enumerate(rows):
        y = TOP + 20 + ROW * number
        parts += [_line(BOARD_X + 150, y, BUFFER_X, SIGNAL), _line(BUFFER_X + 120, y, DRIVER_X, STRONG)]
        parts += [_text(BOARD_X + 140, y + 4, f"GPIO{wire.pin}", "end"), _text(DRIVER_X + 10, y + 4, wire.name)]
    for number, gauge in enumerate(gauges(1_000_000)):
        y = TOP + 20 + ROW * 2 * number
        parts.append(_line(DRIVER_X + 170, y + 6, MOTOR_X, STRONG))
        parts.append(_text(DRIVER_X + 180, y, f"OUT {'ABCD'[number]}1-4"))
        parts.append(_box(MOTOR_X, y - 14, 190, 40, [gauge.label, "X27.168"]))
    lamp_y = TOP + 20 + ROW * (len(rows) - 1)
    parts.append(_box(DRIVER_X, lamp_y - 13, 490, 46, ["", f"5 x WS2812: {', '.join(lamp.name for lamp in LAMPS)}"]))
    parts += _supply(bottom + 50)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1090 {height}" width="1090" height="{height}">\n'
        f"<title>claude-gauge: wiring of an {settings['chip']}</title>\n"
        f'<rect width="1090" height="{height}" fill="#fff"/>\n'
        + _text(
            BOARD_X,
            40,
            f"claude-gauge: {settings['chip']} with a quad driver (needles stepped, lamps chained)",
            size=18,
        )
        + "\n"
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _supply(y: float) -> list[str]:
    texts = [
        "5 V, 1 A supply: to the board's 5V/VIN, the buffers' VCC, the driver's VDD, the lamps' 5 V; common ground.",
        "100 nF at every chip, 470 uF at the lamps, 330 ohm in their data line; the buffers' output enables to ground.",
        "RESET has 10 kohm to ground: the driver stays quiet while the board starts.",
    ]
    return [
        _box(BOARD_X, y, 1010, 80, []),
        *(_text(BOARD_X + 12, y + 24 + 22 * number, text) for number, text in enumerate(texts)),
    ]


def _box(x: float, y: float, width: float, height: float, texts: Sequence[str]) -> str:
    frame = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="none" stroke="#222"/>'
    lines = [_text(x + width / 2, y + 17 + 16 * n, text, "middle") for n, text in enumerate(texts) if text]
    return "\n".join([frame, *lines])


def _line(x1: float, y: float, x2: float, colour: str) -> str:
    return f'<path d="M{x1} {y}H{x2}" stroke="{colour}" stroke-width="2"/>'


def _text(x: float, y: float, text: str, anchor: str = "start", size: int = 13) -> str:
    return f'<text x="{x}" y="{y}" {FONT} font-size="{size}" text-anchor="{anchor}" fill="#111">{escape(text)}</text>'


PAPER = (210, 297)
RADIUS = 40.0  # of a face, mm
HOLE = 3.0  # radius of the hole for the movement's shaft
PLACES = ((57.0, 72.0), (153.0, 72.0), (57.0, 166.0), (153.0, 166.0))
INK, PAPER_COLOUR = "#111", "#fff"


def sheet(redline: float, cache_floor: float | None = None) -> str:
    """Return the sheet as SVG; print it at 100 %, and measure the ruler to be sure."""
    width, height = PAPER
    faces = [face(gauge, place) for gauge, place in zip(gauges(redline, cache_floor), PLACES, strict=True)]
    body = "\n".join([*faces, _ruler(55.0, 240.0)])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}mm" height="{height}mm" '
        f'viewBox="0 0 {width} {height}">\n'
        f"<title>claude-gauge: dial faces for a redline of {redline:,.0f} tokens/min</title>\n"
        f'<rect width="{width}" height="{height}" fill="{PAPER_COLOUR}"/>\n{body}\n</svg>\n'
    )


def label(network: str, password: str) -> str:
    """Return a label for the case, 60 by 20 mm: the set-up network and its password."""
    rows = [("claude-gauge: set-up network", 6.0), (network, 11.5), (f"password: {password}", 17.0)]
    texts = "\n".join(_face_text((30, y), text, 4.0 if y > 6 else 3.0, weight="bold") for text, y in rows)  # noqa: PLR2004 - the first is a heading
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="60mm" height="20mm" viewBox="0 0 60 20">\n'
        f'<rect width="60" height="20" fill="{PAPER_COLOUR}" stroke="{INK}" stroke-width="0.2"/>\n{texts}\n</svg>\n'
    )


def write_label(path: Path, network: str, password: str) -> None:
    """Write the label to a file that only its owner can read."""
    try:
        path.touch(mode=0o600)
        path.write_text(label(network, password), "utf-8")
    except OSError as error:
        raise GaugeError(f"--label {path}: {error.strerror}; name a file that can be written") from None


def face(gauge: Gauge, centre: tuple[float, float]) -> str:
    """Return one dial around its centre, as a group of SVG."""
    x, y = centre
    parts = [f'<circle cx="{x}" cy="{y}" r="{RADIUS}" fill="none" stroke="{INK}" stroke-width="0.15"/>']
    parts += [_arc(centre, gauge.share(z.start), gauge.share(z.end), COLOURS[z.role]) for z in gauge.zones]
    parts += [_mark(centre, gauge.share(tick.value), 3.0, 0.35) for tick in gauge.minors]
    for tick in gauge.majors:
        share = gauge.share(tick.value)
        parts.append(_mark(centre, share, 5.0, 0.7))
        parts.append(_face_text(_at(centre, RADIUS - 14, share), tick.figure, 5.0))
    parts.append(_face_text((x, y - 11), gauge.label, 4.2, weight="bold"))
    parts.append(_face_text((x, y + 13), gauge.note, 3.4))
    parts.append(f'<circle cx="{x}" cy="{y}" r="{HOLE}" fill="none" stroke="{INK}" stroke-width="0.15"/>')
    parts.append(f'<path d="M{x - 1} {y}h2M{x} {y - 1}v2" stroke="{INK}" stroke-width="0.1"/>')
    return f'<g id="{gauge.name}">\n' + "\n".join(parts) + "\n</g>"


def _at(centre: tuple[float, float], radius: float, share: float) -> tuple[float, float]:
    turned = math.radians(angle(share))
    return centre[0] + radius * math.sin(turned), centre[1] - radius * math.cos(turned)


def _mark(centre: tuple[float, float], share: float, length: float, width: float) -> str:
    (x1, y1), (x2, y2) = _at(centre, RADIUS - 3, share), _at(centre, RADIUS - 3 - length, share)
    return f'<path d="M{x1:.3f} {y1:.3f}L{x2:.3f} {y2:.3f}" stroke="{INK}" stroke-width="{width}"/>'


def _arc(centre: tuple[float, float], start: float, end: float, colour: str) -> str:
    radius = RADIUS - 4.2
    (x1, y1), (x2, y2) = _at(centre, radius, start), _at(centre, radius, end)
    large = int(angle(end) - angle(start) > 180)  # noqa: PLR2004 - half a turn
    path = f"M{x1:.3f} {y1:.3f}A{radius} {radius} 0 {large} 1 {x2:.3f} {y2:.3f}"
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2.4"/>'


def _face_text(place: tuple[float, float], text: str, size: float, *, weight: str = "normal") -> str:
    return (
        f'<text x="{place[0]:.3f}" y="{place[1] + size * 0.35:.3f}" font-size="{size}" font-weight="{weight}" '
        f'{FONT} text-anchor="middle" fill="{INK}">{escape(text)}</text>'
    )


def _ruler(x: float, y: float) -> str:
    ticks = "".join(f"M{x + n} {y}v{-4 if n % 10 == 0 else -2}" for n in range(101))
    note = _face_text((x + 50, y + 5), "100 mm: print at 100 %, not “fit to page”", 3.4)
    return f'<path d="{ticks}" stroke="{INK}" stroke-width="0.15" fill="none"/>\n{note}'
