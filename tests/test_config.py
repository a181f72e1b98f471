from __future__ import annotations

from pathlib import Path

import pytest

from claude_gauge.config import SECRET, load
from claude_gauge.errors import GaugeError


def _file(tmp_path: Path, text: str) -> dict[str, str]:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    return {"CLAUDE_GAUGE_CONFIG": str(path)}


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    """Each layer wins over the next, and each value knows its layer."""
    environ = _file(tmp_path, "redline = 1\nceiling_5h = 1\nnode = 'file'\n")
    config = load({"redline": "3"}, environ | {"CLAUDE_GAUGE_REDLINE": "2", "CLAUDE_GAUGE_CEILING_5H": "2"})
    rows = {name: (value, origin.split()[0]) for name, value, origin in config.rows()}

    assert rows["redline"] == ("3.0", "flag")
    assert rows["ceiling_5h"] == ("2", "environment")
    assert rows["node"] == ("file", "file")
    assert rows["tach"] == ("all", "default")


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"CLAUDE_GAUGE_REDLINE": "fast"}, ["CLAUDE_GAUGE_REDLINE", "'fast'", "number"]),
        ({"CLAUDE_GAUGE_REDLINE": "-1"}, ["CLAUDE_GAUGE_REDLINE", "'-1'", "greater than 0"]),
        ({"CLAUDE_GAUGE_REDLINE": "nan"}, ["CLAUDE_GAUGE_REDLINE", "'nan'"]),
        ({"CLAUDE_GAUGE_TACH": "most"}, ["CLAUDE_GAUGE_TACH", "'most'", "'fresh'"]),
        ({"CLAUDE_GAUGE_NODE": "a/b"}, ["CLAUDE_GAUGE_NODE", "'a/b'"]),
        ({"CLAUDE_GAUGE_NODE": "all"}, ["CLAUDE_GAUGE_NODE", "all nodes merged"]),
        ({"CLAUDE_GAUGE_BROKER": "http://pi"}, ["CLAUDE_GAUGE_BROKER", "mqtt://"]),
        ({"CLAUDE_GAUGE_BROKER": "mqtt://pi:99999"}, ["CLAUDE_GAUGE_BROKER", "ort"]),
        ({"CLAUDE_GAUGE_PROMETHEUS": "pi:9090"}, ["CLAUDE_GAUGE_PROMETHEUS", "http://"]),
        ({"CLAUDE_GAUGE_HTTP": "here"}, ["CLAUDE_GAUGE_HTTP", "'here'"]),
        ({"CLAUDE_GAUGE_CONFIG": "/no/such.toml"}, ["CLAUDE_GAUGE_CONFIG", "/no/such.toml"]),
    ],
)
def test_bad_value_is_named_with_its_place(environ: dict[str, str], words: list[str]) -> None:
    """An error names the setting as the person wrote it, the value, and what was expected."""
    with pytest.raises(GaugeError) as caught:
        load({}, environ)

    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_bad_file_is_named(tmp_path: Path) -> None:
    """A value of the file is reported with the file's path, broken TOML with its line, an unknown name as such."""
    for text, word in [("redline = 'x'", "redline in file"), ("redline = = 1", "line 1"), ("readline = 5", "readline")]:
        with pytest.raises(GaugeError) as caught:
            load({}, _file(tmp_path, text))

        assert word in str(caught.value)
        assert "settings.toml" in str(caught.value)


def test_password_in_the_url_is_refused_and_not_repeated() -> None:
    """A URL with a password is refused: a command line can be read by everyone; the error does not repeat it."""
    with pytest.raises(GaugeError) as caught:
        load({"broker": "mqtt://gauge:canary@pi"}, {})

    assert "--broker-password-file" in str(caught.value)
    assert "canary" not in str(caught.value)


def test_secrets_are_masked() -> None:
    """What `config` shows of a secret is that it is set."""
    config = load({}, {"CLAUDE_GAUGE_BROKER_PASSWORD": "canary", "CLAUDE_GAUGE_PROMETHEUS_HEADERS": "X-Tenant=canary"})
    shown = {name: value for name, value, _ in config.rows()}

    assert "canary" not in str(config.rows()) + repr(config)
    assert SECRET in shown["broker_password"]
    assert "X-Tenant" in shown["prometheus_headers"]


def test_password_from_a_file_loses_its_newline(tmp_path: Path) -> None:
    """A password file may end with a newline, as editors leave it."""
    path = tmp_path / "password"
    path.write_text("hunter2\n")

    assert load({"broker_password_file": str(path)}, {}).settings.password == "hunter2"


def test_lists_in_the_environment() -> None:
    """Lists are written with commas."""
    settings = load({}, {"CLAUDE_GAUGE_ALERTS": "0.8, 0.95"}).settings

    assert settings.alerts == (0.8, 0.95)


@pytest.mark.parametrize(
    "given",
    [
        {"broker": "tcp://me:canary@h:1883"},
        {"broker": "me:canary@h"},
        {"broker": "tcp://me:ca:nar@y/canary@h"},
        {"prometheus": "ftp://me:canary@h"},
    ],
)
def test_password_in_a_wrong_url_is_not_said(given: dict[str, object]) -> None:
    """Other programs take a password in the URL, by schemes that are not ours: the complaint keeps it."""
    with pytest.raises(GaugeError) as caught:
        load(given, {})

    assert "canary" not in str(caught.value)
    assert "********@h" in str(caught.value)
