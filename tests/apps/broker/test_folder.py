"""The closed broker: everything that must be refused is tried on a real one."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from tests.support import ROOT
from tests.support.mosquitto import Mosquitto
from tests.support.net import PATIENCE_S, answers, free_port, wait_until
from typer.testing import CliRunner

from claude_gauge.apps.broker import roles
from claude_gauge.apps.broker.check import Inspection
from claude_gauge.apps.broker.folder import BrokerFolder, Register, today
from claude_gauge.apps.broker.roles import Role, User
from claude_gauge.commands.cli import build
from claude_gauge.config import Settings
from claude_gauge.errors import GaugeError
from claude_gauge.mqtt.link import Link

USERS = (
    User(name="desk", role=Role.PUBLISHER),
    User(name="lap", role=Role.PUBLISHER, node="laptop"),
    User(name="fleet", role=Role.FLEET),
    User(name="gauge", role=Role.DEVICE),
    User(name="clock", role=Role.DEVICE, announces=True),
    User(name="bench", role=Role.UPDATER),
    User(name="homeassistant", role=Role.HOMEASSISTANT),
    User(name="viewer", role=Role.VIEWER),
)


class Closed(Mosquitto):
    """Mosquitto as Debian runs it: its own file includes ours, and root is dropped for the user mosquitto."""

    def __init__(self, folder: Path, broker_folder: BrokerFolder) -> None:
        included = folder / "conf.d"
        included.mkdir(parents=True)
        (included / "claude-gauge.conf").symlink_to(broker_folder.broker / "mosquitto.conf")
        super().__init__(folder, f"include_dir {included}", anonymous=False)
        self._conf.write_text(self._conf.read_text().replace("user root", "").replace("allow_anonymous false", ""))

    def start(self) -> Self:
        """Start it, and wait until it minds signals too."""
        super().start()
        wait_until(lambda: " running\n" in self.log.read_text(), "the end of the start")
        return self

    def reload(self) -> None:
        """Have it read passwords and ACL again."""
        before = self.log.read_text().count("Reloading config")
        self.send(signal.SIGHUP)
        wait_until(lambda: self.log.read_text().count("Reloading config") > before, "the reload")


def owner() -> str | None:
    """Name the user that Mosquitto drops root for."""
    return "mosquitto" if os.geteuid() == 0 and any(entry.pw_name == "mosquitto" for entry in pwd.getpwall()) else None


@pytest.fixture
def broker_folder() -> Iterator[BrokerFolder]:
    """A closed broker's folder with a user of every kind, where the user mosquitto can reach it."""
    base = Path(tempfile.mkdtemp(prefix="claude-gauge-house-"))
    base.chmod(0o755)
    made = BrokerFolder(base / "house")
    ports = (free_port(), free_port(), free_port())
    made.make(
        Register(hosts=["localhost", "127.0.0.1"], discovery="homeassistant", owner=owner(), ports=ports), today()
    )
    for user in USERS:
        made.add(user)
    yield made
    shutil.rmtree(base)


@pytest.fixture
def closed(broker_folder: BrokerFolder) -> Iterator[Closed]:
    """That broker, running."""
    with Closed(broker_folder.folder.parent / "running", broker_folder) as running:
        yield running


@pytest.fixture
def visit(broker_folder: BrokerFolder) -> Iterator[Visit]:
    """Connects as a user, over TLS."""
    made = Visit(broker_folder)
    yield made
    for link in made.links:
        link.stop()


