"""Commands over the broker, below the board's topic `set`: restart, identify, brightness, night hours, update."""

import json

from gauge import flash

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NIGHT_LEVEL = 10  # per cent, where only the hours were set


def night(hours: list) -> "list | None":
    """Read night hours as config.json has them; that module is loaded when it is needed, which is seldom."""
    from gauge import settings

    return settings.night(hours)


class Remote:
    """Runs commands and publishes the settings that they change; a retained command is ignored as out of date."""

    def __init__(self, settings: "dict[str, Any]", link: "Any", show: "Any", update: "Any", restart: "Any") -> None:
        self._link, self._show, self._update, self._restart = link, show, update, restart
        self._topic = link.root + "/set/"
        self._hours, self._level = "", NIGHT_LEVEL
        if settings["night"]:  # which was checked
            start, end, level = settings["lamps"]["night"]
            self._hours, self._level = start + "-" + end, round(level * 100)
        self._brightness = round(settings["lamps"]["brightness"] * 100)
        link.subscribe(self._topic + "+")

    def receive(self, topic: str, payload: bytes, *, retained: bool) -> None:
        """Take in a message, if it is an order."""
        if retained or not topic.startswith(self._topic):
            return
        order = topic[len(self._topic) :]
        try:
            self._obey(order, payload.decode())
        except (ValueError, OSError) as error:
            print("remote:", order, repr(error))

    def publish_state(self) -> None:
        """Publish what can be set, as it is."""
        state = {"brightness": self._brightness, "night": self._hours, "night_brightness": self._level}
        self._link.publish("settings", json.dumps(state).encode())

    def _obey(self, order: str, text: str) -> None:
        print("remote:", order, text)
        if order == "restart":
            self._restart()
        elif order == "identify":
            self._show.identify()
        elif order == "update" and self._update:
            self._update.install()
        elif order == "night":
            if text and not night(text.split("-") + [0]):
                raise ValueError("wants 22:00-07:00")
            self._hours = text
            self._keep()
        elif order in ("brightness", "night_brightness"):
            level = int(float(text))
            if not 0 <= level <= 100:
                raise ValueError("wants 0 to 100")
            if order == "brightness":
                self._brightness = level
            else:
                self._level = level
            self._keep()

    def _keep(self) -> None:
        # In the file too, and there in what was given alone: the defaults stay the firmware's.
        hours = self._hours.split("-") + [self._level / 100] if self._hours else []
        given = flash.read("config.json")
        if isinstance(given, dict):
            lamps = given.get("lamps")
            lamps = dict(lamps) if isinstance(lamps, dict) else {}
            lamps.update({"brightness": self._brightness / 100, "night": hours})
            given["lamps"] = lamps
            flash.write("config.json", given)
        self._show.dim(self._brightness / 100, night(hours))
        self.publish_state()
