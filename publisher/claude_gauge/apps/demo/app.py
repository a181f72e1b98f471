"""The demo: made-up transcripts, and the real publisher, broker and picture.

The script says what happens when; the writer turns it into transcript lines; the rest is the real publisher.
"""

from __future__ import annotations

import contextlib
import json
import logging
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from claude_gauge.apps.terminal.app import NodeWatch, watch_live
from claude_gauge.apps.terminal.picture import Look
from claude_gauge.config import Config, Settings
from claude_gauge.contract.freshness import Freshness, read
from claude_gauge.contract.usage import DEMO_SOURCE, ONLINE, node_of, stamp, status_topic, usage_topic
from claude_gauge.counting.reading import Reading
from claude_gauge.daemon.assembly import Assembly
from claude_gauge.daemon.broker import embedded
from claude_gauge.errors import GaugeError
from claude_gauge.mqtt.retained import Retained
from claude_gauge.outlets.homeassistant.discovery import is_of_demo
from claude_gauge.sources.transcripts.source import Transcripts
from claude_gauge.system.signals import ended_in_order, temporary_folder

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of work: how many responses, how long between them (seconds), and what they use (tokens)."""

    name: str
    model: str
    responses: int
    pause_s: float
    context: int  # what each response reads from the cache, growing as the session does
    output: int
    thinking: float  # share of the output
    fresh: float  # share of the context that is not in the cache


@dataclass(frozen=True, slots=True)
class Response:
    """One made-up response: seconds after the one before, and its tokens."""

    after_s: float
    scene: str
    model: str
    input: int
    output: int
    cache_read: int
    cache_creation: int
    thinking: int


DAY = (
    Stretch("asking around", "claude-haiku-4-5", 8, 0.8, 9_000, 350, 0.0, 0.30),
    Stretch("writing code", "claude-sonnet-5", 14, 1.6, 42_000, 1_400, 0.25, 0.06),
    Stretch("thinking hard", "claude-opus-5-5", 8, 3.0, 70_000, 4_800, 0.80, 0.04),
    Stretch("a coffee", "claude-opus-5-5", 1, 25.0, 70_000, 200, 0.10, 0.10),
    Stretch("subagents race", "claude-opus-5-5", 36, 0.35, 88_000, 1_100, 0.30, 0.02),
    Stretch("reading the diff", "claude-sonnet-5", 10, 2.5, 60_000, 600, 0.15, 0.05),
    Stretch("a new branch of the family", "claude-fable-5", 8, 2.0, 50_000, 2_200, 0.55, 0.12),
    Stretch("a cold cache", "claude-sonnet-5", 6, 2.0, 64_000, 900, 0.20, 0.85),
    Stretch("lunch", "claude-haiku-4-5", 1, 70.0, 9_000, 150, 0.0, 0.30),
)


def live(seed: int) -> Iterator[Response]:
    """Yield the day's responses, and the next day's: all different, and always the same for one seed."""
    dice = random.Random(seed)  # noqa: S311 - a script, not a secret
    while True:
        for scene in DAY:
            for number in range(scene.responses):
                yield _response(scene, dice, grown=1 + number / 20)


def earlier(seed: int, span_s: float) -> Iterator[Response]:
    """Yield the use before the demo began, so that 5H PLAN (fuel) does not start empty."""
    dice = random.Random(seed + 1)  # noqa: S311 - as above
    passed = 0.0
    while passed < span_s:
        response = _response(DAY[1 + int(passed) % 2], dice, grown=1.0)
        passed += 45.0
        yield response


def _response(scene: Stretch, dice: random.Random, grown: float) -> Response:
    context = round(scene.context * grown * dice.uniform(0.9, 1.1))
    created = round(context * scene.fresh * dice.uniform(0.7, 1.2))
    output = max(1, round(scene.output * dice.uniform(0.5, 1.7)))
    return Response(
        after_s=scene.pause_s * dice.uniform(0.6, 1.4),
        scene=scene.name,
        model=scene.model,
        input=dice.randrange(2, 40),
        output=output,
        cache_read=max(0, context - created),
        cache_creation=created,
        thinking=min(output, round(output * scene.thinking * dice.uniform(0.8, 1.15))),
    )


EARLIER_S = 2.5 * 3600
FIRST_AFTER_S = 0.3


class TranscriptWriter:
    """Writes transcripts below `folder`/projects; `speed` shortens the pauses, `seed` names the day."""

    def __init__(self, folder: Path, *, seed: int = 1, speed: float = 1.0) -> None:
        self._path = folder / "projects" / "-demo" / "scripted-day.jsonl"
        self._seed, self._speed = seed, speed
        self._numbers = count(1)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._live, name="script", daemon=True)
        self.scene = ""
        self._trouble = ""  # of the last write

    def start(self) -> None:
        """Write the earlier responses, then start the thread that writes the day."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        past = list(earlier(self._seed, EARLIER_S))
        begin = time.time() - EARLIER_S
        step = EARLIER_S / len(past)
        self._append(*(self._line(each, begin + n * step) for n, each in enumerate(past)))
        self._thread.start()

    def stop(self) -> None:
        """End; safe to call twice."""
        self._stopping.set()
        if self._thread.ident:
            self._thread.join(5)

    def _live(self) -> None:
        wait = FIRST_AFTER_S
        for response in live(self._seed):
            if self._stopping.wait(wait):
                return
            self.scene = response.scene
            try:
                self._append(self._line(response, time.time()))
                self._trouble = ""
            except OSError as error:  # a full disk: the day goes on, and is seen again once there is room
                if error.strerror != self._trouble:
                    log.warning("cannot write %s: %s", self._path, error.strerror)
                self._trouble = error.strerror or ""
            wait = response.after_s / self._speed

    def _append(self, *lines: bytes) -> None:
        with self._path.open("ab", buffering=0) as file:
            file.write(b"".join(lines))

    def _line(self, response: Response, at: float) -> bytes:
        number = next(self._numbers)
        usage = {
            "input_tokens": response.input,
            "cache_creation_input_tokens": response.cache_creation,
            "cache_read_input_tokens": response.cache_read,
            "output_tokens": response.output,
            "output_tokens_details": {"thinking_tokens": response.thinking},
        }
        message = {
            "id": f"msg_demo_{number}",
            "role": "assistant",
            "model": response.model,
            "content": [],
            "usage": usage,
        }
        record = {"type": "assistant", "timestamp": stamp(at), "requestId": f"req_demo_{number}", "message": message}
        return json.dumps(record, separators=(",", ":")).encode() + b"\n"


