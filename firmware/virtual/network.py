"""MicroPython's `network`, as much of it as the firmware uses: a Wi-Fi that lets us in after a moment, if it does."""

import hardware

STA_IF, AP_IF = 0, 1
IDLE, GOT_IP, WRONG_PASSWORD = 1000, 1010, 202


def hostname(_name: str) -> None:
    """Set the host's name."""


class WLAN:
    """An interface; all objects of one are the same interface."""

    PM_NONE = 0
    _ready_us: "int | None" = None
    _state = IDLE

    def __init__(self, interface: int) -> None:
        self._interface = interface

    def active(self, on: bool) -> None:
        """Switch it on or off."""
        if self._interface == AP_IF:
            hardware.tell("ap", "on" if on else "off")

    def config(self, *asked: str, **settings: object) -> "bytes | None":
        """Set what the real one knows, or return it."""
        if asked == ("mac",):
            return b"\x02\x00\x00\xc1\xa0\xde"
        unknown = set(settings) - {"pm", "ssid", "security", "key"}
        if unknown or asked:
            raise ValueError("unknown config param")
        if "ssid" in settings:
            key = str(settings.get("key", ""))
            if not settings.get("security") or not 8 <= len(key.encode()) <= 63:
                hardware.tell("fault", "an open network")
            if len(str(settings["ssid"]).encode()) > 32:
                raise ValueError("ssid too long")
        return None

    def connect(self, ssid: str, password: str) -> None:
        """Begin to connect; the access point may ignore the first attempts, or refuse the password."""
        hardware.tell("wifi", ssid.replace(" ", "_"))
        if len(ssid.encode()) > 32 or len(password.encode()) > 64:
            raise ValueError("too long")
        board = hardware.board
        board.refusals -= 1
        if board.refusals >= 0:
            WLAN._state = board.why
        elif board.known is not None and ssid not in board.known:
            WLAN._state = 201
        elif board.known is not None and board.known[ssid] != password:
            WLAN._state = WRONG_PASSWORD
        else:
            WLAN._ready_us = hardware.now_us() + board.wifi_ms * 1000
            WLAN._state = GOT_IP

    def disconnect(self) -> None:
        """Leave."""
        WLAN._ready_us = None
        WLAN._state = IDLE

    def isconnected(self) -> bool:
        """Return whether there is an address."""
        return WLAN._ready_us is not None and hardware.now_us() >= WLAN._ready_us

    def status(self, what: str = "") -> int:
        """Return the state, or the strength of the signal."""
        return -50 if what == "rssi" else WLAN._state

    def ifconfig(self) -> tuple:
        """Return our address and more."""
        return ("127.0.0.1", "255.255.255.0", "127.0.0.1", "127.0.0.1")
