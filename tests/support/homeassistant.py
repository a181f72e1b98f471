"""A real Home Assistant in a folder of its own, set up as a person would over its HTTP API."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

import httpx
from playwright.sync_api import Page
from playwright.sync_api import TimeoutError as TooSlow
from tests.support.net import HTTP, PATIENCE_S, free_port, wait_until
from tests.support.parts import part

VERSION = "2026.11.0"
BAD = re.compile(r"^\S+ \S+ (WARNING|ERROR|CRITICAL) \(.*?\) \[(?P<logger>[^]]+)\]")
# That a broker is gone is no fault of ours; a meter says the second of any MQTT sensor while Home Assistant starts, and
# Home Assistant the last of whatever it was updating when the machine had no time for it.
OTHERS = re.compile(
    r"\[homeassistant\.components\.mqtt\.client\]|\[paho\.mqtt\.client\] failed to receive on socket|"
    r"utility_meter.* received an invalid new state .*unknown$|"
    r"Updating state for \S+ .* took [0-9.]+ seconds"
)
OURS = re.compile(r"mqtt|claude|template|automation|blueprint|lovelace|sensor")
CORE = """
homeassistant:
  name: Test
  time_zone: UTC
  unit_system: metric
  country: US
  auth_providers: # a browser on this machine is let in without a word
    - {type: trusted_networks, trusted_networks: [127.0.0.1/32], allow_bypass_login: true}
    - {type: homeassistant}
history:
recorder: {commit_interval: 1} # so that a test need not wait for what it counts
"""
HTTP_SETTINGS = {
    "cors_allowed_origins": [],
    "login_attempts_threshold": -1,
    "ip_ban_enabled": False,
    "ssl_profile": "intermediate_v6",
    "use_x_frame_options": True,
    "created_at": "2026-11-01T00:00:00+00:00",
    "error": None,
    "error_message": None,
}


@dataclass(frozen=True)
class State:
    """One entity's state and attributes."""

    state: str
    attributes: dict[str, Any]