NODE = DEMO_SOURCE
LONGEST_NODE = 40
SIGN_IN = ("broker_password", "broker_password_file", "broker_ca", "broker_cert", "broker_key")
# Scales on which the scripted day is worth looking at.
CEILING, REDLINE = 25_000_000, 4_000_000
LINE_S = 1.0
MOST_TOPICS = 10_000  # more than there are: look as long as a broker needs


@dataclass(frozen=True, slots=True)
class Stage:
    """A running demo: its settings, the writer of its transcripts, and its broker."""

    settings: Settings
    writer: TranscriptWriter
    assembly: Assembly
    broker: str

    def footer(self) -> str:
        """Return a line that says what is real and what is made up."""
        return f"{self.writer.scene or 'starting'} (made-up transcripts, all else real: {self.broker})  q quits"


@contextmanager
def staged(config: Config, *, seed: int, speed: float) -> Iterator[Stage]:
    """Start writer, broker and publisher on a temporary folder; end them in reverse order."""
    with ExitStack() as stack:
        stack.enter_context(ended_in_order())
        folder = stack.enter_context(temporary_folder("demo"))
        settings = demo_settings(config, folder / "state")
        kind = ""
        if settings.broker in {None, "embedded"}:
            broker = embedded.start(settings)
            kind = broker.kind
            stack.callback(broker.stop)
            settings = settings.model_copy(update={"broker": broker.url})
        else:
            settings = admitted(settings, named=config.origins.get("node") == "flag")
        writer = TranscriptWriter(folder / "claude", seed=seed, speed=speed)
        writer.start()
        stack.callback(writer.stop)
        source = MadeUp([folder / "claude" / "projects"])
        assembly = Assembly(settings, source=source, leaves_nothing=True)
        assembly.start()
        thread = threading.Thread(target=assembly.run, name="publisher", daemon=True)
        thread.start()
        stack.callback(_check_left, assembly, settings)
        stack.callback(thread.join, 5)
        stack.callback(assembly.stop)
        yield Stage(settings, writer, assembly, kind or assembly.link.endpoint.place)


