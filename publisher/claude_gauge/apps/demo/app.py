"""The demo: a made-up day on the real road, from bytes in a file to the picture."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from claude_gauge.apps.demo.writer import Writer
from claude_gauge.apps.terminal.app import Watch, watch_live
from claude_gauge.apps.terminal.picture import Look
from claude_gauge.config import Config, Settings
from claude_gauge.daemon.assembly import Assembly
from claude_gauge.daemon.broker import embedded
from claude_gauge.sources.transcripts.source import Transcripts

NODE = "demo"
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
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="claude-gauge-demo-")))
        settings = _settings(config, folder / "state")
        kind = ""
        if settings.broker in {None, "embedded"}:
            carrier = embedded.start(settings)
            kind = carrier.kind
            stack.callback(carrier.stop)
            settings = settings.model_copy(update={"broker": carrier.url})
        writer = Writer(folder / "claude", seed=seed, speed=speed)
        writer.start()
        stack.callback(writer.stop)
        source = Transcripts([folder / "claude" / "projects"])
        assembly = Assembly(settings, source=source)
        thread = threading.Thread(target=assembly.run, name="publisher", daemon=True)
        thread.start()
        stack.callback(thread.join, 5)
        stack.callback(assembly.stop)
        yield Stage(settings, writer, assembly, kind or assembly.link.endpoint.place)


def _settings(config: Config, state: Path) -> Settings:
    """Take the person's settings, and the demo's own where nothing was said."""
    own = {"node": NODE, "ceiling_5h": CEILING, "redline": REDLINE}
    if "broker" not in config.origins:
        own["discovery"] = "off"
    update = {name: value for name, value in own.items() if name not in config.origins}
    return config.settings.model_copy(update={**update, "state_dir": state})


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
