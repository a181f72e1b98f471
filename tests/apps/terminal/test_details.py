from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from paho.mqtt import publish
from tests.firmware.golden import PAYLOADS
from tests.support import payloads
from tests.support.mosquitto import Mosquitto
from tests.support.publisher import call, environment
from tests.support.transcripts import ClaudeHome

from claude_gauge.apps.terminal.details import details, rows, span
from claude_gauge.apps.terminal.picture import Look, Scene, draw
from claude_gauge.contract.scales import gauges
from claude_gauge.contract.usage import Part, Usage, stamp, usage_topic

NOON = 1_790_000_000.0


def usage(**changes: object) -> Usage:
    """A payload of that noon."""
    return payloads.usage(**{"updated_at": stamp(NOON), **changes})


def shown(**changes: object) -> dict[str, str]:
    """What `show` says of a payload, three seconds later."""
    return dict(rows(usage(**changes), NOON + 3))


def test_dials_have_their_names_and_units() -> None:
    """The four dials come first, under the names that stand on them."""
    lines = shown(window_5h_resets_at=stamp(NOON + 3 + 7500), fuel_source="plan")

    assert list(lines)[:4] == ["5H PLAN", "TOKENS/MIN", "THINKING/OUTPUT", "CACHE HIT"]
    assert lines["5H PLAN"] == "42 %, resets in 2 h 05 min"
    assert lines["TOKENS/MIN"] == "500,000 tokens/min"
    assert (lines["THINKING/OUTPUT"], lines["CACHE HIT"]) == ("31 %", "93 %")


@pytest.mark.parametrize("name", ["nothing-known", "thinking-unknown", "kept"])
def test_a_figure_that_is_not_known(name: str) -> None:
    """`show` says unknown and the terminal's dial rests with a dash where no source reports a figure, never 0 %."""
    payload = PAYLOADS[name]
    said = dict(rows(payload, NOON))
    picture = draw(Scene(payload, "", NOON), Look(columns=120, rows=40, colour=False, ascii_only=True))
    values = next(line for line in picture.splitlines() if "--" in line or ("%" in line and "MIN" not in line))

    for gauge in gauges(1_000_000):
        assert (said[gauge.label] == "unknown") is (gauge.value(payload) is None)
    assert (said["5-hour tokens"] == "unknown") is (payload.figure("window_5h_tokens") is None)
    assert values.count("--") == sum(gauge.value(payload) is None for gauge in gauges(1_000_000))


def test_people_read_no_true_and_no_none() -> None:
    """Yes and no, ages and `unknown` stand in place of what a program would print."""
    lines = shown(hot=True, minutes_to_limit=51)

    assert (lines["Hot"], lines["Idle"], lines["Waiting for you"]) == ("yes", "no", "unknown")
    assert (lines["Time to limit"], lines["Updated"]) == ("51 min", "3 s ago")
    assert not {"True", "False", "None", ""} & set(lines.values())


def test_every_field_is_shown() -> None:
    """A field that is added to the contract is shown without anybody's doing."""
    titles = {str(field.title) for name, field in Usage.model_fields.items() if name != "schema_version"}
    full = shown(limit_name="seven_day_opus", limit_pct=1.0, account="me", hot_node="x")
    named_otherwise = {
        "Token rate", "5-hour window used", "Thinking share", "Cache hit rate", "5-hour window resets",
        "7-day window used", "7-day window resets", "Fullest limit used",
    }  # fmt: skip

    assert titles - named_otherwise <= set(full)
    assert full["Fullest limit"] == "seven day opus 100 %"


def test_share_of_a_ceiling() -> None:
    """Where fuel is a share of the ceiling, that is said, with what makes it right."""
    assert "calibrate" in shown(fuel_source="ceiling")[""]


def test_sources_once_where_all_are_the_same() -> None:
    """One source for all is said once; of several each is said once, with the parts that come from it."""
    fine = {name: Part(source="transcripts", ok=True) for name in ("tach", "fuel", "thinking")}
    mixed = {**fine, "fuel": Part(source="ccusage", ok=False, why="not found")}

    assert shown(sources=fine)["Sources"] == "all from transcripts"
    assert shown(sources=mixed)["Sources"] == "tach, thinking from transcripts; fuel (ccusage: not found)"
    assert "sources: all from transcripts" in " ".join(details(usage(sources=fine), NOON, 200))


def test_fullest_limit_in_the_terminal() -> None:
    """A limit other than the 5-hour window is named below the gauges."""
    assert "fullest: seven day opus 100 %" in " ".join(
        details(usage(limit_name="seven_day_opus", limit_pct=1.0), NOON, 200)
    )


@pytest.mark.parametrize(
    ("minutes", "said"), [(0.2, "1 min"), (59, "59 min"), (125, "2 h 05 min"), (60 * 76, "3 d 4 h")]
)
def test_span(minutes: float, said: str) -> None:
    """A time span is written as people say it."""
    assert span(minutes) == said


def test_show_prints_nothing_foreign_raw(broker: Mosquitto, tmp_path: Path) -> None:
    """What a stranger put onto the topic moves no cursor, and `--json` still says the same."""
    payload = json.loads(usage(updated_at=stamp(time.time())).to_json())
    payload["last_model"] = "\x1b]0;x\x07\x9b2J\u202e"
    text = json.dumps(payload, ensure_ascii=False).encode()
    publish.single(usage_topic("desk"), text, qos=1, retain=True, port=broker.port)
    claude = ClaudeHome(tmp_path / "claude")
    env = environment(claude, tmp_path, CLAUDE_GAUGE_BROKER=broker.url, CLAUDE_GAUGE_NODE="desk")
    people, program = call("show", env=env), call("show", "--json", env=env)

    assert all(line.isprintable() for line in (people.stdout + people.stderr + program.stdout).splitlines())
    assert json.loads(program.stdout)["last_model"] == payload["last_model"]
