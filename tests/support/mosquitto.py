"""A real Mosquitto on a free loopback port, and a listener that sees what any subscriber would."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from tests.support.net import PATIENCE_S, answers, free_port, wait_until


def find_mosquitto() -> str:
    """Return Mosquitto's path; Debian keeps it in a folder that is not on every PATH."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")
    assert found, "Mosquitto is missing: apt-get install mosquitto (the tests need the real one)"
    return found


class Mosquitto:
    """One broker process that a test may kill, freeze, thaw and start again on the same port."""

    def __init__(self, folder: Path, *lines: str, anonymous: bool = True) -> None:
        self.port = free_port()
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o777)
        own = ["log_dest stderr", f"listener {self.port} 127.0.0.1", "user root" if os.geteuid() == 0 else ""]
        self._conf = folder / "mosquitto.conf"
        self._conf.write_text("\n".join([*own, f"allow_anonymous {str(anonymous).lower()}", *lines]) + "\n")
        self.log = folder / "mosquitto.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The broker's URL, as `--broker` takes it."""
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process id of the running broker."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> Self:
        """Start it and wait until it accepts connections."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen([find_mosquitto(), "-c", str(self._conf)], stdout=log, stderr=log)
        try:
            wait_until(lambda: answers(self.port) or self._died(), "Mosquitto to listen")
        except BaseException:  # no `with` will end what never began
            self.kill()
            raise
        return self

    def _died(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise AssertionError(f"Mosquitto ended at once:\n{self.log.read_text()}")
        return False

    def send(self, number: int) -> None:
        """Send it a signal: SIGSTOP freezes it, SIGCONT thaws it."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in good order; safe when it is gone already."""
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(number)
        self._process.wait(PATIENCE_S)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


@dataclass(frozen=True)
class Received:
    """One message as a subscriber got it."""

    topic: str
    payload: bytes
    retained: bool
    qos: int


class Listener:
    """A subscriber of its own, with every message it was sent in the order of arrival."""

    def __init__(
        self,
        port: int,
        topic: str = "#",
        *,
        version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5,
        user: str | None = None,
        password: str = "",
    ) -> None:
        self.messages: list[Received] = []
        self._news = threading.Condition()
        self._ready = threading.Event()
        self._topic = topic
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=version)
        if user is not None:
            self.client.username_pw_set(user, password)
        self.client.on_connect = self._connected
        self.client.on_subscribe = lambda *_: self._ready.set()
        self.client.on_message = self._message
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self._ready.wait(PATIENCE_S), "the listener could not subscribe"

    def _connected(
        self, client: mqtt.Client, _user: object, _flags: object, _code: ReasonCode, _properties: Properties | None
    ) -> None:
        client.subscribe(self._topic, qos=1)

    def _message(self, _client: mqtt.Client, _user: object, message: mqtt.MQTTMessage) -> None:
        with self._news:
            self.messages.append(Received(message.topic, bytes(message.payload), message.retain, message.qos))
            self._news.notify_all()

    def wait(self, wanted: Callable[[Received], bool], deadline_s: float = PATIENCE_S, *, after: int = 0) -> Received:
        """Return the first message from index `after` on that is `wanted`; fail listing what came instead."""

        def found() -> Received | None:
            return next((each for each in self.messages[after:] if wanted(each)), None)

        with self._news:
            assert self._news.wait_for(lambda: found() is not None, deadline_s), (
                f"not received; got {self.messages[-5:]}"
            )
        received = found()
        assert received is not None
        return received

    def close(self) -> None:
        """Disconnect in good order."""
        self.client.disconnect()
        self.client.loop_stop()
        self.client._reset_sockets()  # paho leaves its own pair of sockets to the collector of garbage, which complains

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
