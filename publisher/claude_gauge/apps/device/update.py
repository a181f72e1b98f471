"""`claude-gauge firmware update`: a signed update over the air, as retained messages on the device's own topics."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import threading
import time
from collections.abc import Callable, Mapping

from claude_gauge.apps.device.files import folder
from claude_gauge.config import Settings
from claude_gauge.contract.usage import ONLINE
from claude_gauge.errors import GaugeError
from claude_gauge.mqtt.message import Message
from claude_gauge.mqtt.retained import Retained

LOOK_S = 1.5  # a broker sends what is retained at once
PATIENCE_S = 240.0
ROOT = "claude-gauge/device"
MOST_TOPICS = 1000  # more than a board has: look as long as a broker needs


def version() -> str:
    """Return the version of the firmware that comes with this package."""
    found = re.search(r'VERSION = "(.+)"', (folder() / "gauge" / "__init__.py").read_text("utf-8"))
    if found is None:
        raise GaugeError("the firmware's version is missing from gauge/__init__.py; install claude-gauge again")
    return found[1]


def topic_of(device: str) -> str:
    """Return the topic of a device's update manifest; files lie below it."""
    return f"{ROOT}/{device}/update"


def signed(key: str, files: Mapping[str, bytes], *, version: str, serial: int) -> bytes:
    """Return the manifest: its HMAC-SHA256, a newline, and JSON that names every file by its hash."""
    listed = [[path, len(content), hashlib.sha256(content).hexdigest()] for path, content in files.items()]
    text = json.dumps({"version": version, "serial": serial, "files": listed}, separators=(",", ":")).encode()
    return hmac.digest(key.encode(), text, "sha256").hex().encode() + b"\n" + text


def messages(device: str, key: str, files: Mapping[str, bytes], *, version: str, serial: int) -> dict[str, bytes]:
    """Return all that is published, the manifest last: whoever sees it finds the files."""
    topic = topic_of(device)
    parts = {f"{topic}/{hashlib.sha256(content).hexdigest()[:16]}": content for content in files.values()}
    return {**parts, topic: signed(key, files, version=version, serial=serial)}


class Updating:
    """One update of one device, watched to its end."""

    def __init__(self, retained: Retained, device: str | None, say: Callable[[str], None]) -> None:
        self._retained, self._say = retained, say
        self._online: set[str] = set()
        self._state = threading.Condition()
        self._ended = ""
        # The named device's own topic: some brokers send nothing retained to a filter with wildcards.
        retained.link.listen(f"{ROOT}/{device or '+'}/status", self._status)
        retained.connect()
        with self._state:
            self._state.wait_for(lambda: device in self._online, LOOK_S)
        self.device = device or self._only()
        self.present = self.device in self._online
        retained.link.listen(topic_of(self.device) + "/state", self._told)
        retained.also(topic_of(self.device) + "/#")

    def publish(self, told: Mapping[str, bytes]) -> None:
        """Publish the messages, retained; empty ones take them away again."""
        self._retained.write(told)

    def wait(self) -> None:
        """Wait until the device runs the new version for good; raises GaugeError with the reason where it does not."""
        with self._state:
            if not self._state.wait_for(lambda: self._ended, PATIENCE_S):
                raise GaugeError(f"device {self.device} said nothing for {PATIENCE_S:.0f} s; look at `firmware logs`")
            if not self._ended.startswith("running"):
                raise GaugeError(f"device {self.device}: {self._ended}")

    def _only(self) -> str:
        if len(self._online) == 1:
            return next(iter(self._online))
        raise GaugeError(f"name the device with --device; online: {', '.join(sorted(self._online)) or 'none'}")

    def _status(self, message: Message) -> None:
        device = message.topic.split("/")[2]
        with self._state:
            (self._online.add if message.payload == ONLINE.encode() else self._online.discard)(device)
            self._state.notify_all()

    def _told(self, message: Message) -> None:
        if message.retain:
            return  # said at an earlier time
        text = message.payload.decode("utf-8", "replace")
        self._say(text)
        with self._state:
            if text.split(" ")[0] in {"running", "failed:", "refused:"}:
                self._ended = text
            self._state.notify_all()


def serial() -> int:
    """Return a number that grows with every update: a device takes none that is not above its last."""
    return int(time.time())


def forget(settings: Settings, device: str) -> bool:
    """Take away all that the broker keeps of a board, and its device in Home Assistant; tell whether it is on.

    A board that is on says some of it again: switch it off first. Raises GaugeError where nothing is kept of it.
    """
    config = f"{settings.discovery}/device/claude_gauge_device_{device}/config"
    with Retained(settings, f"{ROOT}/{device}/#", config) as retained:
        retained.connect()
        retained.look(topics=MOST_TOPICS)
        held = [topic for topic, payload in retained.held.items() if payload]
        if not held:
            raise GaugeError(
                f"the broker shows nothing of a board {device}; check its id, or ask as a user that may see it"
            )
        online = retained.held.get(f"{ROOT}/{device}/status") == ONLINE.encode()
        retained.write(dict.fromkeys({*held, config} if settings.discovery != "off" else held, b""))
    return online
