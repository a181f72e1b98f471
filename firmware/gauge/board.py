"""The ESP32 itself: the one module that imports `machine`. `sim` and the tests put a virtual board in its place."""

import gc
import sys
import time

import esp32
import machine
import neopixel
import network

FULL_SPEED_HZ = 240_000_000
HEAP_SWEEP = 16_384  # bytes between sweeps: often and short, and no hole fills up with what will stay
HIGH_US = 10  # of a step pulse; the drivers ask for half a microsecond


class Pulses:
    """Step pulses played by an RMT channel while Python does something else."""

    def __init__(self, channel: int, pin: int) -> None:
        self._rmt = esp32.RMT(channel, pin=machine.Pin(pin), clock_div=80)  # 80 MHz / 80: microseconds

    def busy(self) -> bool:
        """Tell whether pulses are still being played."""
        return not self._rmt.wait_done()

    def play(self, waits: list) -> None:
        """Play one pulse for each wait; must not be busy."""
        durations = []
        for wait_us in waits:
            durations.append(HIGH_US)
            durations.append(wait_us - HIGH_US)
        self._rmt.write_pulses(durations, True)


class Ws2812:
    """The lamps as a chain of WS2812 pixels."""

    def __init__(self, pin: int, count: int) -> None:
        if any(kind in getattr(sys.implementation, "_machine", "") for kind in ("S2", "S3")):
            esp32.RMT.bitstream_channel(None)  # they have four transmitters, and the needles have them all
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


def pulses(channel: int, pin: int) -> Pulses:
    """Return a pin that plays step pulses."""
    return Pulses(channel, pin)


def pixels(pin: int, count: int) -> Ws2812:
    """Return a chain of WS2812 pixels."""
    return Ws2812(pin, count)


def leds(pins: list) -> Leds:
    """Return the lamps as plain LEDs."""
    return Leds(pins)


class Wifi:
    """The station interface; it connects in the background and never blocks."""

    def __init__(self, ssid: str, password: str, hostname: str) -> None:
        network.hostname(hostname)
        self._ssid, self._password = ssid, password
        self._station = network.WLAN(network.STA_IF)
        self._station.active(True)
        self._station.config(pm=self._station.PM_NONE)  # power saving would hold packets back by up to 300 ms

    def connect(self) -> None:
        """Begin to connect, from a clean state."""
        self._station.disconnect()
        self._station.connect(self._ssid, self._password)

    def connected(self) -> bool:
        """Tell whether the board has an address."""
        return self._station.isconnected()

    def rssi(self) -> "int | None":
        """Return the strength of the signal in dBm."""
        return self._station.status("rssi") if self._station.isconnected() else None


def wifi(ssid: str, password: str, hostname: str) -> Wifi:
    """Return the station interface."""
    return Wifi(ssid, password, hostname)


def access_point(name: str) -> str:
    """Open a network of our own, without a password, and return our address in it."""
    point = network.WLAN(network.AP_IF)
    point.active(True)
    point.config(ssid=name, security=0)
    return point.ifconfig()[0]


def identity() -> str:
    """Return what tells this board from every other one."""
    return machine.unique_id().hex()


def heap() -> int:
    """Return how many bytes are free."""
    return gc.mem_free()


def set_clock(utc_s: int) -> None:
    """Set the real-time clock, in seconds since 1970; TLS looks at it. A time that can't be is not taken."""
    if not _BUILT_S < utc_s < _LAST_S:
        return
    fields = time.gmtime(utc_s - _EPOCH_S)
    machine.RTC().datetime((fields[0], fields[1], fields[2], fields[6], fields[3], fields[4], fields[5], 0))


def utc_s() -> "int | None":
    """Return the seconds since 1970, or None while the clock was never set."""
    now = time.time() + _EPOCH_S
    return now if now > _BUILT_S else None


_EPOCH_S = 946_684_800 if time.gmtime(0)[0] == 2000 else 0  # ESP32 counts from 2000
_BUILT_S = 1_750_000_000  # no clock that was ever set is before
_LAST_S = 4_000_000_000


def watchdog(limit_ms: int) -> machine.WDT:
    """Start the watchdog; once started it can't be stopped."""
    return machine.WDT(timeout=limit_ms)


def reset() -> None:
    """Start anew."""
    machine.reset()