class Visit:
    """Makes links of users, and remembers what each received."""

    def __init__(self, broker_folder: BrokerFolder) -> None:
        self.broker_folder = broker_folder
        self.links: list[Link] = []
        self.received: dict[str, list[tuple[str, bytes]]] = {}

    def link(self, name: str | None, kind: int = 1, secret: Path | None = None) -> Link:
        """Connect to the plain (0), TLS (1) or websockets (2) listener."""
        port = self.broker_folder.register().ports[kind]
        user = f"{name}@" if name else ""
        scheme, host, path = [("mqtt", "127.0.0.1", ""), ("mqtts", "localhost", ""), ("wss", "localhost", "/mqtt")][
            kind
        ]
        settings = Settings(
            broker=f"{scheme}://{user}{host}:{port}{path}",
            broker_password_file=(secret or self.broker_folder.password_file(name)) if name else None,
            broker_ca=self.broker_folder.ca,
        )
        link = Link(settings, status=None)
        self.links.append(link)
        received = self.received.setdefault(name or "", [])
        for topic_filter in ("#", "claude-gauge/#", "homeassistant/#"):
            link.listen(topic_filter, lambda message: received.append((message.topic, message.payload)))
        link.start()
        return link

    def inside(self, name: str) -> Link:
        """Connect over TLS and expect to get in."""
        link = self.link(name)
        assert link.wait_connected(PATIENCE_S), link.trouble
        return link

    def passes(self, writer: str, topic: str, reader: str, barrier: tuple[str, str]) -> bool:
        """Return whether what one writes reaches the other; the barrier (writer, topic) surely does, and later."""
        by, sure = self.inside(barrier[0]), barrier[1]
        one, _two = self.inside(writer), self.inside(reader)
        wait_until(lambda: by.send(sure, b"begin", qos=1) and (sure, b"begin") in self.received[reader], "the barrier")
        one.announce(topic, b"tried")
        assert one.flush(PATIENCE_S)
        by.send(sure, b"end", qos=1)
        wait_until(lambda: (sure, b"end") in self.received[reader], "the end")
        return (topic, b"tried") in self.received[reader]


SURE = ("desk", "claude-gauge/desk/usage")
BIRTH = ("homeassistant", "homeassistant/status")


@pytest.mark.parametrize(("writer", "topic", "reader", "barrier"), [
    ("desk", "claude-gauge/laptop/usage", "viewer", SURE),
    ("desk", "claude-gauge/all/usage", "viewer", SURE),
    ("desk", "claude-gauge/device/gauge/status", "viewer", SURE),
    ("desk", "claude-gauge/device/gauge/update", "gauge", SURE),
    ("desk", "homeassistant/status", "homeassistant", SURE),
    ("desk", "homeassistant/device/claude_gauge_laptop/config", "homeassistant", SURE),
    ("desk", "homeassistant/sensor/x/config", "homeassistant", SURE),
    ("lap", "claude-gauge/lap/usage", "viewer", SURE),
    ("fleet", "claude-gauge/desk/usage", "viewer", SURE),
    ("gauge", "claude-gauge/desk/usage", "viewer", SURE),
    ("gauge", "claude-gauge/desk/status", "viewer", SURE),
    ("gauge", "claude-gauge/gauge/usage", "viewer", SURE),
    ("gauge", "claude-gauge/device/clock/status", "viewer", SURE),
    ("gauge", "homeassistant/device/claude_gauge_device_gauge/config", "homeassistant", SURE),
    ("clock", "homeassistant/device/claude_gauge_device_gauge/config", "homeassistant", SURE),
    ("bench", "claude-gauge/desk/usage", "viewer", SURE),
    ("bench", "claude-gauge/device/gauge/status", "viewer", SURE),
    ("homeassistant", "claude-gauge/desk/usage", "viewer", SURE),
    ("homeassistant", "claude-gauge/desk/status", "viewer", SURE),
    ("viewer", "claude-gauge/desk/usage", "homeassistant", SURE),
    ("viewer", "claude-gauge/viewer/usage", "homeassistant", SURE),
    ("viewer", "homeassistant/status", "homeassistant", SURE),
    ("homeassistant", "homeassistant/sensor/x/config", "viewer", SURE),
    ("homeassistant", "homeassistant/sensor/x/config", "gauge", SURE),
    ("homeassistant", "homeassistant/sensor/x/config", "desk", BIRTH),
    ("clock", "claude-gauge/device/clock/status", "gauge", SURE),
    ("desk", "claude-gauge/desk/alert", "gauge", SURE),
])  # fmt: skip
@pytest.mark.usefixtures("closed")
def test_refused(visit: Visit, writer: str, topic: str, reader: str, barrier: tuple[str, str]) -> None:
    """What one may not write, or the other not read, does not arrive."""
    assert not visit.passes(writer, topic, reader, barrier)


