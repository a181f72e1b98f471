from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.net import answers, free_port, wait_until
from tests.support.parts import part
from tests.support.transcripts import ClaudeHome, assistant
from tests.support.web import answering

from claude_gauge.counting.reading import Block
from claude_gauge.sources.ccusage import mcp_wire
from claude_gauge.sources.ccusage.command import CcusageError
from claude_gauge.sources.ccusage.mcp_wire import Http, McpServer, Stdio, Transport, server_command
from claude_gauge.sources.ccusage.source import Ccusage

SERVER = "ccusage-mcp-18.0.11/node_modules/.bin/ccusage-mcp"


@pytest.fixture
def claude(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ClaudeHome:
    """A config folder of Claude Code's with two responses now and one three days ago."""
    home = ClaudeHome(tmp_path / "claude")
    now = time.time()
    home.append(assistant(now - 3 * 86400, 1), assistant(now - 2, 2), assistant(now - 1, 3))
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(home.folder))
    return home


def _environ(folder: Path) -> dict[str, str]:
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


@contextmanager
def _http() -> Iterator[str]:
    """Run the real server on a port of its own."""
    port = free_port()
    arguments = [str(part(SERVER)), "--type", "http", "--port", str(port)]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: answers(port), "the MCP server to listen")
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.kill()


def _scripted(folder: Path, text: str) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    program = folder / "ccusage-mcp"
    program.write_text(text)
    program.chmod(0o755)
    return _environ(folder)


def test_http(claude: ClaudeHome, caplog: pytest.LogCaptureFixture) -> None:
    """The real server over StreamableHTTP gives block and week, again and again; one warning says that it is open."""
    assert claude.folder.exists()
    with _http() as url:
        server = McpServer(Http(url))
        reported = [(server.block().tokens, server.week(time.time())) for _ in range(3)]
        server.stop()

    assert reported == [(2320, 3480)] * 3
    assert caplog.text.count("listens on all interfaces without a password") == 1


def test_stdio(claude: ClaudeHome) -> None:
    """The real server as a child answers the same, follows the transcripts, and ends with us."""
    server = McpServer(wire := Stdio(_environ(part(SERVER).parent)))
    first = (server.block().tokens, server.week(time.time()))
    claude.append(assistant(time.time(), 4))
    second = server.block().tokens
    process = wire._process
    assert process is not None
    server.stop()

    assert (first, second) == ((2320, 3480), 3480)
    assert process.poll() is not None


def test_stdio_server_dies(claude: ClaudeHome) -> None:
    """A server that was killed is an error once, and is run again at the next question."""
    assert claude.folder.exists()
    server = McpServer(wire := Stdio(_environ(part(SERVER).parent)))
    server.block()
    assert wire._process is not None
    wire._process.kill()
    wire._process.wait()
    reported = server.block().tokens
    server.stop()

    assert reported == 2320


def test_http_server_restarts(claude: ClaudeHome) -> None:
    """A server that is away is reported in words; when it is back it is greeted again."""
    assert claude.folder.exists()
    with _http() as url:
        server = McpServer(Http(url))
        server.block()
    with pytest.raises(CcusageError, match="is the server running") as error:
        server.block()
    server.stop()

    assert error.value.why == "cannot be reached"


def test_source(claude: ClaudeHome) -> None:
    """As a source it gives block, week and its own name."""
    assert claude.folder.exists()
    source = Ccusage(McpServer(Stdio(_environ(part(SERVER).parent))), "ccusage-mcp")
    source.load()
    reading = source.read(time.time())

    assert reading.block is not None
    assert (reading.block.tokens, reading.week_tokens) == (2320, 3480)
    assert reading.sources["fuel"].source == "ccusage-mcp"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((500, "application/json", b"{}"), "HTTP 500"),
        ((404, "text/html", b"no"), "HTTP 404"),
        ((302, "text/html", b""), "server error"),
        ((200, "application/json", b"{"), "server error"),
        ((200, "application/json", b'{"id": 1, "error": {"code": -1, "message": "no such tool"}}'), "server error"),
        ((200, "text/event-stream", b"event: message\ndata: {\n\n"), "server error"),
        ((200, "text/event-stream", b'data: {"id": 99, "result": {}}\n\n'), "server error"),
        ((200, "application/json", b"[" * 100_000), "server error"),
        ((200, "application/json", b" " * (9 * 2**20)), "answer too long"),
    ],
)
def test_http_trouble(answer: tuple[int, str, bytes], why: str) -> None:
    """Whatever a server at that URL answers, it is reported in a few words that fit the payload."""
    with answering(*answer) as address:
        server = McpServer(Http(f"http://{address}/"))
        with pytest.raises(CcusageError) as error:
            server.block()
        server.stop()

    assert error.value.why == why
    assert len(why) <= 28


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("#!/bin/sh\nexit 1\n", "server ended"),
        ("#!/bin/sh\nread a; echo noise; echo '{\"id\":1}'; sleep 60\n", "server error"),
        ("#!/bin/sh\nsleep 60\n", "took too long"),
        ("#!/no/such/interpreter\n", "cannot be run"),
    ],
)
def test_stdio_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, why: str) -> None:
    """A child that is no server, or hangs, is reported in words and ended."""
    monkeypatch.setattr(mcp_wire, "FIRST_S", 0.5)
    wire = Stdio(_scripted(tmp_path / "bin", script))
    with pytest.raises(CcusageError) as error:
        McpServer(wire).block()

    assert error.value.why == why
    assert wire._process is None


class _Reported(Transport):
    """Gives one result to every question."""

    def __init__(self, result: dict[str, object]) -> None:
        self.result = result

    def call(self, method: str, params: dict[str, object]) -> dict[str, object]:
        """Give it."""
        assert (method, json.dumps(params)[:9]) == ("tools/call", '{"name": ')
        return self.result

    def stop(self) -> None:
        """Nothing is open."""


def test_tool_fails() -> None:
    """A tool's own error is passed on."""
    result: dict[str, object] = {"isError": True, "content": [{"type": "text", "text": "no data directory"}]}
    with pytest.raises(CcusageError, match="no data directory"):
        McpServer(_Reported(result)).block()


@pytest.mark.parametrize("content", [None, [], ["x"], [{"type": "image"}], [{"type": "text", "text": "{"}]])
def test_tool_answers_garbage(content: object) -> None:
    """A tool's answer of another shape is an error in words."""
    with pytest.raises(CcusageError) as error:
        McpServer(_Reported({"content": content})).block()

    assert error.value.why == "unknown output"


def test_no_active_block() -> None:
    """Blocks that are all over are an empty block."""
    over = {"startTime": "2026-11-23T05:00:00Z", "endTime": "2026-11-23T10:00:00Z", "isActive": False}
    text = json.dumps({"blocks": [{**over, "totalTokens": 5}]})

    assert McpServer(_Reported({"content": [{"type": "text", "text": text}]})).block() == Block()


def test_what_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The installed server, else the pinned last version by npx, else words."""
    monkeypatch.setattr("claude_gauge.sources.ccusage.command.MORE_PATHS", ())
    npx = tmp_path / "npx"
    npx.write_text("#!/bin/sh\n")
    npx.chmod(0o755)

    assert server_command({"PATH": str(part(SERVER).parent)}).argv == (str(part(SERVER)),)
    assert server_command({"PATH": str(tmp_path)}).argv == (str(npx), "-y", "@ccusage/mcp@18.0.11")
    with pytest.raises(CcusageError, match="install Node"):
        server_command({"PATH": str(tmp_path / "empty")})
