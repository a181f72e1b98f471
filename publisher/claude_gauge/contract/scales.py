"""The scales of all gauges and lamps; web page, terminal, printed faces, firmware and Home Assistant use these.

A share is 0..1 of the drawn scale, from its zero mark to its last one. Angles are degrees clockwise
from twelve o'clock. The movement's stop lies below the zero mark, so that a needle at rest points at nothing.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal

from claude_gauge.contract.usage import Usage

Role = Literal["cool", "good", "caution", "danger"]
COLOURS: dict[Role, str] = {"cool": "#4da3ff", "good": "#2fbf71", "caution": "#f5a623", "danger": "#e5383b"}

SWEEP_DEGREES = 315.0  # of the movement, from stop to stop
REST_DEGREES = 20.0  # from the stop to the zero mark
SCALE_DEGREES = 270.0  # from the zero mark to the last one
ZERO_ANGLE = -135.0  # of the zero mark on the face
STEPS = 945  # of the movement over its sweep, a third of a degree each
# The movement's known-good ramp, as the firmware drives it: a speed (needs as many steps to stop), microseconds a step.
RAMP = ((0, 3000), (20, 3000), (50, 1500))
TOP_SPEED = RAMP[-1][0]

FULL = 1.25  # TOKENS/MIN (tach) goes this far beyond its redline
FUEL_WARN = 0.8


@dataclass(frozen=True)
class Zone:
    """A coloured arc between two values of the gauge's field."""

    start: float
    end: float
    role: Role


@dataclass(frozen=True)
class Tick:
    """A mark on the scale; a major one has its figure beside it."""

    value: float
    figure: str = ""


@dataclass(frozen=True)
class Gauge:
    """One round gauge: which field it shows and how its face is drawn; values are in the field's own unit."""

    name: str
    field: str
    label: str
    unit: str
    high: float
    factor: float  # what a value is multiplied by before it is written on the face
    note: str  # what stands on the face below the needle's hub
    majors: tuple[Tick, ...]
    minors: tuple[Tick, ...]
    zones: tuple[Zone, ...]

    def share(self, value: float) -> float:
        """Place a value on the scale: 0 at its zero mark, 1 at its last one, and never beyond."""
        return min(1.0, max(0.0, value / self.high))

    def of(self, usage: Usage) -> float | None:
        """Return this gauge's share of the scale for a payload; None where its value is not known."""
        value = self.value(usage)
        return None if value is None else self.share(value)

    def value(self, usage: Usage) -> float | None:
        """Return this gauge's value in a payload; None where it is not known."""
        return usage.figure(self.field)

    def text(self, value: float) -> str:
        """Write a value as people read it: `42 %`, `1.24 M`."""
        return f"{math.floor(value * 100 + 0.5)} %" if self.unit == "%" else short(value)

    def role(self, value: float) -> Role | None:
        """Name the zone that a value lies in; the last one also holds all that is beyond the scale."""
        return next(
            (zone.role for zone in reversed(self.zones) if value >= zone.start and value <= zone.end), None
        ) or (self.zones[-1].role if value > self.high and self.zones else None)


@dataclass(frozen=True)
class Lamp:
    """One lamp: the field that lights it and its colour; MODEL's colour depends on the family instead."""

    name: str
    field: str
    colour: str
    families: tuple[tuple[str, str], ...] = ()
    pulse: bool = False

    def shines(self, usage: Usage) -> str | None:
        """Return the colour that it shines in for a payload, or None when it is dark."""
        value = getattr(usage, self.field)
        return dict(self.families).get(str(value), self.colour) if value else None


LAMPS = (
    Lamp("MODEL", "last_model", "#b18cff", (("opus", "#ff3b30"), ("sonnet", "#ffb000"), ("haiku", "#34d058"))),
    Lamp("HOT", "hot", "#ff3b30"),
    Lamp("WARN", "warn", "#ffb000"),
    Lamp("STALL", "stall", "#3d9bff"),
    Lamp("IDLE", "idle", "#34d058", pulse=True),
)


