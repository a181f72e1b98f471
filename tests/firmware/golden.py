"""The golden payloads: real `Usage` objects that every reader must take alike; the files are written from these."""

from __future__ import annotations

from tests.support.payloads import at_rest as usage

from claude_gauge.contract.usage import Part

AWAY = Part(source="transcripts", ok=False, why="no transcripts")
PAYLOADS = {
    "rest": usage(),
    "cruising": usage(
        rate_1m=412_345.6,
        window_5h_tokens=23_456_789,
        window_5h_pct=0.2345,
        thinking_ratio=0.31,
        cache_hit_rate=0.93,
        last_model="opus",
        idle=False,
        node="laptop",
        fuel_source="plan",
        window_5h_resets_at="2026-11-23T15:00:00.000Z",
        minutes_to_limit=312.5,
        limit_before_reset=False,
        waiting=False,
    ),
    "redline": usage(rate_1m=1_900_000, hot=True, warn=True, idle=False, last_model="sonnet", window_5h_pct=0.97),
    "full": usage(window_5h_pct=1, thinking_ratio=1, cache_hit_rate=1, rate_1m=10**15, window_5h_tokens=10**15),
    "waiting": usage(waiting=True, last_model="haiku", idle=True),
    "dry-before-reset": usage(limit_before_reset=True, minutes_to_limit=4.2, warn=True, idle=False, rate_1m=50_000),
    "stalled": usage(stall=True, idle=True, sources={"tokens": Part(source="prometheus", ok=False, why="refused")}),
    "nothing-known": usage(stall=True, sources={"tach": AWAY, "fuel": AWAY, "thinking": AWAY}),
    "thinking-unknown": usage(
        rate_1m=120_000,
        window_5h_tokens=0,
        cache_hit_rate=0.5,
        thinking_ratio=0.25,  # as it was when it was reported last
        idle=False,
        sources={
            "tach": Part(source="otlp", ok=True),
            "fuel": Part(source="otlp", ok=True),
            "thinking": Part(source="otlp", ok=False, why="no thinking in telemetry"),
        },
    ),
    "kept": usage(
        rate_1m=120_000,
        window_5h_tokens=5_000_000,
        window_5h_pct=0.05,
        stall=True,
        sources={"tach": AWAY, "fuel": AWAY},
    ),
    "unknown-family": usage(last_model="mythos", idle=False, rate_1m=12.5),
    "fleet": usage(node="all", rate_1m=800_000, account="work", window_7d_pct=0.5, window_7d_tokens=10**9, idle=False),
    "largest": usage(
        rate_1m=999_999_999_999_999.9,
        window_5h_tokens=10**15,
        window_5h_pct=0.123456789012345,
        thinking_ratio=0.123456789012345,
        cache_hit_rate=0.123456789012345,
        last_model="m" * 24,
        window_5h_resets_at="2026-11-23T15:00:00.000Z",
        window_7d_pct=0.123456789012345,
        window_7d_resets_at="2026-11-30T15:00:00.000Z",
        window_7d_tokens=10**15,
        minutes_to_limit=123_456.789012345,
        limit_before_reset=True,
        waiting=True,
        fuel_source="ceiling",
        sources={f"source-{n}": Part(source="prometheus-12345", ok=False, why="w" * 28) for n in range(4)},
        account="a" * 16,
        node="n" * 20,
    ),
}
