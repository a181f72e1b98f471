"""The ESP32 itself: the one module that imports `machine`. `sim` and the tests put a virtual board in its place."""

import gc
import socket
import sys
import time

import esp32
import machine
import neopixel
import network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FULL_SPEED_HZ = 240_000_000
HEAP_SWEEP = 16_384  # bytes between sweeps: often and short, and no hole fills up with what will stay
HIGH_US = 10  # of a step pulse; the drivers ask for half a microsecond


class Transmitter:
    """One transmitter of the RMT: it plays pulses on one pin while Python does something else."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._rmt: esp32.RMT | None = None
        self._pin = -1

    def busy(self) -> bool:
        """Return whether pulses are still being played."""
        return self._rmt is not None and not self._rmt.wait_done()

    def aim(self, pin: int) -> None:
        """Play on this pin from now on; must not be busy. The pin before is an output again, and low."""
        if pin == self._pin:
            return
        if self._rmt is not None:
            self._rmt.deinit()
            out(self._pin)
        self._rmt = esp32.RMT(self._number, pin=machine.Pin(pin), clock_div=80)  # 80 MHz / 80: microseconds
        self._pin = pin

    def play(self, durations: list) -> None:
        """Play levels that take turns, high first."""
        if self._rmt is not None:
            self._rmt.write_pulses(durations, True)


class Pulses:
    """A pin that steps; where the chip has too few transmitters, some pins take turns on one."""

    def __init__(self, transmitter: Transmitter, pin: int) -> None:
        self._transmitter, self._pin = transmitter, pin
        out(pin)
        transmitter.aim(pin)
        self.busy = transmitter.busy

    def play(self, waits: list) -> None:
        """Play one pulse for each wait; must not be busy."""
        durations = []
        for wait_us in waits:
            durations.append(HIGH_US)
            durations.append(wait_us - HIGH_US)
        self._transmitter.aim(self._pin)
        self._transmitter.play(durations)


class Ws2812:
    """The lamps as a chain of WS2812 pixels."""

    def __init__(self, pin: int, count: int) -> None:
        self._pixels = neopixel.NeoPixel(machine.Pin(pin, machine.Pin.OUT), count)

    def show(self, colours: list) -> None:
        """Set all the pixels."""
        for place, colour in enumerate(colours):
            self._pixels[place] = colour
        self._pixels.write()


class Leds:
    """The lamps as plain LEDs: three pins for MODEL's red, green and blue, one for each other lamp."""

    def __init__(self, pins: list) -> None:
        self._pwms = [pwm(pin, 1000) for pin in pins]

    def show(self, colours: list) -> None:
        """Set all the duty cycles."""
        levels = list(colours[0]) + [max(colour) for colour in colours[1:]]
        for led, level in zip(self._pwms, levels):
            led.duty_u16(level * 257)


def prepare() -> None:
    """Run as fast as the chip can, so that a needle's next steps are soon worked out, and keep the heap in order."""
    gc.threshold(HEAP_SWEEP)
    try:
        machine.freq(FULL_SPEED_HZ)
    except ValueError:
        pass  # a smaller chip that has its own limit


def out(pin: int, level: int = 0) -> machine.Pin:
    """Return a digital output."""
    return machine.Pin(pin, machine.Pin.OUT, value=level)


def pwm(pin: int, freq_hz: int) -> machine.PWM:
    """Return a pin with a duty cycle, dark at first."""
    return machine.PWM(machine.Pin(pin), freq=freq_hz, duty_u16=0)


def transmitters(count: int, *, all_of_them: bool) -> list:
    """Return that many transmitters of the RMT.

    Where these are all that the chip has, pixels must do without: up to MicroPython 1.26 the last one is kept for them,
    whether there are any or not, and an RMT of that number fails.
    """
    if all_of_them:
        try:
            esp32.RMT.bitstream_channel(None)
        except (AttributeError, ValueError):
            pass  # a newer MicroPython that shares them by itself
    return [Transmitter(number) for number in range(count)]


def pulses(transmitter: Transmitter, pin: int) -> Pulses:
    """Return a pin that plays step pulses."""
    return Pulses(transmitter, pin)


def pixels(pin: int, count: int) -> Ws2812:
    """Return a chain of WS2812 pixels."""
    return Ws2812(pin, count)


def leds(pins: list) -> Leds:
    """Return the lamps as plain LEDs."""
    return Leds(pins)


