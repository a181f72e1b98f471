"""Runs a publisher as a process: until a signal, or once."""

from __future__ import annotations

import logging
import time

from claude_gauge.config import Settings
from claude_gauge.contract.usage import EXPIRY_S, Usage, usage_topic
from claude_gauge.counting.derive import derive
from claude_gauge.daemon.assembly import Assembly, limits_of
from claude_gauge.daemon.broker.embedded import resolve
from claude_gauge.daemon.machine import NodeLock
from claude_gauge.errors import GaugeError
from claude_gauge.mqtt.retained import Retained
from claude_gauge.sources.select import choose
from claude_gauge.system.signals import until_signal

_log = logging.getLogger(__name__)


def run_until_signal(settings: Settings, lock: NodeLock) -> None:
    """Publish until SIGTERM, SIGHUP (both end in good order) or Ctrl-C (exit code 130)."""
    url, embedded, told = resolve(settings)
    _log.info("%s", told)
    try:
        until_signal(Assembly(settings, url=url, lock=lock))
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
    """Compute one payload, publish it, and return it as JSON; without any broker it is only returned.

    Raises GaugeError where the broker that was named is not there, or where one did not take it.
    """
    payload, topic = compute_once(settings).to_json(), usage_topic(settings.node)
    with Retained(settings, topic) as retained:
        try:
            retained.connect()
        except GaugeError as error:
            if settings.broker:
                raise GaugeError(f"{error}; nothing was published") from None
            _log.warning("%s; printed only", error)
        else:
            retained.write({topic: payload}, expiry_s=EXPIRY_S)
    return payload.decode()
