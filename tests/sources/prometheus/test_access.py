"""Credentials, certificates, headers and paths, against a real Prometheus that asks for them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from tests.sources.prometheus.past import counted, labels
from tests.support.faulty import Faulty
from tests.support.prometheus import Series, Server

from claude_gauge.config import Settings, load
from claude_gauge.counting.reading import Reading
from claude_gauge.errors import GaugeError
from claude_gauge.sources.prometheus.source import Prometheus

pytestmark = pytest.mark.xdist_group("prometheus-access")  # what they share is slow to begin

# bcrypt of "tach and boost", cost 4: a test need not be slow
WEB = """\
tls_server_config: {cert_file: cert.pem, key_file: key.pem}
basic_auth_users: {gauge: $2b$04$k/PvVcRNYAPFpr/0wNVNVewZdqMPh14g/JpliurqTXICqK8I01GlG}
"""
OPENSSL = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    " -keyout key.pem -out cert.pem -subj /CN=localhost -addext subjectAltName=DNS:localhost"
)
PASSWORD = SecretStr("tach and boost")


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """A Prometheus behind TLS and a password, and its CA certificate."""
    folder = tmp_path_factory.mktemp("closed")
    subprocess.run(
        OPENSSL.split(),
        cwd=folder,
        check=True,
        capture_output=True,
    )
    now = time.time()
    past = [Series(labels("a"), counted([(now - 120, 1000)], now + 900))]
    with Server(folder, web=WEB).fill(past) as server:
        yield server, folder / "cert.pem"


def once(settings: Settings) -> Reading:
    """Ask once."""
    source = Prometheus(settings)
    source.load()
    return source.read(time.time())


def test_password_and_certificate(closed: tuple[Server, Path]) -> None:
    """With user, password and CA its figures are there."""
    server, ca = closed
    settings = Settings(prometheus=server.url, prometheus_ca=ca, prometheus_user="gauge", prometheus_password=PASSWORD)

    assert once(settings).block is not None
    assert once(settings).sources["fuel"].ok


@pytest.mark.parametrize(
    ("user", "with_ca", "why"),
    [
        (None, True, "401: credentials refused"),
        ("someone", True, "401: credentials refused"),
        ("gauge", False, "TLS: certificate refused"),
    ],
)
def test_refused(closed: tuple[Server, Path], user: str | None, with_ca: bool, why: str) -> None:  # noqa: FBT001
    """Without one of them the reason is reported, and it is the right one."""
    server, ca = closed
    settings = Settings(
        prometheus=server.url,
        prometheus_ca=ca if with_ca else None,
        prometheus_user=user,
        prometheus_password=PASSWORD,
    )

    assert once(settings).sources["fuel"].why == why


def test_unreadable_files(closed: tuple[Server, Path], tmp_path: Path) -> None:
    """A CA or a token file that is not there is reported, not raised."""
    server, _ = closed
    no_ca = once(Settings(prometheus=server.url, prometheus_ca=tmp_path / "none"))
    no_token = once(Settings(prometheus=server.url, prometheus_token_file=tmp_path / "none"))

    assert no_ca.sources["fuel"].why == "prometheus_ca: unreadable"
    assert no_token.sources["fuel"].why == "token file is unreadable"


def test_token_headers_and_path(tmp_path: Path) -> None:
    """The bearer token is read again each round, a tenant's header goes along, and a base path is kept."""
    token = tmp_path / "token"
    token.write_text("first\n")
    with Server(tmp_path / "engine") as server, Faulty(server.url) as between:
        for base in ("", "/", "/api/v1", "/api/v1/query"):
            settings = Settings(
                prometheus=between.url + base,
                prometheus_token_file=token,
                prometheus_headers={"X-Scope-OrgID": SecretStr("team-a")},
            )
            assert once(settings).sources["fuel"].why == "no Claude Code metrics", base
        token.write_text("second\n")
        once(settings)
        sent = [headers for _, _, headers in between.requests]

    assert {headers["Authorization"] for headers in sent} == {"Bearer first", "Bearer second"}
    assert {headers["X-Scope-OrgID"] for headers in sent} == {"team-a"}


def test_a_teams_prometheus(tmp_path: Path) -> None:
    """In a Prometheus of many people `prometheus_match` picks one's own series."""
    now = time.time()
    past = [
        Series(labels("a", user_email="a@b.example"), counted([(now - 120, 1000)], now + 900)),
        Series(labels("c", user_email="c@d.example"), counted([(now - 120, 5)], now + 900)),
    ]
    with Server(tmp_path).fill(past) as server:
        all_, own = (
            once(Settings(prometheus=server.url, prometheus_match=match)).block
            for match in ("", 'user_email="c@d.example"')
        )

    assert all_ is not None
    assert own is not None
    assert (all_.tokens, own.tokens) == (1005, 5)


def test_a_match_that_is_no_selector(tmp_path: Path) -> None:
    """Nonsense in the match is Prometheus's complaint, in a word."""
    with Server(tmp_path) as server:
        reading = once(Settings(prometheus=server.url, prometheus_match="user="))

    assert reading.sources["fuel"].why == "400: bad_data"


def test_no_password_in_the_url() -> None:
    """A password in the URL would be shown by `config`: it is refused, and not repeated."""
    with pytest.raises(GaugeError) as refused:
        load({"prometheus": "https://gauge:hush@localhost"}, {})

    assert "CLAUDE_GAUGE_PROMETHEUS_PASSWORD" in str(refused.value)
    assert "hush" not in str(refused.value)
