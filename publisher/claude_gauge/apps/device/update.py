"""Updates boards over MQTT: lists them, and sends signed updates as retained messages on each board's topics."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from claude_gauge.apps.device.build import BYTECODE, firmware, version
from claude_gauge.apps.device.install import board_key
from claude_gauge.config import Settings
from claude_gauge.contract.usage import OFFLINE, ONLINE
from claude_gauge.errors import GaugeError
from claude_gauge.mqtt.message import Message
from claude_gauge.mqtt.retained import Retained
from claude_gauge.mqtt.trouble import NOT_KEPT, Reason

LOOK_S = 1.5  # a broker sends what is retained at once
PATIENCE_S = 240.0  # without a word from the board
SIMULATED = re.compile(r"sim[0-9a-f]{8}")  # the id of `claude-gauge sim`
ROOT = "claude-gauge/device"
UNSIGNED = "refused: not signed"
LONGEST_PART = 64  # of what a board says of itself: anybody may write to its topics
LEAVES = ("status", "diagnostics", "settings", "firmware", "update", "update/state")  # what is retained of a board
FOLLOWED = ("status", "diagnostics", "update/state")
MOST_TOPICS = 1000  # more than a board has: look as long as a broker needs
_VIRTUAL = re.compile(r"sim[0-9a-f]{8}")


def topic_of(device: str) -> str:
    """Return the topic of a device's update manifest; files lie below it."""
    return f"{ROOT}/{device}/update"


def signed(key: str, files: Mapping[str, bytes], *, version: str, serial: int, offer: bool = False) -> bytes:
    """Return the manifest: its HMAC-SHA256, a newline, and JSON that names every file by its hash.

    An offer is not installed before somebody asks the board to: Home Assistant's button does.
    """
    listed = [[path, len(content), hashlib.sha256(content).hexdigest()] for path, content in files.items()]
    manifest = {"version": version, "serial": serial, "files": listed, **({"offer": True} if offer else {})}
    text = json.dumps(manifest, separators=(",", ":")).encode()
    return hmac.digest(key.encode(), text, "sha256").hex().encode() + b"\n" + text


def messages(  # noqa: PLR0913 - what a manifest says
    device: str, key: str, files: Mapping[str, bytes], *, version: str, serial: int, offer: bool = False
) -> dict[str, bytes]:
    """Return all messages of an update, the manifest last, so that the files are there when it is seen."""
    topic = topic_of(device)
    parts = {f"{topic}/{hashlib.sha256(content).hexdigest()[:16]}": content for content in files.values()}
    return {**parts, topic: signed(key, files, version=version, serial=serial, offer=offer)}


@dataclass
class Board:
    """A board as the broker knows it; `figures` are its diagnostics."""

    name: str
    online: bool = False
    figures: dict[str, Any] = field(default_factory=dict)
    said: str = ""  # of the update, the last
    ended: str = ""
    seen_at: float = 0.0

    def line(self) -> str:
        """Put it into one line."""
        figures = self.figures
        parts = [self.name, "online" if self.online else "offline"]
        parts += [f"version {figures['version']}"] if "version" in figures else []
        parts += [str(figures[key]) for key in ("chip", "address") if figures.get(key)]
        parts += [f"shows {figures['node']}"] if figures.get("node") else []
        parts += [f"signal {figures['rssi']} dBm"] if figures.get("rssi") is not None else []
        return ", ".join(part[:LONGEST_PART] for part in parts)


