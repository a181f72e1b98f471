"""First start without settings: the set-up page of the real firmware under MicroPython, filled in as a phone does."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlencode

import pytest
from tests.firmware.boards import DARK, board, hurried, linked, micropython
from tests.support.mosquitto import Mosquitto
from tests.support.net import PATIENCE_S, answers, free_port, wait_until

from claude_gauge.apps.device.virtual_board import VirtualBoard
from gauge import portal


@pytest.fixture
def ports() -> dict[str, int]:
    """Ports that need no root."""
    return {"http": free_port(), "dns": free_port()}


def bare(flash: Path, ports: dict[str, int]) -> VirtualBoard:
    """Return a board that knows neither network nor broker."""
    return VirtualBoard(flash, {"id": "ab", "portal": ports, "ntp": "", "sweep": False}, micropython("200wK"))


def request(port: int, method: str, path: str, body: str | None = None) -> tuple[int, str]:
    """Ask the board's page."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    connection.request(method, path, body, {"Content-Type": "application/x-www-form-urlencoded"} if body else {})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def form(broker: Mosquitto, **changes: str) -> str:
    """Fill in the form."""
    fields = {
        "ssid": "Café & Co",
        "wifi_password": "pass+word %",
        "host": "127.0.0.1",
        "port": str(broker.port),
        "user": "",
        "password": "",
        "node": "desk",
    }
    return urlencode({**fields, **changes})


def test_from_the_form_to_the_broker(broker: Mosquitto, tmp_path: Path, ports: dict[str, int]) -> None:
    """A bare board opens its page; filled in, it starts again and connects to the broker."""
    with bare(tmp_path / "flash", ports) as gauge:
        wait_until(lambda: answers(ports["http"]), "the page")
        status, page = request(ports["http"], "GET", "/generate_204")
        assert (status, "<form" in page) == (200, True)
        status, page = request(ports["http"], "POST", "/", form(broker))
        assert (status, "Saved" in page) == (200, True)
        linked(gauge)
        assert gauge.starts == 2

    config = json.loads((tmp_path / "flash" / "config.json").read_text())
    assert config["wifi"] == {"ssid": "Café & Co", "password": "pass+word %"}
    assert config["id"] == "ab"


def test_typo_opens_the_page_again(broker: Mosquitto, tmp_path: Path, ports: dict[str, int]) -> None:
    """A password with a typing error locks nobody out: the log says why, and the page comes back."""
    reported = {
        "id": "ab",
        "portal": ports,
        "ntp": "",
        "sweep": False,
        "virtual": {"wifi_known": {"home": "right one"}},
    }
    flash = hurried(tmp_path / "flash", "wifi", TRY_MS=2_000, NEVER_MS=3_500)
    with VirtualBoard(flash, reported, micropython()) as gauge:
        wait_until(lambda: answers(ports["http"]), "the page")
        assert request(ports["http"], "POST", "/", form(broker, ssid="home", wifi_password="typo"))[0] == 200
        assert gauge.wait(lambda: sum(line.startswith("portal:") for line in gauge.log) == 2), gauge.log
        assert any("home - wrong password (202)" in line for line in gauge.log)
        wait_until(lambda: answers(ports["http"]), "the page again")
        assert gauge.wait(lambda: gauge.lamps[2] != DARK or gauge.lamps[3] != DARK)
        assert request(ports["http"], "POST", "/", form(broker, ssid="home", wifi_password="right one"))[0] == 200
        linked(gauge)
        assert (gauge.starts, gauge.faults) == (3, [])


def test_wrong_broker_opens_the_page_again(tmp_path: Path, ports: dict[str, int]) -> None:
    """A broker that was never reached since set-up may be a typing error: the page comes back, without a restart."""
    flash = hurried(tmp_path / "flash", "link", HELP_MS=3_000)
    reported = {"wifi": {"ssid": "home", "password": ""}, "broker": {"host": "127.0.0.1", "port": free_port()}}
    board = VirtualBoard(flash, {**reported, "portal": ports, "ntp": "", "sweep": False}, micropython())
    with board as gauge:
        assert gauge.wait(lambda: any(line.startswith("portal:") for line in gauge.log)), gauge.log
        assert gauge.starts == 1


