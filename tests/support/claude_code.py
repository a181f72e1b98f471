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
import uuid
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from tests.support.net import PATIENCE_S
from tests.support.parts import part

KEY = "sk-ant-api03-made-up-for-tests-0000"
_CONTROL = re.compile(rb"\x1b\[[0-9;?<>]*[a-zA-Z]|\x1b\][^\x07]*\x07")


def program() -> Path:
    """Return Claude Code's path."""
    return part("claude-code-2.1.330/claude")


def tool(name: str, **given: object) -> dict[str, Any]:
    """Return a block that calls a tool."""
    return {"type": "tool_use", "id": f"toolu_{uuid.uuid4().hex[:20]}", "name": name, "input": given}


def bash(command: str) -> dict[str, Any]:
    """Return a block that runs a command."""
    return tool("Bash", command=command, description="A test")


def text(words: str) -> dict[str, Any]:
    """Return a block that says something."""
    return {"type": "text", "text": words}


Script = Callable[[dict[str, Any]], list[dict[str, Any]]]  # a request's body -> the content of the answer


class Api:
    """Answers as Anthropic's API does: first with these calls of Bash, which need permission, then with a word.

    A `script` says it otherwise; `headers` are asked for at each answer. Requests without tools (a session's title, a
    summary) get a word.
    """

    def __init__(
        self, *commands: str, script: Script | None = None, headers: Callable[[], Mapping[str, str]] = dict
    ) -> None:
        def asks_once(body: dict[str, Any]) -> list[dict[str, Any]]:
            return [text("all done")] if answered(body) else [bash(command) for command in commands]

        answer = script or asks_once

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                given = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
                blocks = answer(given) if given.get("tools") else [text("ok")]
                body = b"".join(_events(blocks)) if given.get("stream") else _whole(blocks)
                self.send_response(200)
                self.send_header("content-type", "text/event-stream" if given.get("stream") else "application/json")
                self.send_header("content-length", str(len(body)))
                for name, value in headers().items():
                    self.send_header(name, value)
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


def answered(body: dict[str, Any]) -> bool:
    """Return whether a request brings the result of a tool."""
    return "tool_result" in json.dumps(body.get("messages", []))


def _events(blocks: list[dict[str, Any]]) -> Iterator[bytes]:
    calls = any(block["type"] == "tool_use" for block in blocks)
    yield _event("message_start", message=_message([]))
    for index, block in enumerate(blocks):
        yield from _block(index, block)
    stop = {"stop_reason": "tool_use" if calls else "end_turn"}
    yield _event("message_delta", delta=stop, usage={"output_tokens": 9})
    yield _event("message_stop")


def _block(index: int, block: dict[str, Any]) -> Iterator[bytes]:
    if block["type"] == "tool_use":
        begin: dict[str, Any] = {**block, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
    else:
        begin, delta = text(""), {"type": "text_delta", "text": block["text"]}
    yield _event("content_block_start", index=index, content_block=begin)
    yield _event("content_block_delta", index=index, delta=delta)
    yield _event("content_block_stop", index=index)


def _event(kind: str, **more: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n".encode()


def _message(content: list[dict[str, Any]]) -> dict[str, Any]:
    usage = {"input_tokens": 10, "output_tokens": 1}
    own = {"id": f"msg_{uuid.uuid4().hex[:20]}", "type": "message", "role": "assistant", "model": "claude-opus-5-5"}
    return {**own, "stop_reason": None, "content": content, "stop_sequence": None, "usage": usage}


def _whole(blocks: list[dict[str, Any]]) -> bytes:
    return json.dumps({**_message(blocks), "stop_reason": "end_turn"}).encode()


def subscriber(used: float, resets_at: float) -> dict[str, str]:
    """Return the headers by which the API informs a subscriber's client how much of the plan is used (a share)."""
    prefix = "anthropic-ratelimit-unified-"
    five = {f"{prefix}5h-utilization": str(used), f"{prefix}5h-reset": str(int(resets_at))}
    week = {f"{prefix}7d-utilization": "0.3", f"{prefix}7d-reset": str(int(resets_at) + 86400)}
    return {f"{prefix}status": "allowed", **five, **week}


# With these in its environment a client takes itself for a subscriber's.
SUBSCRIBER = {"CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-made-up-for-tests", "ANTHROPIC_API_KEY": ""}


class ClaudeCode:
    """One interactive session; what it shows is in `screen`. `more` goes into its environment, "" takes a name out."""

    def __init__(self, home: Path, api: Api, *arguments: str, **more: str) -> None:
        self._arguments = arguments
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
        self._env = {name: value for name, value in self._env.items() if value}
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

    def headless(self, prompt: str) -> int:
        """Run it without a terminal, as a script does, to its end; return its exit code."""
        command = [str(program()), "-p", prompt, *self._arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=self._env, stdin=subprocess.DEVNULL, check=False, timeout=PATIENCE_S
        )
        return done.returncode

    def kill(self) -> None:
        """End it without a chance to say anything."""
        assert self._process is not None
        self._process.kill()

    def __enter__(self) -> Self:
        self._terminal, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self._process = subprocess.Popen(
            [program(), "--permission-mode", "default", *self._arguments],
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
        self._process.wait(PATIENCE_S)
        os.close(self._terminal)
        self._terminal = -1
