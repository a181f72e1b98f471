"""The web cluster's files, and the policy that they are shown under: nothing inline, nothing from elsewhere."""

from __future__ import annotations

import re
from functools import lru_cache
from http import HTTPStatus
from importlib.resources import files
from urllib.parse import parse_qs

from claude_gauge.outlets.web.answer import Answer, answer
from claude_gauge.outlets.web.request import Request

KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
WEBSOCKET = re.compile(r"(wss?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::\d{1,5})?)(?:/[^\s;,]*)?")


class Page:
    """Every file of the folder `assets`, by its path; the folder's `index.html` is at `/`."""

    def __init__(self) -> None:
        found = sorted(files("claude_gauge.outlets.web").joinpath("assets").iterdir(), key=lambda each: each.name)
        self._files = {each.name: each.read_bytes() for each in found if each.name.rpartition(".")[2] in KINDS}
        self.paths = tuple("/" if name == "index.html" else f"/{name}" for name in self._files)

    def answer(self, request: Request) -> Answer:
        """Answer with a file; the page itself may talk to the broker that its address names, and to no other."""
        return self._answer(request.path, _broker(request.query) if request.path == "/" else "")

    @lru_cache(maxsize=32)  # noqa: B019 - a page lives as long as the process
    def _answer(self, path: str, broker: str) -> Answer:
        name = path.lstrip("/") or "index.html"
        policy = ("Content-Security-Policy", csp(broker))
        return answer(HTTPStatus.OK, self._files[name], KINDS[name.rpartition(".")[2]], policy)


def csp(broker: str = "") -> str:
    """Write the Content-Security-Policy: own files, own server, and one broker where the page was told of one."""
    own = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; worker-src 'self'"
    return f"{own}; connect-src 'self'{' ' + broker if broker else ''}; base-uri 'none'; form-action 'none'"


def _broker(query: str) -> str:
    try:
        named = parse_qs(query, max_num_fields=8).get("broker", [""])[0]
    except ValueError:
        return ""
    found = WEBSOCKET.fullmatch(named)
    return found[1] if found else ""
