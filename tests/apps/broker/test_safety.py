"""What root makes for the broker can't be used against root, nothing is half made, and names are what they mean."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub
from tests.support.publisher import call, environment
from tests.support.transcripts import ClaudeHome

from claude_gauge.apps.broker.certificates import ascii_host
from claude_gauge.apps.broker.check import may
from claude_gauge.apps.broker.collisions import collisions
from claude_gauge.apps.broker.files import Directory, ids_of, refuse_foreign
from claude_gauge.apps.broker.folder import BrokerFolder, Register, today
from claude_gauge.apps.broker.instructions import client_setup, next_steps
from claude_gauge.apps.broker.roles import Role, User, rules
from claude_gauge.config import Settings, default_node
from claude_gauge.errors import GaugeError
from claude_gauge.mqtt.endpoint import parse

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="shows what root is kept from")
SOMEBODY = 1883
STRANGER = 1500


def register(owner: str | None = None, *hosts: str) -> Register:
    """Return a new broker's register."""
    return Register(hosts=list(hosts) or ["localhost"], discovery="homeassistant", owner=owner)


@pytest.fixture
def broker_folder(tmp_path: Path) -> BrokerFolder:
    """A broker's folder, for a broker that runs as somebody else where we are root."""
    made = BrokerFolder(tmp_path / "house")
    made.make(register(f"{SOMEBODY}:{SOMEBODY}" if os.geteuid() == 0 else None), today())
    return made


@as_root
def test_broker_reads_and_never_writes(broker_folder: BrokerFolder) -> None:
    """The broker's user owns nothing but its store: it can neither change its configuration nor put a link there."""
    for path in (broker_folder.folder, broker_folder.broker, *broker_folder.broker.iterdir()):
        info = path.lstat()

        assert info.st_uid == 0, path
        assert info.st_gid == SOMEBODY, path
        assert not info.st_mode & 0o022, path
    assert (broker_folder.folder / "data").stat().st_uid == SOMEBODY


@as_root
@pytest.mark.parametrize("planted", ["passwords", "acl", "broker.key", "mosquitto.conf"])
@pytest.mark.parametrize("how", ["symlink", "hard link", "folder", "pipe"])
def test_planted_in_an_old_folder(broker_folder: BrokerFolder, tmp_path: Path, planted: str, how: str) -> None:
    """In a folder that an earlier version gave to the broker's user, nothing that it planted is read or given away."""
    secret = tmp_path / "root-only"
    secret.write_text("root's secret\n")
    secret.chmod(0o600)
    for path in (broker_folder.broker, *broker_folder.broker.iterdir()):
        os.chown(path, SOMEBODY, SOMEBODY)
    (broker_folder.broker / planted).unlink()
    match how:
        case "symlink":
            (broker_folder.broker / planted).symlink_to(secret)
        case "hard link":
            (broker_folder.broker / planted).hardlink_to(secret)
        case "folder":
            (broker_folder.broker / planted).mkdir()
        case _:
            os.mkfifo(broker_folder.broker / planted)

    with pytest.raises(GaugeError, match="cannot use"):
        broker_folder.add(User(name="shelf", role=Role.DEVICE))
    assert (secret.stat().st_uid, secret.stat().st_mode & 0o777, secret.read_text()) == (0, 0o600, "root's secret\n")
    assert all(
        "secret" not in path.read_text()
        for path in broker_folder.broker.iterdir()
        if path.is_file() and path.lstat().st_nlink == 1 and not path.is_symlink()
    )


@as_root
def test_old_folder_is_taken_back(broker_folder: BrokerFolder) -> None:
    """A folder that an earlier version gave to the broker's user becomes root's with the next change."""
    before = (broker_folder.broker / "broker.key").read_bytes()
    for path in (broker_folder.broker, *broker_folder.broker.iterdir()):
        os.chown(path, SOMEBODY, SOMEBODY)
        path.chmod(0o700 if path.is_dir() else 0o600)
    broker_folder.add(User(name="shelf", role=Role.DEVICE))

    test_broker_reads_and_never_writes(broker_folder)
    assert (broker_folder.broker / "broker.key").read_bytes() == before