class Wifi:
    """The station interface; it connects in the background and never blocks."""

    def __init__(self, hostname: str) -> None:
        network.hostname(hostname)
        self._station = network.WLAN(network.STA_IF)
        self._station.active(True)
        self._station.config(pm=self._station.PM_NONE)  # power saving would hold packets back by up to 300 ms

    def connect(self, ssid: str, password: str) -> None:
        """Begin to connect, from a clean state."""
        self._station.disconnect()
        self._station.connect(ssid, password)

    def rest(self) -> None:
        """Look for no network: the search would drop those who joined ours."""
        self._station.disconnect()

    def connected(self) -> bool:
        """Return whether the board has an address."""
        return self._station.isconnected()

    def status(self) -> int:
        """Return the station's state, a number of `words.WIFI` where something is wrong."""
        return self._station.status()

    def address(self) -> str:
        """Return our address."""
        return self._station.ifconfig()[0]

    def rssi(self) -> "int | None":
        """Return the strength of the signal in dBm."""
        return self._station.status("rssi") if self._station.isconnected() else None


def wifi(hostname: str) -> Wifi:
    """Return the station interface."""
    return Wifi(hostname)


def access_point(name: str, password: str) -> str:
    """Open a network of our own, closed by a password, and return our address in it."""
    point = network.WLAN(network.AP_IF)
    point.active(True)
    point.config(ssid=name, security=_WPA2, key=password)
    return point.ifconfig()[0]


def close_access_point() -> None:
    """Close it again."""
    network.WLAN(network.AP_IF).active(False)


def mac() -> str:
    """Return the station's hardware address."""
    return network.WLAN(network.STA_IF).config("mac").hex(":")


def look_up(host: str) -> str:
    """Return the address of a name; blocks."""
    address: Any = socket.getaddrinfo(host, 0, socket.AF_INET, socket.SOCK_STREAM)[0][-1]
    if isinstance(address, (bytes, bytearray)):  # MicroPython's unix port has it packed
        return ".".join([str(byte) for byte in address[4:8]])
    return address[0]


def machine_name() -> str:
    """Return what MicroPython says that it runs on."""
    return getattr(sys.implementation, "_machine", "")


def bytecode() -> int:
    """Return the version of bytecode that this MicroPython loads."""
    return getattr(sys.implementation, "_mpy", 0) & 0xFF


def identity() -> str:
    """Return the board's unique id."""
    return machine.unique_id().hex()


def heap() -> int:
    """Return how many bytes are free."""
    return gc.mem_free()


def set_clock(utc_s: int, *, floor: bool = False) -> None:
    """Set the real-time clock, in seconds since 1970; TLS looks at it. A time that can't be is not taken.

    A floor is a time that has passed for sure: good enough for TLS, but it says nothing about the age of a payload.
    """
    if not BUILT_S < utc_s < _LAST_S:
        return
    fields = time.gmtime(utc_s - _EPOCH_S)
    clock = machine.RTC()
    clock.datetime((fields[0], fields[1], fields[2], fields[6], fields[3], fields[4], fields[5], 0))
    clock.memory(_FLOOR if floor else b"")  # it outlives a restart, as the clock does


def begin_clock(floor_s: int) -> None:
    """Let a clock that nobody has set begin at a time that has passed for sure."""
    if time.time() + _EPOCH_S < floor_s:
        set_clock(floor_s, floor=True)


def utc_s() -> "int | None":
    """Return the seconds since 1970, or None while nobody has set the time."""
    now = int(time.time()) + _EPOCH_S
    return now if now > BUILT_S and bytes(machine.RTC().memory()) != _FLOOR else None


def at_least_s() -> int:
    """Return a time in seconds since 1970 that has passed for sure."""
    return max(BUILT_S, int(time.time()) + _EPOCH_S)


_EPOCH_S = 946_684_800 if time.gmtime(0)[0] == 2000 else 0  # ESP32 counts from 2000
BUILT_S = 1_795_000_000  # no clock that was ever set is before
_FLOOR = b"floor"
_WPA2 = 3
_LAST_S = 4_000_000_000


def watchdog(limit_ms: int) -> machine.WDT:
    """Start the watchdog; once started it can't be stopped."""
    return machine.WDT(timeout=limit_ms)


def reset() -> None:
    """Start again."""
    machine.reset()
