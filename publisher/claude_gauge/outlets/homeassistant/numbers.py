"""The ceiling and the redline as numbers that Home Assistant may set.

    claude-gauge/<node>/set/ceiling, .../set/redline    an order; one that the broker kept is cleared, not carried out
    claude-gauge/<node>/settings                        what holds now, retained: {"ceiling": .., "redline": ..}

They exist only where the publisher shows its broker a user and a password: at an open broker anybody could set them.

What was said last holds. A number that was set is stored beside the setting that it replaces, so that it holds over
restarts; once that setting is another one (settings file, flag, environment, `calibrate --write`), the setting holds.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Literal

from claude_gauge.config import Settings
from claude_gauge.contract.usage import MAX_COUNT, ORDERS, Usage, order_topic, settings_topic, stamp
from claude_gauge.mqtt.endpoint import EMBEDDED, parse
from claude_gauge.mqtt.link import Link
from claude_gauge.mqtt.message import Message
from claude_gauge.system.atomic_file import StateFile

log = logging.getLogger(__name__)
OFF = "off"  # of `discovery`
LEAST = 1
LONGEST = 64  # bytes of an order that are read

Offer = Literal["none", "offered", "withdrawn"]  # withdrawn: they were offered once, and no longer are
Value = int | float
Stored = Mapping[str, tuple[Value, Value]]  # by the setting's name: what was set, and the setting that it replaced


def offer(settings: Settings) -> Offer:
    """Return whether Home Assistant may set them."""
    user = None if settings.broker in {None, EMBEDDED} else parse(str(settings.broker)).user
    password = settings.broker_password or settings.broker_password_file
    if settings.discovery != OFF and user is not None and password is not None:
        return "offered"
    return "withdrawn" if _file(settings).exists() else "none"


def checked(setting: str, value: str | Value) -> Value:
    """Return a value as the setting holds it; raises ValueError for one that it does not take."""
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not LEAST <= number <= MAX_COUNT:
        raise ValueError(f"should be a number from {LEAST} to {MAX_COUNT:,}")
    return round(number) if Settings.model_fields[setting].annotation is int else _plain(number)


def _plain(number: Value) -> Value:
    """Write 5000.0 as 5000."""
    return int(number) if float(number).is_integer() else number


def held(settings: Settings) -> Settings:
    """Return the settings with what Home Assistant set in their place."""
    return _with(_stored(settings), settings)


def _stored(settings: Settings) -> Stored:
    return (_file(settings).read(_parse) or {}) if offer(settings) == "offered" else {}


def _with(stored: Stored, settings: Settings) -> Settings:
    holding = {name: value for name, (value, replaced) in stored.items() if getattr(settings, name) == replaced}
    return settings.model_copy(update=holding)


def _file(settings: Settings) -> StateFile:
    path = settings.state_dir / f"{settings.node}.numbers.json"
    return StateFile(path, "after a restart what Home Assistant set may no longer hold")


def _parse(content: bytes) -> Stored:
    ours = {name: each for name, each in json.loads(content).items() if name in ORDERS.values()}
    return {name: (checked(name, each["set"]), float(each["in_place_of"])) for name, each in ours.items()}


class Numbers:
    """Takes orders on the link's thread and stores them on the publisher's, as an outlet.

    `settings` are those that hold. `changed` is called when they change: in `start` where earlier orders hold, and on
    the link's thread after an order.
    """

    def __init__(self, link: Link, settings: Settings, changed: Callable[[Settings], None]) -> None:
        self.settings = settings
        self._link, self._given, self._changed = link, settings, changed
        self._offer: Offer = "none"
        self._file = _file(settings)
        self._written = b""
        self._complained: set[str] = set()  # of these topics, until a good order comes

    def start(self) -> None:
        """Read earlier orders, show what holds and listen; without users at the broker, clear what was shown before."""
        self._offer = offer(self._given)
        if self._offer != "offered":
            if self._offer == "withdrawn":
                self._link.announce(settings_topic(self._given.node), b"")
            return
        stored = _stored(self._given)
        for name, (value, replaced) in stored.items():
            now = getattr(self._given, name)
            if now != replaced:
                log.info("%s was changed to %s since Home Assistant set %s: the setting holds", name, now, value)
        self.settings = _with(stored, self._given)
        if self.settings != self._given:
            self._changed(self.settings)
        self._show()
        for name in ORDERS:  # each by its name: not every broker takes a +
            self._link.listen(order_topic(self._given.node, name), self._on_order)

    def __call__(self, _usage: Usage, _payload: bytes) -> None:
        """Store what is not stored yet."""
        self.stop()

    def stop(self) -> None:
        """Store what is not stored yet, and so that the numbers were offered."""
        pairs = {name: (getattr(self.settings, name), getattr(self._given, name)) for name in ORDERS.values()}
        stored = {name: {"set": value, "in_place_of": old} for name, (value, old) in pairs.items() if value != old}
        content = json.dumps(stored).encode()
        if self._offer == "offered" and content != self._written:
            self._written = content
            self._file.write(content)

    def _show(self) -> None:
        holding = {name: _plain(getattr(self.settings, setting)) for name, setting in ORDERS.items()}
        payload = json.dumps({**holding, "updated_at": stamp(time.time())}).encode()
        self._link.announce(settings_topic(self._given.node), payload)

    def _on_order(self, message: Message) -> None:
        """Carry out an order; one that can't be leaves all as it is."""
        name, text = message.topic.rpartition("/")[2], message.payload[:LONGEST].decode("utf-8", "replace")
        if not message.payload or name not in ORDERS:
            return  # nothing, as where a retained order is cleared; or an order of a later version
        if message.retain:
            self._link.send(message.topic, b"", qos=1, retain=True)
            self._complain(name, text, "was retained: whoever sends it must not have it kept")
            return
        try:
            value = checked(ORDERS[name], text)
        except ValueError as error:
            self._complain(name, text, str(error))
        else:
            self._complained.discard(name)
            self._take(ORDERS[name], value)
        self._show()

    def _complain(self, name: str, text: str, why: str) -> None:
        """Say why an order is not carried out: once, until a good one comes."""
        level = logging.DEBUG if name in self._complained else logging.WARNING
        self._complained.add(name)
        log.log(level, "%s: %.40r is not carried out: it %s", order_topic(self._given.node, name), text, why)

    def _take(self, setting: str, value: Value) -> None:
        if value != getattr(self.settings, setting):
            log.info("%s is %s now, as Home Assistant set it", setting, value)
            self.settings = self.settings.model_copy(update={setting: value})
            self._changed(self.settings)
