"""The drawings for the workshop: true to scale, and of the pins and scales that the firmware really has."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from tests.firmware.wiring import plan, table, wires
from tests.support import ROOT
from tests.support.publisher import call, environment
from tests.support.transcripts import ClaudeHome

from claude_gauge.apps.device.faces import PLACES, RADIUS, face, sheet
from claude_gauge.contract.scales import angle, gauges
from gauge import chips, settings

FIRMWARE = ROOT / "firmware"
SVG = "{http://www.w3.org/2000/svg}"


CHIPS = {name: settings.merge({}, name) for name in chips.NAMES}
PLANS = {f"wiring{name.lower().removeprefix('esp32')}.svg": plan(own) for name, own in CHIPS.items()}


@pytest.mark.parametrize(
    ("name", "drawn"), [("dial-faces.svg", sheet(1_000_000)), *PLANS.items()], ids=["faces", *chips.NAMES]
)
def test_drawing_is_up_to_date(name: str, drawn: str) -> None:
    """The drawing beside the firmware is what its generator draws today; an old one is rewritten, for review."""
    path = FIRMWARE / name
    present = path.read_text() if path.exists() else ""
    if drawn != present:
        path.write_text(drawn)

    assert present == drawn


def test_faces_are_true_to_scale() -> None:
    """A unit of the drawing is a millimetre on paper; each face is as large as planned."""
    root = ET.fromstring(sheet(1_000_000))  # noqa: S314 - our own
    assert root.get("width") == "210mm"
    assert root.get("viewBox") == "0 0 210 297"
    rims = [circle for circle in root.iter(SVG + "circle") if float(circle.get("r", 0)) == RADIUS]

    assert [(float(rim.get("cx", 0)), float(rim.get("cy", 0))) for rim in rims] == list(PLACES)


@pytest.mark.parametrize("redline", [50_000, 1_000_000, 7.5e6])
def test_marks_stand_where_the_needle_goes(redline: float) -> None:
    """Each mark is at the angle of the needle that shows its value, for any redline."""
    root = ET.fromstring(sheet(redline))  # noqa: S314 - our own
    for gauge, (x, y) in zip(gauges(redline), PLACES, strict=True):
        group = next(each for each in root.iter(SVG + "g") if each.get("id") == gauge.name)
        marks = [p.get("d", "") for p in group.iter(SVG + "path") if p.get("stroke-width") == "0.7"]
        found = []
        for mark in marks:
            outer = [float(n) for n in re.findall(r"[\d.]+", mark)[:2]]
            found.append(math.degrees(math.atan2(outer[0] - x, y - outer[1])))

        assert found == pytest.approx([angle(gauge.share(tick.value)) for tick in gauge.majors], abs=0.01)


def test_animation_has_todays_faces() -> None:
    """The moving picture has the faces that are printed today; `scripts/dials.py` records it again."""
    text = (FIRMWARE / "dials.svg").read_text()

    assert all(face(gauge, (50 + 92 * place, 48)) in text for place, gauge in enumerate(gauges(1_000_000)))
    assert text.count("<animateTransform") == 4


def test_tables_are_the_firmwares() -> None:
    """The README's table for each chip is made of the map that the firmware has; an old one is rewritten."""
    path = FIRMWARE / "README.md"
    present = path.read_text()
    wanted = present
    for chip, own in CHIPS.items():
        before, begin, rest = wanted.partition(f"<!-- wiring of {chip} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        assert end, f"no place for the {chip}"
        wanted = f"{before}{begin}{table(own)}{end}{after}"
    if wanted != present:
        path.write_text(wanted)

    assert wanted == present


@pytest.mark.parametrize("chip", chips.NAMES)
def test_plan_has_every_pin(chip: str) -> None:
    """Each pin of the map is drawn; a pin is drawn twice only where two needles share their direction."""
    pins = [wire.pin for wire in wires(CHIPS[chip])]
    own = [pin for _, pin in chips.used(CHIPS[chip])]

    assert sorted(pins) == sorted(own)
    assert len(pins) - len(set(pins)) == (2 if chip == "ESP32-C3" else 0)


def test_faces_for_ones_own_redline(tmp_path: Path) -> None:
    """The command draws the sheet for the settings in force."""
    env = environment(ClaudeHome(tmp_path / "claude"), tmp_path, CLAUDE_GAUGE_REDLINE="200000")
    done = call("firmware", "faces", env=env)

    assert done.returncode == 0, done.stderr
    assert done.stdout == sheet(200_000)
