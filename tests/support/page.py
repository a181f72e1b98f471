"""The web cluster in Debian's Chromium, and what a person would see there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, TimeoutError, sync_playwright  # noqa: A004
from tests.support.net import PATIENCE_S

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.violatedDirective + " " + event.blockedURI));
"""  # noqa: E501 - one statement


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Chromium without a window."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "Chromium is missing: run scripts/setup"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


class Cluster:
    """One tab that shows the cluster; remembers every complaint and every request."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page: Page = context.new_page()
        self.page.set_default_timeout(PATIENCE_S * 1000)
        self.page.add_init_script(WATCH)
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"dialog {dialog.message}"))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(url)

    def live(self) -> None:
        """Wait until the page says that it is live; fail with what it says instead."""
        try:
            self.page.wait_for_selector("html:not([data-stale]) .gauge")
        except TimeoutError as error:
            raise AssertionError(f"{self.page.inner_text('#stale')!r}; {self.complaints}; {self.requests}") from error

    def stale(self, why: str = "") -> str:
        """Wait until the page says that it is stale, and return its warning."""
        self.page.wait_for_function(
            "why => !document.getElementById('stale').hidden && document.getElementById('stale').textContent.includes(why)",  # noqa: E501 - one expression
            arg=why,
        )
        return self.page.inner_text("#stale")

    def gauge(self, field: str) -> str:
        """Return what a screen reader says of a gauge."""
        return str(self.page.get_attribute(f".gauge[data-field={field}]", "aria-valuetext"))

    def shows(self, field: str, text: str) -> None:
        """Wait until a gauge shows this text."""
        self.page.wait_for_selector(f'.gauge[data-field={field}][aria-valuetext="{text}"]')

    def angle(self, field: str) -> float:
        """Return the angle of a gauge's needle once it rests."""
        return float(
            self.page.evaluate(
                """async (field) => {
                  const gauge = document.querySelector(`.gauge[data-field=${field}]`);
                  let before, same = 0;
                  while (same < 5) {
                    await new Promise(requestAnimationFrame);
                    same = gauge.dataset.angle === before ? same + 1 : 0;
                    before = gauge.dataset.angle;
                  }
                  return gauge.querySelector(".needle").getAttribute("transform").match(/rotate\\((\\S+)/)[1];
                }""",
                field,
            )
        )

    def text(self, field: str) -> str:
        """Return the text of a field below the gauges."""
        return self.page.inner_text(f"main dd[data-field={field}], header [data-field={field}]")

    def lamps(self) -> dict[str, bool]:
        """Return which lamps shine, by the text on them."""
        script = "lamps => lamps.map(lamp => [lamp.querySelector('.legend').lastChild.textContent, lamp.classList.contains('on')])"  # noqa: E501 - one expression
        found: list[list[Any]] = self.page.eval_on_selector_all("#lamps li", script)
        return {str(name): bool(on) for name, on in found}

    def violations(self) -> list[str]:
        """Return what the Content-Security-Policy stopped."""
        return list(self.page.evaluate("window.violations"))