def demo_settings(config: Config, state: Path) -> Settings:
    """Return the demo's settings: flags only, since the settings file has a real node's name, broker and address.

    A user and password are used only at a broker that a flag names.
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
    """A source that reads the made-up transcripts and marks every part as `demo`."""

    def read(self, now: float) -> Reading:
        """Return the present reading, each part marked as `demo`."""
        reading = super().read(now)
        sources = {name: replace(health, source=DEMO_SOURCE) for name, health in reading.sources.items()}
        return replace(reading, sources=sources)


def admitted(settings: Settings, *, named: bool) -> Settings:
    """Return settings with a node that nobody publishes at this broker; clear what demos left there that were killed.

    A machine may really be called `demo`, and two demos may run at once: a node that is taken gets another name or,
    where a person `named` it, is refused. Raises GaugeError for that, and where the broker does not let us in.
    """
    node = settings.node
    devices = [] if settings.discovery == "off" else [f"{settings.discovery}/device/+/config"]
    # The node's own topics by name: some brokers send nothing retained to a filter with wildcards.
    filters = [status_topic(node), usage_topic(node), status_topic("+"), usage_topic("+"), *devices]
    with Retained(settings, *filters, quiet=True) as retained:  # the demo's own link says the same
        retained.connect()
        retained.look(topics=MOST_TOPICS)
        held = {topic: payload for topic, payload in retained.held.items() if payload}
        place, hidden = retained.link.endpoint.place, retained.unreadable(status_topic(node), usage_topic(node))
        left = {} if hidden.what else _left_by_killed(held, time.time())
        for topics in left.values():
            with contextlib.suppress(GaugeError):  # this user may not write it: whoever made it may
                retained.write(dict.fromkeys(topics, b""))
    if not (hidden.what or (node not in left and _is_taken(held, node))):
        return settings
    if named and hidden.what:
        raise GaugeError(f"{hidden}; whether somebody publishes node {node} there can't be seen")
    if named:
        raise GaugeError(f"node {node} is published at broker {place} already: name another with --node")
    return settings.model_copy(update={"node": f"{node}-{secrets.token_hex(2)}"})


def _is_taken(held: Mapping[str, bytes], node: str) -> bool:
    """Return whether somebody publishes a node: a demo keeps its status on the broker only while it runs."""
    usage = read(held.get(usage_topic(node), b""))
    return status_topic(node) in held or (usage is not None and not usage.made_up)


def _left_by_killed(held: Mapping[str, bytes], now: float) -> dict[str, list[str]]:
    """Return the topics that killed demos left, by node: those marked as made up, of nodes that do not run any more."""
    left: dict[str, list[str]] = {}
    for topic, payload in held.items():
        node = is_of_demo(topic, payload)
        if not node and topic == usage_topic(name := node_of(topic)) and (usage := read(payload)) and usage.made_up:
            node = name
        if node and not _runs(held, node, now):
            left.setdefault(node, []).append(topic)
    return {node: [*topics, *({status_topic(node)} & held.keys())] for node, topics in left.items()}


def _runs(held: Mapping[str, bytes], node: str, now: float) -> bool:
    """Return whether a node is online, and not only in the memory of a broker that crashed before the node went."""
    freshness = Freshness()
    freshness.status = held.get(status_topic(node), b"").decode("utf-8", "replace")
    freshness.payload(held.get(usage_topic(node), b""), now, retained=True)
    return freshness.status == ONLINE and not freshness.stale(now)


def _check_left(assembly: Assembly, settings: Settings) -> None:
    if assembly.link.left:
        prefix = "" if settings.discovery in {"off", "homeassistant"} else f" --discovery {settings.discovery}"
        log.warning(
            "the demo could not be cleared from broker %s: `claude-gauge discovery remove%s` does it",
            assembly.link.endpoint.place,
            f" --node {settings.node} --broker {settings.broker}{prefix}",
        )


def in_terminal(stage: Stage, look: Look) -> None:
    """Draw the cluster until `q`."""
    watch_live(stage.settings, look, stage.footer)


def as_lines(stage: Stage, say: Callable[[str], None], seconds: float | None) -> None:
    """Print the payload as a subscriber gets it, once a second: for pipes, which can't show a picture."""
    watch = NodeWatch(stage.settings, quiet=True)
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
