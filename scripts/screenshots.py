"""Pictures of the real program: made-up transcripts go its whole road, and Chromium photographs what comes out."""

from __future__ import annotations

import base64
import html
import math
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, ViewportSize

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.page import Cluster, chromium
from tests.support.tmux import Terminal
from tests.support.transcripts import ClaudeHome, assistant

from claude_gauge.apps.terminal.dial import BRAILLE, DOTS
from claude_gauge.contract.scales import as_json
from claude_gauge.counting.derive import Limits, derive
from claude_gauge.outlets.web.shim import Shim
from claude_gauge.sources.transcripts.source import Transcripts

HOURS_S, STEP_S = 3.9 * 3600, 20  # so that the 5-hour block still runs
MODELS = ("claude-sonnet-5", "claude-haiku-4-5", "claude-opus-5-5", "claude-sonnet-5")
LIMITS = Limits(ceiling_5h=120_000_000, redline=1_000_000, stall_s=600, cache_floor=0.4, tach="all")
DEMO_S = float(os.environ.get("CLAUDE_GAUGE_DEMO_SECONDS", "150"))
TERMINAL = (100, 30)
WIDE, HIGH, EDGE = 9.0, 18.5, 14
PHONE = 600
INK = "#d8d8d8"


@dataclass
class Clock:
    """The hour that it is in the story."""

    now: float

    def __call__(self) -> float:
        """Return it."""
        return self.now