def test_second_network(broker: Mosquitto, tmp_path: Path) -> None:
    """Of several networks the board takes the one that is there."""
    virtual = {"wifi_known": {"office": "two"}}
    networks = [{"ssid": "office", "password": "two"}]
    with (
        board(tmp_path / "flash", broker.port, wifi={"ssid": "home"}, networks=networks, virtual=virtual) as gauge,
    ):
        linked(gauge)

        assert any(line.startswith("wifi: joined office") for line in gauge.log)


def test_own_network_is_closed(tmp_path: Path, ports: dict[str, int]) -> None:
    """The set-up network asks for the password that the log and the label have."""
    own = {"portal": {**ports, "password": "labelled99"}}
    with VirtualBoard(tmp_path / "flash", own, micropython()) as gauge:
        assert gauge.wait(lambda: any("with the password labelled99" in line for line in gauge.log)), gauge.log
        wait_until(lambda: answers(ports["http"]), "the page")

        assert gauge.faults == []


def test_wrong_form_is_shown_again(broker: Mosquitto, tmp_path: Path, ports: dict[str, int]) -> None:
    """A form that can't be right comes back with the reason, and nothing is saved."""
    with bare(tmp_path / "flash", ports) as gauge:
        wait_until(lambda: answers(ports["http"]), "the page")
        status, page = request(ports["http"], "POST", "/", form(broker, port="x"))
        assert (status, "The port should be" in page) == (400, True)

        assert gauge.starts == 1
        assert "broker" not in json.loads((tmp_path / "flash" / "config.json").read_text())


def test_rude_clients(tmp_path: Path, ports: dict[str, int]) -> None:
    """Clients that send garbage, too much, or nothing at all do not keep others from the page."""
    with bare(tmp_path / "flash", ports):
        wait_until(lambda: answers(ports["http"]), "the page")
        silent = socket.create_connection(("127.0.0.1", ports["http"]))
        for data in (b"\xff\xfe\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 2000, b"POST / HTTP/1.1\r\n"):
            with socket.create_connection(("127.0.0.1", ports["http"])) as rude:
                rude.sendall(data)
        with suppress(ConnectionResetError):  # it may hang up before all has come
            assert request(ports["http"], "POST", "/", "x" * 5000)[0] == 413
        assert request(ports["http"], "GET", "/")[0] == 200
        silent.close()


def test_every_name_leads_to_the_page(tmp_path: Path, ports: dict[str, int]) -> None:
    """The board answers every question for a name with its own address: a phone then opens the page by itself."""
    query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07captive\x05apple\x03com\x00\x00\x01\x00\x01"
    with bare(tmp_path / "flash", ports), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(0.2)

        def ask() -> bytes:
            try:
                asker.sendto(query, ("127.0.0.1", ports["dns"]))
                return asker.recv(512)
            except OSError:
                return b""

        answer = wait_until(ask, "an answer")
        assert answer[:2] == query[:2]
        assert answer[-4:] == b"\x7f\x00\x00\x01"


def test_networks_without_names(broker: Mosquitto, tmp_path: Path) -> None:
    """Entries without a network's name are none: a board that has no network to join does not look for one."""
    with board(tmp_path / "flash", broker.port, networks=[{"ssid": ""}, {}], watchdog_ms=2000) as gauge:
        linked(gauge)

        assert gauge.starts == 1


def test_phone_that_keeps_asking(ports: dict[str, int]) -> None:
    """A phone that joined by itself and probes for the internet can't hold the page open and the home's network off."""
    page, minutes = portal.Portal({"portal": ports}, "192.168.4.1"), 0

    def beat() -> int:
        nonlocal minutes
        minutes += 1
        page._asked = True
        return minutes * 60_000

    asyncio.run(asyncio.wait_for(page.run(beat, close=True), 30))

    assert minutes < 60
