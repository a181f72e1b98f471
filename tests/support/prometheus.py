"""Real engines on free loopback ports: Prometheus old, new, with an OTLP receiver; VictoriaMetrics; with a past."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import httpx
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from tests.support.net import HTTP, PATIENCE_S, free_port, wait_until
from tests.support.parts import part

OLD, NEW, VICTORIA, OTLP = "old", "new", "victoria", "otlp"
TOKENS = "claude_code_token_usage_tokens_total"


@dataclass(frozen=True)
class Series:
    """One series of the past: its labels (`__name__` too) and its samples, (epoch seconds, value)."""

    labels: Mapping[str, str]
    samples: Sequence[tuple[float, float]] = field(default_factory=list)

    def text(self) -> Iterable[str]:
        """Write it as OpenMetrics has it, a line a sample."""
        inner = ",".join(f"{name}={json.dumps(text)}" for name, text in self.labels.items() if name != "__name__")
        for at, value in self.samples:
            yield f"{self.labels['__name__']}{{{inner}}} {value} {at}\n"


class Exporter:
    """What is scraped: counters of which each name is reported, with labels, and set at will."""

    def __init__(self) -> None:
        self.counters: dict[str, float] = {}
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.end_headers()
                self.wfile.write("".join(f"{name} {value}\n" for name, value in exporter.counters.items()).encode())

            def log_message(self, *_: object) -> None:
                """Be quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.target = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def set(self, **values: float) -> None:
        """Set counters: `a_output_opus=5`: session, kind and model of tokens, or a whole name."""
        for name, value in values.items():
            session, kind, model = name.split("_")
            labels = f'session_id="{session}",type="{kind}",model="claude-{model}-5-5"'
            self.counters[f"claude_code_token_usage_tokens_total{{{labels}}}"] = value


def open_metrics(past: Iterable[Series]) -> str:
    """Write a past as one OpenMetrics text."""
    by_name: dict[str, list[Series]] = {}
    for each in past:
        by_name.setdefault(each.labels["__name__"], []).append(each)
    lines = []
    for name, several in by_name.items():
        lines.append(f"# TYPE {name.removesuffix('_total')} counter\n")
        for each in several:
            lines.extend(each.text())
    return "".join([*lines, "# EOF\n"])


