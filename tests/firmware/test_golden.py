"""The contract as the publisher writes it and as the firmware reads it: the same golden payloads through both."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from tests.firmware.golden import PAYLOADS
from tests.support import ROOT
from tests.support.net import PATIENCE_S
from tests.support.parts import part

from claude_gauge.contract import scales
from claude_gauge.contract.usage import HEARTBEAT_S, MAX_BYTES, MISSED_HEARTBEATS, PART_OF, Usage
from gauge import lamps, needle, scale
from gauge import usage as device

FOLDER = Path(__file__).parents[1] / "payloads"
FIRMWARE = ROOT / "firmware"
PARSE = """
import sys, json
sys.path.insert(0, sys.argv[1])
from gauge.usage import parse
for path in sys.argv[2:]:
    with open(path, "rb") as file:
        print(json.dumps(parse(file.read())))
"""


@pytest.mark.parametrize("name", PAYLOADS)
def test_file_is_what_the_contract_writes(name: str) -> None:
    """Each golden file holds what the publisher would send today; one that does not is written again, for review."""
    path, written = FOLDER / f"{name}.json", PAYLOADS[name].to_json() + b"\n"
    present = path.read_bytes() if path.exists() else b""
    path.write_bytes(written)

    assert present == written


def test_no_file_without_a_payload() -> None:
    """Nothing else lies in the folder of golden payloads."""
    assert {path.stem for path in FOLDER.glob("*.json")} == set(PAYLOADS)


@pytest.mark.parametrize("name", PAYLOADS)
def test_both_parsers_agree(name: str) -> None:
    """The publisher's model and the firmware's parser read the same from a golden payload, also what is not known."""
    text = (FOLDER / f"{name}.json").read_bytes()
    usage = Usage.model_validate_json(text)
    theirs = usage.model_dump() | {field: usage.figure(field) for field in PART_OF}
    ours = device.parse(text)

    assert ours == {field: theirs[field] or False if field in device.EXTRAS else theirs[field] for field in ours}


def test_micropython_parses_alike() -> None:
    """The same parser gives the same under the real MicroPython."""
    files = sorted(FOLDER.glob("*.json"))
    command = [str(part("micropython/micropython")), "-c", PARSE, str(FIRMWARE), *map(str, files)]
    out = subprocess.run(command, capture_output=True, check=True, text=True, timeout=PATIENCE_S).stdout

    read = [json.loads(line) for line in out.splitlines()]
    expected = [device.parse(file.read_bytes()) for file in files]
    assert read == [{name: _nearly(value) for name, value in each.items()} for each in expected]


def _nearly(value: object) -> object:
    # MicroPython's floats come out of JSON up to one bit off.
    return pytest.approx(value, rel=1e-12) if isinstance(value, float) else value


def test_fields_are_the_contracts() -> None:
    """What the firmware shows are fields of the contract: the required ones, and extras that exist."""
    required = {name for name, field in Usage.model_fields.items() if field.is_required()}

    assert set(device.REST) == required
    assert set(device.EXTRAS) <= set(Usage.model_fields) - required
    assert device.PART_OF == PART_OF


def test_figures_are_the_contracts() -> None:
    """Times are the contract's, and any size that it allows is taken."""
    assert device.MAX_BYTES >= MAX_BYTES
    assert device.STALE_MS == MISSED_HEARTBEATS * HEARTBEAT_S * 1000


def test_scales_are_the_publishers() -> None:
    """Dials, sweep and steps are those that every other face is drawn from."""
    gauges = scales.gauges(1_000_000)

    assert [(name, field, high) for name, field, high in scale.GAUGES] == [(g.name, g.field, g.high) for g in gauges]
    assert (scale.SWEEP_DEGREES, scale.REST_DEGREES, scale.SCALE_DEGREES, needle.FULL_STEPS) == (
        scales.SWEEP_DEGREES,
        scales.REST_DEGREES,
        scales.SCALE_DEGREES,
        scales.STEPS,
    )
    shares = [None, *(n / 100 for n in range(101))]
    assert [scale.Dial().steps(share, scales.STEPS) for share in shares] == [scales.step(share) for share in shares]


def test_lamps_are_the_publishers() -> None:
    """The lamps hang in the order of the cluster, and know the same families."""
    assert [lamp.name.lower() for lamp in scales.LAMPS] == list(lamps.LAMPS)
    assert {family for family, _ in scales.LAMPS[0].families} == set(lamps.FAMILIES) - {""}
