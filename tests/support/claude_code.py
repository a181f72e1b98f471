"""The real Claude Code in a terminal of its own, offline: its API is a small one of the test's."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from tests.support.parts import part

KEY = "sk-ant-api03-made-up-for-tests-0000"
_CONTROL = re.compile(rb"\x1b\[[0-9;?<>]*[a-zA-Z]|\x1b\][^\x07]*\x07")


def program() -> Path:
    """Return Claude Code's path."""
    return part("claude-code-2.1.330/claude")


class Api:
    """Answers as Anthropic's API does: first with a call of Bash that needs permission, then with a word."""

    def __init__(self, command: str) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                given = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
                asks = any(tool.get("name") == "Bash" for tool in given.get("tools", []))
                first = asks and "tool_result" not in json.dumps(given.get("messages", []))
                body = b"".join(_events(command if first else None)) if given.get("stream") else _whole()
                self.send_response(200)
                self.send_header("content-type", "text/event-stream" if given.get("stream") else "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_HEAD(self) -> None:
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _events(command: str | None) -> Iterator[bytes]:
    block: dict[str, Any] = {"type": "text", "text": ""}
    delta: dict[str, Any] = {"type": "text_delta", "text": "all done"}
    if command is not None:
        block = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}}
        asked = json.dumps({"command": command, "description": "A test"})
        delta = {"type": "input_json_delta", "partial_json": asked}
    reason = "end_turn" if command is None else "tool_use"
    for data in (
        {"type": "message_start", "message": _message([])},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 9}},
        {"type": "message_stop"},
    ):
        yield f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode()


def _message(content: list[dict[str, Any]]) -> dict[str, Any]:
    usage = {"input_tokens": 10, "output_tokens": 1}
    own = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-5-5", "stop_reason": None}
    return {**own, "content": content, "stop_sequence": None, "usage": usage}


def _whole() -> bytes:
    return json.dumps({**_message([{"type": "text", "text": "ok"}]), "stop_reason": "end_turn"}).encode()


class ClaudeCode:
    """One interactive session; what it shows is in `screen`."""

    def __init__(self, home: Path, api: Api, **more: str) -> None:
        self.folder = home / "work"
        self.folder.mkdir(parents=True)
        accepted = {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}
        state = {
            "hasCompletedOnboarding": True,
            "hasSeenAutoDefaultNotice": True,
            "hasResetAutoModeOptInForDefaultOffer": True,
            "migrationVersion": 15,
            "numStartups": 4,
            "theme": "dark",
            "customApiKeyResponses": {"approved": [KEY[-20:]], "rejected": []},
            "projects": {str(self.folder): accepted},
        }
        (home / ".claude.json").write_text(json.dumps(state))
        # No way out but the test's own API: a proxy that is not there stands before everything else.
        nowhere = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"), "http://127.0.0.1:9")
        switches = ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "DISABLE_AUTOUPDATER", "DISABLE_TELEMETRY")
        self._env = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "TERM": "xterm-256color",
            "NO_PROXY": "127.0.0.1",
            "ANTHROPIC_BASE_URL": api.url,
            "ANTHROPIC_API_KEY": KEY,
            **dict.fromkeys(switches, "1"),
            **nowhere,
            **more,
        }
        self._shown = b""
        self._terminal = -1
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def screen(self) -> str:
        """All that it wrote to its terminal, without the colours."""
        return _CONTROL.sub(b" ", self._shown).decode("utf-8", "replace")

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._terminal, keys.encode())

    def __enter__(self) -> Self:
        self._terminal, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self._process = subprocess.Popen(
            [program(), "--permission-mode", "default"],
            cwd=self.folder,
            env=self._env,
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
        )
        os.close(inner)
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def _read(self) -> None:
        while self._terminal >= 0:
            try:
                ready, _, _ = select.select([self._terminal], [], [], 0.1)
                self._shown += os.read(self._terminal, 65536) if ready else b""
            except (OSError, ValueError):
                return

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(30)
        os.close(self._terminal)
        self._terminal = -1
