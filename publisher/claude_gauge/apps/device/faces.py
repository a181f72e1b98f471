"""Drawings as SVG, true to scale: the dial faces from the scales, and a label for the case."""

from __future__ import annotations

import math
from html import escape
from pathlib import Path

from claude_gauge.contract.scales import COLOURS, Gauge, angle, gauges
from claude_gauge.errors import GaugeError

FONT = "font-family='Helvetica,Arial,sans-serif'"
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
    texts = "\n".join(_text((30, y), text, 4.0 if y > 6 else 3.0, weight="bold") for text, y in rows)  # noqa: PLR2004 - the first is a heading
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
        parts.append(_text(_at(centre, RADIUS - 14, share), tick.figure, 5.0))
    parts.append(_text((x, y - 11), gauge.label, 4.2, weight="bold"))
    parts.append(_text((x, y + 13), gauge.note, 3.4))
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


def _text(place: tuple[float, float], text: str, size: float, *, weight: str = "normal") -> str:
    return (
        f'<text x="{place[0]:.3f}" y="{place[1] + size * 0.35:.3f}" font-size="{size}" font-weight="{weight}" '
        f'{FONT} text-anchor="middle" fill="{INK}">{escape(text)}</text>'
    )


def _ruler(x: float, y: float) -> str:
    ticks = "".join(f"M{x + n} {y}v{-4 if n % 10 == 0 else -2}" for n in range(101))
    note = _text((x + 50, y + 5), "100 mm: print at 100 %, not “fit to page”", 3.4)
    return f'<path d="{ticks}" stroke="{INK}" stroke-width="0.15" fill="none"/>\n{note}'