@as_root
@pytest.mark.parametrize("what", ["folder", "parent", "writable parent", "link"])
def test_root_uses_no_foreign_folder(tmp_path: Path, what: str) -> None:
    """As root, a folder that another user owns, could replace or leads elsewhere is refused before anything is made."""
    parent = tmp_path / "parent"
    folder = parent / "house"
    folder.mkdir(parents=True)
    match what:
        case "folder":
            os.chown(folder, STRANGER, STRANGER)
        case "parent":
            os.chown(parent, STRANGER, STRANGER)
        case "writable parent":
            parent.chmod(0o777)
        case _:
            folder.rmdir()
            (tmp_path / "elsewhere").mkdir()
            folder.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(GaugeError, match=r"belongs to|can be written by others|is a link"):
        BrokerFolder(folder).make(register(), today())
    assert sorted(tmp_path.rglob("*.conf")) == []
    with pytest.raises(GaugeError):
        refuse_foreign(folder)


def _add(folder: Path, number: int) -> None:
    BrokerFolder(folder).add(User(name=f"user{number}", role=Role.VIEWER))


def test_adds_at_once_all_stick(broker_folder: BrokerFolder) -> None:
    """Eight processes that add a user each leave eight users, in all three files."""
    processes = [multiprocessing.Process(target=_add, args=(broker_folder.folder, number)) for number in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    names = {f"user{number}" for number in range(8)}

    assert [process.exitcode for process in processes] == [0] * 8
    assert set(broker_folder.register().users) == names
    assert {line.partition(":")[0] for line in (broker_folder.broker / "passwords").read_text().splitlines()} == names
    assert all(f"user {name}\n" in (broker_folder.broker / "acl").read_text() for name in names)


class Killed(BaseException):
    """Ends a writer between two steps, as SIGKILL does."""


@pytest.mark.parametrize("step", range(8))
@pytest.mark.parametrize("done", ["before", "after"])
def test_killed_while_adding(
    broker_folder: BrokerFolder, monkeypatch: pytest.MonkeyPatch, step: int, done: str
) -> None:
    """An `add` that is killed lets nobody in who is not listed, and the next command clears what it left."""
    rename, steps = os.rename, iter(range(99))

    def killed(old: str, new: str, **folders: int) -> None:
        if next(steps) >= step:
            if done == "after":
                rename(old, new, **folders)
            raise Killed
        rename(old, new, **folders)

    with monkeypatch.context() as during:
        during.setattr(os, "rename", killed)
        during.setattr(Directory, "remove", lambda *_: None)  # a killed process clears up nothing
        with pytest.raises(Killed) if step < 5 else contextlib.nullcontext():
            broker_folder.add(User(name="shelf", role=Role.DEVICE))
    listed = "shelf" in broker_folder.register().users
    let_in = "shelf:" in (broker_folder.broker / "passwords").read_text()
    broker_folder.add(User(name="other", role=Role.VIEWER))

    assert listed or not let_in
    assert list(broker_folder.folder.rglob(".*.new")) == []
    assert {line.partition(":")[0] for line in (broker_folder.broker / "passwords").read_text().splitlines()} <= set(
        broker_folder.register().users
    )


def test_killed_init(tmp_path: Path) -> None:
    """What an `init` that was killed left beside the folder, keys and passwords, is gone after the next one."""
    broker_folder = BrokerFolder(tmp_path / "own")
    BrokerFolder(tmp_path / ".own.0123abcd.new").fill(register(), today(), (), broker_folder.broker)
    (tmp_path / ".own.notes").mkdir()
    broker_folder.make(register(), today())

    assert {path.name for path in tmp_path.glob("*own*")} == {".own.notes", "own"}


@pytest.mark.parametrize("folder", ["circle", "/"])
def test_folder_that_cannot_be(env: dict[str, str], tmp_path: Path, folder: str) -> None:
    """A link that leads to itself, and the root folder, are reported in a line."""
    (tmp_path / "circle").symlink_to("circle")
    done = call("broker", "init", "--folder", str(tmp_path / folder), env=env)

    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr


@pytest.mark.parametrize("owner", ["4294967295", "1:99999999999999999999", "²", "nobody at all"])
def test_owner_that_cannot_be(owner: str) -> None:
    """A user or group that no system has is reported."""
    with pytest.raises(GaugeError, match="no such user"):
        ids_of(owner)


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Give a bare machine."""
    return environment(ClaudeHome(tmp_path / "claude"), tmp_path)


IMPOSSIBLE = ["a b", "x" * 64 + ".local", "..", "fe80::1%eth0", "-x", "", "münchen" * 10, "192.168.1.300", "0", "[a]"]


@pytest.mark.parametrize("host", IMPOSSIBLE)
def test_impossible_host_leaves_nothing(tmp_path: Path, env: dict[str, str], host: str) -> None:
    """A host that can't be is reported in a line, and the next `init` finds nothing in its way."""
    folder = str(tmp_path / "own")
    first = call("broker", "init", "--folder", folder, "--host", host, env=env)
    again = call("broker", "init", "--folder", folder, "--host", "here.local", env=env)

    assert (first.returncode, len(first.stderr.splitlines())) == (1, 1), first.stderr
    assert again.returncode == 0, again.stderr
    assert [path.name for path in tmp_path.glob(".own*")] == []


@pytest.mark.parametrize(("host", "written"), [
    ("wohnzimmer-büro.local", "wohnzimmer-büro.local".encode("idna").decode()),
    ("fd00::1", "[fd00::1]"),
    ("h" * 60, "h" * 60),
    ("[fd00::1]", "[fd00::1]"),
    ("192.0.2.7", "192.0.2.7"),
    ("\uff11\uff19\uff12.0.2.7", "192.0.2.7"),
    ("Broker.Example.", "broker.example"),
])  # fmt: skip
def test_printed_url_is_taken(tmp_path: Path, env: dict[str, str], host: str, written: str) -> None:
    """The URL that `init` prints is one that our settings take and that leads to the host."""
    done = call("broker", "init", "--folder", str(tmp_path / "own"), "--host", host, "--node", "desk", env=env)
    url = next(line.partition("=")[2] for line in done.stdout.splitlines() if "CLAUDE_GAUGE_BROKER=" in line)

    assert url == f"mqtts://desk@{written}:8883"
    assert Settings(broker=url).broker == url
    assert parse(url).host == written.strip("[]")


@given(st.text(max_size=80))
def test_any_host(host: str) -> None:
    """Whatever is given as a host is reported, or becomes a name that stands in a URL as it is."""
    try:
        written = ascii_host(host)
    except GaugeError:
        return

    assert parse(f"mqtts://u@{f'[{written}]' if ':' in written else written}:8883").host == written


def test_folders_that_docker_made(tmp_path: Path) -> None:
    """Empty folders that `docker compose up` made are no hindrance; anything else is left alone and reported."""
    broker_folder = BrokerFolder(tmp_path / "own")
    (tmp_path / "own/broker").mkdir(parents=True)
    (tmp_path / "own/data").mkdir()
    broker_folder.make(register(), today())
    other = BrokerFolder(tmp_path / "other")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis").write_text("all of it")

    assert broker_folder.register().hosts == ["localhost"]
    with pytest.raises(GaugeError, match="cannot use"):
        other.make(register(), today())
    assert [path.name for path in tmp_path.glob("other/*")] == ["thesis"]
    assert not list(tmp_path.glob(".other*"))


def _make_as(uid: int, folder: Path, said: Connection) -> None:
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    try:
        BrokerFolder(folder).make(register(), today())
    except GaugeError as error:
        said.send(str(error))
    said.send("made")


@as_root
@pytest.mark.parametrize("roots", ["own/broker", "own"])
def test_folders_that_docker_made_as_root(roots: str) -> None:
    """A person whose folder Docker made as root learns what to do about it."""
    with tempfile.TemporaryDirectory(prefix="claude-gauge-house-") as name:
        base = Path(name)
        (base / "own/broker").mkdir(parents=True)
        (base / "own/broker/file").touch()
        for path in (base, base / "own", base / "own/broker"):
            if path != base / roots and not path.is_relative_to(base / roots):
                os.chown(path, STRANGER, STRANGER)
        received, said = multiprocessing.Pipe()
        process = multiprocessing.Process(target=_make_as, args=(STRANGER, base / "own", said))
        process.start()
        answer = received.recv() if received.poll(30) else "nothing"
        process.join()

    assert "it belongs to root: if Docker made it, remove it" in answer


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Path]:
    """A folder like Debian's /etc/mosquitto."""
    folder = tmp_path / "mosquitto"
    (folder / "conf.d").mkdir(parents=True)
    (folder / "mosquitto.conf").write_text("persistence true\nlog_dest file /var/log/mosquitto.log\n")
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize(("line", "collides"), [
    ("listener 1883", True), ("listener 1883 0.0.0.0", True), ("port 1883", True), ("password_file /x", True),
    ("acl_file /x", True), ("allow_anonymous true", True), ("per_listener_settings true", True),
    ("allow_anonymous true # for the lamp", True), ("allow_anonymous 1", True), ("port 1883 # as ever", True),
    ("allow_anonymous false # not true", False), ("allow_anonymous", False),
    ("listener 1884", False), ("# listener 1883", False), ("allow_anonymous false", False),
    ("max_queued_messages 5", False), ("", False), ("listener 1883 192.0.2.1", False), ("listener 8883 ::1", True),
    ("user root", True), ("user mosquitto", False), ("plugin /x.so", True), ("auth_plugin /x.so", True),
    ("mount_point x/", True), ("require_certificate true", True), ("listener 1884\nmount_point x/", False),
    ("clientid_prefixes x", True), ("retain_available false", True), ("retain_available true", False),
    ("max_packet_size 1000", True), ("max_packet_size 100000", False), ("message_size_limit 0", False),
    ("use_username_as_clientid true", True), ("# f\xfcr alle\nallow_anonymous true", True), ("include_dir /x", False),
])  # fmt: skip
def test_collisions(broker_folder: BrokerFolder, mosquitto: Path, line: str, collides: bool) -> None:  # noqa: FBT001
    """Whatever of Mosquitto's other files keeps it down, or opens it, beside ours is named before ours is linked."""
    (mosquitto / "conf.d" / "local.conf").write_text(f"{line}\n", "latin-1")
    (mosquitto / "conf.d" / "claude-gauge.conf").symlink_to(broker_folder.broker / "mosquitto.conf")
    found = collisions(mosquitto, broker_folder.broker / "mosquitto.conf", "mosquitto")

    assert bool(found) == collides
    assert all("local.conf" in each and line.splitlines()[-1] in each for each in found)


