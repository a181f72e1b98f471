"""A board on a USB cable: `mpremote` runs code on it and copies files, `esptool` writes MicroPython."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from claude_gauge.apps.device.build import EXTRA
from claude_gauge.errors import GaugeError

PATIENCE_S = 30  # mpremote itself gives up after ten; a busy computer takes some to start it
COPY_S = 300
RESET_S = 0.3  # mpremote ends 0.1 s before the board resets: what is sent at once would interrupt that
BAUD = 115_200
# Run on the board. Nothing is imported that a stock MicroPython lacks.
ASK = """
import sys, json
def attempt(act):
    try:
        return act()
    except Exception:
        return None
def read(path):
    with open(path) as file:
        return file.read()
def pins():
    from machine import Pin
    return [number for number in range(49) if attempt(lambda: Pin(number)) is not None]
def flash():
    import esp
    return esp.flash_size()
def psram():
    import esp32
    return any(region[0] > 1000000 for region in esp32.idf_heap_info(esp32.HEAP_DATA))
def identity():
    import machine
    return machine.unique_id().hex()
answer = sys.implementation
print("@@" + json.dumps({
    "name": answer[0], "version": list(answer[1])[:3], "bytecode": getattr(answer, "_mpy", 0) & 0xFF,
    "machine": getattr(answer, "_machine", ""), "platform": sys.platform,
    "pins": attempt(pins) or [], "flash": attempt(flash) or 0, "psram": bool(attempt(psram)),
    "identity": attempt(identity) or "", "config": attempt(lambda: read("config.json")) or "{}",
    "state": attempt(lambda: read("ota.json")) or "{}"}))
"""
# Addresses that the board stored belong to its old settings.
FORGET = """
try:
    import os
    os.remove("known.json")
except OSError:
    pass
"""
CLEAR = """
import os
def clear(folder):
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        path = folder + "/" + name
        try:
            os.remove(path)
        except OSError:
            clear(path)
    os.rmdir(folder)
for folder in ("gauge", "slot-a", "slot-b"):
    clear(folder)
"""


@dataclass(frozen=True)
class About:
    """What a board reports: `machine` is MicroPython's name for it, `pins` are its GPIO numbers, `flash` is in bytes.

    `text` is its config.json, `serial` the number of the newest update that it took.
    """

    version: tuple[int, ...]
    bytecode: int = 0
    platform: str = "esp32"
    machine: str = ""
    pins: tuple[int, ...] = ()
    flash: int = 0
    psram: bool = False
    identity: str = ""
    text: str = "{}"
    serial: int = 0

    @property
    def config(self) -> Mapping[str, Any]:
        """Its config.json; raises GaugeError if it is no JSON object."""
        try:
            config = json.loads(self.text)
        except ValueError:
            config = None
        if isinstance(config, dict):
            return config
        raise GaugeError(
            "config.json on the board is no JSON object; correct it with `claude-gauge firmware config --edit`, "
            "or replace it with `claude-gauge firmware install --fresh`"
        )


class SerialBoard:
    """A board on a serial port. Every method raises GaugeError, naming the port, when the board does not do it."""

    def __init__(self, port: str | None) -> None:
        need("mpremote")
        self.port = port or only_port()

    def about(self) -> About:
        """Ask what the board is; raises GaugeError where no MicroPython answers."""
        said = self._mpremote("exec", ASK)
        line = next((line for line in said.splitlines() if line.startswith("@@")), "@@[]")
        try:
            answer = dict(json.loads(line[2:]))
            name, text, state = answer.pop("name"), answer.pop("config"), answer.pop("state")
            about = About(**{**answer, "version": tuple(answer["version"]), "pins": tuple(answer["pins"])})
        except (ValueError, TypeError, KeyError):
            raise GaugeError(f"port {self.port}: the board's answer is not understood: {said.strip()[:80]!r}") from None
        if name != "micropython":
            raise GaugeError(f"port {self.port}: {name} answers, not MicroPython")
        return replace(about, text=text, serial=_serial(state))

    def execute(self, code: str) -> str:
        """Run code on the board and return what it printed."""
        return self._mpremote("exec", code)

    def copy(self, folder: Path) -> None:
        """Copy all that is in a folder to the board's root."""
        names = sorted(str(path) for path in folder.iterdir())
        self._mpremote("fs", "cp", "-r", *names, ":", patience_s=COPY_S)

    def reset(self) -> None:
        """Start the board again."""
        self._mpremote("reset")
        time.sleep(RESET_S)

    def follow(self, code: str) -> Iterator[str]:
        """Run code on the board and yield its lines as they come."""
        command = [*self._command(), "exec", code]
        with subprocess.Popen(  # noqa: S603 - our own program
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process:
            for line in process.stdout or ():
                yield line.rstrip()
        if process.returncode:
            raise GaugeError(f"port {self.port}: the board broke off; its output stands above")

    def listen(self) -> Iterator[str]:
        """Yield the lines that the running firmware prints, until the caller stops."""
        import serial  # type: ignore[import-untyped]  # noqa: PLC0415 - comes with mpremote

        try:
            with serial.Serial(self.port, BAUD, timeout=1) as wire:
                while True:
                    line = wire.readline()
                    if line:
                        yield line.decode("utf-8", "replace").rstrip()
        except serial.SerialException as error:
            raise GaugeError(
                f"port {self.port}: {error}; check the cable, and that no other program uses the port"
            ) from None

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "mpremote", "connect", self.port]

    def _mpremote(self, *arguments: str, patience_s: float = PATIENCE_S) -> str:
        try:
            done = subprocess.run(  # noqa: S603 - our own program
                [*self._command(), *arguments], capture_output=True, text=True, timeout=patience_s, check=False
            )
        except subprocess.TimeoutExpired:
            raise GaugeError(f"port {self.port}: {_blank(self.port)}") from None
        if done.returncode == 0:
            return done.stdout
        said = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["no reason given"]
        if "raw repl" in said[-1].lower():
            raise GaugeError(f"port {self.port}: {_blank(self.port)}")
        why = re.sub(r"^(mpremote: |\w*Error: (\[Errno \d+\] )?)", "", said[-1])
        raise GaugeError(f"port {self.port}: {why}; check the cable, and that no other program uses the port")


