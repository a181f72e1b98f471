"""The settings, read in one place: flag > CLAUDE_GAUGE_* > TOML file > default.

Every value remembers where it came from, so that an error and `claude-gauge config` can say it.
"""

from __future__ import annotations

import os
import re
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from platformdirs import user_config_path, user_state_path
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from claude_gauge.contract.usage import FLEET_NODE, NODE_PATTERN
from claude_gauge.errors import GaugeError

PREFIX = "CLAUDE_GAUGE_"
BROKER_SCHEMES = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
SECRET = "********"  # noqa: S105 - what is shown in place of a secret

SourceName = Literal["auto", "transcripts", "ccusage", "ccusage-mcp", "prometheus", "otlp", "hybrid"]
Share = Annotated[float, Field(ge=0, le=1)]
Address = Annotated[str, Field(pattern=r"^(off|.+:\d{1,5})$")]


def default_node() -> str:
    """Name this machine as a topic level: its short host name, other characters made dashes."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname().partition(".")[0])[:40].strip("-") or "claude-code"


class Settings(BaseModel):
    """All settings with their defaults; the names are those of the flags, the environment and the TOML file."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    broker: str | None = Field(default=None, description="Broker's URL, or `embedded`")
    broker_password: SecretStr | None = Field(default=None, description="Broker's password")
    broker_password_file: Path | None = Field(default=None, description="File that holds the broker's password")
    broker_ca: Path | None = Field(default=None, description="CA certificate that signed the broker's")
    broker_cert: Path | None = Field(default=None, description="Client certificate for the broker")
    broker_key: Path | None = Field(default=None, description="Key of the client certificate")
    node: str = Field(default_factory=default_node, pattern=NODE_PATTERN, description="Name of this machine")
    account: str | None = Field(default=None, max_length=16, description="Label that keeps two accounts apart")
    http: Address = Field(default="127.0.0.1:8080", description="Address of the HTTP shim, or `off`")
    http_hosts: tuple[str, ...] = Field(default=(), description="More names that the HTTP shim answers to, `a,b`")
    source: SourceName = Field(default="auto", description="Where usage is read from")
    prometheus: str | None = Field(default=None, description="Base URL of Prometheus or a compatible engine")
    prometheus_token_file: Path | None = Field(default=None, description="File with a bearer token for it")
    prometheus_user: str | None = Field(default=None, description="User for basic authentication")
    prometheus_password: SecretStr | None = Field(default=None, description="Password for basic authentication")
    prometheus_headers: dict[str, SecretStr] = Field(default_factory=dict, description="More headers, `Name=value,…`")
    prometheus_ca: Path | None = Field(default=None, description="CA certificate that signed Prometheus's")
    prometheus_match: str = Field(default="", description='Label matchers that pick your series, `user_id="…"`')
    prometheus_interval: float = Field(default=15, gt=0, le=3600, description="Seconds between query rounds")
    ccusage: str | None = Field(default=None, description="Path of ccusage, else found on PATH")
    ccusage_mcp: str | None = Field(default=None, description="URL of a ccusage MCP server, else one is run on stdio")
    otlp: Address = Field(default="127.0.0.1:4318", description="Address that receives OTLP/HTTP")
    otlp_token_file: Path | None = Field(default=None, description="File with a bearer token that exporters must send")
    ceiling_5h: int = Field(default=100_000_000, gt=0, description="Tokens that fill the fuel gauge")
    redline: float = Field(default=1_000_000, gt=0, description="Tokens per minute above which HOT lights")
    stall_minutes: float = Field(default=10, gt=0, description="Minutes of silence before STALL lights")
    cache_floor: Share | None = Field(default=None, description="Cache hit rate below which WARN lights")
    tach: Literal["all", "fresh", "output"] = Field(default="all", description="Token kinds that the tach counts")
    waiting_minutes: float = Field(default=10, gt=0, description="Minutes until an unanswered wait is dropped")
    alerts: tuple[Share, ...] = Field(default=(), description="Shares of the 5-hour window that alert, `0.8,0.95`")
    alert_command: str | None = Field(default=None, description="Command run at an alert")
    discovery: str = Field(default="homeassistant", description="Home Assistant's discovery prefix, or `off`")
    state_dir: Path = Field(
        default_factory=lambda: user_state_path("claude-gauge", appauthor=False), description="Folder for state"
    )
    log_format: Literal["text", "json"] = Field(default="text", description="Format of the log lines")

    @field_validator("broker")
    @classmethod
    def _broker_url(cls, url: str | None) -> str | None:
        if url is None or url == "embedded":
            return url
        parts = urlsplit(url)
        if parts.scheme not in BROKER_SCHEMES or not parts.hostname:
            raise ValueError("should be mqtt://, mqtts://, ws:// or wss:// with a host, or `embedded`")
        if parts.password is not None:
            raise ValueError("holds a password: give it by CLAUDE_GAUGE_BROKER_PASSWORD or --broker-password-file")
        _ = parts.port
        return url

    @field_validator("prometheus", "ccusage_mcp")
    @classmethod
    def _http_url(cls, url: str | None) -> str | None:
        if url is not None and (urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname):
            raise ValueError("should be an http:// or https:// URL")
        if url is not None and urlsplit(url).password is not None:
            raise ValueError("holds a password: give Prometheus's by CLAUDE_GAUGE_PROMETHEUS_PASSWORD")
        return url

    @field_validator("prometheus_headers", mode="before")
    @classmethod
    def _headers(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
        return {name.strip(): text.strip() for name, _, text in pairs}

    @field_validator("alerts", "http_hosts", mode="before")
    @classmethod
    def _list(cls, value: object) -> object:
        return [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("node")
    @classmethod
    def _not_the_fleet(cls, node: str) -> str:
        if node == FLEET_NODE:
            raise ValueError(f"`{FLEET_NODE}` is the name of all nodes merged")
        return node

    @model_validator(mode="after")
    def _key_with_certificate(self) -> Self:
        if self.broker_key and not self.broker_cert:
            raise ValueError("broker_key needs broker_cert")
        return self

    @property
    def password(self) -> str | None:
        """The broker's password from wherever it was set; raises GaugeError for an unreadable file."""
        if self.broker_password_file is not None:
            return read_secret(self.broker_password_file, "broker_password_file")
        return self.broker_password.get_secret_value() if self.broker_password else None


def read_secret(path: Path, setting: str) -> str:
    """Read a secret from its file, less the newline at its end."""
    try:
        return path.expanduser().read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise GaugeError(f"{setting}: cannot read {path}: {error.__class__.__name__}; check the path") from None


@dataclass(frozen=True)
class Config:
    """The settings, for each one where it came from, and the settings file, which need not exist."""

    settings: Settings
    origins: Mapping[str, str]
    path: Path | None = None

    def rows(self) -> list[tuple[str, str, str]]:
        """List (name, value, origin) of every setting, secrets masked."""
        dumped = self.settings.model_dump(mode="json")
        return [(name, _shown(name, value), self.origins.get(name, "default")) for name, value in dumped.items()]


def _shown(name: str, value: object) -> str:
    if name == "prometheus_headers" and isinstance(value, dict):
        return ",".join(f"{header}={SECRET}" for header in value) or "-"
    if isinstance(value, list):
        return ",".join(map(str, value)) or "-"
    return "-" if value is None else str(value)


def load(flags: Mapping[str, object], environ: Mapping[str, str] = os.environ) -> Config:
    """Merge flags (None: not given), environment and file; raises GaugeError naming setting, value and place."""
    path, named_by = _file(flags, environ)
    layers = [
        ("flag", {name: value for name, value in flags.items() if value is not None and name != "config"}),
        ("environment", _from_environment(environ)),
        (f"file {path}", _from_file(path, named_by)),
    ]
    merged: dict[str, object] = {}
    origins: dict[str, str] = {}
    for origin, values in layers:
        for name, value in values.items():
            if name not in merged:
                merged[name], origins[name] = value, origin
    try:
        return Config(Settings.model_validate(merged), origins, path.expanduser())
    except ValidationError as error:
        raise GaugeError("; ".join(_complaint(each, origins) for each in error.errors())) from None


def _file(flags: Mapping[str, object], environ: Mapping[str, str]) -> tuple[Path, str | None]:
    if flags.get("config"):
        return Path(str(flags["config"])), "--config"
    if environ.get(PREFIX + "CONFIG"):
        return Path(environ[PREFIX + "CONFIG"]), PREFIX + "CONFIG"
    return user_config_path("claude-gauge", appauthor=False) / "config.toml", None


def _from_environment(environ: Mapping[str, str]) -> dict[str, object]:
    names = Settings.model_fields
    return {name: environ[PREFIX + name.upper()] for name in names if environ.get(PREFIX + name.upper())}


def _from_file(path: Path, named_by: str | None) -> dict[str, Any]:
    try:
        return tomllib.loads(path.expanduser().read_text("utf-8"))
    except FileNotFoundError:
        if named_by is None:
            return {}
        raise GaugeError(f"{named_by}: no file {path}; check the path") from None
    except (OSError, ValueError) as error:
        raise GaugeError(f"config file {path}: {error}; mend it or name another with --config") from None


def _complaint(error: ErrorDetails, origins: Mapping[str, str]) -> str:
    name = str(error["loc"][0]) if error["loc"] else "settings"
    origin = origins.get(name, "default")
    place = {"flag": f"--{name.replace('_', '-')}", "environment": PREFIX + name.upper()}.get(
        origin, f"{name} in {origin}"
    )
    what = error["msg"].removeprefix("Value error, ")
    hidden = "password" in name or "headers" in name or "holds a password" in what
    value = "" if not error["loc"] else f"={SECRET if hidden else _without_password(error['input'])!r}"
    return f"{place}{value}: {what}"


def _without_password(value: object) -> object:
    """Mask what may be a password in a URL, however wrong the rest of it is."""
    if not isinstance(value, str):
        return value
    return re.sub(r"^([^:/@]*(?:://[^:@]*)?):.*@", rf"\1:{SECRET}@", value)
