"""The wiring in firmware/README.md, as drawings and tables, made of the firmware's own map of pins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from claude_gauge.apps.device.faces import FONT
from claude_gauge.contract.scales import LAMPS, gauges

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
    outputs = []
    for number, (name, needle) in enumerate(settings["needles"].items()):
        letter = "ABCD"[number]
        outputs += [Wire(needle["pins"][0], f"f(scx) {letter}, {name}"), Wire(needle["pins"][1], f"CW/CCW {letter}")]
    return [*outputs, Wire(settings["reset_pin"], "RESET"), Wire(settings["lamps"]["pins"][0], "lamps DIN")]


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
