"""The real OpenTelemetry collector with our own configuration, on free loopback ports."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Self

import httpx
from tests.support.net import HTTP, PATIENCE_S, free_port, wait_until
from tests.support.parts import part

CONFIG = Path(__file__).parents[2] / "broker/telemetry/collector.yaml"


class Collector:
    """One collector process; `shown` is what Prometheus scrapes of it."""

    def __init__(self, folder: Path, *more: str, without: str | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.http, self.grpc, self.shown, self.health = (free_port() for _ in range(4))
        ports = {
            "receivers::otlp::protocols::http": self.http,
            "receivers::otlp::protocols::grpc": self.grpc,
            "exporters::prometheus": self.shown,
            "extensions::health_check": self.health,
        }
        own = [f"yaml:{place}::endpoint: 127.0.0.1:{port}" for place, port in ports.items()]
        if without is not None:
            kept = [name for name in ("memory_limiter", "deltatocumulative", "batch") if name != without]
            own.append(f"yaml:service::pipelines::metrics::processors: [{', '.join(kept)}]")
        self._command = [str(part("collector/otelcol")), f"--config={CONFIG}"]
        self._command += [f"--config={each}" for each in [*own, *more]]
        self._log = folder / "collector.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def target(self) -> str:
        """What Prometheus is reported to scrape."""
        return f"127.0.0.1:{self.shown}"

    def send(self, body: object, path: str = "/v1/metrics") -> None:
        """Send it one export, as Claude Code does."""
        HTTP.post(f"http://127.0.0.1:{self.http}{path}", json=body, timeout=PATIENCE_S).raise_for_status()

    def page(self) -> str:
        """Return what it shows to Prometheus."""
        return HTTP.get(f"http://{self.target}/metrics", timeout=PATIENCE_S).text

    def _healthy(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()[-2000:]
        try:
            return HTTP.get(f"http://127.0.0.1:{self.health}/", timeout=2).is_success
        except httpx.HTTPError:
            return False

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        wait_until(self._healthy, "the collector to be healthy")
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE_S)
