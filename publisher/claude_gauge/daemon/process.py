"""Runs a publisher as a process: until a signal, or once."""

from __future__ import annotations

import logging
import time

from claude_gauge.config import Settings
from claude_gauge.contract.usage import EXPIRY_S, Usage, usage_topic
from claude_gauge.counting.derive import derive
from claude_gauge.daemon.assembly import Assembly, limits_of
from claude_gauge.daemon.broker.resolve import resolve
from claude_gauge.errors import GaugeError
from claude_gauge.mqtt.link import Link
from claude_gauge.sources.select import choose
from claude_gauge.system.signals import until_signal

_log = logging.getLogger(__name__)
CONNECT_S = 5.0


def run_until_signal(settings: Settings) -> None:
    """Publish until SIGTERM, SIGHUP (both end in good order) or Ctrl-C (exit code 130)."""
    url, embedded, told = resolve(settings)
    _log.info("%s", told)
    try:
        until_signal(Assembly(settings, url=url))
    finally:
        if embedded:
            embedded.stop()


def compute_once(settings: Settings) -> Usage:
    """Read all that matters, and compute one payload."""
    source = choose(settings)
    source.load()
    now = time.time()
    return derive(source.read(now), limits_of(settings), now, node=settings.node, account=settings.account)


def publish_once(settings: Settings) -> str:
    """Compute one payload, publish it, and return it as JSON; without any broker it is only returned."""
    payload = compute_once(settings).to_json()
    link = Link(settings, status=None)
    link.announce(usage_topic(settings.node), payload, expiry_s=EXPIRY_S)
    link.start()
    try:
        if not (link.wait_connected(CONNECT_S) and link.flush(CONNECT_S)):
            why = link.trouble or f"broker {link.endpoint.place} does not answer"
            if settings.broker:
                raise GaugeError(f"{why}; nothing was published")
            _log.warning("%s; printed only", why)
    finally:
        link.stop()
    return payload.decode()
