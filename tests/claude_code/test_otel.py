"""`claude-gauge otel`, run as a person runs it, in a home of the test's own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.support.publisher import call

from claude_gauge.claude_code.telemetry import Temporality, variables
from claude_gauge.sources.prometheus.rules import text

SETTINGS = '{\n  "model": "opus",  \n  "env": {"FOO": "bar"},\n  "odd":   [1,2]\n}\n'


def gauge(*arguments: str, answer: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command; the environment is the test's own."""
    return call("otel", *arguments, env={**os.environ, "XDG_STATE_HOME": str(Path.home() / "state")}, typed=answer)


@pytest.fixture
def settings() -> Path:
    """Claude Code's settings file in the test's home."""
    path = Path.home() / ".claude/settings.json"
    path.parent.mkdir()
    path.write_text(SETTINGS)
    return path


def env_of(path: Path) -> dict[str, Any]:
    """Return the environment that Claude Code would take from there."""
    env: dict[str, Any] = json.loads(path.read_text()).get("env", {})
    return env


def test_env_is_a_shells(tmp_path: Path) -> None:
    """`eval "$(claude-gauge otel env)"` sets it all."""
    printed = gauge("env", "--endpoint", "http://here:4318/a b").stdout
    shell = subprocess.run(["sh", "-c", f"{printed} env"], capture_output=True, text=True, check=True, cwd=tmp_path)
    got = dict(line.split("=", 1) for line in shell.stdout.splitlines() if "=" in line)

    assert {name: got[name] for name in variables()} == variables("http://here:4318/a b")


@pytest.mark.parametrize("command", ["env", "install"])
@pytest.mark.parametrize(
    "endpoint", ["localhost:4317", "ftp://here", "http://", "http://a b", "http://me:canary@h:99999"]
)
def test_endpoint_that_no_exporter_takes(command: str, endpoint: str) -> None:
    """An address that telemetry could never reach is refused before anything is written, and never repeated."""
    done = gauge(command, "--endpoint", endpoint)

    assert done.returncode == 2
    assert done.stderr.startswith("error: --endpoint: should be ")
    assert "canary" not in done.stderr


def test_what_counts_wrongly_is_set_right() -> None:
    """Deltas, which survive a resumed session, and a series per session: what the figures stand on."""
    wanted = variables()

    assert wanted["OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"] == "delta"
    assert variables(temporality=Temporality.CUMULATIVE) == {
        **wanted, "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "cumulative"
    }  # fmt: skip
    assert "PREFERENCE=cumulative" in gauge("env", "--temporality", "cumulative").stdout
    assert wanted["OTEL_METRICS_INCLUDE_SESSION_ID"] == "true"
    assert wanted["CLAUDE_CODE_ENABLE_TELEMETRY"] == "1"


def test_install_keeps_the_rest(settings: Path) -> None:
    """The environment is added, all else stays to the byte, and the file before is kept."""
    done = gauge("install", "--yes")

    assert done.returncode == 0, done.stderr
    assert env_of(settings) == {"FOO": "bar", **variables()}
    assert settings.read_text().startswith('{\n  "model": "opus",  \n')
    assert '"odd":   [1,2]\n}\n' in settings.read_text()
    assert [path.read_text() for path in settings.parent.glob("*before*")] == [SETTINGS]


def test_install_twice(settings: Path) -> None:
    """The second time there is nothing to do."""
    gauge("install", "--yes")
    first = settings.read_bytes()
    second = gauge("install", "--yes")

    assert "Nothing to do" in second.stdout
    assert settings.read_bytes() == first


def test_uninstall_gives_back(settings: Path) -> None:
    """After install and uninstall the settings say what they said."""
    gauge("install", "--yes")
    done = gauge("uninstall", "--yes")

    assert done.returncode == 0, done.stderr
    assert json.loads(settings.read_text()) == json.loads(SETTINGS)
    assert "Nothing to do" in gauge("uninstall", "--yes").stdout