def gauges(redline: float, cache_floor: float | None = None) -> tuple[Gauge, ...]:
    """Return the four gauges, left to right, for a redline (tokens/min) and a floor of the cache hit rate."""
    return (
        _percent(
            "fuel",
            "window_5h_pct",
            "5H PLAN",
            "% used",
            Zone(FUEL_WARN, 0.95, "caution"),
            Zone(0.95, 1, "danger"),
        ),
        _tach(redline),
        _percent(
            "temperature",
            "thinking_ratio",
            "THINKING/OUTPUT",
            "% thought",
            Zone(0, 0.2, "cool"),
            Zone(0.2, 0.6, "good"),
            Zone(0.6, 0.85, "caution"),
            Zone(0.85, 1, "danger"),
        ),
        _percent(
            "boost",
            "cache_hit_rate",
            "CACHE HIT",
            "% cached",
            *([Zone(0, cache_floor, "caution")] if cache_floor else []),
            Zone(max(FUEL_WARN, cache_floor or 0), 1, "good"),
        ),
    )


def _percent(name: str, field: str, label: str, note: str, *zones: Zone) -> Gauge:
    majors = tuple(Tick(n / 5, str(20 * n)) for n in range(6))
    minors = tuple(Tick(n / 20) for n in range(21) if n % 4)
    return Gauge(name, field, label, "%", 1.0, 100.0, note, majors, minors, tuple(z for z in zones if z.start < z.end))


def _tach(redline: float) -> Gauge:
    step = _step(redline * FULL / 5)
    count = math.ceil(round(redline * FULL / step, 6))
    power = next(each for each in (1e12, 1e9, 1e6, 1e3, 1.0) if count * step >= 10 * each or each == 1)
    majors = tuple(Tick(n * step, f"{n * step / power:.4g}") for n in range(count + 1))
    minors = tuple(Tick(n * step / 5) for n in range(count * 5 + 1) if n % 5)
    note = f"\N{MULTIPLICATION SIGN} {power:,.0f}" if power > 1 else "tokens/min"
    zones = (Zone(redline, count * step, "danger"),)
    return Gauge("tach", "rate_1m", "TOKENS/MIN", "tokens/min", count * step, 1 / power, note, majors, minors, zones)


def _step(least: float) -> float:
    """Return the nearest 1, 2, 2.5 or 5 times a power of ten that is not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return power * next(each for each in (1, 2, 2.5, 5, 10) if each * power >= least * (1 - 1e-9))


def short(count: float) -> str:
    """Write a count in at most three significant figures: `842`, `12.4 k`, `1.24 M`."""
    for power, prefix in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k"), (1.0, "")):
        scaled = count / power
        if scaled >= 0.9995 or power == 1:  # noqa: PLR2004 - 999.5 of the prefix below is written as 1.00 of this one
            digits = 0 if power == 1 or scaled >= 99.95 else 1 if scaled >= 9.995 else 2  # noqa: PLR2004 - three figures
            return f"{math.floor(scaled * 10**digits + 0.5) / 10**digits:.{digits}f}{prefix}"
    raise AssertionError  # the last power always answers


def angle(share: float | None) -> float:
    """Turn a share of the scale into the needle's angle on the face; None is rest, on the stop."""
    return ZERO_ANGLE - REST_DEGREES if share is None else ZERO_ANGLE + SCALE_DEGREES * share


def step(share: float | None) -> int:
    """Turn a share of the scale into steps from the movement's stop; None is rest."""
    return 0 if share is None else round((REST_DEGREES + SCALE_DEGREES * share) * STEPS / SWEEP_DEGREES)


def wait_us(speed: int) -> int:
    """Return how long a step takes at a speed of 1..TOP_SPEED; between the ramp's points the speed rises evenly."""
    (slow, slow_us), (fast, fast_us) = next(pair for pair in pairwise(RAMP) if speed <= pair[1][0])
    return round(slow_us * fast_us / (fast_us + (speed - slow) / (fast - slow) * (slow_us - fast_us)))


def as_json(redline: float, cache_floor: float | None = None) -> dict[str, Any]:
    """Return all scales as plain data, for JavaScript and the firmware's test."""
    return {
        "gauges": [asdict(gauge) for gauge in gauges(redline, cache_floor)],
        "lamps": [{**asdict(lamp), "families": dict(lamp.families)} for lamp in LAMPS],
        "colours": dict(COLOURS),
        "movement": {
            "sweep": SWEEP_DEGREES,
            "rest": REST_DEGREES,
            "scale": SCALE_DEGREES,
            "zero": ZERO_ANGLE,
            "steps": STEPS,
            "waits_us": [wait_us(speed) for speed in range(1, TOP_SPEED + 1)],
        },
    }