def test_files_in_the_order_in_which_they_are_read(broker_folder: BrokerFolder, mosquitto: Path) -> None:
    """Folders that Mosquitto's file includes are read, too; a listener's directive counts where it is behind ours."""
    ours, more = broker_folder.broker / "mosquitto.conf", mosquitto / "more files"
    more.mkdir()
    (more / "Z.conf").write_text("allow_anonymous true\n")
    (mosquitto / "conf.d" / "before.conf").write_text("mount_point before/\n")
    (mosquitto / "conf.d" / "D.conf").write_text("mount_point behind/\n")
    (mosquitto / "mosquitto.conf").write_text(f"include_dir {mosquitto}/conf.d\nprotocol mqtt\ninclude_dir {more}\n")
    linked, copied = collisions(mosquitto, ours), mosquitto / "conf.d" / "gauge.conf"
    named = [line.split(" (")[0].partition(": ")[2] for line in linked]

    assert named == ["mount_point behind/", "protocol mqtt", "allow_anonymous true"]
    copied.write_bytes(ours.read_bytes())  # an earlier copy of ours
    assert any("gauge.conf: password_file" in line for line in collisions(mosquitto, ours))


def test_file_that_may_not_be_read(broker_folder: BrokerFolder, mosquitto: Path) -> None:
    """A file of Mosquitto's that can't be read is named: what it says is not known."""
    (mosquitto / "conf.d" / "loop.conf").symlink_to("loop.conf")

    assert any(
        "loop.conf" in line and "yourself" in line
        for line in collisions(mosquitto, broker_folder.broker / "mosquitto.conf")
    )