def test_asks_first(settings: Path) -> None:
    """Without a yes nothing is written; what would be is shown."""
    done = gauge("install", answer="n\n")

    assert done.returncode == 1
    assert "+" in done.stdout
    assert "OTEL_METRICS_INCLUDE_SESSION_ID" in done.stdout
    assert settings.read_text() == SETTINGS


def test_somebody_elses_telemetry(settings: Path) -> None:
    """Telemetry that goes to a company's collector is not taken away unasked, and is given back."""
    theirs = {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector.example:4318", "OTEL_METRICS_EXPORTER": "otlp"}
    settings.write_text(json.dumps({"env": theirs}))
    refused = gauge("install", "--yes")
    kept = env_of(settings)
    forced = gauge("install", "--yes", "--force")
    taken = env_of(settings)
    gauge("install", "--yes", "--endpoint", "http://127.0.0.1:9999")
    moved = env_of(settings)
    gauge("uninstall", "--yes")

    assert refused.returncode == 1
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in refused.stderr
    assert "--force" in refused.stderr
    assert kept == theirs
    assert forced.returncode == 0, forced.stderr
    assert taken == variables()
    assert moved == variables("http://127.0.0.1:9999")
    assert env_of(settings) == theirs


def test_what_was_changed_since_stays(settings: Path) -> None:
    """A variable that was changed by hand after the install is not ours any more."""
    gauge("install", "--yes")
    settings.write_text(settings.read_text().replace('"10000"', '"5000"'))
    gauge("uninstall", "--yes")

    assert env_of(settings) == {"FOO": "bar", "OTEL_METRIC_EXPORT_INTERVAL": "5000"}


def test_no_settings_yet() -> None:
    """Where there is no settings.json one is made."""
    done = gauge("install", "--yes")

    assert done.returncode == 0, done.stderr
    assert env_of(Path.home() / ".claude/settings.json") == variables()


def test_broken_settings(settings: Path) -> None:
    """A broken settings.json is left alone, and the error names it."""
    settings.write_text('{"env": ')
    done = gauge("install", "--yes")

    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert str(settings) in done.stderr
    assert settings.read_text() == '{"env": '


@pytest.mark.parametrize(
    "name",
    [
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
        "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_EXPORTER_OTLP_LOGS_HEADERS",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        "OTEL_METRICS_EXPORTER",
    ],
)
def test_what_outranks_or_rides_along(settings: Path, name: str) -> None:
    """Each variable that would outrank ours, or go along to us, stops the install; by force it goes, and comes back."""
    before = json.dumps({"env": {"A": "1", name: "canary", "B": "2"}}, indent=3)
    settings.write_text(before)
    refused = gauge("install", "--yes")
    assert (refused.returncode, settings.read_text()) == (1, before)
    assert name in refused.stderr
    assert "canary" not in refused.stderr
    forced = gauge("install", "--yes", "--force")
    assert forced.returncode == 0, forced.stderr
    assert env_of(settings) == {"A": "1", "B": "2", **variables()}
    assert gauge("install", "--yes").returncode == 0
    gauge("uninstall", "--yes")

    assert settings.read_text() == before


def test_traces_are_nobodys_concern(settings: Path) -> None:
    """Where traces go neither outranks metrics and logs nor rides along with them."""
    settings.write_text('{"env": {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://traces.example"}}')

    assert gauge("install", "--yes").returncode == 0


def test_env_that_is_no_object(settings: Path) -> None:
    """An `env` of another shape is refused, never replaced."""
    for env in ("[]", '"A=1"', "null", "3"):
        settings.write_text(f'{{"env": {env}}}')
        for command in ("install", "uninstall"):
            done = gauge(command, "--yes")
            assert (done.returncode, settings.read_text()) == (1, f'{{"env": {env}}}')
            assert "env is no object" in done.stderr


def test_uninstall_takes_only_what_install_put_in(settings: Path) -> None:
    """What the person set themselves stays, also where it is what we would have set; without an install, all of it."""
    theirs = json.dumps({"env": variables()})
    settings.write_text(theirs)
    assert "Nothing to do" in gauge("uninstall", "--yes").stdout
    assert settings.read_text() == theirs
    settings.write_text('{"env": {"OTEL_LOGS_EXPORTER": "otlp"}, "a":1}')
    gauge("install", "--yes")
    gauge("uninstall", "--yes")

    assert settings.read_text() == '{"env": {"OTEL_LOGS_EXPORTER": "otlp"}, "a":1}'


def test_replaced_value_that_the_person_set_anew(settings: Path) -> None:
    """A variable that was set again after the install stays as it is; the rest is given back."""
    settings.write_text(json.dumps({"env": {"OTEL_METRICS_EXPORTER": "console", "OTEL_LOGS_EXPORTER": "none"}}))
    gauge("install", "--yes", "--force")
    content = json.loads(settings.read_text())
    content["env"]["OTEL_METRICS_EXPORTER"] = "prometheus"
    settings.write_text(json.dumps(content))
    gauge("uninstall", "--yes")

    assert env_of(settings) == {"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_LOGS_EXPORTER": "none"}


@pytest.mark.parametrize("text", ["", "{}", '{"env":{}}', '{"env": { },"env":{"B":"1"}}', '{\t"model" : "opus"}\n\n'])
def test_install_and_uninstall_is_nothing(settings: Path, text: str) -> None:
    """After both the file has the very bytes of before."""
    settings.write_text(text)
    gauge("install", "--yes")
    gauge("uninstall", "--yes")

    assert settings.read_text() == text


def test_several_folders_change_together(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With several config folders all change or none: where telemetry of one goes elsewhere, or it can't be written."""
    second = Path.home() / "second" / "settings.json"
    second.parent.mkdir()
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", f"{settings.parent},{second.parent}")
    second.write_text('{"env": {"OTEL_EXPORTER_OTLP_HEADERS": "k=v"}}')
    assert gauge("install", "--yes").returncode == 1
    assert settings.read_text() == SETTINGS
    second.write_text("{}")
    blocked = Path.home() / "state" / "claude-gauge" / "otel.json"
    blocked.mkdir(parents=True)
    assert gauge("install", "--yes").returncode == 1
    assert (settings.read_text(), second.read_text()) == (SETTINGS, "{}")
    blocked.rmdir()
    assert gauge("install", "--yes").returncode == 0

    assert env_of(second) == variables()


def test_numbers_are_what_they_say(settings: Path) -> None:
    """A number or a truth value that says what we want is no rival; it is given back as it was."""
    before = '{"env": {"OTEL_METRIC_EXPORT_INTERVAL": 10000, "OTEL_METRICS_INCLUDE_SESSION_ID": true}}'
    settings.write_text(before)
    assert gauge("install", "--yes").returncode == 0
    gauge("uninstall", "--yes")

    assert settings.read_text() == before


def test_helper_that_makes_headers(settings: Path) -> None:
    """Headers that a helper makes for somebody's endpoint stop the install as headers in the environment do."""
    settings.write_text('{"otelHeadersHelper": "/opt/vendor/headers.sh"}')
    refused = gauge("install", "--yes")

    assert refused.returncode == 1
    assert "otelHeadersHelper" in refused.stderr
    assert gauge("install", "--yes", "--force").returncode == 0
    assert gauge("install", "--yes").returncode == 0
    gauge("uninstall", "--yes")
    assert settings.read_text() == '{"otelHeadersHelper": "/opt/vendor/headers.sh"}'


def test_managed_telemetry_is_reported(settings: Path) -> None:
    """Telemetry that managed settings send elsewhere goes before ours: that is reported, by names alone."""
    managed = settings.with_name("remote-settings.json")
    managed.write_text('{"env": {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://canary.example"}}')
    done = gauge("install", "--yes")

    assert "managed settings" in done.stderr
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in done.stderr
    assert "canary" not in done.stderr


def test_shells_own_telemetry_is_reported(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this shell exports and Claude Code would heed besides is named, without its value."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://canary.example")
    done = gauge("install", "--yes")

    assert settings.exists()
    assert "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT" in done.stderr
    assert "canary" not in done.stderr


def test_rules() -> None:
    """`otel rules` prints the recording rules."""
    assert gauge("rules").stdout == text()