@pytest.mark.parametrize(("writer", "topic", "reader"), [
    ("desk", "claude-gauge/desk/usage", "gauge"),
    ("desk", "claude-gauge/desk/alert", "homeassistant"),
    ("desk", "homeassistant/device/claude_gauge_desk/config", "homeassistant"),
    ("lap", "claude-gauge/laptop/status", "viewer"),
    ("fleet", "claude-gauge/all/usage", "gauge"),
    ("fleet", "homeassistant/device/claude_gauge_all/config", "homeassistant"),
    ("gauge", "claude-gauge/device/gauge/status", "homeassistant"),
    ("clock", "homeassistant/device/claude_gauge_device_clock/config", "homeassistant"),
    ("bench", "claude-gauge/device/gauge/update", "gauge"),
])  # fmt: skip
@pytest.mark.usefixtures("closed")
def test_allowed(visit: Visit, writer: str, topic: str, reader: str) -> None:
    """What belongs to a role works."""
    assert visit.passes(writer, topic, reader, SURE)


@pytest.mark.usefixtures("closed")
def test_birth_message_reaches_publishers(visit: Visit) -> None:
    """Home Assistant's birth message is read by those who announce themselves to it."""
    assert visit.passes("homeassistant", "homeassistant/status", "desk", SURE)


@pytest.mark.parametrize("kind", [0, 1, 2], ids=["plain", "tls", "websockets"])
@pytest.mark.usefixtures("closed")
def test_doors(visit: Visit, tmp_path: Path, kind: int) -> None:
    """Each listener lets in who has a password, and nobody else."""
    wrong = tmp_path / "wrong"
    wrong.write_text("guessed")
    link = visit.link("desk", kind)
    strangers = [visit.link(None, kind), visit.link("desk", kind, wrong), visit.link("nobody", kind, wrong)]

    assert link.wait_connected(PATIENCE_S), link.trouble
    for stranger in strangers:
        wait_until(lambda stranger=stranger: "password" in stranger.trouble, "the refusal")  # type: ignore[misc]


def test_listeners(closed: Closed, broker_folder: BrokerFolder) -> None:
    """The listener without TLS is for this machine alone; the others are for all."""
    plain, tls, websockets = broker_folder.register().ports
    wait_until(lambda: answers(websockets), "the last listener")
    text = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, check=True).stdout
    bound = {line.split()[3] for line in text.splitlines()}

    assert answers(closed.port)
    assert f"127.0.0.1:{plain}" in bound
    assert not {f"0.0.0.0:{plain}", f"*:{plain}", f"[::]:{plain}"} & bound
    assert f"0.0.0.0:{tls}" in bound
    assert f"0.0.0.0:{websockets}" in bound


def test_large_message(closed: Closed, visit: Visit) -> None:
    """A message that no reader of ours could hold is not taken, and its writer is reported."""
    desk = visit.inside("desk")
    desk.announce("claude-gauge/desk/usage", bytes(100_000))
    assert desk.flush(PATIENCE_S)
    desk.announce("claude-gauge/desk/alert", b"after")
    assert desk.flush(PATIENCE_S)

    wait_until(lambda: ("claude-gauge/desk/alert", b"after") in visit.received["desk"], "the small message")
    assert all(len(payload) < 100_000 for _, payload in visit.received["desk"])
    assert "oversize" not in closed.log.read_text()


