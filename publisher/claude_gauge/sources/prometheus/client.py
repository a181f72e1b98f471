"""Asks a Prometheus-compatible engine over HTTP: with credentials, a deadline and a limit on what it may answer."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from claude_gauge.config import Settings, read_secret
from claude_gauge.errors import GaugeError
from claude_gauge.sources.prometheus.response import Answer, TroubleError, parse, refusal

if TYPE_CHECKING:
    import httpx

TIMEOUT_S = 10.0
MOST_BYTES = 16 << 20
SKEW_S = 2.0  # the Date header tells whole seconds only
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_WHY = {
    HTTPStatus.UNAUTHORIZED: "401: credentials refused",
    HTTPStatus.FORBIDDEN: "403: not allowed",
    HTTPStatus.NOT_FOUND: "404: is the URL right?",
    HTTPStatus.TOO_MANY_REQUESTS: "429: too many requests",
}


class PrometheusClient:
    """One engine by its base URL; not safe for several threads at once."""

    def __init__(
        self, settings: Settings, timeout_s: float = TIMEOUT_S, clock: Callable[[], float] = time.time
    ) -> None:
        base = (settings.prometheus or "http://127.0.0.1:9090").rstrip("/").removesuffix("/query")
        self._base = base.removesuffix("/api/v1") + "/api/v1"
        self._settings = settings
        self._timeout_s = timeout_s
        self._clock = clock
        self._client: httpx.Client | None = None
        self._method = "POST"
        self.skew = 0.0  # how far the engine's clock is ahead of ours, seconds

    def now(self, query: str, at: float) -> Answer:
        """Ask for the present values, at a time of the engine's clock."""
        return self._ask("query", {"query": query, "time": f"{at:.3f}"})

    def range(self, query: str, start: float, end: float, step: float) -> Answer:
        """Ask for the values between two times, in steps of so many seconds."""
        return self._ask(
            "query_range", {"query": query, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
        )

    def close(self) -> None:
        """Drop the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _ask(self, what: str, form: dict[str, str]) -> Answer:
        import httpx  # noqa: PLC0415 - 100 ms that no other source needs

        # VictoriaMetrics hides its newest 30 s and remembers answers, unless told not to; others ignore the word.
        form = {**form, "nocache": "1", "timeout": f"{self._timeout_s:g}s"}
        try:
            status, body = self._send(f"{self._base}/{what}", form)
            if status == HTTPStatus.METHOD_NOT_ALLOWED and self._method == "POST":
                self._method = "GET"  # a gateway that lets only reading verbs through
                status, body = self._send(f"{self._base}/{what}", form)
        except httpx.TimeoutException:
            raise TroubleError(f"no answer in {self._timeout_s:g} s") from None
        except httpx.ConnectError as error:
            raise TroubleError(_connect_trouble(error)) from None
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
            self.close()
            raise TroubleError(f"broke off: {type(error).__name__}") from None
        if status != HTTPStatus.OK:
            raise TroubleError(_status_trouble(status, body))
        return parse(body)

    def _send(self, url: str, form: dict[str, str]) -> tuple[int, bytes]:
        end = time.monotonic() + self._timeout_s
        where = {"data": form} if self._method == "POST" else {"params": form}
        with self._connected().stream(self._method, url, headers=self._headers(), **where) as response:  # type: ignore[arg-type]
            self._compare_clocks(response.headers.get("date", ""))
            parts: list[bytes] = []
            size = 0
            for part in response.iter_bytes():
                parts.append(part)
                size += len(part)
                if size > MOST_BYTES:
                    raise TroubleError("answer is too big")
                if time.monotonic() > end:
                    raise TroubleError(f"no answer in {self._timeout_s:g} s")
            return response.status_code, b"".join(parts)

    def _connected(self) -> httpx.Client:
        import httpx  # noqa: PLC0415 - as above

        if self._client is None:
            given = self._settings
            password = given.prometheus_password.get_secret_value() if given.prometheus_password else ""
            verify: ssl.SSLContext | bool = True
            if given.prometheus_ca is not None:
                try:
                    verify = ssl.create_default_context(cafile=given.prometheus_ca.expanduser())
                except (OSError, ssl.SSLError):
                    raise TroubleError("prometheus_ca: unreadable") from None
            self._client = httpx.Client(
                auth=(given.prometheus_user, password) if given.prometheus_user is not None else None,
                verify=verify,
                timeout=self._timeout_s,
                trust_env=urlsplit(self._base).hostname not in _LOOPBACK,  # no proxy leads back to this machine
            )
        return self._client

    def _headers(self) -> dict[str, str]:
        headers = {name: text.get_secret_value() for name, text in self._settings.prometheus_headers.items()}
        if self._settings.prometheus_token_file is not None:  # read each time: tokens are renewed under our feet
            try:
                token = read_secret(self._settings.prometheus_token_file, "prometheus_token_file").strip()
            except GaugeError:
                raise TroubleError("token file is unreadable") from None
            headers["Authorization"] = f"Bearer {token}"
        return headers

    def _compare_clocks(self, date: str) -> None:
        try:
            skew = parsedate_to_datetime(date).timestamp() + 0.5 - self._clock()
        except (ValueError, TypeError):
            return
        self.skew = skew if abs(skew) > SKEW_S else 0.0


def _connect_trouble(error: Exception) -> str:
    text = str(error).lower()
    if "certificate" in text or "ssl" in text:
        return "TLS: certificate refused"
    return "name not found" if "name" in text or "nodename" in text else "connection refused"


def _status_trouble(status: int, body: bytes) -> str:
    if status in _WHY:
        return _WHY[HTTPStatus(status)]
    try:
        return f"{status}: {refusal(json.loads(body)).removeprefix('error: ')}"
    except (ValueError, RecursionError):
        return f"HTTP {status}"
