"""`claude-gauge firmware calibrate`: where a needle really stands, asked of whoever looks at its face."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from claude_gauge.apps.device.chips import check, chip_of
from claude_gauge.apps.device.install import put_config
from claude_gauge.apps.device.serial_board import SerialBoard
from claude_gauge.config import Settings
from claude_gauge.contract.scales import REST_DEGREES, SCALE_DEGREES, gauges
from claude_gauge.errors import GaugeError

PLACES = (0.0, 0.25, 0.5, 0.75, 1.0)
SUFFIXES = {"k": 1e3, "m": 1e6, "%": 1e-2}


def calibrate(
    cable: SerialBoard, settings: Settings, name: str, ask: Callable[[str], str], say: Callable[[str], None]
) -> None:
    """Send one needle to five places, ask what it shows, and write zero, span and points."""
    labels = {gauge.name: gauge.label for gauge in gauges(1_000_000)}
    if name not in labels:
        raise GaugeError(f"needle {name!r}: take one of {', '.join(labels)}")
    about = cable.about()
    config = dict(about.config)
    high = float(config.get("tach_high", gauges(settings.redline)[1].high)) if name == "tach" else 1.0
    unit = "tokens/min, as in 500k" if name == "tach" else "per cent"
    say(f"{labels[name]}: five places; type what the needle shows each time ({unit}), below zero as a negative figure")
    shown: list[float] = []
    for place in PLACES:
        cable.execute(f"from gauge import selftest; selftest.stand({name!r}, {place})")
        shown.append(figure(ask(f"place {len(shown) + 1} of {len(PLACES)}"), high))
    needles = dict(config.get("needles", {}))
    needle = needles.get(name, {})
    needles[name] = {**needle, **fitted(str(config.get("movement", "quad")), needle, PLACES, shown)}
    config["needles"] = needles
    check(config, about, chip_of(about))
    say("calibration: " + ", ".join(f"{key} {value}" for key, value in needles[name].items() if key != "pins"))
    put_config(cable, settings, config, say)


def figure(text: str, high: float) -> float:
    """Read what was typed as a share of the scale: per cent, or a figure of a scale that ends at `high`."""
    text = text.strip().lower().replace(",", "").replace(" ", "")
    factor = SUFFIXES.get(text[-1:], 1.0)
    try:
        value = float(text.rstrip("km%")) * factor
    except ValueError:
        raise GaugeError(f"{text!r} is no figure; nothing was changed") from None
    if high != 1.0:
        return value / high
    return value if text.endswith("%") else value / 100


def fitted(movement: str, needle: Mapping[str, Any], sent: Sequence[float], shown: Sequence[float]) -> dict[str, Any]:
    """Return the settings with which a needle that showed `shown` where it was sent to `sent` shows what is meant.

    Both are shares of the scale, rising; the ends are extrapolated from the two places next to them.
    """
    if any(after - before < 0.02 for before, after in pairwise(shown)):  # noqa: PLR2004 - 2 % of the scale
        raise GaugeError(
            "the figures do not rise from place to place: a needle that turns the wrong way wants "
            '"reverse": true, one that stands still a look at its wires; nothing was changed'
        )
    low, high = _inverse(sent, shown, 0.0), _inverse(sent, shown, 1.0)
    points = [[each, round((_inverse(sent, shown, each) - low) / (high - low), 4)] for each in (0.25, 0.5, 0.75)]
    if movement == "voltmeter":
        return {"full": round(min(1.0, float(needle.get("full", 1.0)) * high), 4), "points": points}
    if movement == "servo":
        begin, end = float(needle.get("low_us", 600)), float(needle.get("high_us", 2400))
        ends = [round(begin + (end - begin) * each) for each in (low, high)]
        return {"low_us": ends[0], "high_us": ends[1], "points": points}
    zero = REST_DEGREES + SCALE_DEGREES * low
    return {"zero": round(zero, 2), "span": round(SCALE_DEGREES * (high - low), 2), "points": points}


def _inverse(sent: Sequence[float], shown: Sequence[float], wanted: float) -> float:
    """Return where to send a needle so that it shows this."""
    steps = list(pairwise(zip(sent, shown, strict=True)))
    (x0, y0), (x1, y1) = next((step for step in steps if wanted <= step[1][1]), steps[-1])
    return x0 + (x1 - x0) * (wanted - y0) / (y1 - y0)
