"""What colour each lamp has at one moment: pure, the time is an argument."""

LAMPS = ("model", "hot", "warn", "stall", "idle")  # from left to right, as they are chained

OFF, WHITE = (0, 0, 0), (255, 255, 255)
RED, AMBER, GREEN, BLUE, VIOLET = (255, 0, 0), (255, 110, 0), (0, 255, 0), (0, 40, 255), (150, 0, 255)
FAMILIES = {"opus": RED, "sonnet": AMBER, "haiku": GREEN, "": OFF}
ANY_OTHER = VIOLET  # a family that this firmware does not know still lights up

PULSE_MS, WAITING_MS, FLASH_MS, FLICKER_MS = 4000, 1200, 500, 125


def colours(usage: dict, now_ms: int, *, stale: bool, linked: bool, missing: str = "broker") -> list:
    """Return the five colours. STALL alone speaks of stale data, and its pattern says what is missing.

    Steady: a publisher. Without a link, once a second: the broker; four times a second: Wi-Fi; in turn with WARN:
    somebody at our set-up page.
    """
    if stale:
        lit = linked or _flash(now_ms, FLICKER_MS if missing == "wifi" else FLASH_MS)
        page = not linked and missing == "setup" and not lit
        return [OFF, OFF, AMBER if page else OFF, BLUE if lit else OFF, OFF]
    model = FAMILIES.get(usage["last_model"], ANY_OTHER)
    if usage["waiting"]:
        model = shade(WHITE, pulse(now_ms, WAITING_MS))
    warn = usage["warn"] or usage["limit_before_reset"]
    return [
        model,
        RED if usage["hot"] else OFF,
        AMBER if warn and (not usage["limit_before_reset"] or _flash(now_ms)) else OFF,
        BLUE if usage["stall"] else OFF,
        shade(GREEN, 0.1 + 0.9 * pulse(now_ms, PULSE_MS)) if usage["idle"] else OFF,
    ]


def broken(now_ms: int) -> list:
    """Return the colours for impossible settings: WARN flashes twice, and pauses."""
    return [OFF, OFF, AMBER if now_ms % 2000 in range(200) or now_ms % 2000 in range(400, 600) else OFF, OFF, OFF]


def shade(colour: tuple, level: float) -> tuple:
    """Dim a colour to a level of 0..1, as an eye would judge it: light goes with the square of what is seen."""
    light = level * level
    return tuple([int(part * light + 0.5) for part in colour])


def pulse(now_ms: int, period_ms: int) -> float:
    """Return a level of 0..1 that swells and fades softly, once in each period."""
    rise = 1 - abs(2 * (now_ms % period_ms) / period_ms - 1)
    return rise * rise * (3 - 2 * rise)


def brightness(day: float, night: "list | None", minute: "int | None") -> float:
    """Return the level for a minute of the day; `night` is [from, to, level] in minutes, and may pass midnight."""
    if not night or minute is None:
        return day
    start, end, level = night
    dark = start <= minute < end if start <= end else minute >= start or minute < end
    return level if dark else day


def _flash(now_ms: int, half_ms: int = FLASH_MS) -> bool:
    return now_ms % (2 * half_ms) < half_ms
