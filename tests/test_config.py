from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from tests.support import ROOT

from claude_gauge.commands.flags import EVERY
from claude_gauge.config import Settings, is_secret, load, read_secret
from claude_gauge.errors import GaugeError, SettingError
from claude_gauge.system.urls import SECRET


def _file(tmp_path: Path, text: str) -> dict[str, str]:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    return {"CLAUDE_GAUGE_CONFIG": str(path)}


def _complaint(flags: dict[str, object]) -> str:
    """What is said of flags; empty where they are taken."""
    try:
        load(flags, {})
    except GaugeError as error:
        return str(error)
    return ""


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
        ({"CLAUDE_GAUGE_REDLINE": "inf"}, ["CLAUDE_GAUGE_REDLINE", "'inf'", "up to"]),
        ({"CLAUDE_GAUGE_CEILING_5H": "9" * 20}, ["CLAUDE_GAUGE_CEILING_5H", "up to"]),
        ({"CLAUDE_GAUGE_TACH": "most"}, ["CLAUDE_GAUGE_TACH", "'most'", "'fresh'"]),
        ({"CLAUDE_GAUGE_NODE": "a/b"}, ["CLAUDE_GAUGE_NODE", "'a/b'"]),
        ({"CLAUDE_GAUGE_NODE": "all"}, ["CLAUDE_GAUGE_NODE", "all nodes merged"]),
        ({"CLAUDE_GAUGE_BROKER": "http://pi"}, ["CLAUDE_GAUGE_BROKER", "mqtt://"]),
        ({"CLAUDE_GAUGE_BROKER": "mqtt://pi:99999"}, ["CLAUDE_GAUGE_BROKER", "ort"]),
        ({"CLAUDE_GAUGE_PROMETHEUS": "pi:9090"}, ["CLAUDE_GAUGE_PROMETHEUS", "http://"]),
        ({"CLAUDE_GAUGE_HTTP": "here"}, ["CLAUDE_GAUGE_HTTP", "'here'"]),
        ({"CLAUDE_GAUGE_HTTP": "::1:8080"}, ["CLAUDE_GAUGE_HTTP", "IPv6", "[ ]"]),
        ({"CLAUDE_GAUGE_HTTP": "http://localhost:8080"}, ["CLAUDE_GAUGE_HTTP", "not a URL"]),
        ({"CLAUDE_GAUGE_OTLP": "http://0.0.0.0:4318"}, ["CLAUDE_GAUGE_OTLP", "not a URL"]),
        ({"CLAUDE_GAUGE_WAITING_MINUTES": "soon"}, ["CLAUDE_GAUGE_WAITING_MINUTES", "a number of minutes"]),
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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("redline = true", "redline in file|should be a number"),
        ("alerts = [true]", "alerts in file|a number from 0"),
        ("node = false", "node in file|should be letters"),
        ("[claude_gauge]\nredline = 5", "no sections|leave out [claude_gauge]"),
        ("redline = 1\nredline = 2", "a setting stands there twice"),
        ('state_dir = "C:\\Users\\me"', "line 1|single quotes"),
    ],
)
def test_what_people_write_into_the_file(tmp_path: Path, text: str, words: str) -> None:
    """A section, a doubled setting, a Windows path and a yes for a number are each named as what they are."""
    with pytest.raises(SettingError) as caught:
        load({}, _file(tmp_path, text))

    assert [word for word in words.split("|") if word not in str(caught.value)] == []


@pytest.mark.parametrize("around", ["{}\r", " {} ", "\t{}\r\n"])
def test_line_ends_of_a_file_of_variables(around: str) -> None:
    """Blanks and line ends around a value, as a file with Windows' line ends leaves them, are no part of it."""
    given = {"SOURCE": "otlp", "TACH": "fresh", "LOG_FORMAT": "json", "NODE": "desk", "STATE_DIR": "/x", "REDLINE": "5",
             "BROKER": "mqtt://h", "HTTP": "off", "ALERTS": "0.5", "CCUSAGE": "/c", "BROKER_PASSWORD": "p"}  # fmt: skip
    plain, padded = (
        load({}, {f"CLAUDE_GAUGE_{name}": text.format(value) for name, value in given.items()}).settings
        for text in ("{}", around)
    )

    assert padded == plain


def test_one_share_needs_no_brackets(tmp_path: Path) -> None:
    """A single threshold may be written as a number, in the file as in the environment."""
    assert load({}, _file(tmp_path, "alerts = 0.8")).settings.alerts == (0.8,)
    assert load({}, {"CLAUDE_GAUGE_ALERTS": "0.8"}).settings.alerts == (0.8,)


@pytest.mark.parametrize("path", ["", " "])
def test_empty_config_is_no_folder(path: object) -> None:
    """An empty `--config` is reported as that, not as the folder in which one stands."""
    with pytest.raises(SettingError, match="--config is empty"):
        load({"config": path}, {})


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