def story(start: float, end: float) -> Iterator[tuple[float, str, tuple[int, int, int, int], int]]:
    """Yield made-up responses: time, model, tokens (input, output, cache read, cache creation), thought ones."""
    dice = random.Random(11)
    for minute in range(int((end - start) // 60)):
        left = (end - start) / 60 - minute
        busy = 0.42 + 0.4 * math.sin(minute / 19) + 0.3 * math.sin(minute / 5.3) if left > 6 else 0.85
        model = "claude-opus-5-5" if left < 40 else MODELS[minute // 37 % len(MODELS)]
        count = round(max(0.0, busy) * 9 + dice.uniform(-0.8, 0.8))
        for _ in range(max(0, count)):
            context, output = dice.randint(50_000, 120_000), dice.randint(300, 2600)
            created = round(context * dice.uniform(0.02, 0.12))
            at = start + 60 * minute + dice.uniform(0, 60)
            yield (
                at,
                model,
                (dice.randint(2, 40), output, context - created, created),
                round(output * dice.uniform(0.1, 0.6)),
            )


def five_hours(folder: Path, shim: Shim, clock: Clock, end: float) -> None:
    """Let five hours pass on the real road: lines in a file, the tail, the sums, the payload, the shim."""
    claude = ClaudeHome(folder / "claude")
    source = Transcripts([claude.folder / "projects"], clock)
    left = sorted(story(clock.now, end))
    previous = None
    while clock.now < end:
        clock.now = min(end, clock.now + STEP_S)
        while left and left[0][0] <= clock.now:
            at, model, tokens, thinking = left.pop(0)
            claude.append(assistant(at, int(at * 1000) % 10**9, model=model, tokens=tokens, thinking=thinking))
        source.load()
        previous = derive(source.read(clock.now), LIMITS, clock.now, node="studio", account=None, previous=previous)
        shim.push(previous.to_json())


@dataclass(frozen=True)
class Shot:
    """One picture of the page: `scheme` is dark, light or stale."""

    name: str
    width: int
    height: int
    scheme: str
    scale: float


SHOTS = (
    Shot("cluster-dark", 1440, 900, "dark", 1.25),
    Shot("cluster-light", 1440, 900, "light", 1.25),
    Shot("cluster-phone", 390, 844, "dark", 2),
    Shot("cluster-stale", 1440, 900, "stale", 1),
)


def photograph(browser: Browser, url: str, shot: Shot, images: Path) -> None:
    """Take one picture of the page once its needles rest."""
    screen = ViewportSize(width=shot.width, height=shot.height)
    with browser.new_context(
        viewport=screen,
        color_scheme="light" if shot.scheme == "light" else "dark",
        device_scale_factor=shot.scale,
        reduced_motion="reduce",
    ) as context:
        cluster = Cluster(context, url)
        cluster.stale() if shot.scheme == "stale" else cluster.live()
        if shot.width < PHONE:
            screen["height"] = cluster.page.evaluate("document.body.scrollHeight")
            cluster.page.set_viewport_size(screen)
        cluster.page.wait_for_timeout(500)
        taken = context.new_cdp_session(cluster.page).send("Page.captureScreenshot", {"format": "webp", "quality": 90})
        (images / f"{shot.name}.webp").write_bytes(base64.b64decode(taken["data"]))
        assert not cluster.complaints, cluster.complaints


def terminal(folder: Path, path: Path) -> None:
    """Take a picture of the demo in a real terminal."""
    command = [sys.executable, "-m", "claude_gauge", "demo", "--http", "off"]
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"}
    with Terminal(folder, command, env, size=TERMINAL) as shown:
        shown.wait("LIVE")
        time.sleep(DEMO_S)
        screen = shown.screen(colours=True)
        shown.press("q")
    path.write_text(as_svg(screen))


def as_svg(screen: str) -> str:
    """Draw a captured terminal: its cells stand where a terminal puts them, whatever fonts the reader has."""
    columns, rows = TERMINAL
    size = f"{columns * WIDE + 2 * EDGE} {rows * HIGH + 2 * EDGE}"
    cells, colour = [], INK
    for row, line in enumerate(screen.split("\n")[:rows]):
        column = 0
        for part in re.split(r"(\x1b\[[0-9;]*m)", line):
            code = re.fullmatch(r"\x1b\[([0-9;]*)m", part)
            if code:
                found = re.search(r"38;5;(\d+)", code[1])
                colour = rgb(int(found[1])) if found else INK
                continue
            cells += [cell(each, EDGE + (column + n) * WIDE, EDGE + row * HIGH, colour) for n, each in enumerate(part)]
            column += len(part)
    style = "font:15px 'DejaVu Sans Mono',Menlo,Consolas,monospace"
    ground = '<rect width="100%" height="100%" rx="10" fill="#0b0d10"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" style="{style}">{ground}{"".join(cells)}</svg>\n'
    )


def cell(character: str, x: float, y: float, colour: str) -> str:
    """Draw one cell: Braille as dots, blocks as rectangles, the rest as text."""
    dots, eighths = ord(character) - BRAILLE, ord(character) - 0x2580
    if 0 <= dots < 256:
        where = [(n % 2, n // 2) for n, bit in enumerate(bit for pair in DOTS for bit in pair) if dots & bit]
        path = "".join(f"M{x + 2.2 + 4.5 * right:.1f} {y + 2.4 + 4.6 * down:.1f}h0" for right, down in where)
        return f'<path d="{path}" stroke="{colour}" stroke-width="2.9" stroke-linecap="round"/>'
    if 1 <= eighths <= 8:
        high = HIGH * eighths / 8
        box = f"M{x:.1f} {y + HIGH - high:.1f}h{WIDE}v{high:.1f}h-{WIDE}z"
        return f'<path d="{box}" fill="{colour}" shape-rendering="crispEdges"/>'
    return (
        f'<text x="{x:.1f}" y="{y + 14:.1f}" fill="{colour}">{html.escape(character)}</text>'
        if character != " "
        else ""
    )


def rgb(number: int) -> str:
    """Return one of the 256 colours as CSS."""
    if number >= 232:
        return "#" + f"{8 + 10 * (number - 232):02x}" * 3
    levels = (0, 95, 135, 175, 215, 255)
    red, green, blue = (levels[(number - 16) // power % 6] for power in (36, 6, 1))
    return f"#{red:02x}{green:02x}{blue:02x}"


def main() -> None:
    """Make every picture."""
    images = Path(sys.argv[1])
    images.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gauge-") as short, chromium() as browser:
        folder = Path(short)
        clock = Clock(time.time() - HOURS_S)
        shim = Shim(
            "127.0.0.1:0", dict, scales={**as_json(LIMITS.redline, LIMITS.cache_floor), "node": "studio"}, now=clock
        )
        five_hours(folder, shim, clock, time.time())
        shim.start()
        url = f"http://localhost:{shim.port}/"
        for shot in SHOTS:
            clock.now += 3600 if shot.scheme == "stale" else 0
            photograph(browser, url, shot, images)
        shim.stop()
        terminal(folder / "tmux", images / "terminal.svg")


if __name__ == "__main__":
    main()
