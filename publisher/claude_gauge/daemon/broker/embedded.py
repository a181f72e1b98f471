"""Which broker the publisher uses, and the one it starts on loopback where none answers: Mosquitto, else amqtt."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Self

from claude_gauge.config import Settings
from claude_gauge.errors import GaugeError
from claude_gauge.mqtt.endpoint import EMBEDDED, parse
from claude_gauge.system.child import Companion, without_secrets
from claude_gauge.system.net import answers, free_port

log = logging.getLogger(__name__)
MOSQUITTO, AMQTT = "Mosquitto", "amqtt"
# Debian keeps the broker in a folder that is not on every PATH.
PLACES = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/sbin:/opt/homebrew/bin"
START_S = 10.0
AGAIN_S = 1.0
CONF = """\
# Written by claude-gauge at each start: its embedded broker, for this machine only.
listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_packet_size 65536
max_connections 500
max_queued_messages 200
log_dest stderr
log_type error
log_type warning
log_type information
"""
READY = " running\n"  # the last word of both brokers when they listen


class Embedded:
    """A broker that runs until `stop`, or until this process ends in whatever way; a crashed one is started again."""

    def __init__(self, folder: Path, port: int, mosquitto: str | None) -> None:
        self.kind = MOSQUITTO if mosquitto else AMQTT
        self.port = port
        self.url = f"mqtt://127.0.0.1:{port}"
        self._folder = folder
        self._mosquitto = mosquitto
        self._stopping = threading.Event()
        self._child: Companion  # from `start` on
        self._thread = threading.Thread(target=self._watch, name="embedded-broker", daemon=True)

    def start(self) -> Self:
        """Start it and wait until it listens; raises GaugeError where it does not."""
        self._child = self._begin()
        self._thread.start()
        return self

    @property
    def pid(self) -> int:
        """The broker's process id."""
        return self._child.pid

    def stop(self) -> None:
        """End the broker; safe to call twice."""
        self._stopping.set()
        self._child.stop()
        self._thread.join(START_S)

    def _begin(self) -> Companion:
        if answers("127.0.0.1", self.port):
            raise GaugeError(f"embedded broker: port {self.port} is in use by another program")
        child = Companion(self._command(), without_secrets(os.environ), self._folder / f"broker-{self.port}.log")
        deadline = time.monotonic() + START_S
        while not child.said(READY):  # an answer at the port could be another's
            if not child.running or time.monotonic() > deadline:
                child.stop()
                raise GaugeError(
                    f"embedded broker ({self.kind}) did not start on port {self.port}: {child.last_words()}"
                )
            self._stopping.wait(0.01)
        return child

    def _command(self) -> list[str]:
        if self._mosquitto is None:
            return [sys.executable, "-m", "claude_gauge.daemon.broker.amqtt_broker", str(self.port)]
        conf = self._folder / f"mosquitto-{self.port}.conf"
        conf.write_text(CONF.format(port=self.port))
        return [self._mosquitto, "-c", str(conf)]

    def _watch(self) -> None:
        """Start the broker again whenever it ends without `stop`."""
        while True:
            self._child.wait()
            if self._stopping.is_set():
                return
            log.warning("embedded broker (%s) ended: %s; starting it again", self.kind, self._child.last_words())
            while not self._stopping.wait(AGAIN_S):
                try:
                    self._child = self._begin()
                except (GaugeError, OSError) as error:  # as on a full disk
                    log.debug("%s", error)
                else:
                    break
            if self._stopping.is_set():
                self._child.stop()


def find(program: str) -> str | None:
    """Return the path of one of Mosquitto's programs, None where it is not installed."""
    return shutil.which(program) or shutil.which(program, path=PLACES)


def start(settings: Settings, *, port: int = 0, amqtt: bool = False) -> Embedded:
    """Start a broker on loopback, port 0 for any free one; `amqtt` although Mosquitto is there."""
    folder = settings.state_dir.expanduser() / "broker"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return Embedded(folder, port or free_port(), None if amqtt else find("mosquitto")).start()
    except OSError as error:
        raise GaugeError(f"state_dir: cannot write {folder}: {error.strerror}; name another folder") from None


MOVE = "for one that all machines can use see `claude-gauge broker init`, then --broker mqtt://…"


def resolve(settings: Settings, *, port: int = 1883) -> tuple[str, Embedded | None, str]:
    """Return the broker's URL, the broker that was started for it if any, and a line about it for the log."""
    if settings.broker is not None and settings.broker != EMBEDDED:
        return settings.broker, None, f"broker {parse(settings.broker).place}"
    found = f"broker localhost:{port}, found on this machine; `--broker embedded` starts one of its own"
    present = f"mqtt://localhost:{port}", None, found
    taken = answers("localhost", port)
    if taken and settings.broker is None:
        return present
    try:
        started = start(settings, port=0 if taken else port)
    except GaugeError:
        if settings.broker is None and answers("localhost", port):  # someone else was quicker
            return present
        raise
    kind = (
        started.kind if started.kind == MOSQUITTO else f"{started.kind}, good for trying out: install mosquitto to stay"
    )
    return started.url, started, f"no broker named: started one on 127.0.0.1:{started.port} ({kind}); {MOVE}"