def _serial(text: str) -> int:
    """Read the number of the newest update out of the board's ota.json; 0 where there is none."""
    try:
        serial = json.loads(text).get("serial", 0)
    except (ValueError, AttributeError):
        return 0
    return serial if isinstance(serial, int) else 0


def only_port() -> str:
    """Return the one USB serial port there is; raises GaugeError naming all where there are none or several."""
    need("serial")
    from serial.tools import list_ports  # type: ignore[import-untyped]  # noqa: PLC0415 - comes with mpremote

    ports = sorted(port.device for port in list_ports.comports() if port.vid is not None)
    if len(ports) == 1:
        return str(ports[0])
    raise GaugeError(f"name the board's port with --port; USB serial ports here: {', '.join(ports) or 'none'}")


_PACKAGES = {"serial": "pyserial"}  # where a module is not named as its package
CHIPS = {  # by chip: name of the download, and where it goes
    "ESP32": ("ESP32_GENERIC", "0x1000"),
    "ESP32-S2": ("ESP32_GENERIC_S2", "0x1000"),
    "ESP32-S3": ("ESP32_GENERIC_S3", "0"),
    "ESP32-C3": ("ESP32_GENERIC_C3", "0"),
    "ESP32-C6": ("ESP32_GENERIC_C6", "0"),
}


def _blank(port: str) -> str:
    kind = chip(port)
    _, offset = CHIPS.get(kind, CHIPS["ESP32"])
    return (
        f"no MicroPython answers; {download(kind)} and run `claude-gauge firmware flash FILE.bin --port {port}` "
        f"(that is esptool's erase-flash, then write-flash {offset})"
    )


def download(kind: str) -> str:
    """Return where the image for a chip is; for an unknown one that of the classic ESP32."""
    name, _ = CHIPS.get(kind, CHIPS["ESP32"])
    return f"download {name} from https://micropython.org/download/{name}/"


def flash(port: str, image: Path, say: Callable[[str], None]) -> None:
    """Erase a board and write an image of MicroPython onto it; raises GaugeError where esptool fails."""
    need("esptool")
    if not image.exists():
        raise GaugeError(f"{image}: no such file; {download(kind) if (kind := chip(port)) else 'check the path'}")
    kind = chip(port)
    if not kind:
        raise GaugeError(
            f"port {port}: no boot loader answers; hold the board's BOOT button down, press RESET once, and try again"
        )
    name, offset = CHIPS[kind]
    if not image.is_file():
        raise GaugeError(f"{image} is no file; {download(kind)}")
    if name.removeprefix("ESP32_GENERIC") and name not in image.name.upper().replace("-", "_"):
        say(f"careful: {image.name} does not look like an image of {name}")
    say(f"{kind} on {port}: erasing, then writing {image.name} to {offset}; this takes about a minute")
    for arguments in (["erase-flash"], ["write-flash", offset, str(image)]):
        done = subprocess.run([*_esptool(port), *arguments], capture_output=True, text=True, check=False)  # noqa: S603 - ours
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["no reason given"]
            raise GaugeError(f"port {port}: esptool {arguments[0]}: {said[-1]}")
    say("MicroPython is on the board; now: claude-gauge firmware install")


def chip(port: str) -> str:
    """Return which chip is on a port, asked through its boot loader; empty where none answers."""
    command = [*_esptool(port), "--connect-attempts", "2", "chip-id"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=15, check=False)  # noqa: S603 - ours
    except subprocess.TimeoutExpired:
        return ""
    line = next((line for line in done.stdout.splitlines() if line.lower().startswith("chip type")), "")
    return next((kind for kind in sorted(CHIPS, key=len, reverse=True) if kind in line), "")


def _esptool(port: str) -> list[str]:
    return [sys.executable, "-m", "esptool", "--port", port]  # by the package: pipx leaves its program off the PATH


def need(module: str) -> None:
    """Raise GaugeError, naming the extra to install, where a program of the extra `firmware` is missing."""
    from importlib.util import find_spec  # noqa: PLC0415 - of use here alone

    if find_spec(module) is None:
        raise GaugeError(f"{_PACKAGES.get(module, module)} is missing; install the extra: {EXTRA}")