@pytest.mark.parametrize("name", ["all", "device", "device_x", "Device_X"])
@pytest.mark.parametrize("role", [Role.PUBLISHER, Role.DEVICE, Role.VIEWER])
def test_names_that_are_no_nodes(env: dict[str, str], tmp_path: Path, name: str, role: Role) -> None:
    """`all`, `device` and `device_x`, in any case, are refused as a node; a board or a viewer may be called so."""
    folder = str(tmp_path / "own")
    call("broker", "init", "--folder", folder, "--host", "h", "--node", "desk", env=env)
    done = call("broker", "add", name, "--role", role, "--folder", folder, env=env)

    assert (done.returncode == 1) == (role is Role.PUBLISHER), done.stderr
    assert call("publish", "--once", "--node", name, env=env).returncode != 0


@pytest.mark.parametrize("host", ["all", "device", "device_x", "desk", "ü", "device-x"])
def test_default_node(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the host is called, its default node is one that the settings take."""
    monkeypatch.setattr("socket.gethostname", lambda: host)

    assert Settings(node=default_node()).node.endswith(host if host.isascii() else "claude-code")


@pytest.mark.parametrize("arguments", [("--role", "viewer", "--for", "x"), ("--role", "viewer", "--announces")])
def test_choices_of_other_roles(env: dict[str, str], tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """A choice that a role does not have is refused, not ignored."""
    folder = str(tmp_path / "own")
    call("broker", "init", "--folder", folder, "--host", "h", "--node", "desk", env=env)
    done = call("broker", "add", "x", *arguments, "--folder", folder, env=env)

    assert done.returncode == 1
    assert arguments[2] in done.stderr


TOPICS = [
    "claude-gauge/desk/usage", "claude-gauge/desk/status", "claude-gauge/desk/alert", "claude-gauge/lap/usage",
    "claude-gauge/all/usage", "claude-gauge/device/desk/status", "claude-gauge/device/desk/update",
    "claude-gauge/device/desk/update/x", "claude-gauge/device/lap/status", "homeassistant/x", "other/x",
    "homeassistant/status",
    "claude-gauge/desk/usage/deeper", "claude-gauge/desk/settings", "claude-gauge/lap/settings",
    "claude-gauge/desk/set/ceiling", "claude-gauge/lap/set/ceiling", "claude-gauge/lap/set/redline",
    "claude-gauge/lap/set/usage", "claude-gauge/lap/set/ceiling/deeper", "claude-gauge/lap/x/set/ceiling",
    "claude-gauge/device/desk/set/identify", "claude-gauge/device/lap/set/identify", "claude-gauge/device/set/ceiling",
]  # fmt: skip


@pytest.mark.parametrize("access", ["read", "write"])
@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize("role", Role)
def test_rules_are_what_roles_mean(role: Role, topic: str, access: str) -> None:
    """The ACL allows exactly what the check expects of a role, which is written down apart from it."""
    user = User(name="desk", role=role)
    allowed = any(
        given in {access, "readwrite"} and topic_matches_sub(topic_filter, topic)
        for _, given, topic_filter in (rule.split(" ") for rule in rules(user, "homeassistant"))
    )

    assert allowed == may(user, access, topic, "homeassistant")


def test_instructions_name_no_password(broker_folder: BrokerFolder) -> None:
    """What a client gets names the file of its password, never the password."""
    broker_folder.add(User(name="desk", role=Role.PUBLISHER))
    lines = "\n".join(client_setup(broker_folder, broker_folder.register(), broker_folder.register().users["desk"]))

    assert str(broker_folder.password_file("desk")) in lines
    assert broker_folder.password_file("desk").read_text().strip() not in lines


def test_path_with_a_blank(tmp_path: Path) -> None:
    """What a person is to paste into a shell is quoted for it."""
    made = BrokerFolder(tmp_path / "my broker's $HOME")
    made.make(register(None), today(), [User(name="desk", role=Role.PUBLISHER)])
    lines = [*client_setup(made, made.register(), made.register().users["desk"]), *next_steps(made)]
    said = [word for line in lines if line.startswith(("  ", "Then")) for word in shlex.split(line)]

    assert f"CLAUDE_GAUGE_BROKER_CA={made.ca}" in said
    assert str(made.folder) in said
    assert str(made.broker / "mosquitto.conf") in said


class Taken(type(Path())):  # type: ignore[misc] # the platform's own Path
    """A path whose missing folders somebody else makes in the moment before us."""

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:  # noqa: FBT001, FBT002
        """Make the folder as the other user would."""
        super().mkdir(mode, parents=parents, exist_ok=exist_ok)
        os.chown(self, SOMEBODY, SOMEBODY)


@as_root
def test_parent_that_another_made_in_between(tmp_path: Path) -> None:
    """As root no file is written into a parent that was free when it was looked at, and then another user's."""
    parent = Taken(tmp_path) / "taken"
    with pytest.raises(GaugeError, match="not to root"):
        BrokerFolder(parent / "own").make(register("root"), today())

    assert list(parent.iterdir()) == []


@pytest.mark.parametrize("host", ["", "a b", "mqtts://pi:8883", "\u202epi"])
def test_place_that_can_be_none(env: dict[str, str], tmp_path: Path, host: str) -> None:
    """A place that is neither a name nor an address is refused before anything is tried there."""
    folder = str(tmp_path / "own")
    call("broker", "init", "--folder", folder, "--host", "h", "--node", "desk", env=env)
    done = call("broker", "check", "--folder", folder, "--host", host, env=env)

    assert (done.returncode, done.stdout) == (1, "")
    assert "neither a host's name nor an address" in done.stderr


@pytest.mark.parametrize(
    ("name", "way"),
    [("desk", "discovery remove"), ("gauge", "firmware forget"), ("viewer", None), ("homeassistant", None)],
)
def test_what_a_revoked_user_leaves(env: dict[str, str], tmp_path: Path, name: str, way: str | None) -> None:
    """Nobody else may clear the topics that a revoked user wrote, so it is said how it would have."""
    folder = str(tmp_path / "own")
    call("broker", "init", "--folder", folder, "--host", "h", "--node", "desk", env=env)
    said = call("broker", "revoke", name, "--folder", folder, env=env).stdout

    assert ("stays" in said) == (way is not None)
    assert way is None or way in said
