"""Which broker is meant: the one that was named, one on this machine, or one that we start."""

from __future__ import annotations

from claude_gauge.config import Settings
from claude_gauge.daemon.broker import embedded
from claude_gauge.daemon.broker.embedded import MOSQUITTO, Embedded
from claude_gauge.errors import GaugeError
from claude_gauge.mqtt.endpoint import EMBEDDED, parse
from claude_gauge.system.net import answers

MOVE = "for one that all machines can use see `claude-gauge broker init`, then --broker mqtt://…"


def resolve(settings: Settings, *, port: int = 1883) -> tuple[str, Embedded | None, str]:
    """Return the broker's URL, the broker that was started for it if any, and a line that tells a person."""
    if settings.broker is not None and settings.broker != EMBEDDED:
        return settings.broker, None, f"broker {parse(settings.broker).place}"
    found = f"mqtt://localhost:{port}", None, f"broker localhost:{port}, found on this machine"
    taken = answers("localhost", port)
    if taken and settings.broker is None:
        return found
    try:
        started = embedded.start(settings, port=0 if taken else port)
    except GaugeError:
        if settings.broker is None and answers("localhost", port):  # someone else was quicker
            return found
        raise
    kind = (
        started.kind if started.kind == MOSQUITTO else f"{started.kind}, good for trying out: install mosquitto to stay"
    )
    return started.url, started, f"no broker named: started one on 127.0.0.1:{started.port} ({kind}); {MOVE}"
