"""Set-up without a cable: the board's own Wi-Fi network, with a password; every page is one form."""

import asyncio
import os
import socket

from gauge import flash
from gauge import settings as texts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LIMIT = 2048
OPEN_MS, BUSY_MS = 300_000, 180_000  # it closes again, unless somebody was at it just before
LONGEST_MS = 1_200_000  # but then: a phone that joined by itself asks for pages without end
LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # without those that look like others
FIELDS = (  # name in the form, where it goes, label, type
    ("ssid", ("wifi", "ssid"), "Wi-Fi network", "text"),
    ("wifi_password", ("wifi", "password"), "Wi-Fi password", "password"),
    ("host", ("broker", "host"), "MQTT broker", "text"),
    ("port", ("broker", "port"), "Port", "number"),
    ("user", ("broker", "user"), "User (if any)", "text"),
    ("password", ("broker", "password"), "Password (if any)", "password"),
    ("node", ("", "node"), "Node to show, or all", "text"),
)
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>claude-gauge</title>
<style>body{font:1rem system-ui;max-width:22rem;margin:2rem auto;padding:0 1rem}label{display:block;margin:.8rem 0}
input,button{display:block;width:100%%;box-sizing:border-box;font:inherit;padding:.5rem}</style>
<h1>claude-gauge</h1><p>%s</p><form method="post" action="/" onsubmit="utc.value=Math.floor(Date.now()/1000)">%s
<input type="hidden" name="utc"><button>Save and restart</button></form></html>"""
HEAD = "HTTP/1.0 %s\r\nContent-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n\r\n"


def page(settings: "dict[str, Any]", note: str) -> str:
    """Return the form; what is stored as a password is never shown."""
    rows = []
    for name, path, label, kind in FIELDS:
        value = "" if kind == "password" else escape(str(_at(settings, path)))
        rows.append(f'<label>{label}<input name="{name}" type="{kind}" value="{value}"></label>')
    return PAGE % (escape(note), "".join(rows))


def fill(settings: "dict[str, Any]", body: str) -> str:
    """Put what was entered into the settings and return what is wrong with it, empty where nothing is."""
    given = {}
    for pair in body.split("&"):
        name, _, value = pair.partition("=")
        given[name] = unquote(value)
    for name, path, _label, kind in FIELDS:
        text = given.get(name, "")
        if name in ("host", "port", "node"):
            text = text.strip()  # phones put a blank behind a word
        if kind == "number" and (not text.isdigit() or not 0 < int(text) < 65_536):
            return "The port should be a number from 1 to 65535."
        if kind != "password" or text:  # an empty field keeps what is stored
            (settings[path[0]] if path[0] else settings)[path[1]] = int(text) if kind == "number" else text
    if not settings["broker"]["host"] or not settings["wifi"]["ssid"]:
        return "Wi-Fi network and broker are needed."
    if texts.topics(settings):
        return "The node should be a plain name."
    entered = {"ssid": settings["wifi"]["ssid"], "password": given.get("wifi_password", "")}
    wrong = texts.network(entered, "wifi") + texts.lengths(settings["broker"])
    if wrong:
        return wrong[0].partition(": ")[2] + "."
    if given.get("utc", "").isdigit():
        settings["utc_floor"] = max(settings["utc_floor"], min(int(given["utc"]), _LAST_S))
    return ""


def keep(settings: "dict[str, Any]", before: "dict[str, Any]") -> None:
    """Store the network that was known before the page was filled in, after the one that is new."""
    new = settings["wifi"]["ssid"]
    others = [each for each in [before] + settings["networks"] if each.get("ssid") not in ("", new)]
    settings["networks"] = others[: texts.NETWORKS - 1]


def password(stored: str, known: "Any") -> str:
    """Return the password of our own network: the one on the label, else one that we made up, once."""
    if len(stored) >= 8:
        return stored
    made = str(known.get("portal", ""))
    if len(made) < 8:
        made = "".join([LETTERS[byte % len(LETTERS)] for byte in os.urandom(10)])
        known.keep("portal", made)
    return made


def unquote(text: str) -> str:
    """Undo the encoding of a form."""
    parts = text.replace("+", " ").split("%")
    data = parts[0].encode()
    for part in parts[1:]:
        try:
            data += bytes((int(part[:2], 16),)) + part[2:].encode()
        except ValueError:
            data += b"%" + part.encode()
    try:
        return data.decode()
    except ValueError:
        return ""


def escape(text: str) -> str:
    """Make a text safe within HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")


