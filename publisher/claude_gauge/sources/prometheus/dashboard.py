"""The Grafana dashboard: every gauge and every metric of Claude Code, from the recording rules. Pure.

`broker/telemetry/grafana/dashboards/claude-gauge.json` is this text; a test holds it to that. Grafana's defaults (red
from 80) mislead here, so every panel sets its own thresholds, colours, minimum and words for "no value".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from claude_gauge.sources.prometheus.names import METRICS, Metric

Panel = dict[str, Any]
_COLUMNS = 24
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_OFF, _GREEN, _ORANGE, _RED, _BLUE = "#8e8e8e", "green", "orange", "red", "blue"
_UNITS = {"tokens": "short", "USD": "currencyUSD", "s": "s", "": "short"}
_ABOUT = """\
Every panel reads the recording rules of `claude-gauge otel rules` (in compose.yaml they are loaded already). Without
them all panels are empty. *unknown*: no token was seen in 8 days.

**5H PLAN** is the block's tokens / *Ceiling*: set it at the top. The plan's own percentage is not in any metric; the
needles and the web page show it. **TOKENS/MIN** is a share of *Redline*. **THINKING/OUTPUT** is missing: no metric
has thinking tokens; the publisher has it with `--source hybrid`.
"""
_LEFT = "($ceiling - claude_gauge:window_5h_tokens)"


def text() -> str:
    """Write the dashboard."""
    return json.dumps(_dashboard(), indent=2, ensure_ascii=False) + "\n"


def _dashboard() -> dict[str, Any]:
    panels = _placed([*_gauges(), *_lamps(), *_traffic(), *_in_range(), *_about()])
    return {
        "uid": "claude-gauge",
        "title": "claude-gauge",
        "description": "Claude Code's usage as gauges. Needs the recording rules of `claude-gauge otel rules`.",
        "tags": ["claude-code"],
        "schemaVersion": 39,
        "version": 2,
        "editable": True,
        "refresh": "15s",
        "time": {"from": "now-24h", "to": "now"},
        "timezone": "browser",
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "label": "Prometheus",
                    "type": "datasource",
                    "query": "prometheus",
                    "current": {},
                },
                _textbox("ceiling", "Ceiling, tokens in 5 h", "100000000"),
                _textbox("redline", "Redline, tokens/min", "1000000"),
            ]
        },
        "annotations": {"list": []},
        "panels": panels,
    }


def _textbox(name: str, label: str, value: str) -> dict[str, Any]:
    return {"name": name, "label": label, "type": "textbox", "query": value, "current": {"text": value, "value": value}}


def _placed(panels: list[Panel]) -> list[Panel]:
    """Give each panel its number and its place: from left to right, 24 columns wide, a row's title on its own line."""
    x = y = height = 0
    for number, panel in enumerate(panels, 1):
        width, tall = panel.pop("size")
        if x + width > _COLUMNS or panel["type"] == "row":
            x, y, height = 0, y + height, 0
        panel |= {"id": number, "gridPos": {"x": x, "y": y, "w": width, "h": tall}}
        x, height = x + width, max(height, tall)
    return panels


def _gauges() -> list[Panel]:
    fuel = "clamp_max(claude_gauge:window_5h_tokens / $ceiling, 1)"
    return [
        _row("Gauges"),
        _gauge("5H PLAN", fuel, 1, {0: _GREEN, 0.8: _ORANGE, 0.95: _RED}, "Tokens of the 5-hour block / the ceiling."),
        _gauge(
            "TOKENS/MIN",
            "claude_gauge:rate_1m / $redline",
            1.5,
            {0: _GREEN, 0.8: _ORANGE, 1: _RED},
            "Tokens of the last 60 seconds as a share of the redline.",
        ),
        _gauge(
            "CACHE HIT",
            "claude_gauge:cache_hit_rate",
            1,
            {0: _RED, 0.5: _ORANGE, 0.8: _GREEN},
            "Cache reads / all input tokens, last 5 minutes.",
            none="idle",
        ),
        _stat("MODEL", "topk(1, claude_gauge:model:newest_at)", size=(6, 7), legend="{{model}}", name=True),
    ]


def _lamps() -> list[Panel]:
    limit = (
        f"{_LEFT} / (claude_gauge:rate_1m > 0) * 60 < bool (claude_gauge:window_5h_resets_at - time())"
        " or claude_gauge:window_5h_tokens >= bool $ceiling"
    )
    return [
        _row("Lamps and times"),
        _lamp("HOT", "claude_gauge:rate_1m > bool $redline", _RED, "Above the redline."),
        _lamp("WARN", "claude_gauge:window_5h_tokens / $ceiling > bool 0.8", _ORANGE, "Fuel above 80 %."),
        _lamp("IDLE", "claude_gauge:rate_1m == bool 0", _BLUE, "No tokens in the last 60 seconds."),
        _stat(
            "STALL",
            "time() - claude_gauge:newest_at",
            unit="s",
            steps={0: _GREEN, 600: _BLUE},
            about="Since tokens last came in; blue after 10 minutes.",
        ),
        _lamp("LIMIT BEFORE RESET", limit, _RED, "At the pace of the last minute."),
        _stat(
            "Minutes to the limit",
            f"clamp_min({_LEFT}, 0) / (claude_gauge:rate_1m > 0)",
            unit="m",
            steps={0: _RED, 30: _ORANGE, 60: _GREEN},
            none="idle",
        ),
        _stat("Block resets", "1000 * claude_gauge:window_5h_resets_at", unit="dateTimeFromNow", none="no block"),
        _stat("Tokens/min", "claude_gauge:rate_1m"),
    ]


