"""Queries a Prometheus-compatible engine over HTTP: with credentials, a deadline and a limit on the answer's size.

An answer is checked as a whole: samples, or a `TroubleError` with the reason in a few words.
"""

from __future__ import annotations

import json
import math
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from claude_gauge.config import Settings, read_secret
from claude_gauge.errors import GaugeError
from claude_gauge.system.net import is_loopback, trusting

if TYPE_CHECKING:
    import httpx

DEFAULT_URL = "http://127.0.0.1:9090"
TIMEOUT_S = 10.0
MOST_BYTES = 16 << 20
MOST_WORDS = 28
SKEW_S = 2.0  # the Date header has whole seconds only
_HEAVY = {HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}
_WHY = {
    HTTPStatus.UNAUTHORIZED: "401: credentials refused",
    HTTPStatus.FORBIDDEN: "403: not allowed",
    HTTPStatus.NOT_FOUND: "404: is the URL right?",
    HTTPStatus.TOO_MANY_REQUESTS: "429: too many requests",
}


class TroubleError(Exception):
    """Why there is no usable answer, in at most 28 characters, as in the payload.

    `heavy`: the question was too much for the engine or for us; a smaller one may be answered.
    """

    def __init__(self, why: str, *, heavy: bool = False) -> None:
        super().__init__(why[:MOST_WORDS])
        self.why = why[:MOST_WORDS]
        self.heavy = heavy


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of an answer and its labels; `at` in epoch seconds."""

    labels: Mapping[str, str]
    at: float
    value: float


@dataclass(frozen=True, slots=True)
class QueryResult:
    """All samples of an answer; `partial` where the engine says that something is missing."""

    samples: tuple[Sample, ...]
    partial: bool = False


class _MethodRefusedError(Exception):
    """POST is not allowed there."""


class PrometheusClient:
    """One engine by its base URL; not safe for several threads at once."""

    def __init__(
        self, settings: Settings, timeout_s: float = TIMEOUT_S, clock: Callable[[], float] = time.time
    ) -> None:
        base = (settings.prometheus or DEFAULT_URL).rstrip("/").removesuffix("/query")
        self._base = base.removesuffix("/api/v1") + "/api/v1"
        self._settings = settings
        self._timeout_s = timeout_s
        self._clock = clock
        self._client: httpx.Client | None = None
        self._method = "POST"
        self._clocks_compared = False
        self.skew = 0.0  # how far the engine's clock is ahead of ours, seconds

    def now(self, query: str, at: float) -> QueryResult:
        """Ask for the present values, at a time of the engine's clock."""
        return self._ask("query", {"query": query, "time": f"{at:.3f}"})

    def range(self, query: str, start: float, end: float, step: float) -> QueryResult:
        """Ask for the values between two times, in steps of so many seconds."""
        return self._ask(
            "query_range", {"query": query, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
        )

    def names(self, selector: str, start: float, end: float) -> list[str]:
        """Ask for the names of the metrics that are selected, in use between two times of the engine's clock."""
        body = self._body(
            "GET",
            "label/__name__/values",
            {"match[]": selector, "start": f"{start:.3f}", "end": f"{end:.3f}"},
        )
        data = _success(body).get("data")
        if not isinstance(data, list) or not all(isinstance(name, str) for name in data):
            raise TroubleError("answer has no such shape")
        return sorted(data)

    def learn_clock(self, now: float) -> None:
        """Ask something small: the first answer shows how far the engine's clock is ahead."""
        if not self._clocks_compared:
            self.now("vector(1)", now)

    def close(self) -> None:
        """Drop the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _ask(self, what: str, form: dict[str, str]) -> QueryResult:
        form = {**form, "timeout": f"{self._timeout_s:g}s"}
        try:
            return parse(self._body(self._method, what, form))
        except _MethodRefusedError:  # a gateway that lets only reading verbs through
            self._method = "GET"
            return parse(self._body(self._method, what, form))

    def _body(self, method: str, what: str, form: dict[str, str]) -> bytes:
        import httpx  # noqa: PLC0415 - 100 ms that no other source needs

        # VictoriaMetrics hides its newest 30 s and caches answers, unless `nocache` is set; others ignore it.
        form = {**form, "nocache": "1"}
        try:
            status, body = self._send(method, f"{self._base}/{what}", form)
        except httpx.TimeoutException:
            raise TroubleError(f"no answer in {self._timeout_s:g} s", heavy=True) from None
        except httpx.ConnectError as error:
            raise TroubleError(_connect_trouble(error)) from None
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
            self.close()
            raise TroubleError(f"broke off: {type(error).__name__}") from None
        if status == HTTPStatus.METHOD_NOT_ALLOWED and method == "POST":
            raise _MethodRefusedError
        if status != HTTPStatus.OK:
            raise TroubleError(_status_trouble(status, body), heavy=status in _HEAVY)
        return body

    def _send(self, method: str, url: str, form: dict[str, str]) -> tuple[int, bytes]:
        end = time.monotonic() + self._timeout_s
        where = {"data": form} if method == "POST" else {"params": form}
        with self._connected().stream(method, url, headers=self._headers(), **where) as response:  # type: ignore[arg-type]
            self._compare_clocks(response.headers.get("date", ""))
            parts: list[bytes] = []
            size = 0
            for part in response.iter_bytes():
                parts.append(part)
                size += len(part)
                if size > MOST_BYTES:
                    raise TroubleError("answer is too big", heavy=True)
                if time.monotonic() > end:
                    raise TroubleError(f"no answer in {self._timeout_s:g} s", heavy=True)
            return response.status_code, b"".join(parts)

    def _connected(self) -> httpx.Client:
        import httpx  # noqa: PLC0415 - as above

        if self._client is None:
            given = self._settings
            password = given.prometheus_password.get_secret_value() if given.prometheus_password else ""
            verify: ssl.SSLContext | bool = True
            if given.prometheus_ca is not None:
                try:
                    verify = trusting(given.prometheus_ca.expanduser())
                except (OSError, ssl.SSLError):
                    raise TroubleError("prometheus_ca: unreadable") from None
            self._client = httpx.Client(
                auth=(given.prometheus_user, password) if given.prometheus_user is not None else None,
                verify=verify,
                timeout=self._timeout_s,
                trust_env=not is_loopback(urlsplit(self._base).hostname or ""),  # no proxy leads back to this machine
            )
        return self._client

    def _headers(self) -> dict[str, str]:
        headers = {name: text.get_secret_value() for name, text in self._settings.prometheus_headers.items()}
        if self._settings.prometheus_token_file is not None:  # read each time: tokens are renewed while we run
            try:
                token = read_secret(self._settings.prometheus_token_file, "prometheus_token_file").strip()
            except GaugeError:
                raise TroubleError("token file is unreadable") from None
            headers["Authorization"] = f"Bearer {token}"
        return headers

    def _compare_clocks(self, date: str) -> None:
        self._clocks_compared = True  # as well as it ever will be
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
        return f"{status}: {_refusal(json.loads(body)).removeprefix('error: ')}"
    except (ValueError, RecursionError):
        return f"HTTP {status}"


def parse(body: bytes) -> QueryResult:
    """Read the answer to an instant or a range query; raises TroubleError for all that is none."""
    answer = _success(body)
    try:
        samples = tuple(
            Sample(_labels(series["metric"]), _number(at), _number(value))
            for series in answer["data"]["result"]
            for at, value in _values(series)
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        raise TroubleError("answer has no such shape") from None
    return QueryResult(samples, partial=bool(answer.get("warnings")) or answer.get("isPartial") is True)


def _values(series: dict[str, Any]) -> list[Any]:
    """Return a series' values; where it ended, some engines (VictoriaMetrics) give a NaN as one more sample."""
    if "values" not in series:
        return [series["value"]]
    return [pair for pair in series["values"] if pair[1] != "NaN"]


def _success(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        raise TroubleError("HTML, not JSON" if body.lstrip()[:1] == b"<" else "answer is not JSON") from None
    except RecursionError:
        raise TroubleError("answer is not JSON") from None
    if not isinstance(answer, dict) or answer.get("status") != "success":
        raise TroubleError(_refusal(answer))
    return answer


def _refusal(answer: Any) -> str:  # noqa: ANN401 - whatever JSON there was
    """Name an engine's complaint in a word, such as `bad_data` or `timeout`."""
    kind = answer.get("errorType") if isinstance(answer, dict) else None
    return f"error: {kind}" if isinstance(kind, str) and kind else "answer has no such shape"


def _labels(metric: dict[str, Any]) -> dict[str, str]:
    if not all(isinstance(text, str) for text in metric.values()):
        raise TypeError
    return dict(metric)


def _number(value: object) -> float:
    number = float(str(value))
    if not math.isfinite(number):
        raise TroubleError("NaN in the answer")
    return number
