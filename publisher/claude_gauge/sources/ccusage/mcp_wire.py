"""ccusage's MCP server: JSON-RPC over StreamableHTTP or over a child's stdio, and the two tools that are called."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import httpx

from claude_gauge import __version__
from claude_gauge.config import Settings
from claude_gauge.counting.reading import Block
from claude_gauge.sources.ccusage.command import (
    CcusageError,
    Command,
    OutputError,
    environment,
    first_day,
    parse_block,
    parse_week,
    search_path,
)
from claude_gauge.system.child import kill_group, spawn
from claude_gauge.system.net import is_loopback
from claude_gauge.system.urls import shown

log = logging.getLogger(__name__)
PACKAGE = "@ccusage/mcp@18.0.11"
PROTOCOL = "2025-06-18"

Json = dict[str, Any]


def greeting() -> Json:
    """Return the parameters of `initialize`."""
    return {
        "protocolVersion": PROTOCOL,
        "capabilities": {},
        "clientInfo": {"name": "claude-gauge", "version": __version__},
    }


def request(number: int | None, method: str, params: Json) -> Json:
    """Write a JSON-RPC request, or without a number a notification."""
    body: Json = {"jsonrpc": "2.0", "method": method, "params": params}
    return body if number is None else {**body, "id": number}


def read_json(text: str | bytes) -> object:
    """Read JSON; None for what is none, such as a log line between the answers."""
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value


def result_of(answer: object) -> Json:
    """Take the result out of a JSON-RPC answer."""
    if isinstance(answer, dict) and isinstance(answer.get("result"), dict):
        result: Json = answer["result"]
        return result
    error = answer.get("error") if isinstance(answer, dict) else None
    said = error.get("message") if isinstance(error, dict) else None
    raise CcusageError("server error", f"ccusage MCP: {str(said or 'an answer of another shape')[:120]}")


HTTP_TIMEOUT_S = 30.0
MAX_BYTES = 8 * 2**20
SESSION = "Mcp-Session-Id"
FAILURE = 400


class Http:
    """A server at a URL."""

    def __init__(self, url: str) -> None:
        self._url, self._shown = url, shown(url)
        self._client = httpx.Client(timeout=HTTP_TIMEOUT_S, trust_env=False, follow_redirects=False)
        self._greeted = False
        self._number = 0

    def call(self, method: str, params: Json) -> Json:
        """Ask one question; after a failure the server is greeted again."""
        try:
            if not self._greeted:
                self._greet()
            return self._ask(method, params)
        except CcusageError:
            self._greeted = False
            raise

    def stop(self) -> None:
        """Close the connection."""
        self._client.close()

    def _greet(self) -> None:
        self._client.headers.pop(SESSION, None)
        server = self._ask("initialize", greeting()).get("serverInfo")
        self._post(request(None, "notifications/initialized", {}))
        self._greeted = True
        if isinstance(server, dict) and str(server.get("name")).startswith("@ccusage"):
            port = urlsplit(self._url).port or 80
            log.warning("ccusage MCP: this server listens on all interfaces without a password; close port %d", port)
        if self._url.startswith("http:") and not is_loopback(urlsplit(self._url).hostname or ""):
            log.warning("ccusage MCP: %s is not encrypted", self._shown)

    def _ask(self, method: str, params: Json) -> Json:
        self._number += 1
        text, is_stream = self._post(request(self._number, method, params))
        return result_of(_event(text, self._number) if is_stream else read_json(text))

    def _post(self, body: Json) -> tuple[str, bool]:
        headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": PROTOCOL}
        try:
            with self._client.stream("POST", self._url, json=body, headers=headers) as answer:
                data = bytearray()
                for piece in answer.iter_bytes():
                    data += piece
                    if len(data) > MAX_BYTES:
                        raise CcusageError(
                            "answer too long", f"ccusage MCP: {self._shown}: answer beyond {MAX_BYTES} bytes"
                        )
        except httpx.HTTPError as error:
            why = "took too long" if isinstance(error, httpx.TimeoutException) else "cannot be reached"
            raise CcusageError(why, f"ccusage MCP: {self._shown}: {error or why}; is the server running?") from None
        except RuntimeError:  # httpx: closed by `stop`
            raise CcusageError("stopped", "ccusage MCP: stopped") from None
        if answer.status_code >= FAILURE:
            raise CcusageError(f"HTTP {answer.status_code}", self._hint(answer.status_code))
        if SESSION in answer.headers:
            self._client.headers[SESSION] = answer.headers[SESSION]
        return data.decode("utf-8", "replace"), "text/event-stream" in answer.headers.get("Content-Type", "")

    def _hint(self, status: int) -> str:
        hints = {
            404: "; check the path of the URL",
            500: "; a fresh install fails so: pin @modelcontextprotocol/sdk to 1.25.3 with npm's overrides",
        }
        return f"ccusage MCP: {self._shown} answers {status}{hints.get(status, '')}"


def _event(text: str, number: int) -> object:
    """Find the answer to a question in a stream of server-sent events."""
    for event in text.replace("\r\n", "\n").split("\n\n"):
        data = "\n".join(line[5:].removeprefix(" ") for line in event.split("\n") if line.startswith("data:"))
        answer = read_json(data) if data else None
        if isinstance(answer, dict) and answer.get("id") == number:
            return answer
    return None


STDIO_TIMEOUT_S = 60.0
FIRST_S = 180.0  # npx may have to fetch it


class Stdio:
    """The server run here."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._number = 0
        self._lock = threading.Lock()
        self._stopped = False

    def call(self, method: str, params: Json) -> Json:
        """Ask one question; a server that fails is ended, the next question starts another."""
        try:
            self._ensure()
            return self._ask(method, params, STDIO_TIMEOUT_S)
        except CcusageError:
            self._end()
            raise

    def stop(self) -> None:
        """End the server."""
        with self._lock:
            self._stopped = True
        self._end()

    def _ensure(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        self._end()
        command = server_command(self._environ)
        with self._lock:
            if self._stopped:
                raise CcusageError("stopped", "ccusage MCP: stopped")
            try:
                process = spawn(
                    command.argv,
                    environment(command, self._environ),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )
            except OSError as error:
                raise CcusageError("cannot be run", f"ccusage MCP: {command.argv[0]}: {error.strerror}") from None
            self._process, self._lines = process, queue.SimpleQueue()
        threading.Thread(target=_listen, args=(process, self._lines), name="ccusage-mcp-out", daemon=True).start()
        self._ask("initialize", greeting(), FIRST_S)
        self._send(request(None, "notifications/initialized", {}))

    def _ask(self, method: str, params: Json, timeout_s: float) -> Json:
        self._number += 1
        self._send(request(self._number, method, params))
        end = time.monotonic() + timeout_s
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise CcusageError("took too long", f"ccusage MCP: no answer within {timeout_s:.0f} s") from None
            if not line:
                raise CcusageError("server ended", "ccusage MCP: the server ended; is Node 20 or newer installed?")
            answer = read_json(line)
            if isinstance(answer, dict) and answer.get("id") == self._number:
                return result_of(answer)

    def _send(self, body: Json) -> None:
        process = self._process
        if process is None or process.stdin is None:
            raise CcusageError("server ended", "ccusage MCP: the server ended")
        try:
            process.stdin.write(json.dumps(body).encode() + b"\n")
            process.stdin.flush()
        except (OSError, ValueError):
            raise CcusageError("server ended", "ccusage MCP: the server ended") from None

    def _end(self) -> None:
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return
        kill_group(process)
        with contextlib.suppress(OSError), process:  # a pipe may be broken already
            pass  # waits, and closes the pipes


def _listen(process: subprocess.Popen[bytes], lines: queue.SimpleQueue[bytes]) -> None:
    """Pass on the server's lines; an empty one says that it ended."""
    if process.stdout is not None:
        try:
            for line in process.stdout:
                if line.strip():
                    lines.put(line)
        except ValueError:
            pass  # closed by `stop`
    lines.put(b"")


def server_command(environ: Mapping[str, str]) -> Command:
    """Find the installed server, else a pinned one by npx or bunx; raises CcusageError."""
    path = search_path(environ)
    for program, *arguments in (["ccusage-mcp"], ["npx", "-y", PACKAGE], ["bunx", PACKAGE]):
        place = shutil.which(program, path=path)
        if place is not None:
            return Command((place, *arguments))
    raise CcusageError("not installed", "ccusage MCP: neither ccusage-mcp nor npx nor bunx found; install Node")


T = TypeVar("T")


class Transport(Protocol):
    """A way to an MCP server."""

    def call(self, method: str, params: Json) -> Json:
        """Ask and return the result; raises CcusageError. Greets the server first where that is needed."""

    def stop(self) -> None:
        """Close it."""


class McpServer:
    """The tools `blocks` and `daily` of a ccusage MCP server."""

    def __init__(self, wire: Transport, now: Callable[[], datetime] = lambda: datetime.now().astimezone()) -> None:
        self._wire, self._now = wire, now

    def block(self) -> Block:
        """Ask for the active block; yesterday's are asked for too, since a block may begin before midnight."""
        yesterday = self._now().date() - timedelta(days=1)
        return self._tool("blocks", yesterday.strftime("%Y%m%d"), parse_block)

    def week(self, now: float) -> int:
        """Ask for the last 7 calendar days."""
        today = datetime.fromtimestamp(now).astimezone().date()
        return self._tool("daily", first_day(today).strftime("%Y%m%d"), lambda text: parse_week(text, today))

    def stop(self) -> None:
        """Close the connection."""
        self._wire.stop()

    def _tool(self, name: str, since: str, parse: Callable[[str], T]) -> T:
        # Stored costs only: computing them makes the server fetch prices from the network.
        arguments = {"since": since, "mode": "display"}
        result = self._wire.call("tools/call", {"name": name, "arguments": arguments})
        text = _text(result)
        if result.get("isError"):
            raise CcusageError("tool failed", f"ccusage MCP: {name} failed: {text[:120]}")
        try:
            return parse(text)
        except OutputError as error:
            raise CcusageError("unknown output", f"ccusage MCP: {name} {error}") from None


def _text(result: Json) -> str:
    for part in result.get("content") or []:
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            return str(part["text"])
    return ""


def connection(settings: Settings, environ: Mapping[str, str] = os.environ) -> McpServer:
    """Connect to the server that the settings name; without one it is run here, on stdio."""
    return McpServer(Http(settings.ccusage_mcp) if settings.ccusage_mcp else Stdio(environ))