class Boards:
    """All boards that the broker has, or the one that was named; chooses and updates them.

    With `names`, what a board says is printed with its name before it.
    """

    def __init__(self, retained: Retained, say: Callable[[str], None], *, names: bool = False) -> None:
        self._retained, self._say, self._names = retained, say, names
        self.by_name: dict[str, Board] = {}
        self._filter = f"{ROOT}/+/#"
        self._news = threading.Condition()

    def look(self, device: str | None = None) -> None:
        """Wait for the broker and for what it keeps of the boards, or of `device`; raises GaugeError."""
        retained = self._retained
        filters = [self._filter]
        if device:
            own = f"{ROOT}/{_level(device)}"
            retained.also(f"{own}/#")  # what is written comes back by it
            # Some brokers send nothing retained to a filter with wildcards, or take none.
            filters = [f"{own}/{leaf}" for leaf in FOLLOWED]
        self._filter = filters[0]
        for each in filters:
            retained.also(each, self._on_message)
        retained.connect()
        with self._news:
            self._news.wait_for(lambda: bool(device) and device in self.by_name and self.by_name[device].online, LOOK_S)

    @property
    def unreadable(self) -> Reason:
        """Why boards that are there may not be seen, as far as the broker says: it refuses them or keeps nothing."""
        link = self._retained.link
        return self._retained.unreadable(self._filter) if link.keeps_retained else NOT_KEPT.by(link.endpoint.place)

    def choose(self, device: str | None) -> Board:
        """Return the board of that name, or the only one that is online."""
        if device:
            return self.by_name.setdefault(device, Board(device))
        online = [board for board in self.by_name.values() if board.online]
        if len(online) == 1:
            return online[0]
        if self.unreadable.what:
            raise GaugeError(str(self.unreadable))
        names = ", ".join(sorted(board.name for board in online)) or "none"
        raise GaugeError(f"name the device with --device, or take --all; online: {names}")

    def update(self, board: Board, master: str, *, sources: bool, offer: bool = False) -> None:
        """Send a board its firmware, and watch it start; raises GaugeError with the reason where it does not."""
        if SIMULATED.fullmatch(board.name):
            raise GaugeError(
                f"device {board.name} is a `claude-gauge sim`: it takes no updates, start it again instead"
            )
        bytecode = None if sources else int(board.figures.get("mpy") or BYTECODE)
        files = firmware(bytecode)
        for key in (board_key(master, board.name), master):
            update = messages(board.name, key, files, version=version(), serial=int(time.time()), offer=offer)
            board.said = board.ended = ""
            self._send(update)
            manifest = topic_of(board.name)
            if (lost := self._retained.not_kept(manifest, update[manifest])).what:
                raise GaugeError(
                    f"{lost.what}, so that no board can be updated over it: use the cable (`firmware install`)"
                )
            if offer:
                self._say(f"{board.name}: version {version()} waits; Home Assistant's update button installs it")
                return
            if not board.online:
                hidden = f"whether {board.name} is on can't be seen, since {self.unreadable}"
                why = hidden if self.unreadable.what else f"{board.name} is away"
                self._say(f"{why}; the update waits for it on the broker")
                return
            size = sum(map(len, files.values()))
            self._say(f"{board.name}: {size // 1000} kB sent to the broker; the board reads, checks and restarts")
            self._wait(board)
            self._retained.write(dict.fromkeys(update, b""))  # nothing is left on the broker
            if not board.ended.startswith(UNSIGNED):
                break  # else: it was installed when all boards had one key; it gets its own with the next installation
        if not board.ended.startswith("running"):
            raise GaugeError(f"device {board.name}: {board.ended}")

    def _send(self, update: Mapping[str, bytes]) -> None:
        """Write an update, or none of it; raises GaugeError."""
        try:
            self._retained.write(update)
        except GaugeError:
            taken = [topic for topic in update if not self._retained.link.refusal(topic).what]
            with contextlib.suppress(GaugeError):  # the first one says more
                self._retained.write(dict.fromkeys(taken, b""))
            raise

    def _wait(self, board: Board) -> None:
        with self._news:
            board.seen_at = time.monotonic()
            while not board.ended:
                left = board.seen_at + PATIENCE_S - time.monotonic()
                if left < 0:
                    raise GaugeError(
                        f"device {board.name} said nothing for {PATIENCE_S:.0f} s; look at `firmware logs`"
                    )
                self._news.wait(left)

    def _on_message(self, message: Message) -> None:
        name, _, leaf = message.topic.removeprefix(ROOT + "/").partition("/")
        if not name or not leaf:  # `+/#` matches claude-gauge/device/status, too, which is no board's
            return
        with self._news:
            board = self.by_name.setdefault(name, Board(name))
            if leaf == "status":
                board.online = message.payload == ONLINE.encode()
            elif leaf == "diagnostics":
                board.figures = _figures(message.payload)
            elif leaf == "update/state" and not message.retain:
                self._state(board, message.payload.decode("utf-8", "replace"))
            self._news.notify_all()

    def _state(self, board: Board, text: str) -> None:
        board.seen_at = time.monotonic()
        if text == board.said:
            return  # two of our filters match it, and some brokers send it for each
        board.said = text
        if text.startswith(("running ", "failed: ", "refused: ")):
            board.ended = text
        if not text.startswith(UNSIGNED):
            self._say(f"{board.name}: {text}" if self._names else text)


