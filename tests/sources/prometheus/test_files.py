"""Every configuration file, read by the program that it is for."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.support import ROOT
from tests.support.collector import Collector
from tests.support.parts import part
from tests.support.prometheus import NEW, OLD, promtool

from claude_gauge.sources.prometheus.dashboard import text as dashboard_text
from claude_gauge.sources.prometheus.increments import BASE, KEEP_S
from claude_gauge.sources.prometheus.rules import text

TELEMETRY = ROOT / "broker/telemetry"


def compose(*arguments: str, **environment: str) -> dict[str, Any]:
    """Return compose.yaml as Docker's own plugin reads it."""
    program = part("metrics/new/usr/libexec/docker/cli-plugins/docker-compose")
    done = subprocess.run(
        [program, "--file", ROOT / "compose.yaml", *arguments, "config", "--format", "json"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    read: dict[str, Any] = json.loads(done.stdout)
    return read


def test_rules_are_as_written() -> None:
    """rules.yml is what `claude-gauge otel rules` writes."""
    path = TELEMETRY / "rules.yml"
    before = path.read_text()
    path.write_text(text())

    assert before == text(), "rules.yml was out of date; it is written again, look at the difference"


def test_the_dashboard_is_as_written() -> None:
    """The dashboard's file is what `claude-gauge otel dashboard` writes."""
    path = TELEMETRY / "grafana/dashboards/claude-gauge.json"
    before = path.read_text()
    path.write_text(dashboard_text())

    assert before == dashboard_text(), "the dashboard was out of date; it is written again, look at the difference"


@pytest.mark.parametrize("kind", [OLD, NEW])
def test_promtool_checks_all(kind: str) -> None:
    """Prometheus's own tool finds no fault, and the rules give what their tests expect."""
    said = promtool(kind, "check", "config", str(TELEMETRY / "prometheus.yml"))
    promtool(kind, "test", "rules", str(ROOT / "tests/sources/prometheus/rules_test.yml"))

    assert "SUCCESS" in said


def test_vmalert_takes_the_rules(tmp_path: Path) -> None:
    """VictoriaMetrics' own tool evaluates the rules to the same sums, though it reads its records a moment later."""
    head, *entries = (ROOT / "tests/sources/prometheus/rules_test.yml").read_text().split("      - expr: ")
    reported = [head.replace("../../../broker/telemetry", str(TELEMETRY)).replace("promql", "metricsql")]
    for entry in entries:
        expected, empty_line, next_case = entry.partition("\n\n")
        kept = f"      - expr: {expected}\n" if expected.partition("\n")[0].endswith("added5h") else ""
        reported.append(kept + empty_line + next_case.replace("promql", "metricsql"))
    (tmp_path / "test.yml").write_text("".join(reported))
    command = [str(part("metrics/new/usr/bin/vmalert-tool")), "unittest", f"--files={tmp_path / 'test.yml'}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    assert "".join(reported).count("- expr: ") > 5
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_without_telemetry() -> None:
    """`docker compose up` alone starts the broker and nothing else."""
    assert list(compose()["services"]) == ["broker"]


def test_compose_is_closed_and_pinned() -> None:
    """Every image has its version, every port is this machine's, every service has a check where one is possible."""
    services = compose("--profile", "telemetry")["services"]

    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}
    assert all(
        re.fullmatch(r".+:v?\d+\.\d+\.\d+|claude-gauge:local", service["image"]) for service in services.values()
    )
    assert {name for name, service in services.items() if "healthcheck" not in service} == {"collector"}
    assert "password" not in json.dumps(services).lower().replace("broker_password_file", "")


def test_compose_gives_no_service_more_than_it_needs() -> None:
    """No service may write into its image, gain privileges, keep a capability or take all memory."""
    for name, service in compose("--profile", "telemetry")["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert int(service["mem_limit"]) <= 2**30, name


def test_compose_ports_and_node_can_be_moved() -> None:
    """Each published port has a variable, and so has the container's node, apart from this machine's own."""
    names = ["MQTT", "MQTTS", "WSS", "OTLP_GRPC", "OTLP_HTTP", "PROMETHEUS", "GRAFANA", "WEB"]
    moved = {f"CLAUDE_GAUGE_{name}_PORT": str(20_000 + number) for number, name in enumerate(names)}
    services = compose("--profile", "telemetry", CLAUDE_GAUGE_NODE="desk", CLAUDE_GAUGE_CONTAINER_NODE="box", **moved)[
        "services"
    ]
    ports = {port["published"] for service in services.values() for port in service.get("ports", [])}

    assert ports == set(moved.values())
    assert services["publisher"]["environment"]["CLAUDE_GAUGE_NODE"] == "box"
    assert "healthz" in " ".join(services["publisher"]["healthcheck"]["test"])


def test_compose_makes_no_folders_as_root() -> None:
    """Before `broker init` the broker fails with a sentence that names the folder, and Docker makes none."""
    volumes = compose()["services"]["broker"]["volumes"]
    made = [each["bind"].get("create_host_path", False) for each in volumes if "/own/" in each["source"]]

    assert made == [False, False]


def test_compose_opens_tls_only() -> None:
    """For needles elsewhere the TLS ports open, the plain one never."""
    ports = compose(CLAUDE_GAUGE_BROKER_BIND="0.0.0.0")["services"]["broker"]["ports"]

    assert {port["target"]: port["host_ip"] for port in ports} == {1883: "127.0.0.1", 8883: "0.0.0.0", 8884: "0.0.0.0"}


def test_compose_mounts_what_is_there() -> None:
    """Each mounted file is in the repository, or is made by `broker init`."""
    mounts = [
        Path(volume["source"])
        for service in compose("--profile", "telemetry")["services"].values()
        for volume in service.get("volumes", [])
        if volume["type"] == "bind"
    ]

    assert [path for path in mounts if not path.exists() and "own" not in path.parts] == []


def test_prometheus_keeps_what_is_asked_for() -> None:
    """The base of the oldest window, 8 days before 7.5 days, is within the retention; the docs say the same."""
    [retention] = [
        re.fullmatch(r"--storage.tsdb.retention.time=(\d+)d", word)
        for word in compose("--profile", "telemetry")["services"]["prometheus"]["command"]
        if "retention.time" in word
    ]
    assert retention is not None
    days = int(retention[1])

    assert days * 86400 >= KEEP_S + int(BASE.removesuffix("d")) * 86400
    assert f"**{days}\ndays**" in (ROOT / "docs/prometheus.md").read_text()


def test_versions_agree() -> None:
    """What is tested is what compose.yaml runs."""
    services = compose("--profile", "telemetry")["services"]
    collector = subprocess.run([part("collector/otelcol"), "--version"], capture_output=True, text=True, check=True)
    prometheus = promtool(NEW, "--version")

    assert services["collector"]["image"].rpartition(":")[2] in collector.stdout
    series = services["prometheus"]["image"].rpartition(":v")[2].rpartition(".")[0]
    assert f"version {series}." in prometheus


def test_services_are_closed_and_make_no_folders() -> None:
    """No service may write to its image, has a privilege or unbounded memory, or has Docker make what it mounts."""
    services = compose("--profile", "telemetry")["services"]
    mounted = [each for service in services.values() for each in service.get("volumes", ()) if each["type"] == "bind"]

    assert len(mounted) > len(services)
    assert [each["source"] for each in mounted if each["bind"].get("create_host_path", False)] == []
    for service in services.values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert int(service["mem_limit"]) > 0


def test_collector_takes_its_file(tmp_path: Path) -> None:
    """The collector runs with collector.yaml, on loopback unless set otherwise."""
    with Collector(tmp_path) as collector:
        page = collector.page()

    validated = subprocess.run(
        [part("collector/otelcol"), "validate", f"--config={TELEMETRY / 'collector.yaml'}"], check=False
    )
    assert page == "" or "claude" not in page
    assert validated.returncode == 0
