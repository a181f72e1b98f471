"""Payloads for tests of readers."""

from __future__ import annotations

import time

from claude_gauge.contract.usage import Usage, stamp


def usage(**changes: object) -> Usage:
    """Make a busy moment's payload, made just now, with some fields changed."""
    busy = {
        "rate_1m": 500_000,
        "window_5h_tokens": 41_200_000,
        "window_5h_pct": 0.42,
        "thinking_ratio": 0.31,
        "cache_hit_rate": 0.93,
        "last_model": "opus",
        "hot": False,
        "warn": False,
        "stall": False,
        "idle": False,
        "updated_at": stamp(time.time()),
        "node": "studio",
    }
    return Usage.model_validate({**busy, **changes})


def at_rest(**changes: object) -> Usage:
    """Make the payload of a moment at which nothing happens, with some fields changed."""
    rest = {
        "rate_1m": 0,
        "window_5h_tokens": 0,
        "window_5h_pct": 0,
        "thinking_ratio": 0,
        "cache_hit_rate": 0,
        "last_model": "",
        "hot": False,
        "warn": False,
        "stall": False,
        "idle": True,
        "updated_at": "2026-11-23T12:00:00.000Z",
    }
    return Usage.model_validate({**rest, **changes})