def test_revoked_user_is_thrown_out(closed: Closed, broker_folder: BrokerFolder, visit: Visit) -> None:
    """A revoked user loses its connection at the reload and gets no other; the rest stays."""
    gauge, viewer = visit.inside("gauge"), visit.inside("viewer")
    secret = broker_folder.password_file("gauge").read_text()
    broker_folder.revoke("gauge")
    broker_folder.password_file("gauge").write_text(secret)
    closed.reload()
    wait_until(lambda: "password" in gauge.trouble, "the refusal")

    assert not gauge.connected
    assert viewer.connected


def test_added_user_gets_in(closed: Closed, broker_folder: BrokerFolder, visit: Visit) -> None:
    """A user that is added gets in after the reload."""
    broker_folder.add(User(name="second", role=Role.DEVICE))
    closed.reload()

    assert visit.link("second").wait_connected(PATIENCE_S)


def test_new_password(closed: Closed, broker_folder: BrokerFolder, visit: Visit, tmp_path: Path) -> None:
    """Adding a user again gives it a new password; the old one no longer works."""
    old = tmp_path / "old"
    shutil.copy(broker_folder.password_file("viewer"), old)
    broker_folder.add(User(name="viewer", role=Role.VIEWER))
    closed.reload()
    late = visit.link("viewer", secret=old)
    wait_until(lambda: "password" in late.trouble, "the refusal")

    assert visit.link("viewer").wait_connected(PATIENCE_S)


def findings(broker_folder: BrokerFolder) -> list[tuple[bool, str]]:
    """Run the check."""
    return [(each.ok, each.text) for each in Inspection(broker_folder, "localhost").run(today())]


@pytest.mark.usefixtures("closed")
def test_check_of_a_good_broker(broker_folder: BrokerFolder) -> None:
    """A broker made by us passes, and everything was really tried."""
    results = findings(broker_folder)

    assert [text for ok, text in results if not ok] == []
    assert sum("without a name" in text for _, text in results) == 3
    assert sum("could write none of" in text for _, text in results) == len(USERS)
    assert any("is refused" in text for _, text in results)


@pytest.mark.parametrize(("file", "old", "new", "reported"), [
    ("mosquitto.conf", "allow_anonymous false", "allow_anonymous true", "without a name let in"),
    ("mosquitto.conf", "acl_file", "# acl_file", "viewer (viewer) could write"),
    ("mosquitto.conf", "max_packet_size 65536", "", "bytes is taken"),
    ("acl", "user viewer\n", "user viewer\ntopic write homeassistant/#\n", "viewer (viewer) could write"),
    ("acl", "user gauge\n", "user gauge\ntopic readwrite claude-gauge/#\n", "gauge (device) could write"),
    ("acl", "user gauge\n", "user gauge\ntopic read #\n", "gauge (device) was given"),
    ("acl", "user homeassistant\ntopic read claude-gauge/#\n", "user homeassistant\n", "homeassistant) was not given"),
])  # fmt: skip
def test_check_finds_what_is_open(broker_folder: BrokerFolder, file: str, old: str, new: str, reported: str) -> None:
    """A broker that was opened somewhere fails the check, which says where."""
    path = broker_folder.broker / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with Closed(broker_folder.folder.parent / "running", broker_folder):
        failures = [text for ok, text in findings(broker_folder) if not ok]

    assert any(reported in text for text in failures), failures


def test_check_finds_narrow_gaps(broker_folder: BrokerFolder) -> None:
    """Also a line that opens one kind of topic alone is found: another platform's discovery, alerts, boards' words."""
    wrong = {
        "desk": ["topic write homeassistant/sensor/#"],
        "viewer": ["topic write homeassistant/status", "topic write claude-gauge/+/alert"],
        "gauge": ["topic write claude-gauge/device/+/diagnostics", "pattern write claude-gauge/%u/#"],
    }
    path = broker_folder.broker / "acl"
    text = path.read_text()
    for user, lines in wrong.items():
        text = text.replace(f"user {user}\n", "\n".join([f"user {user}", *lines, ""]))
    path.write_text(text)
    with Closed(broker_folder.folder.parent / "running", broker_folder):
        failures = [text for ok, text in findings(broker_folder) if not ok]
    written = {text.partition(" ")[0]: text for text in failures if "could write" in text}

    assert "homeassistant/sensor/" in written["desk"]
    assert "homeassistant/status" in written["viewer"]
    assert "/alert" in written["viewer"]
    assert "claude-gauge/viewer/" in written["viewer"]
    assert "/diagnostics" in written["gauge"]


