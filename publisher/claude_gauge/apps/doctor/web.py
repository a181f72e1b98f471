"""What answers at the publisher's HTTP address."""

from __future__ import annotations

from collections.abc import Iterator

import httpx

from claude_gauge.apps.doctor.check import Check
from claude_gauge.config import Settings

TIMEOUT_S = 3.0


def shim(settings: Settings, *, only_shows: bool = False) -> Iterator[Check]:
    """Ask the publisher's own address how it is."""
    if settings.http == "off":
        yield Check("HTTP", "off", "switched off")
        return
    host, _, port = settings.http.rpartition(":")
    url = f"http://{'127.0.0.1' if host in {'0.0.0.0', '[::]', ''} else host}:{port}/healthz"  # noqa: S104 - compared
    try:
        answer = httpx.get(url, timeout=TIMEOUT_S, trust_env=False)
        known = "broker" in answer.json()
    except (httpx.HTTPError, ValueError, TypeError):
        if only_shows:
            yield Check("HTTP", "off", "no publisher on this machine: it only shows")
        else:
            found = f"no publisher answers at {url}"
            yield Check("HTTP", "warn", found, "start `claude-gauge publish`, or set --http off")
        return
    if not known:
        yield Check("HTTP", "warn", f"{url} is not ours", "another program has this port: choose one with --http")
        return
    yield Check("HTTP", "ok", f"{url} answers {answer.status_code}")
