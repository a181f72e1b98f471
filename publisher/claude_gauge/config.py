"""The settings, read in one place: flag > CLAUDE_GAUGE_* > TOML file > default.

Every value remembers where it came from, so that an error and `claude-gauge config` can say it. What a setting accepts
is defined once, by its type: help, completion and errors derive from it. A secret is a setting of type SecretStr.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
import socket
import stat
import tomllib
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from platformdirs import user_config_path, user_state_path
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from claude_gauge.contract.usage import FLEET_NODE, MAX_COUNT, NODE_PATTERN, ROOT, node_fault
from claude_gauge.errors import GaugeError, SettingError
from claude_gauge.system.atomic_file import read
from claude_gauge.system.field_words import holds, takes, words
from claude_gauge.system.urls import SECRET, can_be_a_host, has_password, shown, split, web_url

PREFIX = "CLAUDE_GAUGE_"
BROKER_SCHEMES = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
OTLP_ADDRESS = "127.0.0.1:4318"
# What else has our prefix in an environment: other parts of the project read it, or give it to an alert's command.
_OTHERS = re.compile(
    r"CONFIG|PARTS|(WIFI|DEVICE)_PASSWORD|DEMO_SECONDS|LOAD_S|UID|BROKER_(BIND|USER)|CONTAINER_NODE|"
    r"(MQTT|MQTTS|WSS|WEB|GRAFANA|PROMETHEUS|OTLP_HTTP|OTLP_GRPC)_PORT|"
    r"ALERT_(TEXT|THRESHOLD|SHARE|PERCENT|RESETS_AT|MINUTES_TO_LIMIT|NODE|ACCOUNT|MODEL|LIMIT_NAME|LIMIT_PCT)"
)

SourceName = Literal["auto", "transcripts", "ccusage", "ccusage-mcp", "prometheus", "otlp", "hybrid"]
Share = Annotated[float, Field(ge=0, le=1)]
_PARTS = frozenset({"url", "uri", "address", "endpoint", "server", "host", "port", "path", "user", "username"})
_SHOWN = 80  # characters of a wrong value or name that an error repeats


def _can_be_listened_on(address: str) -> str:
    host, _, port = address.rpartition(":")
    if address == "off":
        return address
    if "/" in host:
        raise ValueError("should be HOST:PORT or off, not a URL")
    if ":" in host and not re.fullmatch(r"\[[^][]+\]", host):
        raise ValueError("should be HOST:PORT or off; an IPv6 address stands in [ ]")
    if not (can_be_a_host(host.strip("[]")) and int(port) < 2**16):
        raise ValueError("should be HOST:PORT or off; a port is a number up to 65535")
    return address


Address = Annotated[
    str,
    Field(pattern=r"^(off|.+:[0-9]{1,5})$", **words("HOST:PORT or off")),
    AfterValidator(_can_be_listened_on),
]
URL = "a URL"
URLS = frozenset({"broker", "prometheus", "ccusage_mcp"})
SHOWS_ALL = "shows all"  # in a validation's context: the node is only read, so it may be that of all nodes merged


def default_node() -> str:
    """Name this machine as a topic level: its short host name, other characters made dashes."""
    name = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname().partition(".")[0])[:40].strip("-") or "claude-code"
    return f"host-{name}"[:40] if node_fault(name) else name


class Settings(BaseModel):
    """All settings with their defaults; the names are those of the flags, the environment and the TOML file."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, allow_inf_nan=False)

    broker: str | None = Field(
        default=None,
        description="Broker's URL, or `embedded`",
        **words(URL, "mqtt://localhost:1883 if that answers, else embedded"),
    )
    broker_password: SecretStr | None = Field(default=None, description="Broker's password")
    broker_password_file: Path | None = Field(default=None, description="File that holds the broker's password")
    broker_ca: Path | None = Field(default=None, description="CA certificate that signed the broker's certificate")
    broker_cert: Path | None = Field(default=None, description="Client certificate for the broker")
    broker_key: Path | None = Field(default=None, description="Key of the client certificate")
    node: str = Field(
        default_factory=default_node,
        pattern=NODE_PATTERN,
        description="Node: this machine's name, or the one to show",
        **words("letters, digits, _ and -, 40 at most", "the host's name"),
    )
    account: str | None = Field(default=None, max_length=16, description="Label that keeps two accounts apart")
    http: Address = Field(default="127.0.0.1:8080", description="Address of the HTTP server, or `off`")
    http_hosts: tuple[str, ...] = Field(default=(), description="More names that the HTTP server answers to, `a,b`")
    source: SourceName = Field(default="auto", description="Where usage is read from")
    prometheus: str | None = Field(
        default=None, description="Base URL of Prometheus or a compatible engine", **words(URL)
    )
    prometheus_token_file: Path | None = Field(default=None, description="File with a bearer token for Prometheus")
    prometheus_user: str | None = Field(default=None, description="User for basic authentication at Prometheus")
    prometheus_password: SecretStr | None = Field(default=None, description="Password for basic authentication")
    prometheus_headers: dict[str, SecretStr] = Field(default_factory=dict, description="More headers, `Name=value,…`")
    prometheus_ca: Path | None = Field(default=None, description="CA certificate that signed Prometheus's certificate")
    prometheus_match: str = Field(default="", description='Label matchers that pick your series, `user_id="…"`')
    prometheus_interval: float = Field(default=15, gt=0, le=3600, description="Seconds between query rounds")
    ccusage: str | None = Field(
        default=None, description="Path of ccusage; else it is looked for on PATH", **words("a path")
    )
    ccusage_mcp: str | None = Field(
        default=None, description="URL of a ccusage MCP server; else one is started on stdio", **words(URL)
    )
    otlp: Address | None = Field(
        default=None,
        description="Address that receives OTLP/HTTP",
        **words(default=f"{OTLP_ADDRESS} where the source needs it"),
    )
    otlp_token_file: Path | None = Field(default=None, description="File with a bearer token that exporters must send")
    ceiling_5h: int = Field(default=100_000_000, gt=0, le=MAX_COUNT, description="Tokens that fill 5H PLAN (fuel)")
    redline: float = Field(
        default=1_000_000, gt=0, le=MAX_COUNT, description="Tokens per minute above which HOT lights"
    )
    stall_minutes: float = Field(default=10, gt=0, description="Minutes of silence before STALL lights")
    cache_floor: Share | None = Field(default=None, description="Cache hit rate below which WARN lights")
    tach: Literal["all", "fresh", "output"] = Field(
        default="all", description="Token kinds that TOKENS/MIN (tach) counts"
    )
    waiting_minutes: float | None = Field(
        default=None,
        gt=0,
        description="Minutes until an unanswered wait ends, also while Claude Code runs",
        **words("a number of minutes greater than 0", "10 where its end can't be seen"),
    )
    alerts: tuple[Share, ...] = Field(default=(), description="Shares of the 5-hour window that alert, `0.8,0.95`")
    alert_command: str | None = Field(default=None, description="Command run at an alert")
    discovery: str = Field(default="homeassistant", description="Home Assistant's discovery prefix, or `off`")
    state_dir: Path = Field(
        default_factory=lambda: user_state_path("claude-gauge", appauthor=False),
        description="Folder for state",
        **words("a folder", "the platform's"),
    )
    log_format: Literal["text", "json"] = Field(default="text", description="Format of the log lines")

    @field_validator("alert_command")
    @classmethod
    def _can_be_split(cls, command: str | None) -> str | None:
        try:
            shlex.split(command or "")
        except ValueError as error:
            raise ValueError(f"can't be split into words: {str(error).lower()}; close it") from None
        return command

    @field_validator("discovery", mode="before")
    @classmethod
    def _discovery_prefix(cls, value: object) -> object:
        if value is False or (isinstance(value, str) and value.strip().lower() in {"off", "false", "no", "none"}):
            return "off"
        if not isinstance(value, str):
            return value
        prefix = value.strip().strip("/")
        if not prefix:
            raise ValueError("is empty: write `homeassistant`, or `off`")
        if re.search(r"[+#\s]|//|^\$", prefix) or not prefix.isprintable():
            raise ValueError(
                "a topic's prefix holds no +, #, blank or invisible character, no empty level, no $ before it"
            )
        if prefix.partition("/")[0] == ROOT:
            raise ValueError(f"{ROOT} is the branch of the figures; Home Assistant's own is usually `homeassistant`")
        return prefix

    @field_validator("account")
    @classmethod
    def _one_spelling(cls, account: str | None) -> str | None:
        """Letters with marks have several encodings; the same label on two machines is one account."""
        return account and unicodedata.normalize("NFC", account)

    @field_validator("broker")
    @classmethod
    def _broker_url(cls, url: str | None) -> str | None:
        if url is None or url == "embedded":
            return url
        parts = split(url)
        if parts.scheme not in BROKER_SCHEMES or not parts.hostname:
            raise ValueError("should be mqtt://, mqtts://, ws:// or wss:// with a host, or `embedded`")
        if has_password(parts):
            raise ValueError("holds a password: give it by CLAUDE_GAUGE_BROKER_PASSWORD or --broker-password-file")
        beyond = parts.fragment or (not parts.scheme.startswith("ws") and (parts.path.strip("/") or parts.query))
        if beyond:  # it would be passed over in silence, and may be a password with a / or # in it
            raise ValueError("should end after host and port; ws:// and wss:// alone have a path and a query")
        return url

    @field_validator("prometheus", "ccusage_mcp")
    @classmethod
    def _http_url(cls, url: str | None) -> str | None:
        if url is not None and has_password(web_url(url)):
            raise ValueError("holds a password: give Prometheus's by CLAUDE_GAUGE_PROMETHEUS_PASSWORD")
        return url

    @field_validator("prometheus")
    @classmethod
    def _base_url(cls, url: str | None) -> str | None:
        if url is not None and (web_url(url).query or web_url(url).fragment):
            raise ValueError("should be a base URL, without ? and #; give a token by --prometheus-token-file")
        return url

    @field_validator("prometheus_headers", mode="before")
    @classmethod
    def _headers(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
        if not all(name.strip() and equals for name, equals, _ in pairs):
            raise ValueError("should be one or more, with commas between, each Name=value")
        return {name.strip(): text.strip() for name, _, text in pairs}

    @field_validator("alerts", "http_hosts", mode="before")
    @classmethod
    def _list(cls, value: object) -> object:
        if isinstance(value, int | float):
            return [value]
        return [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("node")
    @classmethod
    def _is_a_node(cls, node: str, info: ValidationInfo) -> str:
        if (why := node_fault(node)) and not (info.context == SHOWS_ALL and node == FLEET_NODE):
            raise ValueError(why)
        return node

    @field_validator("*", mode="before")
    @classmethod
    def _is_sound(cls, value: object, info: ValidationInfo) -> object:
        """Refuse what no path, name or URL holds, and true or false, which pydantic takes for the numbers 1 and 0.

        Of the validators that come before the types pydantic runs the last one first: this one.
        """
        name = str(info.field_name)
        many = value if isinstance(value, list | tuple) else [value]
        if name != "discovery" and any(isinstance(each, bool) for each in many):
            raise ValueError(f"should be {takes(cls.model_fields[name])}")
        if is_secret(name) or not isinstance(value, str | Path):
            return value
        if any(unicodedata.category(each) in {"Cc", "Cs"} and each not in "\t\r\n" for each in str(value)):
            raise ValueError("holds a control character, or is not UTF-8")
        if holds(cls.model_fields[name], Path):
            if not str(value).strip():
                raise ValueError(f"is empty; should be {takes(cls.model_fields[name])}")
            if not _has_a_home(str(value)):
                raise ValueError("begins with ~, but there is no such user with a home folder; write the whole path")
        return value.strip() if isinstance(value, str) else value  # of a choice pydantic strips nothing

    @model_validator(mode="after")
    def _key_with_certificate(self) -> Self:
        if self.broker_key and not self.broker_cert:
            raise ValueError("broker_key needs broker_cert")
        return self

    @property
    def otlp_address(self) -> str:
        """Where OTLP is received, by a source that receives it: HOST:PORT, or `off`."""
        return self.otlp or OTLP_ADDRESS

    @property
    def receives_otlp(self) -> bool:
        """Whether the source receives OTLP. Beside Prometheus the usual port is the collector's: it must be named."""
        named = self.otlp is not None
        wanted = {"otlp": True, "auto": named, "hybrid": named or self.prometheus is None}
        return self.otlp != "off" and wanted.get(self.source, False)

    @property
    def password(self) -> str | None:
        """The broker's password from wherever it was set; raises GaugeError for an unreadable file."""
        if self.broker_password_file is not None:
            return read_secret(self.broker_password_file, "broker_password_file")
        return self.broker_password.get_secret_value() if self.broker_password else None


def read_secret(path: Path, setting: str, *, may_be_empty: bool = False) -> str:
    """Read a secret from its file: one line, without its end and a byte order mark; raises GaugeError otherwise."""
    try:
        secret = read(path.expanduser(), pipes=True).decode("utf-8-sig").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        if isinstance(error, FileNotFoundError) and not path.is_absolute() and len(path.parts) == 1:
            raise GaugeError(f"{setting}: {why}; it names a file, not what is in it: write the whole path") from None
        raise GaugeError(f"{setting}: cannot read {path}: {why}; check the path and who may read it") from None
    if len(secret.splitlines()) > 1:
        raise GaugeError(f"{setting}: {path} has more than one line; leave only the secret in it")
    if not (secret or may_be_empty):  # an empty one would let everybody in
        raise GaugeError(f"{setting}: {path} is empty; write the secret into it")
    return secret


def _has_a_home(path: str) -> bool:
    """Return whether the user in a path such as `~/x` or `~user/x` is known."""
    try:
        Path(path.strip()).expanduser()
    except RuntimeError:
        return False
    return True


def is_secret(name: str) -> bool:
    """Return whether a setting's value must never be shown: by its type."""
    return holds(Settings.model_fields[name], SecretStr)


def holds_secret(name: str, value: object) -> bool:
    """Return whether others must not read a setting's value: it is a secret, or a URL with what may be a token."""
    return is_secret(name) or (name in URLS and isinstance(value, str) and shown(value) != value)


@dataclass(frozen=True)
class Config:
    """The settings, for each one where it came from, and the settings file, which need not exist.

    `notes` say what is no error but should be looked at.
    """

    settings: Settings
    origins: Mapping[str, str]
    path: Path | None = None
    path_named: bool = False  # by a flag or the environment
    notes: tuple[str, ...] = ()
    own_node: str = ""  # what this machine publishes as, whichever node a flag asks for

    def rows(self) -> list[tuple[str, str, str]]:
        """List (name, value, origin) of every setting, secrets masked."""
        dumped = self.settings.model_dump(mode="json")
        return [(name, _value(name, value), self.origins.get(name, "default")) for name, value in dumped.items()]


def _value(name: str, value: object) -> str:
    if is_secret(name) and isinstance(value, dict):
        return ",".join(f"{header}={SECRET}" for header in value) or "-"
    if isinstance(value, list):
        return ",".join(map(str, value)) or "-"
    if value in (None, ""):
        return "-"
    return shown(str(value)) if name in URLS else str(value)


def load(flags: Mapping[str, object], environ: Mapping[str, str] = os.environ, *, shows_all: bool = False) -> Config:
    """Merge flags (None: not given), environment and file; raises SettingError naming setting, value and place.

    `shows_all`: the flag `node` may be `all`, the name of all nodes merged; no variable or file may name it.
    """
    path, named_by = _file(flags, environ)
    from_file = _from_file(path, named_by)
    layers = [
        ("flag", {name: value for name, value in flags.items() if value is not None and name != "config"}),
        ("environment", _from_environment(environ)),
        (f"file {path}", from_file),
    ]
    merged: dict[str, object] = {}
    origins: dict[str, str] = {}
    for origin, values in layers:
        for name, value in values.items():
            if name not in merged:
                merged[name], origins[name] = value, origin
    try:
        merged_nodes = shows_all and origins.get("node") == "flag"
        settings = Settings.model_validate(merged, context=SHOWS_ALL if merged_nodes else None)
    except ValidationError as error:
        raise SettingError("; ".join(_complaint(each, origins) for each in error.errors())) from None
    own_node = next((str(values["node"]) for _, values in layers[1:] if "node" in values), default_node())
    notes = (*_unknown_variables(environ), *_readable_by_others(path, from_file))
    return Config(settings, origins, path.expanduser(), named_by is not None, notes, own_node)


def _unknown_variables(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a note for each CLAUDE_GAUGE_* variable that is no setting."""
    for name in sorted(environ):
        setting = name.removeprefix(PREFIX)
        if setting != name and setting.lower() not in Settings.model_fields and not _OTHERS.fullmatch(setting):
            yield f"{name} is no setting{_nearest(setting.lower(), lambda near: PREFIX + near.upper())}"


def _readable_by_others(path: Path, content: Mapping[str, object]) -> Iterator[str]:
    """Say that others can read a settings file with a secret in it."""
    if any(name in Settings.model_fields and holds_secret(name, value) for name, value in content.items()):
        mode = path.expanduser().stat().st_mode
        if mode & (stat.S_IRGRP | stat.S_IROTH):
            yield f"{path} holds a password and can be read by others: chmod 600 {path}"


def _nearest(name: str, spell: Callable[[str], str]) -> str:
    """Return the setting that was meant: one that is spelled alike, or whose value has such a part (`mqtt_url`)."""
    wanted = re.sub(r"^mqtt(?=_|$)", "broker", name.replace("-", "_").lower())
    whole, _, part = wanted.rpartition("_")
    if whole in Settings.model_fields and part in _PARTS:
        wanted = whole
    near = difflib.get_close_matches(wanted, Settings.model_fields, n=1)
    return f"; did you mean {spell(near[0])}?" if near else "; `claude-gauge config` lists them"


def _file(flags: Mapping[str, object], environ: Mapping[str, str]) -> tuple[Path, str | None]:
    named = flags.get("config")
    if named is not None and not str(named).strip():
        raise SettingError("--config is empty; name a file, or leave it out")
    for name, path in (("--config", named), (PREFIX + "CONFIG", environ.get(PREFIX + "CONFIG"))):
        if path and not _has_a_home(str(path)):
            raise SettingError(f"{name}={str(path)!r}: there is no such user with a home folder; write the whole path")
        if path:
            return Path(str(path)), name
    return user_config_path("claude-gauge", appauthor=False) / "config.toml", None


def _from_environment(environ: Mapping[str, str]) -> dict[str, object]:
    names = Settings.model_fields
    return {name: environ[PREFIX + name.upper()] for name in names if environ.get(PREFIX + name.upper())}


def _from_file(path: Path, named_by: str | None) -> dict[str, Any]:
    try:
        return tomllib.loads(_text(path, pipes=named_by is not None))
    except FileNotFoundError:
        if named_by is None:
            return {}
        raise SettingError(f"{named_by}: no file {path}; check the path") from None
    except UnicodeDecodeError:
        raise SettingError(f"config file {path} is not UTF-8; correct it or name another with --config") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingError(f"config file {path}: {_where(error)}; correct it or name another with --config") from None
    except OSError as error:
        raise SettingError(f"config file {path}: {error.strerror}; correct it or name another with --config") from None


def _text(path: Path, *, pipes: bool) -> str:
    """Read a settings file; one that was named may be a pipe: `--config <(…)`."""
    return read(path.expanduser(), pipes=pipes).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


_TOML_MISTAKES = (  # a part of the parser's words -> what a person should look for
    ("overwrite", "a setting stands there twice"),
    ("\\", "a text with \\ in it stands in single quotes"),
    ("hex", "a text with \\ in it stands in single quotes"),
)


def _where(error: tomllib.TOMLDecodeError) -> str:
    """Name the place of a mistake without what stands there, which may be a password."""
    place = re.search(r"at (line \d+, column \d+|end of document)", str(error))
    why = next((why for sign, why in _TOML_MISTAKES if sign in str(error)), 'texts stand in quotes, `node = "desk"`')
    return f"no TOML{place and ' ' + place[0]}; {why}"


def _complaint(error: ErrorDetails, origins: Mapping[str, str]) -> str:
    if not error["loc"]:
        return error["msg"].removeprefix("Value error, ")
    name = str(error["loc"][0])
    origin = origins.get(name, "default")
    if name not in Settings.model_fields:
        table = isinstance(error["input"], dict)
        advice = f": the file has no sections, leave out [{_cut(name)}]" if table else _nearest(name, str)
        return f"{origin}: {_cut(name)} is no setting{advice}"
    place = {"flag": f"--{name.replace('_', '-')}", "environment": PREFIX + name.upper()}.get(
        origin, f"{name} in {origin}"
    )
    own = error["msg"].removeprefix("Value error, ") if error["type"] == "value_error" else ""
    return f"{place}{_given(name, error['input'])}: {own or 'should be ' + takes(Settings.model_fields[name])}"


def _given(name: str, value: object) -> str:
    """Repeat a value as it was given, without what may be a password, however wrong the rest of it is."""
    if is_secret(name):
        return f"={SECRET!r}"
    if not isinstance(value, str | int | float | Path):
        return ""
    text = str(value)
    if "@" in text:
        text = f"{SECRET}@{text.rpartition('@')[2]}"
    secrets = r"(?<=[^:/]):(?!//|[0-9]{1,5}(?:/|$)).*|[?].*" + ("|#.*" if "//" in text else "")  # a URL's query, too
    if name in URLS:  # a path with a password in it, `host -P password`, `host;password=…`
        secrets += r"|\s.*|(?<=[^:/])[/;=].*|^-.*"
    return f"={_cut(re.sub(secrets, f':{SECRET}', text))!r}"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
