"""The web cluster's files, and the policy that they are shown under: nothing inline, nothing from elsewhere."""

from __future__ import annotations

import re
from functools import lru_cache
from http import HTTPStatus
from importlib.resources import files

from claude_gauge.system.http.messages import Answer, Request, answer

KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "webmanifest": "application/manifest+json",
}
POLICY = (
    "Content-Security-Policy",
    "; ".join(
        [
            "default-src 'none'",
            *(f"{kind}-src 'self'" for kind in ("script", "style", "img", "worker", "manifest", "connect")),
            "base-uri 'none'",
            "form-action 'none'",
        ]
    ),
)
_ARC = 108.4  # length of the icon's dial, in its own units
_SHARE = re.compile(r"\d{1,3}")


class Page:
    """Every file of the folder `assets`, by its path; the folder's `index.html` is at `/`."""

    def __init__(self) -> None:
        found = sorted(files("claude_gauge.outlets.web").joinpath("assets").iterdir(), key=lambda each: each.name)
        self._files = {each.name: each.read_bytes() for each in found if each.name.rpartition(".")[2] in KINDS}
        self.paths = (*("/" if name == "index.html" else f"/{name}" for name in self._files), "/state.svg")

    def answer(self, request: Request) -> Answer:
        """Answer with a file, or with the icon that shows a state."""
        if request.path == "/state.svg":
            return _state(request.option("show"))
        return self._answer(request.path)

    @lru_cache(maxsize=32)  # noqa: B019 - a page lives as long as the process
    def _answer(self, path: str) -> Answer:
        name = path.lstrip("/") or "index.html"
        return answer(HTTPStatus.OK, self._files[name], KINDS[name.rpartition(".")[2]], POLICY)


@lru_cache(maxsize=128)
def _state(show: str) -> Answer:
    """Draw the tab's icon: the share of the 5-hour window in percent on its dial, or a struck-out dial for stale."""
    share = min(100, int(show)) if _SHARE.fullmatch(show) else None
    colour = "#8a929b" if share is None else "#ff4d4f" if share >= 80 else "#f5a623" if share >= 60 else "#2fbf71"  # noqa: PLR2004 - the dial's zones
    length = 0.0 if share is None else _ARC * share / 100
    text = "?" if share is None else str(share)
    size = 30 if len(text) < 3 else 23  # noqa: PLR2004 - "100"
    drawn = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64"><circle cx="32" cy="32" r="32" fill="#12151a"/>'
        '<g fill="none" stroke-width="8"><path d="M13.6 50.4A26 26 0 1 1 50.4 50.4" stroke="#343a42"/>'
        f'<path d="M13.6 50.4A26 26 0 1 1 50.4 50.4" stroke="{colour}" stroke-dasharray="{length:.1f} 200"/></g>'
        f'<text x="32" y="43" fill="#ece7d8" font-family="Arial,sans-serif" font-weight="700" font-size="{size}" '
        f'text-anchor="middle">{text}</text></svg>'
    )
    return answer(HTTPStatus.OK, drawn.encode(), KINDS["svg"], POLICY)