def _traffic() -> list[Panel]:
    return [
        _row("Traffic"),
        _lines("Tokens per minute by kind", "sum by (type) (claude_gauge:tokens:added1m)", "{{type}}"),
        _lines("Tokens per minute by model", "sum by (model) (claude_gauge:tokens:added1m)", "{{model}}"),
        _stat("Tokens, this 5-hour block", "claude_gauge:window_5h_tokens", size=(8, 4)),
        _stat("Tokens, last 5 hours", "sum(claude_gauge:tokens:added5h)", size=(8, 4)),
        _stat("Tokens, last 7 days", "sum(claude_gauge:tokens:added7d)", size=(8, 4)),
    ]


def _in_range() -> list[Panel]:
    tokens, cost, sessions, active, lines, commits, pulls, edits = METRICS
    hourly = "sum by (model) (sum_over_time(claude_gauge:cost:added[1h]))"
    return [
        _row("In the time range of the dashboard"),
        _total("Cost", cost),
        _total("Sessions", sessions),
        _total("Active time", active),
        _total("Lines of code", lines),
        _total("Commits", commits),
        _total("Pull requests", pulls),
        _bars("Edit decisions", edits),
        _bars("Tokens by model and kind", tokens),
        _lines("Cost per hour", hourly, "{{model}}", unit="currencyUSD", width=24),
    ]


def _about() -> list[Panel]:
    about = {"type": "text", "title": "", "size": (24, 5), "options": {"mode": "markdown", "content": _ABOUT}}
    return [_row("About"), about]


def _row(title: str) -> Panel:
    return {"type": "row", "title": title, "size": (24, 1), "collapsed": False, "panels": []}


def _panel(kind: str, title: str, expression: str, *, size: tuple[int, int], legend: str = "") -> Panel:
    target = {"refId": "A", "datasource": _SOURCE, "expr": expression, "legendFormat": legend}
    return {"type": kind, "title": title, "size": size, "datasource": _SOURCE, "targets": [target]}


def _now(panel: Panel) -> Panel:
    panel["targets"][0] |= {"instant": True, "range": False}
    return panel


def _field(unit: str, steps: Mapping[float, str], *, none: str = "unknown", **more: object) -> dict[str, Any]:
    """Say how a value is shown; the first step's colour begins below everything."""
    thresholds = [{"color": color, "value": at or None} for at, color in steps.items()]
    defaults = {
        "unit": unit,
        "min": 0,
        "noValue": none,
        "color": {"mode": "thresholds"},
        "thresholds": {"mode": "absolute", "steps": thresholds},
        **more,
    }
    return {"defaults": defaults, "overrides": []}


def _last(**more: object) -> dict[str, Any]:
    return {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, **more}


def _gauge(  # noqa: PLR0913 - each says what it is
    title: str, expression: str, most: float, steps: Mapping[float, str], about: str, *, none: str = "unknown"
) -> Panel:
    panel = _now(_panel("gauge", title, expression, size=(6, 7)))
    return panel | {
        "description": about,
        "fieldConfig": _field("percentunit", steps, none=none, max=most),
        "options": _last(showThresholdLabels=False, showThresholdMarkers=True),
    }


def _stat(  # noqa: PLR0913 - each by name
    title: str,
    expression: str,
    *,
    size: tuple[int, int] = (3, 4),
    unit: str = "short",
    steps: Mapping[float, str] | None = None,
    legend: str = "",
    about: str = "",
    none: str = "unknown",
    name: bool = False,
) -> Panel:
    panel = _now(_panel("stat", title, expression, size=size, legend=legend))
    text_mode = "name" if name else "auto"
    return panel | {
        "description": about,
        "fieldConfig": _field(unit, steps or {0: _GREEN}, none=none),
        "options": _last(colorMode="value", graphMode="none", textMode=text_mode),
    }


def _lamp(title: str, expression: str, color: str, about: str) -> Panel:
    panel = _stat(title, expression, unit="none", steps={0: _OFF, 1: color}, about=about)
    words = {"0": {"text": "off", "index": 0}, "1": {"text": "ON", "index": 1}}
    panel["fieldConfig"]["defaults"]["mappings"] = [{"type": "value", "options": words}]
    panel["options"]["colorMode"] = "background"
    return panel


def _ranged(metric: Metric) -> tuple[str, str]:
    by = f"sum by ({', '.join(metric.by)})" if metric.by else "sum"
    legend = " ".join(f"{{{{{name}}}}}" for name in metric.by)
    return f"{by} (sum_over_time(claude_gauge:{metric.name}:added[$__range]))", legend


def _total(title: str, metric: Metric) -> Panel:
    expression, legend = _ranged(metric)
    return _stat(title, expression, size=(4, 5), unit=_UNITS[metric.unit], legend=legend)


def _bars(title: str, metric: Metric) -> Panel:
    expression, legend = _ranged(metric)
    panel = _now(_panel("bargauge", title, expression, size=(12, 7), legend=legend))
    return panel | {
        "fieldConfig": _field(_UNITS[metric.unit], {0: _GREEN}),
        "options": _last(orientation="horizontal", displayMode="gradient"),
    }


def _lines(title: str, expression: str, legend: str, *, unit: str = "short", width: int = 12) -> Panel:
    panel = _panel("timeseries", title, expression, size=(width, 8), legend=legend)
    return panel | {"fieldConfig": _field(unit, {0: _GREEN}, color={"mode": "palette-classic"}), "options": {}}
