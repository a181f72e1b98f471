"""The picture in firmware/README.md: the real firmware on its virtual board, its needles and lamps as they moved."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.firmware.boards import Sender, board, fresh, linked
from tests.support.mosquitto import Mosquitto

from claude_gauge.apps.device.faces import face
from claude_gauge.apps.device.virtual_board import VirtualBoard
from claude_gauge.contract.scales import LAMPS, angle, gauges

OUT = Path(__file__).parents[1] / "firmware" / "dials.svg"
FRAME_S = 0.08
STORY = (  # seconds from the start, and what is published then
    (0.0, {"idle": True, "last_model": "sonnet", "window_5h_pct": 0.31, "cache_hit_rate": 0.88}),
    (1.5, {"idle": False, "last_model": "opus", "rate_1m": 420_000, "thinking_ratio": 0.35, "window_5h_pct": 0.36}),
    (3.5, {"rate_1m": 1_130_000, "thinking_ratio": 0.62, "hot": True, "window_5h_pct": 0.52, "cache_hit_rate": 0.93}),
    (6.0, {"rate_1m": 640_000, "thinking_ratio": 0.48, "hot": False, "window_5h_pct": 0.83, "warn": True}),
    (8.0, {"rate_1m": 0.0, "idle": True, "window_5h_pct": 0.83, "thinking_ratio": 0.2, "last_model": "haiku"}),
    (
        10.0,
        {"window_5h_pct": 0.31, "warn": False, "thinking_ratio": 0.0, "last_model": "sonnet", "cache_hit_rate": 0.88},
    ),
)
END_S = 12.5


def record(gauge: VirtualBoard, sender: Sender) -> list[tuple[list[float], tuple[str, ...]]]:
    """Tell the story to a board that is connected, and return its needles and lamps, frame by frame."""
    reported = dict(STORY[0][1])
    sender.send(fresh(**reported))
    gauge.wait(lambda: gauge.shares()[0] > 0.3, 20)
    frames, began, chapters = [], time.monotonic(), list(STORY)
    while (passed := time.monotonic() - began) < END_S:
        while chapters and chapters[0][0] <= passed:
            reported |= chapters.pop(0)[1]
            sender.send(fresh(**reported))
        frames.append((gauge.shares(), gauge.lamps))
        time.sleep(FRAME_S)
    return frames


def animated(name: str, values: list[str], kind: str = "", calc: str = "linear") -> str:
    """Return a SMIL animation through values at even times, without those in which nothing changes."""
    last = len(values) - 1
    kept = [n for n in range(last + 1) if n in (0, last) or not values[n - 1] == values[n] == values[n + 1]]
    times = ";".join(f"{n / last:.4f}".rstrip("0").rstrip(".") for n in kept)
    tag = f'animateTransform attributeName="{name}" type="{kind}"' if kind else f'animate attributeName="{name}"'
    shown = ";".join(values[n] for n in kept)
    return f'<{tag} calcMode="{calc}" dur="{END_S}s" repeatCount="indefinite" keyTimes="{times}" values="{shown}"/>'


def picture(frames: list[tuple[list[float], tuple[str, ...]]]) -> str:
    """Draw the four dials, their needles, and the lamps below."""
    parts = ['<rect width="376" height="118" rx="6" fill="#fff"/>']
    for place, gauge in enumerate(gauges(1_000_000)):
        x = 50 + 92 * place
        parts.append(face(gauge, (x, 48)))
        values = [f"{angle(shares[place]):.1f} {x} 48" for shares, _ in frames]
        parts.append(
            f'<g><path d="M{x - 1} 54L{x} 15L{x + 1} 54Z" fill="#d22"/>{animated("transform", values, "rotate")}</g>'
            f'<circle cx="{x}" cy="48" r="4" fill="#222"/>'
        )
    for place, lamp in enumerate(LAMPS):
        x = 98 + 45 * place
        lit = [f"#{_bright(lamps[place])}" for _, lamps in frames]
        parts.append(
            f'<circle cx="{x}" cy="102" r="5" stroke="#222" stroke-width="0.4" fill="{lit[0]}">'
            f"{animated('fill', lit, calc='discrete')}</circle>"
            f'<text x="{x}" y="115" font-size="5" font-family="Helvetica,Arial,sans-serif" text-anchor="middle">'
            f"{lamp.name}</text>"
        )
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 376 118">\n<title>claude-gauge</title>\n{body}\n</svg>\n'
    )


def _bright(colour: str) -> str:
    # Light goes with the square of what is seen: a pixel at a quarter looks half lit.
    if colour == "000000":
        return "dddddd"
    return "".join(f"{round(255 * (int(colour[n : n + 2], 16) / 255) ** 0.4):02x}" for n in (0, 2, 4))


def main() -> None:
    """Write the picture."""
    folder = Path(tempfile.mkdtemp())
    try:
        with (
            Mosquitto(folder / "broker") as broker,
            board(folder / "flash", broker.port, lamps={"brightness": 1.0}) as gauge,
            Sender(broker.port) as sender,
        ):
            linked(gauge)
            OUT.write_text(picture(record(gauge, sender)), "utf-8")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