def test_check_without_a_broker(broker_folder: BrokerFolder) -> None:
    """Of a broker that does not run each port is named, with what to do, and not its users' passwords."""
    failures = [text for ok, text in findings(broker_folder) if not ok]

    assert failures[0].startswith(
        f"localhost:{broker_folder.register().ports[1]} (TLS): nothing listens there; start the broker"
    )
    assert not any("password" in text for text in failures)


def test_check_after_add_without_reload(closed: Closed, broker_folder: BrokerFolder) -> None:
    """A user that the broker does not know yet fails the check, with what to do; one without a password is named."""
    broker_folder.password_file("clock").unlink()
    results = findings(broker_folder)
    broker_folder.add(User(name="second", role=Role.VIEWER))
    later = findings(broker_folder)

    assert (True, "not tried, their passwords are no longer here: clock") in results
    assert any(not ok and "second; has the broker read its files again?" in text for ok, text in later)
    assert answers(closed.port)


def test_new_certificate(broker_folder: BrokerFolder, visit: Visit) -> None:
    """A certificate for other hosts is signed by the same CA: clients go on, under the new name only."""
    broker_folder.certify(["localhost"], today())
    with Closed(broker_folder.folder.parent / "running", broker_folder):
        assert visit.link("desk").wait_connected(PATIENCE_S)
        port = broker_folder.register().ports[1]
        elsewhere = Settings(
            broker=f"mqtts://desk@127.0.0.1:{port}",
            broker_ca=broker_folder.ca,
            broker_password_file=broker_folder.password_file("desk"),
        )
        link = Link(elsewhere, status=None)
        visit.links.append(link)
        link.start()
        wait_until(lambda: "not accepted" in link.trouble, "the wrong name to be reported")


def mode(path: Path) -> str:
    """A file's permission bits."""
    return oct(path.stat().st_mode & 0o777)


def test_secrets_are_for_their_owner(broker_folder: BrokerFolder) -> None:
    """Nobody else on the machine reads a password or a key; as root the broker's group may read its part."""
    for path in (
        *(broker_folder.folder / "clients").iterdir(),
        broker_folder.folder / "ca.key",
        broker_folder.folder / "house.json",
    ):
        assert mode(path) == "0o600", path
    as_root = owner() is not None
    for path in broker_folder.broker.iterdir():
        assert (mode(path), path.stat().st_uid) == ("0o640" if as_root else "0o600", os.geteuid()), path
    assert (mode(broker_folder.broker), broker_folder.broker.stat().st_uid) == (
        "0o750" if as_root else "0o700",
        os.geteuid(),
    )
    assert mode(broker_folder.folder / "clients") == "0o700"


def test_passwords_are_shown_nowhere(tmp_path: Path) -> None:
    """No command prints a password, and the broker's own file holds none in clear."""
    folder, run = tmp_path / "own", CliRunner().invoke
    said = [
        run(
            build(), ["broker", "init", "--folder", str(folder), "--host", "here.example", "--owner", f"{os.getuid()}"]
        ),
        run(build(), ["broker", "add", "shelf", "--role", "device", "--folder", str(folder)]),
        run(build(), ["broker", "users", "--folder", str(folder)]),
        run(build(), ["broker", "certificate", "--folder", str(folder), "--host", "other.example"]),
        run(build(), ["broker", "revoke", "viewer", "--folder", str(folder)]),
    ]
    everything = "".join(result.output for result in said) + "".join(
        path.read_text() for path in folder.rglob("*") if path.is_file() and path.suffix != ".password"
    )
    passwords = [path.read_text().strip() for path in (folder / "clients").iterdir()]

    assert [result.exit_code for result in said] == [0] * 5
    assert len(passwords) == 4
    assert all(len(password) >= 32 and password not in everything for password in passwords)
    assert "mqtts://" in said[0].output
    assert "here.example" in said[0].output


