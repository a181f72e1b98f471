"""From a value to a needle's position: the publisher's scales (a test holds both equal) and each needle's calibration.

A share is 0..1 of the drawn scale. Below its zero mark lies the movement's stop: a needle at rest points at nothing.
"""

SWEEP_DEGREES = 315
REST_DEGREES = 20
SCALE_DEGREES = 270
# From left to right: name, field, the field's value at the end of the scale.
GAUGES: "tuple[tuple[str, str, float], ...]" = (
    ("fuel", "window_5h_pct", 1.0),
    ("tach", "rate_1m", 1_250_000.0),
    ("temperature", "thinking_ratio", 1.0),
    ("boost", "cache_hit_rate", 1.0),
)


def share(value: float, high: float) -> float:
    """Place a value on a scale that ends at `high`."""
    return min(1.0, max(0.0, value / high))


class Dial:
    """One needle's calibration: its zero mark, its span, and where single points of its printed face lie."""

    def __init__(self, calibration: "dict | None" = None) -> None:
        given = calibration or {}
        self.zero = given.get("zero", REST_DEGREES)
        self.span = given.get("span", SCALE_DEGREES)
        self.points = [(0.0, 0.0)] + [tuple(point) for point in given.get("points", [])] + [(1.0, 1.0)]

    def correct(self, wanted: float) -> float:
        """Bend a share so that the needle stands on its mark."""
        before = self.points[0]
        for point in self.points[1:]:
            if wanted <= point[0]:
                width = point[0] - before[0]
                return before[1] + (point[1] - before[1]) * (wanted - before[0]) / width if width else point[1]
            before = point
        return wanted

    def steps(self, wanted: "float | None", last: int) -> int:
        """Turn a share into steps from the stop, of `last` over the sweep; None is rest."""
        if wanted is None:
            return 0
        return round((self.zero + self.span * self.correct(wanted)) * last / SWEEP_DEGREES)