@pytest.mark.parametrize("written", [b"hunter2", b"hunter2\n", b"\xef\xbb\xbfhunter2\r\n"])
def test_password_from_a_file(tmp_path: Path, written: bytes) -> None:
    """A password file may end with a newline and begin with a byte order mark, as editors leave it."""
    path = tmp_path / "password"
    path.write_bytes(written)

    assert load({"broker_password_file": str(path)}, {}).settings.password == "hunter2"


@pytest.mark.parametrize(
    ("written", "said"),
    [(b"", "is empty"), (b"\n", "is empty"), (b"user\nhunter2\n", "more than one line"), (b"\xff\xfeh", "not UTF-8")],
)
def test_file_that_holds_no_password(tmp_path: Path, written: bytes, said: str) -> None:
    """A secret's file that is empty, has several lines or is no text is named; its content is not shown."""
    path = tmp_path / "password"
    path.write_bytes(written)
    with pytest.raises(GaugeError, match=said) as caught:
        read_secret(path, "broker_password_file")

    assert str(path) in str(caught.value)
    assert "hunter2" not in str(caught.value)


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


CANARY = "canary-hunter2"


@pytest.mark.parametrize("name", list(Settings.model_fields))
@pytest.mark.parametrize(
    "value",
    [
        f"mqtt//user:{CANARY}@host",
        f"user:{CANARY}",
        f"mqtt://user:{CANARY}",
        f"mqtt://user:{CANARY}/x@host",
        f"http://u:{CANARY}@[::1",
        f"http://a:{CANARY}@[::1]:99999/?token={CANARY}",
        f"tcp://host?password={CANARY}",
        f"http://host/?token={CANARY}",
        f"mqtt://host#{CANARY}",
        f"mqtt://user%3A{CANARY}@host",
        [f"u:{CANARY}@h"],
        {"Authorization": CANARY},
    ],
)
def test_wrong_value_is_never_repeated_where_it_may_be_a_secret(name: str, value: object) -> None:
    """Whatever setting a URL with a password, a list or a table is given to by mistake: the complaint hides it."""
    assert CANARY not in _complaint({name: value})


@pytest.mark.parametrize("name", ["broker", "prometheus", "ccusage_mcp"])
@pytest.mark.parametrize(
    "value",
    [
        f"mqtt://host -P {CANARY}",
        f"mqtt://me {CANARY}@host",
        f"-h host -P {CANARY}",
        f"host user=me password={CANARY}",
        f"host;password={CANARY}",
        f"mqtt://user/{CANARY}@host",
        f"mqtt://host/{CANARY}",
        f"http:// {CANARY}",
    ],
)
def test_password_beside_a_url(name: str, value: str) -> None:
    """What stands where a URL should is repeated up to where its host ends."""
    said = _complaint({name: value})

    assert said
    assert CANARY not in said


@pytest.mark.parametrize("url", [f"wss://me@h/mqtt?token={CANARY}", f"ws://h/mqtt?{CANARY}"])
def test_token_in_a_url(url: str, tmp_path: Path) -> None:
    """A token in a URL's query is used, and shown nowhere; a file with it is for its owner alone."""
    path = tmp_path / "config.toml"
    path.write_text(f'broker = "{url}"\nccusage_mcp = "https://{CANARY}@h/mcp?key={CANARY}"\n')
    path.chmod(0o644)
    config = load({"config": path}, {})

    assert str(config.settings.broker) == url
    assert CANARY not in str(config.rows())
    assert "h/mqtt?********" in str(config.rows())
    assert "chmod 600" in str(config.notes)


def test_password_in_place_of_its_file() -> None:
    """A password that was given as its file's name is not repeated."""
    with pytest.raises(GaugeError, match="broker_password_file: No such file") as caught:
        _ = load({"broker_password_file": CANARY}, {}).settings.password

    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "right"),
    [
        ("broker_pasword", "broker_password"),
        ("broker-password-file", "broker_password_file"),
        ("Redline", "redline"),
        ("cieling_5h", "ceiling_5h"),
        ("promeheus", "prometheus"),
        ("mqtt_host", "broker"),
        ("mqtt_password", "broker_password"),
        ("broker_user", "broker"),
        ("prometheus_url", "prometheus"),
        ("http_port", "http"),
    ],
)
def test_mistyped_name_in_the_file(tmp_path: Path, written: str, right: str) -> None:
    """A name that is no setting is reported with its nearest right one, and its value is not: it may be a password."""
    with pytest.raises(GaugeError) as caught:
        load({}, _file(tmp_path, f'{written} = "{CANARY}"'))

    assert f"{written} is no setting; did you mean {right}?" in str(caught.value)
    assert CANARY not in str(caught.value)


