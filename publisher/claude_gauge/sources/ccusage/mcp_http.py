"""MCP over StreamableHTTP: a POST per question, the answer as JSON or as one server-sent event."""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

import httpx

from claude_gauge.sources.ccusage.command import CcusageError
from claude_gauge.sources.ccusage.mcp_messages import PROTOCOL, Json, greeting, read_json, request, result_of
from claude_gauge.system.net import is_loopback

_log = logging.getLogger(__name__)

TIMEOUT_S = 30.0
MAX_BYTES = 8 * 2**20
SESSION = "Mcp-Session-Id"
OK, FAILURE = 200, 400


class Http:
    """A server at a URL."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = httpx.Client(timeout=TIMEOUT_S, trust_env=False, follow_redirects=False)
        self._greeted = False
        self._number = 0

    def call(self, method: str, params: Json) -> Json:
        """Ask one question; after a failure the server is greeted anew."""
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
            _log.warning("ccusage MCP: this server listens on all interfaces without a password; close port %d", port)
        if self._url.startswith("http:") and not is_loopback(urlsplit(self._url).hostname or ""):
            _log.warning("ccusage MCP: %s is not encrypted", self._url)

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
                            "answer too long", f"ccusage MCP: {self._url}: answer beyond {MAX_BYTES} bytes"
                        )
        except httpx.HTTPError as error:
            why = "took too long" if isinstance(error, httpx.TimeoutException) else "cannot be reached"
            raise CcusageError(why, f"ccusage MCP: {self._url}: {error or why}; is the server running?") from None
        except RuntimeError:  # httpx: closed by `stop`
            raise CcusageError("stopped", "ccusage MCP: stopped") from None
        if answer.status_code >= FAILURE:
            raise CcusageError(f"HTTP {answer.status_code}", self._hint(answer.status_code))
        if SESSION in answer.headers:
            self._client.headers[SESSION] = answer.headers[SESSION]
        return data.decode("utf-8", "replace"), "text/event-stream" in answer.headers.get("Content-Type", "")

    def _hint(self, status: int) -> str:
        known = {
            404: "; check the path of the URL",
            500: "; a fresh install fails so: pin @modelcontextprotocol/sdk to 1.25.3 with npm's overrides",
        }
        return f"ccusage MCP: {self._url} answers {status}{known.get(status, '')}"


def _event(text: str, number: int) -> object:
    """Find the answer to a question in a stream of server-sent events."""
    for event in text.replace("\r\n", "\n").split("\n\n"):
        data = "\n".join(line[5:].removeprefix(" ") for line in event.split("\n") if line.startswith("data:"))
        answer = read_json(data) if data else None
        if isinstance(answer, dict) and answer.get("id") == number:
            return answer
    return None
