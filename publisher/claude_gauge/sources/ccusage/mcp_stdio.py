"""MCP over stdio: the server as a child of ours, a line of JSON per message; run anew when it ends."""

from __future__ import annotations

import contextlib
import json
import queue
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping

from claude_gauge.sources.ccusage.command import CcusageError, Command, environment, search_path
from claude_gauge.sources.ccusage.mcp_messages import PACKAGE, Json, greeting, read_json, request, result_of
from claude_gauge.system.child import kill_group, spawn

TIMEOUT_S = 60.0
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
            return self._ask(method, params, TIMEOUT_S)
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
            pass  # closed under our hands
    lines.put(b"")


def server_command(environ: Mapping[str, str]) -> Command:
    """Find the installed server, else a pinned one by npx or bunx; raises CcusageError."""
    path = search_path(environ)
    for program, *arguments in (["ccusage-mcp"], ["npx", "-y", PACKAGE], ["bunx", PACKAGE]):
        found = shutil.which(program, path=path)
        if found is not None:
            return Command((found, *arguments))
    raise CcusageError("not installed", "ccusage MCP: neither ccusage-mcp nor npx nor bunx found; install Node")