class Server:
    """One engine with its own data folder, its own port and, where given, targets that it scrapes."""

    def __init__(  # noqa: PLR0913 - each by name
        self,
        folder: Path,
        kind: str = NEW,
        *,
        targets: Sequence[str] = (),
        rules: Path | None = None,
        web: str | None = None,
        interval: str = "1s",
        flags: Sequence[str] = (),
        config: Mapping[str, object] | None = None,
    ) -> None:
        self.kind, self.port = kind, free_port()
        self._flags = list(flags)
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        whole = {
            "global": {"scrape_interval": interval, "evaluation_interval": interval},
            "rule_files": [str(rules)] if rules else [],
            "scrape_configs": [{"job_name": "claude-code", "static_configs": [{"targets": list(targets)}]}],
            **(config or {}),
        }
        (folder / "prometheus.yml").write_text(json.dumps(whole))
        if web is not None:
            (folder / "web.yml").write_text(web)
        self._web = web is not None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http{'s' if self._web else ''}://localhost:{self.port}"

    @property
    def pid(self) -> int:
        """The process id of the running engine."""
        assert self._process is not None
        return self._process.pid

    def fill(self, past: Iterable[Series]) -> Self:
        """Give it a past: Prometheus before its start, as blocks; VictoriaMetrics while it runs."""
        if self.kind == VICTORIA:
            body = "".join(line for each in past for line in _in_milliseconds(each)).encode()
            HTTP.post(f"{self.url}/api/v1/import/prometheus", content=body, timeout=PATIENCE_S).raise_for_status()
            HTTP.get(f"{self.url}/internal/force_flush", timeout=PATIENCE_S).raise_for_status()
            return self
        source = self._folder / "past.om"
        source.write_text(open_metrics(past))
        # It reads the whole source once for each block: one block of ten days instead of 2 hours each.
        blocks = ["tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=240h"]
        promtool(self.kind, *blocks, str(source), str(self._folder / "data"))
        return self

    def start(self) -> Self:
        """Start it and wait until it is ready."""
        data = self._folder / "data"
        if self.kind == VICTORIA:
            program = [str(part("metrics/new/usr/bin/victoria-metrics")), f"-httpListenAddr=127.0.0.1:{self.port}"]
            program += [f"-storageDataPath={data}", "-retentionPeriod=100y", "-search.disableCache"]
            program += [f"-promscrape.config={self._folder / 'prometheus.yml'}", "-promscrape.config.strictParse=false"]
        else:
            built = "prometheus-otlp/prometheus" if self.kind == OTLP else f"metrics/{self.kind}/usr/bin/prometheus"
            program = [str(part(built)), f"--web.listen-address=127.0.0.1:{self.port}"]
            program += [f"--config.file={self._folder / 'prometheus.yml'}", f"--storage.tsdb.path={data}"]
            program += ["--storage.tsdb.retention.time=100y", "--web.enable-lifecycle"]
            if self._web:
                program.append(f"--web.config.file={self._folder / 'web.yml'}")
        if self.kind == OTLP:
            program.append("--web.enable-otlp-receiver")
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen([*program, *self._flags], stdout=log, stderr=log)
        wait_until(self._ready, f"{self.kind} to be ready")
        return self

    def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text()[-2000:]
        if self._web:  # asks for a password before it says whether it is ready
            return "ready to receive web requests" in (self._folder / "log").read_text()
        try:
            return HTTP.get(f"{self.url}/-/ready", timeout=PATIENCE_S).is_success
        except httpx.HTTPError:
            return False

    def send(self, body: dict[str, Any]) -> None:
        """Send it one OTLP export of metrics, where it takes such."""
        path = "/opentelemetry/v1/metrics" if self.kind == VICTORIA else "/api/v1/otlp/v1/metrics"
        request = ParseDict(body, ExportMetricsServiceRequest())
        headers = {"Content-Type": "application/x-protobuf"}
        answer = HTTP.post(
            f"{self.url}{path}", content=request.SerializeToString(), headers=headers, timeout=PATIENCE_S
        )
        assert answer.is_success, answer.text

    def ask(self, query: str, at: float | None = None) -> list[dict[str, Any]]:
        """Ask it as anyone would."""
        form = {"query": query, "nocache": "1", **({} if at is None else {"time": str(at)})}
        answer = HTTP.get(f"{self.url}/api/v1/query", params=form, timeout=PATIENCE_S)
        assert answer.is_success, answer.text
        result: list[dict[str, Any]] = answer.json()["data"]["result"]
        return result

    def value(self, query: str, at: float | None = None) -> float | None:
        """Return the one value that it answers, None where there is none."""
        result = self.ask(query, at)
        return float(result[0]["value"][1]) if result else None

    def stop(self) -> None:
        """End it; safe when it is gone already."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(PATIENCE_S)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


@contextmanager
def filled(server: Server, past: Iterable[Series]) -> Iterator[Server]:
    """Run an engine that has a past, whichever comes first in its kind."""
    try:
        yield server.start().fill(past) if server.kind == VICTORIA else server.fill(past).start()
    finally:
        server.stop()


def _in_milliseconds(series: Series) -> Iterable[str]:
    scaled = Series(series.labels, [(round(at * 1000), value) for at, value in series.samples])
    return scaled.text()


def promtool(kind: str, *arguments: str) -> str:
    """Run promtool and return what it said; a failure fails the test with its words."""
    done = subprocess.run(
        [part(f"metrics/{kind}/usr/bin/promtool"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
