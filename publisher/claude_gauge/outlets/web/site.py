"""What is answered to which request: a function of the newest payload, never of a source."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from claude_gauge.contract.freshness import SILENCE_S, read
from claude_gauge.contract.history import History
from claude_gauge.outlets.web.answer import Answer, answer, as_json, error, events, unchanged
from claude_gauge.outlets.web.hosts import Hosts
from claude_gauge.outlets.web.page import Page
from claude_gauge.outlets.web.request import Request

log = logging.getLogger(__name__)
METHODS = ("GET", "HEAD")


class Site:
    """The newest payload and all that is told about it; used by the server's thread alone."""

    def __init__(
        self, hosts: Hosts, health: Callable[[], Mapping[str, Any]], scales: Mapping[str, Any], now: Callable[[], float]
    ) -> None:
        self.payload: bytes | None = None
        self.pushed_at = 0.0
        self.history = History()
        self._hosts = hosts
        self._health = health
        self.now = now
        page = Page()
        known = as_json({**scales, "silence_s": SILENCE_S})
        self._usage = error(
            HTTPStatus.SERVICE_UNAVAILABLE, "no payload yet: the sources are still read", ("Retry-After", "1")
        )
        self._roads: dict[str, Callable[[Request], Answer]] = {
            "/usage": lambda _: self._usage,
            "/events": lambda _: events(),
            "/history": lambda _: self._strip(),
            "/healthz": lambda _: self._healthz(),
            "/scales": lambda _: known,
            **dict.fromkeys(page.paths, page.answer),
        }

    def push(self, payload: bytes) -> None:
        """Take the newest payload."""
        self.payload, self.pushed_at = payload, self.now()
        self._usage = answer(HTTPStatus.OK, payload, "application/json")
        usage = read(payload)
        if usage is not None:
            self.history.add(self.pushed_at, usage.rate_1m, usage.window_5h_pct)

    @property
    def age(self) -> float | None:
        """Seconds since the newest payload came, None before the first."""
        return None if self.payload is None else max(0.0, self.now() - self.pushed_at)

    def answer(self, request: Request) -> Answer:
        """Answer one request."""
        if not self._hosts.ours(request.host):
            return error(HTTPStatus.MISDIRECTED_REQUEST, "this server does not answer to that Host; see http_hosts")
        road = self._roads.get(request.path)
        if road is None:
            return error(HTTPStatus.NOT_FOUND, f"nothing here; there is {', '.join(sorted(self._roads))}")
        if request.method not in METHODS:
            return error(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD", ("Allow", ", ".join(METHODS)))
        found = road(request)
        return unchanged(found) if request.if_none_match and _knows(request.if_none_match, found.etag) else found

    def _strip(self) -> Answer:
        strip = self.history.last(self.now())
        slices = [None if each is None else [round(each.rate), each.share and round(each.share, 3)] for each in strip]
        return as_json({"slice_s": self.history.slice_s, "slices": slices})

    def _healthz(self) -> Answer:
        try:
            told = dict(self._health())
        except Exception:
            log.exception("the publisher's health could not be told")
            told = {"health": "unknown"}
        age = self.age
        state = "starting" if age is None else "ok" if age < SILENCE_S else "stale"
        status = HTTPStatus.OK if state == "ok" else HTTPStatus.SERVICE_UNAVAILABLE
        return as_json({"status": state, "age_s": None if age is None else round(age, 1), **told}, status)


def _knows(if_none_match: str, etag: str) -> bool:
    known = {each.strip().removeprefix("W/") for each in if_none_match.split(",")}
    return bool(etag) and ("*" in known or etag in known)
