"""The real command on `--source otlp`, between JavaScript's exporter and a real broker."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.feeds.otlp import SESSION
from tests.support.mosquitto import Heard, Listener, Mosquitto
from tests.support.net import answers, free_port, wait_until
from tests.support.parts import part
from tests.support.publisher import Publishing, environment, run
from tests.support.transcripts import ClaudeHome

TOPIC = "claude-gauge/test/usage"
REQUESTS = [{"id": f"req_{n}", "input": 10, "output": 100, "read": 1000, "creation": 50} for n in range(5)]
ONE = 1160
SCRIPT = Path(__file__).with_name("claude_code.mjs")


def _usage(heard: Heard) -> dict[str, Any]:
    return dict(json.loads(heard.payload)) if heard.topic == TOPIC and heard.payload else {}


def _claude_code(env: dict[str, str]) -> subprocess.Popen[str]:
    """Run what sends as Claude Code does, in the environment that `otel env` prints."""
    printed = run("otel", "env", "--endpoint", env["ENDPOINT"], env=env).stdout
    told = dict(re.findall(r"export (\w+)='?([^'\n]*)", printed))
    assert told["OTEL_EXPORTER_OTLP_ENDPOINT"] == env["ENDPOINT"]
    settings: dict[str, Any] = {"form": "proto", "temporality": "CUMULATIVE", "compression": "gzip", "session": SESSION}
    arguments = [
        str(part("otel-js-0.208.0/node_modules")),
        json.dumps({**settings, "requests": REQUESTS, "wait_ms": 900}),
    ]
    return subprocess.Popen(
        ["node", str(SCRIPT), *arguments], env={**os.environ, **told}, text=True, stdout=subprocess.PIPE
    )


@pytest.fixture
def env(tmp_path: Path, broker: Mosquitto) -> dict[str, str]:
    """An environment that leads nowhere but to the test's own broker and port."""
    port = free_port()
    return environment(
        ClaudeHome(tmp_path / "claude"),
        tmp_path,
        CLAUDE_GAUGE_BROKER=broker.url,
        CLAUDE_GAUGE_NODE="test",
        CLAUDE_GAUGE_HTTP="off",
        CLAUDE_GAUGE_SOURCE="otlp",
        CLAUDE_GAUGE_OTLP=f"127.0.0.1:{port}",
        ENDPOINT=f"http://127.0.0.1:{port}",
    )


def test_killed_in_mid_session(tmp_path: Path, broker: Mosquitto, env: dict[str, str]) -> None:
    """Killed with -9 while Claude Code works, and started again: the broker ends up with the true sum."""
    port = int(env["ENDPOINT"].rpartition(":")[2])
    with Listener(broker.port, TOPIC) as listener, Publishing(tmp_path / "run", env=env) as publisher:
        wait_until(lambda: answers(port), "the publisher to listen")
        with _claude_code(env) as claude:
            listener.wait(lambda heard: _usage(heard).get("window_5h_tokens") == 2 * ONE)
            publisher.end(signal.SIGKILL)
            assert claude.stdout is not None
            while "req_3" not in claude.stdout.readline():
                pass
            publisher.start()
            heard = listener.wait(lambda heard: _usage(heard).get("window_5h_tokens") == 5 * ONE, 60)
            assert claude.wait(30) == 0
        highest = max(_usage(each).get("window_5h_tokens", 0) for each in listener.messages)

    assert highest == 5 * ONE
    assert _usage(heard)["last_model"] == "opus"
    assert _usage(heard)["sources"]["thinking"] == {"source": "otlp", "ok": False, "why": "no thinking in telemetry"}


def test_show_beside_it(tmp_path: Path, broker: Mosquitto, env: dict[str, str]) -> None:
    """`show` on another broker computes from what the publisher was told, without disturbing it."""
    port = int(env["ENDPOINT"].rpartition(":")[2])
    with Listener(broker.port, TOPIC) as listener, Publishing(tmp_path / "run", env=env):
        wait_until(lambda: answers(port), "the publisher to listen")
        with _claude_code(env) as claude:
            assert claude.wait(60) == 0
        listener.wait(lambda heard: _usage(heard).get("window_5h_tokens") == 5 * ONE)
        shown = run("show", "--json", "--broker", f"mqtt://127.0.0.1:{free_port()}", env=env)

        assert json.loads(shown.stdout)["window_5h_tokens"] == 5 * ONE
        assert "computed here" in shown.stderr
