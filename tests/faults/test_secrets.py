"""A canary in place of every secret, looked for wherever it has no business."""

from __future__ import annotations

import contextlib
import stat
import time
from http.client import HTTPConnection
from pathlib import Path

import pytest
from tests.support.mosquitto import Listener, Mosquitto
from tests.support.net import PATIENCE_S, free_port, wait_until
from tests.support.publisher import Publishing, environment, run
from tests.support.transcripts import SAMPLE, ClaudeHome, assistant
from tests.support.usages import wait_tokens

CANARY = "canary-5f1c9a"
SAID = "said-in-confidence"


def _everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def _environment(claude: ClaudeHome, folder: Path, url: str, *, password_file: bool) -> dict[str, str]:
    more = {
        "CLAUDE_GAUGE_BROKER": url.replace("mqtt://", "mqtt://person@"),
        "CLAUDE_GAUGE_NODE": "test",
        "CLAUDE_GAUGE_PROMETHEUS_PASSWORD": CANARY,
        "CLAUDE_GAUGE_PROMETHEUS_HEADERS": f"X-Key={CANARY}",
    }
    if password_file:
        secret = folder / "secret"
        secret.write_text(CANARY + "\n")
        secret.chmod(0o600)
        return environment(claude, folder / "home", **more, CLAUDE_GAUGE_BROKER_PASSWORD_FILE=str(secret))
    return environment(claude, folder / "home", **more, CLAUDE_GAUGE_BROKER_PASSWORD=CANARY)


@pytest.mark.parametrize("password_file", [True, False])
def test_canaries_are_found_nowhere(
    claude: ClaudeHome, broker: Mosquitto, tmp_path: Path, *, password_file: bool
) -> None:
    """Even verbosely: not in logs, argv, the state folder, payloads, HTTP, `config` or `doctor`."""
    env = _environment(claude, tmp_path, broker.url, password_file=password_file)
    port = free_port()
    claude.append(assistant(time.time(), 1, said=SAID))
    command = ("--verbose", "--http", f"127.0.0.1:{port}")
    with Listener(broker.port) as listener, Publishing(tmp_path / "run", *command, env=env) as publishing:
        wait_tokens(listener, SAMPLE)
        argv = Path(f"/proc/{publishing.pid}/cmdline").read_bytes()
        http = b"".join(_get(port, path) for path in ("/usage", "/healthz", "/"))
        received = b"".join(each.topic.encode() + each.payload for each in listener.messages)
        log = publishing.log.encode()
    reported = "".join(each.stdout + each.stderr for each in (run("config", env=env), run("doctor", env=env))).encode()
    places = {"argv": argv, "HTTP": http, "topics": received, "log": log, "commands": reported}
    places["state"] = _everything(tmp_path / "home")

    assert [place for place, data in places.items() if CANARY.encode() in data] == []
    assert [place for place, data in places.items() if SAID.encode() in data] == []
    assert b"broker_password" in reported


def _get(port: int, path: str) -> bytes:
    with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)) as connection:
        connection.request("GET", path)
        return connection.getresponse().read()


def test_refused_password_is_reported_without_it(claude: ClaudeHome, tmp_path: Path) -> None:
    """A broker that refuses the password: the log says so, and shows neither the password nor a traceback."""
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    lines = (f"password_file {passwords}",)
    with Mosquitto(tmp_path / "broker", *lines, anonymous=False) as broker:
        env = {**_environment(claude, tmp_path, broker.url, password_file=True), "CLAUDE_GAUGE_HTTP": "off"}
        with Publishing(tmp_path / "run", "--verbose", env=env) as publishing:
            wait_until(lambda: "with this password" in publishing.log, "the refusal to be reported")
            log = publishing.log

    assert CANARY not in log
    assert "Traceback" not in log


def test_state_is_for_its_owner_alone(
    claude: ClaudeHome, env: dict[str, str], listener: Listener, tmp_path: Path
) -> None:
    """What is written to the state folder can be read by nobody else, whatever the umask."""
    with Publishing(tmp_path / "run", env=env, within=["sh", "-c", 'umask 0; exec "$@"', "sh"]):
        claude.append(assistant(time.time(), 1))
        wait_tokens(listener, SAMPLE)
    state = tmp_path / "state"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) & 0o077 for path in (state, *state.rglob("*"))}

    assert "test.lock" in modes
    assert set(modes.values()) == {0}
