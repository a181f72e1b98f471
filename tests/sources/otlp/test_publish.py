"""The real command on `--source otlp`, between JavaScript's exporter and a real broker."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.sources.otlp.exporter import claude_code, go_on, wait_said
from tests.sources.otlp.exports import SESSION
from tests.support.mosquitto import Listener, Mosquitto, Received
from tests.support.net import PATIENCE_S, answers, free_port, wait_until
from tests.support.publisher import Publishing, call, environment
from tests.support.transcripts import SAMPLE, ClaudeHome
from tests.support.unshared import unshared

TOPIC = "claude-gauge/test/usage"
REQUESTS = [{"id": f"req_{n}", "input": 10, "output": 100, "read": 1000, "creation": 50} for n in range(5)]


def _usage(received: Received) -> dict[str, Any]:
    return dict(json.loads(received.payload)) if received.topic == TOPIC and received.payload else {}


def _claude_code(env: dict[str, str], *, hold: int | None = None, **more: str) -> subprocess.Popen[str]:
    """Run what sends as Claude Code does, in the environment that `otel env` prints."""
    printed = call("otel", "env", "--endpoint", env["ENDPOINT"], env=env).stdout
    reported = dict(re.findall(r"export (\w+)='?([^'\n]*)", printed))
    assert reported["OTEL_EXPORTER_OTLP_ENDPOINT"] == env["ENDPOINT"]
    form = {"form": "proto", "temporality": "CUMULATIVE", "compression": "gzip", "session": SESSION}
    return claude_code({**reported, **more}, **form, requests=REQUESTS, wait_ms=900, hold=hold)


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
        with _claude_code(env, hold=4) as claude:
            listener.wait(lambda received: _usage(received).get("window_5h_tokens") == 2 * SAMPLE)
            publisher.end(signal.SIGKILL)
            wait_said(claude, "req_3")
            publisher.start()
            wait_until(lambda: answers(port), "the publisher to listen again")
            go_on(claude)
            received = listener.wait(lambda received: _usage(received).get("window_5h_tokens") == 5 * SAMPLE)
            assert claude.wait(PATIENCE_S) == 0
        highest = max(_usage(each).get("window_5h_tokens", 0) for each in listener.messages)

    assert highest == 5 * SAMPLE
    assert _usage(received)["last_model"] == "opus"
    assert _usage(received)["sources"]["thinking"] == {"source": "otlp", "ok": False, "why": "no thinking in telemetry"}


def test_show_beside_it(tmp_path: Path, broker: Mosquitto, env: dict[str, str]) -> None:
    """`show` on another broker computes from what the publisher was reported, without disturbing it."""
    port = int(env["ENDPOINT"].rpartition(":")[2])
    with Listener(broker.port, TOPIC) as listener, Publishing(tmp_path / "run", env=env):
        wait_until(lambda: answers(port), "the publisher to listen")
        with _claude_code(env) as claude:
            assert claude.wait(PATIENCE_S) == 0
        listener.wait(lambda received: _usage(received).get("window_5h_tokens") == 5 * SAMPLE)
        shown = call("show", "--json", "--broker", f"mqtt://127.0.0.1:{free_port()}", env=env)

        assert json.loads(shown.stdout)["window_5h_tokens"] == 5 * SAMPLE
        assert "computed here" in shown.stderr


@contextmanager
def _all_counted(folder: Path, broker: Mosquitto, env: dict[str, str], disk: str) -> Iterator[Publishing]:
    """Publish over a state folder that `disk` has changed; every figure reaches the broker."""
    state = folder / "state"
    state.mkdir()
    within = unshared(f'{disk.format(state)}; exec "$@"')
    publishing = Publishing(folder / "run", env=env, within=within)
    with Listener(broker.port, TOPIC) as listener, publishing:
        wait_until(lambda: answers(int(env["ENDPOINT"].rpartition(":")[2])), "the publisher to listen")
        with _claude_code(env) as claude:
            assert claude.wait(PATIENCE_S) == 0
        listener.wait(lambda received: _usage(received).get("window_5h_tokens") == 5 * SAMPLE)
        yield publishing


def test_full_disk(tmp_path: Path, broker: Mosquitto, env: dict[str, str]) -> None:
    """With a state folder that fills up, every figure still reaches the broker; the log says what it costs, once."""
    disk = "mount -t tmpfs -o size=16k full {0}; cat /dev/zero >{0}/fill || true"
    with _all_counted(tmp_path, broker, env, disk) as publishing:
        wait_until(lambda: "a restart will forget" in publishing.log, "what it costs to be said")

    assert publishing.log.count("a restart will forget") == 1
    assert "Traceback" not in publishing.log


def test_read_only_disk(tmp_path: Path, broker: Mosquitto, env: dict[str, str]) -> None:
    """With a state folder that can only be read, the publisher starts and every figure reaches the broker."""
    with _all_counted(tmp_path, broker, env, "mount -t tmpfs -o ro none {0}") as publishing:
        pass

    assert "Traceback" not in publishing.log


def test_token(tmp_path: Path, broker: Mosquitto, env: dict[str, str]) -> None:
    """Claude Code's exporter sends the token that OTEL_EXPORTER_OTLP_HEADERS holds; without it nothing counts."""
    port = int(env["ENDPOINT"].rpartition(":")[2])
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    guarded = {**env, "CLAUDE_GAUGE_OTLP_TOKEN_FILE": str(token)}
    with Listener(broker.port, TOPIC) as listener, Publishing(tmp_path / "run", env=guarded) as publishing:
        wait_until(lambda: answers(port), "the publisher to listen")
        with _claude_code(env) as stranger:
            assert stranger.wait(PATIENCE_S) == 0
        with _claude_code(env, OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer s3cret") as claude:
            assert claude.wait(PATIENCE_S) == 0
        listener.wait(lambda received: _usage(received).get("window_5h_tokens") == 5 * SAMPLE)

        assert "s3cret" not in publishing.log
        assert {_usage(each).get("window_5h_tokens") for each in listener.messages} >= {0, 5 * SAMPLE}
