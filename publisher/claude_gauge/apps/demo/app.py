"""The demo: a made-up day on the real road, from bytes in a file to the picture."""

from __future__ import annotations

import json
import logging
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from claude_gauge.apps.demo.script import Writer
from claude_gauge.apps.terminal.app import Watch, watch_live
from claude_gauge.apps.terminal.picture import Look
from claude_gauge.config import Config, Settings
from claude_gauge.contract.usage import DEMO_SOURCE
from claude_gauge.counting.reading import Reading
from claude_gauge.daemon.assembly import Assembly
from claude_gauge.daemon.broker import embedded
from claude_gauge.sources.transcripts.source import Transcripts
from claude_gauge.system.signals import ended_in_order

log = logging.getLogger(__name__)

NODE = DEMO_SOURCE
LONGEST_NODE = 40
SIGN_IN = ("broker_password", "broker_password_file", "broker_ca", "broker_cert", "broker_key")
# Scales on which the scripted day is worth looking at.
CEILING, REDLINE = 25_000_000, 4_000_000
LINE_S = 1.0


@dataclass(frozen=True, slots=True)
class Stage:
    """A demo at work: what it publishes with, who writes, and which broker carries it."""

    settings: Settings
    writer: Writer
    assembly: Assembly
    broker: str

    def footer(self) -> str:
        """Say what is real and what is made up."""
        return f"{self.writer.scene or 'curtain'} (made-up transcripts, all else real: {self.broker})  q quits"


@contextmanager
def staged(config: Config, *, seed: int, speed: float) -> Iterator[Stage]:
    """Start the whole chain on a temporary folder, and end it in good order."""
    with ExitStack() as stack:
        stack.enter_context(ended_in_order())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="claude-gauge-demo-")))
        settings = demo_settings(config, folder / "state")
        kind = ""
        if settings.broker in {None, "embedded"}:
            carrier = embedded.start(settings)
            kind = carrier.kind
            stack.callback(carrier.stop)
            settings = settings.model_copy(update={"broker": carrier.url})
        writer = Writer(folder / "claude", seed=seed, speed=speed)
        writer.start()
        stack.callback(writer.stop)
        source = MadeUp([folder / "claude" / "projects"])
        assembly = Assembly(settings, source=source, leaves_nothing=True)
        assembly.start()
        thread = threading.Thread(target=assembly.run, name="publisher", daemon=True)
        thread.start()
        stack.callback(_check_left, assembly, settings.node)
        stack.callback(thread.join, 5)
        stack.callback(assembly.stop)
        yield Stage(settings, writer, assembly, kind or assembly.link.endpoint.place)


def demo_settings(config: Config, state: Path) -> Settings:
    """Take what flags say, for a demo must never wear a real node's name, broker or address by the settings file.

    Only a broker that a flag names is signed in at, by whatever says how.
    """
    given = {name for name, origin in config.origins.items() if origin == "flag"}
    if "broker" in given:
        given |= {name for name in SIGN_IN if name in config.origins}
    flags = {name: getattr(config.settings, name) for name in given}
    node = flags.get("node", NODE)
    own = {
        "node": node if node.startswith(NODE) else f"{NODE}-{node}"[:LONGEST_NODE],
        "state_dir": state,
        "log_format": config.settings.log_format,
    }
    played = {"ceiling_5h": CEILING, "redline": REDLINE, "discovery": "off"}
    return Settings().model_copy(update={**played, **flags, **own})


class MadeUp(Transcripts):
    """Reads the made-up transcripts, and says of each part that it is made up."""

    def read(self, now: float) -> Reading:
        """Return what is known now, each part marked as a demo's."""
        reading = super().read(now)
        sources = {name: replace(health, source=DEMO_SOURCE) for name, health in reading.sources.items()}
        return replace(reading, sources=sources)


def _check_left(assembly: Assembly, node: str) -> None:
    if assembly.link.left:
        log.warning(
            "the demo could not be cleared from broker %s: `claude-gauge discovery remove --node %s` does it",
            assembly.link.endpoint.place,
            node,
        )


def in_terminal(stage: Stage, look: Look) -> None:
    """Draw the cluster until `q`."""
    watch_live(stage.settings, look, stage.footer)


def as_lines(stage: Stage, say: Callable[[str], None], seconds: float | None) -> None:
    """Print the payload as a subscriber gets it, once a second: for pipes, which can't show a picture."""
    watch = Watch(stage.settings)
    watch.link.start()
    end = None if seconds is None else time.monotonic() + seconds
    try:
        watch.node.arrived.wait(LINE_S * 3)
        while end is None or time.monotonic() < end:
            usage = watch.scene(time.time()).usage
            if usage is not None:
                say(json.dumps({**usage.model_dump(mode="json", exclude={"sources"}), "scene": stage.writer.scene}))
            time.sleep(LINE_S if end is None else min(LINE_S, max(0.0, end - time.monotonic())))
    finally:
        watch.link.stop()
