"""MicroPython's `network`, as much of it as the firmware uses: a Wi-Fi that always lets us in, after a moment."""

import hardware

STA_IF, AP_IF = 0, 1


def hostname(_name: str) -> None:
    """Set the host's name."""


class WLAN:
    """An interface."""

    PM_NONE = 0

    def __init__(self, interface: int) -> None:
        self._interface = interface
        self._ready_us: int | None = None

    def active(self, _on: bool) -> None:
        """Switch it on."""

    def config(self, **settings: object) -> None:
        """Set what the real one knows."""
        unknown = set(settings) - {"pm", "ssid", "security"}
        if unknown:
            raise ValueError("unknown config param")

    def connect(self, _ssid: str, _password: str) -> None:
        """Begin to connect; the access point may ignore the first attempts."""
        hardware.tell("wifi")
        hardware.board.refusals -= 1
        if hardware.board.refusals < 0:
            self._ready_us = hardware.now_us() + hardware.board.wifi_ms * 1000

    def disconnect(self) -> None:
        """Leave."""
        self._ready_us = None

    def isconnected(self) -> bool:
        """Tell whether there is an address."""
        return self._ready_us is not None and hardware.now_us() >= self._ready_us

    def status(self, _what: str) -> int:
        """Return the strength of the signal."""
        return -50

    def ifconfig(self) -> tuple:
        """Return our address and more."""
        return ("127.0.0.1", "255.255.255.0", "127.0.0.1", "127.0.0.1")