def test_second_init_is_refused(broker_folder: BrokerFolder) -> None:
    """A folder that holds a broker is left alone."""
    before = broker_folder.password_file("desk").read_text()
    with pytest.raises(GaugeError, match="holds a broker already"):
        broker_folder.make(broker_folder.register(), today())

    assert broker_folder.password_file("desk").read_text() == before


def test_two_writers_of_a_node(broker_folder: BrokerFolder) -> None:
    """A second user for the same node is refused: two publishers would fight over its topics."""
    with pytest.raises(GaugeError, match="another user writes claude-gauge/desk already"):
        broker_folder.add(User(name="other", role=Role.PUBLISHER, node="desk"))


@pytest.mark.parametrize("name", ["a b", "a\nuser b", "+", "#", "a/b", "", "a:b", "x" * 41])
def test_names_that_could_widen_the_acl(tmp_path: Path, name: str) -> None:
    """A name that would mean something else in the broker's files is refused."""
    folder = tmp_path / "own"
    CliRunner().invoke(build(), ["broker", "init", "--folder", str(folder), "--owner", f"{os.getuid()}"])
    result = CliRunner().invoke(build(), ["broker", "add", name, "--role", "viewer", "--folder", str(folder)])

    assert isinstance(result.exception, GaugeError)
    assert "letters, digits" in str(result.exception)


def test_missing_folder(tmp_path: Path) -> None:
    """Without a broker's folder each command says how to make one."""
    for command in (["users"], ["check"], ["revoke", "x"], ["add", "x", "--role", "viewer"], ["certificate"]):
        result = CliRunner().invoke(build(), ["broker", *command, "--folder", str(tmp_path)])

        assert "broker init" in str(result.exception)


def test_check_as_json(closed: Closed, broker_folder: BrokerFolder) -> None:
    """`broker check --json` is the same, for programs."""
    assert answers(closed.port)
    result = CliRunner().invoke(build(), ["broker", "check", "--json", "--folder", str(broker_folder.folder)])

    assert result.exit_code == 0, result.output
    assert all(finding["ok"] for finding in json.loads(result.stdout))


def test_shipped_configuration() -> None:
    """The file that compose.yaml mounts is the one that the package writes."""
    path = ROOT / "broker/mosquitto.conf"
    if path.read_text() != roles.container():
        path.write_text(roles.container())
        pytest.fail("broker/mosquitto.conf was out of date: rewritten, commit it")


def test_shipped_configuration_runs(broker_folder: BrokerFolder) -> None:
    """The container's file starts a real broker that passes the check."""
    ports = broker_folder.register().ports
    text = roles.container().replace(roles.PLACE_IN_CONTAINER, str(broker_folder.broker))
    text = text.replace("/mosquitto/data/", f"{broker_folder.folder}/data/")
    for usual, own in zip(roles.PORTS, ports, strict=True):
        text = text.replace(f"listener {usual}\n", f"listener {own}\n")
    (broker_folder.broker / "mosquitto.conf").write_text(text)
    with Closed(broker_folder.folder.parent / "running", broker_folder):
        assert [text for ok, text in findings(broker_folder) if not ok] == []


@pytest.mark.parametrize("content", [
    "{",
    '{"hosts": [], "discovery": "homeassistant"}',
    '{"hosts": ["h"], "discovery": "homeassistant", "users": {"a": {"name": "b", "role": "viewer"}}}',
])  # fmt: skip
def test_damaged_register(broker_folder: BrokerFolder, content: str) -> None:
    """A register that is no register is called damaged, with its path, in words and not by an error's class."""
    (broker_folder.folder / "house.json").write_text(content)

    with pytest.raises(GaugeError, match=r"house\.json: it is damaged; run as its owner, or correct it"):
        broker_folder.register()