class RunningHomeAssistant:
    """One Home Assistant process; `configuration` is added to its configuration.yaml."""

    def __init__(self, folder: Path, configuration: str = "") -> None:
        self.port = free_port()
        self.folder = folder
        self.url = f"http://127.0.0.1:{self.port}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "configuration.yaml").write_text(CORE + configuration)
        (folder / ".storage").mkdir()
        http = {"server_port": self.port, "server_host": ["127.0.0.1"], **HTTP_SETTINGS}
        stored = {"stable": http, "pending": None, "yaml_migration_done": True}  # by YAML it would be on trial only
        (folder / ".storage" / "http").write_text(json.dumps({"version": 3, "key": "http", "data": stored}))
        self.log = folder / "output.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._token = ""

    def start(self) -> Self:
        """Start it and wait until it is up; the very first time, also create its owner."""
        python = part(f"homeassistant-{VERSION}/venv/bin/python")
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LANG": "C.UTF-8"}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [python, "-m", "homeassistant", "-c", self.folder, "--skip-pip"],
                stdout=log,
                stderr=log,
                env=environ,
                start_new_session=True,
            )
        wait_until(self._answers, "Home Assistant to answer")
        if not self._token:
            self._onboard()
        wait_until(lambda: self.get("config")["state"] == "RUNNING", "Home Assistant to run")
        return self

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"Home Assistant ended:\n{self.log.read_text()[-4000:]}"
        try:
            return HTTP.get(f"{self.url}/api/onboarding", timeout=PATIENCE_S).status_code in {200, 404}
        except httpx.TransportError:
            return False

    def _onboard(self) -> None:
        client = f"{self.url}/"
        owner = {"client_id": client, "name": "Test", "username": "test", "password": "test", "language": "en"}
        code = HTTP.post(f"{self.url}/api/onboarding/users", json=owner, timeout=PATIENCE_S).json()["auth_code"]
        grant = {"client_id": client, "grant_type": "authorization_code", "code": code}
        self._token = HTTP.post(f"{self.url}/auth/token", data=grant, timeout=PATIENCE_S).json()["access_token"]
        for step in ("core_config", "analytics"):
            self.post(f"onboarding/{step}", {})
        self.post("onboarding/integration", {"client_id": client, "redirect_uri": client})

    def show(self, page: Page, path: str, selector: str) -> None:
        """Open one of its pages in a browser; a sign-in that stops half-way, as on a slow machine, begins again."""

        def shown() -> bool:
            page.goto(f"{self.url}{path}")
            try:
                page.wait_for_selector(selector, timeout=PATIENCE_S / 3 * 1000)
            except TooSlow:
                return False
            return True

        wait_until(shown, f"{path} to show {selector}")

    def connect(self, broker_port: int, **login: str) -> None:
        """Add the MQTT integration, as its dialogue does; `login` is a username and a password."""
        answers = {
            **login,
            "broker": "127.0.0.1",
            "port": broker_port,
            "protocol": "5",
            "other_settings": {"set_client_cert": False, "set_ca_cert": "off"},
        }
        step = self.post("config/config_entries/flow", {"handler": "mqtt"})
        while step["type"] == "form":
            asked = {field["name"] for field in step["data_schema"]}
            step = self.post(
                f"config/config_entries/flow/{step['flow_id']}", {k: v for k, v in answers.items() if k in asked}
            )
            assert not step.get("errors"), step
        assert step["type"] == "create_entry", step

    def get(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """Ask its API."""
        answer = HTTP.get(f"{self.url}/api/{path}", headers=self._bearer, timeout=PATIENCE_S)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, body: object) -> Any:  # noqa: ANN401 - JSON
        """Tell its API something."""
        answer = HTTP.post(f"{self.url}/api/{path}", headers=self._bearer, json=body, timeout=PATIENCE_S)
        assert answer.is_success, f"{path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.headers.get("content-type") == "application/json" else answer.text

    @property
    def _bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}

    @property
    def token(self) -> str:
        """The owner's access token."""
        return self._token

    def states(self, part_of_id: str) -> dict[str, State]:
        """Every entity whose id holds this text."""
        found = self.get("states")
        return {s["entity_id"]: State(s["state"], s["attributes"]) for s in found if part_of_id in s["entity_id"]}

    def state(self, entity: str) -> str:
        """One entity's state; empty when there is no such entity."""
        answer = HTTP.get(f"{self.url}/api/states/{entity}", headers=self._bearer, timeout=PATIENCE_S)
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return ""
        answer.raise_for_status()
        return str(answer.json()["state"])

    def wait_state(self, entity: str, state: str, deadline_s: float = PATIENCE_S) -> None:
        """Wait until an entity has this state."""
        wait_until(lambda: self.state(entity) == state, f"{entity} to be {state!r}", deadline_s)

    def render(self, template: str) -> str:
        """Have a template rendered: it sees devices, which the API has no path for."""
        return str(self.post("template", {"template": template}))

    def registry(self, name: str) -> list[dict[str, Any]]:
        """Read what it stored of its entities or devices; it writes that when it ends."""
        stored = json.loads((self.folder / ".storage" / f"core.{name}_registry").read_text())
        return list(stored["data"]["entities" if name == "entity" else "devices"])

    def rows(self, part_of_id: str) -> int:
        """Count what its database holds of the entities whose id holds this text."""
        query = "SELECT count(*) FROM states JOIN states_meta USING (metadata_id) WHERE states_meta.entity_id LIKE ?"
        database = f"file:{self.folder / 'home-assistant_v2.db'}?mode=ro"
        with closing(sqlite3.connect(database, uri=True, timeout=PATIENCE_S)) as connection:
            return int(connection.execute(query, (f"%{part_of_id}%",)).fetchone()[0])

    def complaints(self) -> list[str]:
        """Every line at WARNING or above that could be about us."""
        lines = self.log.read_text(errors="replace").splitlines()
        heads = [line for line in lines if (match := BAD.match(line)) and OURS.search(match["logger"] + line)]
        return [line for line in heads if not OTHERS.search(line)]

    def stop(self) -> None:
        """End it in good order, so that it stores everything; safe when it is gone already."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait(PATIENCE_S)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
