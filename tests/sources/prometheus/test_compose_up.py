"""compose.yaml brought up: its own services, mounts, network and checks; images made of this machine's programs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.containers.engine import docker, engine, has_image
from tests.sources.otlp.exports import samples
from tests.support import ROOT
from tests.support.net import PATIENCE_S, free_port, wait_until
from tests.support.parts import part

from claude_gauge.config import Settings
from claude_gauge.sources.prometheus.source import Prometheus

# One engine at a time: two would share the kernel's tables.
pytestmark = [pytest.mark.containers, pytest.mark.xdist_group("containers")]


def make_image(name: str, folder: Path, programs: dict[str, Path], *changes: str) -> None:
    """Make an image of these programs (path inside -> path here) and the libraries that they are linked to."""
    for inside, program in programs.items():
        linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
        libraries = {word: Path(word) for line in linked.splitlines() for word in line.split() if word.startswith("/")}
        for path, real in {inside: program, **libraries}.items():
            target = folder / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(real.resolve(), target)
    for place in ("etc", "tmp", "prometheus"):
        (folder / place).mkdir(exist_ok=True)
        (folder / place).chmod(0o777)
    (folder / "etc/passwd").write_text("nobody:x:65534:65534::/:/bin/sh\n")
    archive = shutil.make_archive(f"{folder}-image", "tar", folder)
    done = docker("import", *(word for change in changes for word in ("--change", change)), archive, name)
    assert done.returncode == 0, done.stderr


class Stack:
    """compose.yaml with ports of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.otlp, self.prometheus = free_port(), free_port()
        ports = {"collector": [f"127.0.0.1:{self.otlp}:4318"], "prometheus": [f"127.0.0.1:{self.prometheus}:9090"]}
        own = "".join(f"  {name}:\n    ports: !override {json.dumps(published)}\n" for name, published in ports.items())
        (folder / "ports.yaml").write_text(f"services:\n{own}")
        program = part("metrics/new/usr/libexec/docker/cli-plugins/docker-compose")
        self._command = [str(program), "--project-name", f"gauge{os.getpid()}", "--project-directory", str(ROOT)]
        self._command += ["-f", str(ROOT / "compose.yaml"), "-f", str(folder / "ports.yaml"), "--profile", "telemetry"]

    def run(self, *arguments: str) -> str:
        """Run compose's plugin."""
        done = subprocess.run([*self._command, *arguments], capture_output=True, text=True, check=False, timeout=200)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """Collector and Prometheus, up and healthy."""
    running = Stack(tmp_path)
    services = json.loads(running.run("config", "--format", "json"))["services"]
    with engine():
        prometheus, collector = services["prometheus"]["image"], services["collector"]["image"]
        made = [name for name in (prometheus, collector) if not has_image(name)]
        if prometheus in made:
            tools = {path: Path(shutil.which(Path(path).name) or path) for path in ("/bin/sh", "/bin/wget")}
            programs = {"/bin/prometheus": part("metrics/new/usr/bin/prometheus"), **tools}
            make_image(prometheus, tmp_path / "p", programs, 'ENTRYPOINT ["/bin/prometheus"]', "USER nobody")
        if collector in made:
            programs = {"/otelcol-contrib": part("collector/otelcol")}
            make_image(collector, tmp_path / "c", programs, 'ENTRYPOINT ["/otelcol-contrib"]', "USER 10001")
        try:
            running.run("up", "--detach", "--wait", "--no-build", "--pull", "never", "collector", "prometheus")
            yield running
        finally:
            running.run("down", "--volumes", "--timeout", "1")
            docker("image", "rm", *made)  # nobody should take a stand-in for the real one


def test_up(stack: Stack) -> None:
    """Exports go into the collector's container, and the source finds the true sum in Prometheus's, rules as well."""
    for name in ("json_cumulative", "json_delta", "json_agent"):
        for path, body in samples(name):
            httpx.post(f"http://127.0.0.1:{stack.otlp}{path}", json=body, timeout=PATIENCE_S).raise_for_status()
    source = Prometheus(Settings(prometheus=f"http://127.0.0.1:{stack.prometheus}", prometheus_interval=1))
    source.start(lambda: None)

    def tokens() -> int | None:
        block = source.read(time.time()).block
        return block.tokens if block else None

    try:
        wait_until(lambda: tokens() == 2 * 25_191 + 36_751, "all tokens")
        query = {"query": "sum(claude_gauge:tokens:added5m)"}
        wait_until(
            lambda: "87133" in httpx.get(f"http://127.0.0.1:{stack.prometheus}/api/v1/query", params=query).text,
            "the recording rules",
            60,
        )
    finally:
        source.stop()
