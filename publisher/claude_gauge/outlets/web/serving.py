"""The shim that the settings ask for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from claude_gauge.config import Settings
from claude_gauge.contract.scales import as_json
from claude_gauge.errors import GaugeError
from claude_gauge.outlets.web.shim import Shim

log = logging.getLogger(__name__)
OFF = "off"


def serve(settings: Settings, health: Callable[[], Mapping[str, Any]]) -> Shim | None:
    """Start the shim; None where it is off.

    An address that the person chose and that can't be had raises GaugeError. The default one may well be
    taken by something else: the needles matter more, so that is a warning and the publisher goes on without HTTP.
    """
    if settings.http == OFF:
        return None
    scales = {**as_json(settings.redline, settings.cache_floor), "node": settings.node}
    shim = Shim(settings.http, health, scales=scales, hosts=settings.http_hosts)
    try:
        shim.start()
    except GaugeError as error:
        if "http" in settings.model_fields_set:
            raise
        log.warning("%s; going on without HTTP", error)
        return None
    return shim
