"""Programs that we run: what they are handed, and that they go with us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.support.net import PATIENCE_S, wait_until

from claude_gauge.config import Settings, is_secret
from claude_gauge.system.child import Child, Companion, without_secrets

SECRETS = {
    "CLAUDE_GAUGE_BROKER_PASSWORD": "canary", "CLAUDE_GAUGE_NODE": "desk", "ANTHROPIC_API_KEY": "canary",
    "CLAUDE_CODE_OAUTH_TOKEN": "canary", "AWS_SECRET_ACCESS_KEY": "canary", "GH_PAT": "canary",
    "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=canary", "MYSQL_PASSWD": "canary", "npm_config__auth": "canary",
    "DATABASE_URL": "postgres://me:canary@host/db", "SSH_PASSPHRASE": "canary", "private_key": "canary",
    "MYSQL_PWD": "canary", "SIGNING_KEY": "canary", "SESSION_COOKIE": "canary", "SENTRY_DSN": "https://canary@host/1",
    "SLACK_WEBHOOK_URL": "https://host/canary",
}  # fmt: skip
PLAIN = {
    "PATH": "/bin", "HOME": "/home/me", "CLAUDE_CONFIG_DIR": "/c", "XAUTHORITY": "/x", "SSH_AUTH_SOCK": "/s",
    "HTTPS_PROXY": "http://me:pw@proxy:3128", "LANG": "C", "PWD": "/", "OLDPWD": "/",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/t", "EDITOR": "vi",
    "KEYBOARD": "de", "URL": "https://host/path:with@odd", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/x",
}  # fmt: skip


def test_without_secrets() -> None:
    """Passwords, tokens and keys are not handed on, nor is any setting of ours; what a program needs is."""
    assert without_secrets({**SECRETS, **PLAIN}) == PLAIN


def test_every_secret_setting() -> None:
    """No secret setting has a name that would be handed on under another prefix."""
    secret = [name for name in Settings.model_fields if is_secret(name)]

    assert secret
    assert without_secrets({f"OTHER_{name.upper()}": "canary" for name in secret}) == {}


def test_child_has_no_secret() -> None:
    """A program that is run sees what it is given, and nothing of ours."""
    script = "import os; print(sorted(os.environ))"
    finished = Child().run([sys.executable, "-I", "-c", script], without_secrets({**SECRETS, "A": "b"}), 30)

    assert (finished.code, b"canary" in finished.out, b"'A'" in finished.out) == (0, False, True)


def test_too_long() -> None:
    """A program that takes too long is ended with all that it started."""
    finished = Child().run(["sh", "-c", "sleep 60 & wait"], {"PATH": os.environ["PATH"]}, 0.2, mute=True)

    assert (finished.code, finished.out, finished.err) == (None, b"", "")


def test_stopped() -> None:
    """`stop` ends what runs, and nothing runs after it."""
    child, ended = Child(), threading.Event()

    def run() -> None:
        child.run(["sleep", "60"], {"PATH": os.environ["PATH"]}, 60)
        ended.set()

    threading.Thread(target=run, daemon=True).start()
    wait_until(lambda: child._running is not None, "the program to run")
    child.stop()

    assert ended.wait(PATIENCE_S)
    assert child.run(["true"], {"PATH": os.environ["PATH"]}, 10).code is None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_companion_ends_with_us(tmp_path: Path, number: int) -> None:
    """A companion ends when the process that started it does, even when that is killed."""
    script = (
        "import os, pathlib, sys, threading\n"
        "from claude_gauge.system.child import Companion\n"
        "print(Companion(['sleep', '60'], os.environ, pathlib.Path(sys.argv[1])).pid, flush=True)\n"
        "threading.Event().wait()\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "log")], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    with owner.stdout as said:
        pid = int(said.readline())
    owner.send_signal(number)
    owner.wait(PATIENCE_S)

    wait_until(lambda: not Path(f"/proc/{pid}").exists() or "Z" in _state(pid), "the companion to end")


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_companion_says(tmp_path: Path) -> None:
    """What a companion says is in its file."""
    companion = Companion(["sh", "-c", "echo first; echo last"], dict(os.environ), tmp_path / "log")
    companion.wait()

    assert companion.said("first")
    assert companion.last_words() == "last"
