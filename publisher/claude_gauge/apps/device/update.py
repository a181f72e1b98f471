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
from claude_gauge.contract.usage import ONLINE
from claude_gauge.errors import GaugeError
from claude_gauge.mqtt.link import Link
from claude_gauge.mqtt.message import Message

FLUSH_S = 15.0
LOOK_S = 1.5  # a broker sends what is retained at once
PATIENCE_S = 240.0
DEVICES = "claude-gauge/device/+/status"


def version() -> str:
    """Return the version of the firmware that comes with this package."""
    found = re.search(r'VERSION = "(.+)"', (folder() / "gauge" / "__init__.py").read_text("utf-8"))
    if found is None:
        raise GaugeError("the firmware's version is missing from gauge/__init__.py; install claude-gauge again")
    return found[1]


def topic_of(device: str) -> str:
    """Return the topic of a device's update manifest; files lie below it."""
    return f"claude-gauge/device/{device}/update"


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

    def __init__(self, link: Link, device: str | None, say: Callable[[str], None]) -> None:
        self._link, self._say = link, say
        self._online: set[str] = set()
        self._state = threading.Condition()
        self._ended = ""
        link.listen(DEVICES, self._status)
        link.start()
        if not link.wait_connected(FLUSH_S):
            raise GaugeError(link.trouble or f"broker {link.endpoint.place} does not answer")
        with self._state:
            self._state.wait_for(lambda: device in self._online, LOOK_S)
        self.device = device or self._only()
        self.present = self.device in self._online
        link.listen(topic_of(self.device) + "/state", self._told)

    def publish(self, told: Mapping[str, bytes]) -> None:
        """Publish the messages, retained; empty ones take them away again."""
        for topic, payload in told.items():
            self._link.announce(topic, payload)
        if not self._link.flush(FLUSH_S):
            raise GaugeError(self._link.trouble or "the broker did not take the update in time; try again")

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