def test_mistyped_name_in_the_environment() -> None:
    """A variable that looks like a setting and is none is reported, with the nearest right one, without its value."""
    config = load({}, {"CLAUDE_GAUGE_BROKR": CANARY, "CLAUDE_GAUGE_PARTS": "x", "CLAUDE_GAUGE_WIFI_PASSWORD": "x"})

    assert config.notes == ("CLAUDE_GAUGE_BROKR is no setting; did you mean CLAUDE_GAUGE_BROKER?",)


@pytest.mark.parametrize(
    "name", ["HTTP_PORT", "BROKER_PORT", "ALERT_COMAND", "DEMO_MODE", "LOAD", "CONTAINER", "GID", "WEB_BIND"]
)
def test_names_beside_those_of_the_project(name: str) -> None:
    """A name that only resembles one of another part of the project is no setting, either."""
    (note,) = load({}, {f"CLAUDE_GAUGE_{name}": "x"}).notes

    assert note.startswith(f"CLAUDE_GAUGE_{name} is no setting")


def test_names_of_the_project() -> None:
    """No variable that a file of the project reads or sets is taken for a mistyped setting."""
    files = [ROOT / "compose.yaml", ROOT / "Dockerfile", *(ROOT / "broker").rglob("*.yaml"), ROOT / "docs/alerts.md"]
    code = [*(ROOT / "publisher").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py"), *(ROOT / "scripts").glob("*")]
    text = "".join(path.read_text() for path in [*files, *code] if path.is_file())
    names = set(re.findall(r"\bCLAUDE_GAUGE_[A-Z0-9][A-Z0-9_]*(?![\w*{…])(?<!_)", text))

    assert len(names) > 20
    assert (
        load(
            {},
            dict.fromkeys(names - {f"CLAUDE_GAUGE_{name.upper()}" for name in Settings.model_fields}, "x")
            | {"CLAUDE_GAUGE_CONFIG": ""},
        ).notes
        == ()
    )


def test_file_with_a_password_that_others_can_read(tmp_path: Path) -> None:
    """A settings file that holds a secret and that others can read is reported; one without, or shut, is not."""
    environ = _file(tmp_path, 'broker_password = "x"')
    path = tmp_path / "settings.toml"
    path.chmod(0o644)
    assert ["chmod 600" in note for note in load({}, environ).notes] == [True]
    path.chmod(0o600)
    assert load({}, environ).notes == ()
    path.write_text("redline = 1")
    path.chmod(0o644)

    assert load({}, environ).notes == ()


@pytest.mark.parametrize("text", [f'broker_password = "{CANARY}', f"broker_password = {CANARY}", f"{CANARY}", "= ="])
def test_broken_file_is_placed_not_quoted(tmp_path: Path, text: str) -> None:
    """Of a file that is no TOML the line is named, never what stands there."""
    with pytest.raises(GaugeError, match=r"no TOML at (line 1|end)") as caught:
        load({}, _file(tmp_path, text))

    assert CANARY not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_no_validators_words(name: str) -> None:
    """What is wrong is said in our words for every setting."""
    values: list[object] = ["", "\0", "x" * 99, "-1", "nan", "1e999", "a b", [1], {"a": {}}, 3]
    said = " ".join(_complaint({name: value}) for value in values)

    assert [word for word in ("Input should", "String", "valid ", "Value error") if word in said] == []


def test_secrets_are_known_by_their_type() -> None:
    """What is a secret is said once, by the type of the setting."""
    secrets = {name for name in Settings.model_fields if is_secret(name)}

    assert secrets == {"broker_password", "prometheus_password", "prometheus_headers"}
    assert not secrets & set(EVERY)


@pytest.mark.parametrize(("written", "meant"), [
    ("homeassistant/", "homeassistant"), ("/homeassistant", "homeassistant"), (" ha/main ", "ha/main"), ("OFF", "off"),
    ("false", "off"), ("Off ", "off"), ("no", "off"), ("büro", "büro"),
])  # fmt: skip
def test_discovery_prefix(written: str, meant: str) -> None:
    """A prefix with a slash too many is corrected; `off` may be written in any case, and as what TOML calls false."""
    assert load({}, {"CLAUDE_GAUGE_DISCOVERY": written}).settings.discovery == meant
    assert Settings(discovery=False).discovery == "off"


def test_account_in_either_encoding() -> None:
    """A label's letters with marks are the same account however they are encoded."""
    composed, apart = (load({"account": f"Jos{end}"}, {}).settings.account for end in ("\u00e9", "e\u0301"))

    assert composed == apart == "Jos\u00e9"
    assert load({}, {}).settings.account is None


@pytest.mark.parametrize("prefix", [
    "homeassistant/#", "+", "a/+/b", " ", "/", "a b", "a//b", "$SYS", "a\tb", "#", "homeassistant\u200b",
    "\u202eha", "claude-gauge", "claude-gauge/", "/claude-gauge/ha",
])  # fmt: skip
def test_impossible_discovery_prefix(prefix: str) -> None:
    """What can't be a topic's prefix stops the start and is named."""
    with pytest.raises(SettingError, match="CLAUDE_GAUGE_DISCOVERY"):
        load({}, {"CLAUDE_GAUGE_DISCOVERY": prefix})


@pytest.mark.parametrize("name", [name for name in Settings.model_fields if not is_secret(name)])
@pytest.mark.parametrize("value", ["/a\0b", "a\x1b[31mb:1", "mqtt://a\x9bb", os.fsdecode(b"http://\xff")])
def test_what_no_path_or_name_can_hold(name: str, value: str) -> None:
    """Control characters and bytes that are no UTF-8 stop the start, wherever they are given, and are not printed."""
    with pytest.raises(SettingError) as caught:
        load({}, {f"CLAUDE_GAUGE_{name.upper()}": value})

    assert str(caught.value).startswith(f"CLAUDE_GAUGE_{name.upper()}=")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("url", [
    "mqtt://ho st", "mqtt://h\u202e", "mqtt://a..b", f"mqtt://{'x' * 64}",
])  # fmt: skip
def test_host_that_can_never_be_found(url: str) -> None:
    """A host that no resolver takes is a mistake of the person's, not an outage to wait out."""
    with pytest.raises(SettingError, match="its host is a name or an address"):
        load({"broker": url}, {})


@pytest.mark.parametrize("name", ["http", "otlp"])
@pytest.mark.parametrize("address", ["host:65536", "host:99999", "ho st:80", "a..b:80", ":80", "host:\u0663"])
def test_address_that_nobody_can_listen_on(name: str, address: str) -> None:
    """An address is checked whole at the start: its host and its port."""
    with pytest.raises(SettingError, match="should be HOST:PORT or off"):
        load({name: address}, {})


@pytest.mark.parametrize("name", ["redline", "stall_minutes", "waiting_minutes"])
@pytest.mark.parametrize("value", ["inf", "1e999", "nan"])
def test_numbers_are_finite(name: str, value: str) -> None:
    """No scale or time without end: a dial could not be drawn, and JSON has no word for it."""
    with pytest.raises(SettingError, match="should be"):
        load({name: value}, {})


@pytest.mark.parametrize(("written", "words"), [
    ('state_dir = ""', "is empty; should be a folder"),
    ('broker_ca = " "', "is empty; should be a path"),
    ('state_dir = "~nobody-here/gauge"', "no such user with a home folder"),
    ("alert_command = 'say \"hello'", "can't be split into words: no closing quotation"),
    ('prometheus_headers = "Bearer x"', "each Name=value"),
])  # fmt: skip
def test_text_that_means_nothing(tmp_path: Path, written: str, words: str) -> None:
    """What would only fail later, or mean the current folder, is refused at the start."""
    with pytest.raises(SettingError, match=words):
        load({}, _file(tmp_path, written))


def test_settings_file_of_nobody() -> None:
    """A settings file below the home of a user that is not there is named as such."""
    with pytest.raises(SettingError, match=r"--config='~nobody-here/x\.toml': there is no such user"):
        load({"config": "~nobody-here/x.toml"}, {})


def test_file_of_a_windows_editor(tmp_path: Path) -> None:
    """A byte order mark before the first line is no mistake."""
    path = tmp_path / "settings.toml"
    path.write_bytes(b'\xef\xbb\xbfnode = "desk"\r\n')

    assert load({"config": path}, {}).settings.node == "desk"


def test_long_value_is_cut() -> None:
    """An error stays a line that can be read, however long the wrong value."""
    assert len(_complaint({"node": "x" * 10_000})) < 200


@pytest.mark.parametrize(
    ("content", "why"), [(None, "No such file"), (b"\xff", "not UTF-8"), ("folder", "Is a directory")]
)
def test_unreadable_password_file(tmp_path: Path, content: bytes | str | None, why: str) -> None:
    """Why a secret can't be read is said in the system's words, not in Python's."""
    path = tmp_path / "password"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        path.mkdir()
    with pytest.raises(GaugeError, match=why):
        _ = load({"broker_password_file": path}, {}).settings.password


def test_pipe_in_the_place_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe where the settings file usually is would never answer; one that was named is read: `--config <(…)`."""
    (tmp_path / "claude-gauge").mkdir()
    os.mkfifo(tmp_path / "claude-gauge" / "config.toml")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.raises(SettingError, match=r"config\.toml: it is a pipe"):
        load({}, {})
    reader, writer = os.pipe()
    os.write(writer, b'node = "desk"\n')
    os.close(writer)
    named = load({"config": Path(f"/dev/fd/{reader}")}, {})
    os.close(reader)

    assert named.settings.node == "desk"