def dns_answer(query: bytes, address: str) -> "bytes | None":
    """Answer any question for a name with our own address; None for what is no question."""
    end = 12
    while end < len(query) and query[end]:
        end += query[end] + 1
    end += 5
    if len(query) < 17 or end > len(query) or query[2] & 0x80 or query[4:6] != b"\x00\x01":
        return None
    head = query[:2] + b"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00"
    answer = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04"
    return head + query[12:end] + answer + bytes([int(part) for part in address.split(".")])


_LAST_S = 4_000_000_000  # a phone's clock beyond this is wrong


def _at(settings: "dict[str, Any]", path: tuple) -> "Any":
    return (settings[path[0]] if path[0] else settings)[path[1]]


class Portal:
    """The network, its name server and its one page."""

    def __init__(self, settings: "dict[str, Any]", address: str) -> None:
        self.settings = settings
        self.address = address
        self.saved = False
        self._asked = False

    async def run(self, beat: "Any", *, close: bool) -> None:
        """Serve until something was saved, or for some minutes where it is to close by itself."""
        ports = self.settings["portal"]
        names = asyncio.create_task(self._names(ports["dns"]))
        try:
            server: Any = await asyncio.start_server(self._serve, "0.0.0.0", ports["http"])
            try:
                began_ms = beat()
                end_ms = began_ms + OPEN_MS
                while not self.saved and (beat() < end_ms or not close):
                    if self._asked:
                        self._asked, end_ms = False, min(began_ms + LONGEST_MS, max(end_ms, beat() + BUSY_MS))
                    await asyncio.sleep(0.1)
                await asyncio.sleep(1 if self.saved else 0)  # the answer is still on its way
            finally:
                server.close()
                await server.wait_closed()
        finally:
            names.cancel()

    async def _names(self, port: int) -> None:
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listener.setblocking(False)
        listener.bind(socket.getaddrinfo("0.0.0.0", port)[0][-1])
        try:
            while True:
                try:
                    query, sender = listener.recvfrom(512)
                    answer = dns_answer(query, self.address)
                    if answer:
                        listener.sendto(answer, sender)
                except OSError:
                    await asyncio.sleep(0.05)
        finally:
            listener.close()

    async def _serve(self, reader: "Any", writer: "Any") -> None:
        try:
            answer: Any = await asyncio.wait_for(self._answer(reader), 10)
            writer.write((HEAD % answer[0] + answer[1]).encode())
            await asyncio.wait_for(writer.drain(), 10)
        except (OSError, ValueError, EOFError, MemoryError, asyncio.TimeoutError):
            pass  # a browser that went away
        writer.close()
        try:
            await writer.wait_closed()  # MicroPython closes here, and not before
        except OSError:
            pass

    async def _answer(self, reader: "Any") -> "tuple[str, str]":
        self._asked = True
        request = (await reader.readline()).decode()
        length = total = 0
        while True:
            line = (await reader.readline()).decode().lower()
            total += len(line)
            if total > LIMIT:
                raise ValueError("too many headers")
            if line in ("\r\n", "\n", ""):
                break
            if line.startswith("content-length:"):
                length = int(line.partition(":")[2])
        if not request.startswith("POST "):
            return "200 OK", page(self.settings, "Which network and which broker?")
        if not 0 <= length <= LIMIT:
            return "413 Too Large", ""
        entered = _copy(self.settings)
        wrong = fill(entered, (await reader.readexactly(length)).decode())
        if wrong:
            return "400 Bad Request", page(entered, wrong)
        keep(entered, self.settings["wifi"])
        flash.write("config.json", entered)
        self.settings, self.saved = entered, True
        return (
            "200 OK",
            "<p>Saved. The gauge restarts and joins your network. If it can't, this page is back in a minute.</p>",
        )


def _copy(settings: "dict[str, Any]") -> "dict[str, Any]":
    return {name: dict(value) if isinstance(value, dict) else value for name, value in settings.items()}


async def serve(settings: "dict[str, Any]", board: "Any", known: "Any", beat: "Any", *, close: bool) -> bool:
    """Open our own network and its page; return whether something was saved, which asks for a restart."""
    name = "claude-gauge-" + board.identity()[-4:]
    secret = password(settings["portal"]["password"], known)
    address = board.access_point(name, secret)
    print("portal: join the Wi-Fi network", name, "with the password", secret, "and open http://" + address)
    portal = Portal(settings, address)
    try:
        await portal.run(beat, close=close)
    except OSError as error:
        print("portal:", repr(error))
        await asyncio.sleep(10)
    finally:
        board.close_access_point()
    if portal.saved:
        known.keep("reached", False)
    return portal.saved