def _level(device: str) -> str:
    """Return a board's id, one level of its topics; raises GaugeError for what would mean other boards' topics."""
    if not device or not device.isprintable() or set(device) & set("/+#"):
        raise GaugeError(f"{device!r} is no board's id: `claude-gauge firmware list` shows them")
    return device


def _figures(payload: bytes) -> dict[str, Any]:
    try:
        figures = json.loads(payload)
    except ValueError:
        return {}
    return figures if isinstance(figures, dict) else {}


def forget(settings: Settings, device: str) -> bool:
    """Remove a board's retained topics and its device in Home Assistant; return whether it is on.

    A board that is on says some of it again: switch it off first. Raises GaugeError where nothing is kept of it.
    """
    config = f"{settings.discovery}/device/claude_gauge_device_{_level(device)}/config"
    with Retained(settings, f"{ROOT}/{device}/#", config) as retained:
        retained.connect()
        retained.look(topics=MOST_TOPICS)
        if not retained.held:  # some brokers send nothing retained to a filter with wildcards
            for leaf in LEAVES:
                retained.also(f"{ROOT}/{device}/{leaf}")
            retained.settle()
            retained.look(topics=MOST_TOPICS)
        held = [topic for topic, payload in retained.held.items() if payload]
        if not held:
            if (hidden := retained.unreadable(f"{ROOT}/{device}/#")).what:
                raise GaugeError(str(hidden))
            raise GaugeError(
                f"the broker shows nothing of a board {device}; check its id, or ask as a user that may see it"
            )
        online = retained.held.get(f"{ROOT}/{device}/status") == ONLINE.encode()
        retained.write(dict.fromkeys({*held, config} if settings.discovery != "off" else held, b""))
    return online


def forget_virtual(settings: Settings, own: str) -> None:
    """Remove the retained topics of this virtual board, and of others that were killed; raises GaugeError.

    `sim` gives each one a new id, so that what a killed one leaves would never be replaced.
    """
    own_topics = [f"{ROOT}/{own}/{leaf}" for leaf in LEAVES]  # not every broker shows them by a filter with wildcards
    with Retained(settings, f"{ROOT}/+/#", *own_topics) as retained:
        retained.connect()
        retained.look(topics=MOST_TOPICS)
        held = {topic: topic.split("/")[2] for topic, payload in retained.held.items() if payload}
        if retained.unreadable().what:
            held.update(dict.fromkeys(own_topics, own))
        gone = {name for name in held.values() if _VIRTUAL.fullmatch(name) and _is_off(retained, name)} | {own}
        retained.write({topic: b"" for topic, name in held.items() if name in gone})


def _is_off(retained: Retained, name: str) -> bool:
    return retained.held.get(f"{ROOT}/{name}/status") == OFFLINE.encode()
