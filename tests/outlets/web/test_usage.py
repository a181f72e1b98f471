from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable

import pytest
from tests.support.http import Wire, get, shown
from tests.support.net import PATIENCE_S, wait_until
from tests.support.payloads import usage

from claude_gauge.counting.derive import Limits
from claude_gauge.counting.reading import Reading
from claude_gauge.daemon.publisher import Publisher
from claude_gauge.outlets.web.shim import Shim
from claude_gauge.system.net import OwnHosts

PAYLOAD = usage().to_json()
LIMITS = Limits(ceiling_5h=1000, redline=1000, stall_s=600, cache_floor=None, tach="all")


def test_the_very_bytes(shim: Shim) -> None:
    """`GET /usage` answers with exactly the bytes that were pushed."""
    shim.push(PAYLOAD)
    shown(shim.port, PAYLOAD)
    reply = get(shim.port, "/usage")

    assert (reply.status, reply.body) == (200, PAYLOAD)
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["cache-control"] == "no-cache"


def test_bytes_that_are_no_json(shim: Shim) -> None:
    """The shim passes on whatever was published, as it was."""
    shim.push(b"\xff\x00 no json")
    shown(shim.port, b"\xff\x00 no json")

    assert get(shim.port, "/usage").status == 200


def test_before_the_first_payload(shim: Shim) -> None:
    """Before there is a payload, 503 says so in JSON and when to come again."""
    reply = get(shim.port, "/usage")

    assert reply.status == 503
    assert "no payload yet" in reply.json()["error"]
    assert reply.headers["retry-after"] == "1"


def test_why_nothing_came() -> None:
    """A node that the broker does not let us read is not just one from which nothing came."""
    why = "broker b does not let us read claude-gauge/+/usage: not authorized: check its ACL"
    running = Shim("127.0.0.1:0", lambda: {"broker": {"why": why}}, own=None)
    running.start()
    try:
        reply = get(running.port, "/usage?node=desk")
    finally:
        running.stop()

    assert (reply.status, reply.json()["error"]) == (503, f"nothing received from node desk yet: {why}")


def test_head(shim: Shim) -> None:
    """`HEAD` has the same head as `GET` and no body."""
    shim.push(PAYLOAD)
    shown(shim.port, PAYLOAD)
    with Wire(shim.port) as wire:
        got = wire.ask("/usage")
        head = wire.ask("/usage", method="HEAD")
        after = wire.ask("/usage")

    assert {**head.headers, "date": ""} == {**got.headers, "date": ""}
    assert head.body == b""
    assert after.body == PAYLOAD


@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', "*"])
def test_not_modified(shim: Shim, form: str) -> None:
    """A reader that has these bytes already gets 304 without a body, and new ones once they change."""
    shim.push(PAYLOAD)
    shown(shim.port, PAYLOAD)
    etag = get(shim.port, "/usage").headers["etag"]
    with Wire(shim.port) as wire:
        same = wire.ask("/usage", f"If-None-Match: {form.format(etag)}")
        newer = usage(rate_1m=1).to_json()
        shim.push(newer)
        shown(shim.port, newer)
        changed = wire.ask("/usage", f"If-None-Match: {etag}")

    assert (same.status, same.body, same.headers["etag"]) == (304, b"", etag)
    assert (changed.status, changed.body) == (200, newer)


def test_wrong_method(shim: Shim) -> None:
    """What would change something is refused with the methods that there are."""
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"):
        reply = get(shim.port, "/usage", "Content-Length: 0", method=method)

        assert reply.status == 405
        assert reply.headers["allow"] == "GET, HEAD"
        assert "error" in reply.json()


def test_nothing_there(shim: Shim) -> None:
    """An unknown path is 404 in JSON, and names what there is; no path leads to a file."""
    for target in ("/nothing", "/../shim.py", "/%2e%2e/shim.py", "//etc/passwd", "/index.html", "/usage/"):
        reply = get(shim.port, target)

        assert reply.status == 404
        assert "/usage" in reply.json()["error"]


def test_query_is_ignored(shim: Shim) -> None:
    """A cache-busting query changes nothing."""
    shim.push(PAYLOAD)
    shown(shim.port, PAYLOAD)

    assert get(shim.port, "/usage?t=1").body == PAYLOAD


def test_no_cors(shim: Shim) -> None:
    """A page from elsewhere gets no leave to read."""
    reply = get(shim.port, "/usage", "Origin: https://evil.example")

    assert not [name for name in reply.headers if name.startswith("access-control")]
    assert reply.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "a b", "10.0.0.1", "@localhost"]
)
def test_foreign_host(shim: Shim, host: str) -> None:
    """A name that someone pointed at us (DNS rebinding) is answered 421 and nothing else."""
    shim.push(PAYLOAD)
    shown(shim.port, PAYLOAD)
    reply = get(shim.port, "/usage", host=host)

    assert reply.status == 421
    assert b"rate_1m" not in reply.body


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "127.1.2.3", "[::1]:8080", "gauge.localhost", "localhost."]
)
def test_own_host(shim: Shim, host: str) -> None:
    """Every loopback name is ours."""
    assert get(shim.port, "/healthz", host=host).status != 421


def test_absolute_form(shim: Shim) -> None:
    """A target with a foreign authority is foreign, whatever the Host header says."""
    assert get(shim.port, "http://evil.example/usage").status == 421
    assert get(shim.port, "http://localhost/healthz", host="evil.example").status == 503


def test_names_of_a_wildcard() -> None:
    """Listening on all addresses, any address and this machine's names are ours; other names only where added."""
    hosts = OwnHosts("0.0.0.0", ["Gauge.Home"])
    own = socket.gethostname().lower()

    assert all(hosts(host) for host in ("192.168.1.5", "fe80::1%eth0", own, "gauge.home", "localhost"))
    assert not hosts("evil.example")


def test_configured_host() -> None:
    """The host that it was set to listen on is ours, other addresses are not."""
    hosts = OwnHosts("192.168.1.5")

    assert hosts("192.168.1.5")
    assert not hosts("192.168.1.6")


def test_healthz(shim: Shim) -> None:
    """`/healthz` has the publisher's health and the newest payload's age, and 200 only while it is young."""
    before = get(shim.port, "/healthz")
    shim.push(PAYLOAD)
    shown(shim.port, PAYLOAD)
    after = get(shim.port, "/healthz")

    assert (before.status, before.json()["status"]) == (503, "starting")
    assert (after.status, after.json()["status"], after.json()["broker"]) == (200, "ok", "connected")
    assert 0 <= after.json()["age_s"] < 20


def test_healthz_of_a_hung_publisher() -> None:
    """When no payload comes for three heartbeats, `/healthz` is 503 and says stale."""
    clock = [1000.0]
    shim = Shim("127.0.0.1:0", dict, now=lambda: clock[0])
    shim.start()
    shim.push(PAYLOAD)
    shown(shim.port, PAYLOAD)
    clock[0] += 46
    reply = get(shim.port, "/healthz")
    shim.stop()

    assert (reply.status, reply.json()["status"], reply.json()["age_s"]) == (503, "stale", 46)


def test_healthz_survives_a_failing_health(caplog: pytest.LogCaptureFixture) -> None:
    """A health that raises is reported as unknown; the server lives on."""

    def broken() -> dict[str, str]:
        raise RuntimeError("nobody knows")

    shim = Shim("127.0.0.1:0", broken)
    shim.start()
    reply = get(shim.port, "/healthz")
    shim.stop()

    assert reply.json()["health"] == "unknown"
    assert "nobody knows" in caplog.text


def test_history(shim: Shim) -> None:
    """`/history` has five hours of minutes; the newest is the last, its share null where that is merely kept."""
    strips = []
    for source in ("plan", None):
        payload = usage(fuel_source=source).to_json()
        shim.push(payload)
        shown(shim.port, payload)
        strips.append(get(shim.port, "/history").json())

    assert len(strips[0]["slices"]) * strips[0]["slice_s"] == 5 * 3600
    assert [500_000, 0.42] in strips[0]["slices"][-2:]
    assert [500_000, None] in strips[1]["slices"][-2:]
    assert strips[0]["slices"][0] is None


def test_scales(shim: Shim) -> None:
    """`/scales` says how a page draws the gauges."""
    scales = get(shim.port, "/scales").json()

    assert [gauge["field"] for gauge in scales["gauges"]] == [
        "window_5h_pct",
        "rate_1m",
        "thinking_ratio",
        "cache_hit_rate",
    ]
    assert scales["silence_s"] == 45


def test_policy(shim: Shim) -> None:
    """The page may talk to its own server alone, whatever its address says."""
    plain, smuggled = (
        get(shim.port, target).headers["content-security-policy"]
        for target in ("/", "/?broker=ws://x&node=x;%20script-src%20*")
    )

    assert "connect-src 'self';" in plain
    assert smuggled == plain
    assert not re.search("unsafe|[*]|data:|ws:", plain)


@pytest.mark.parametrize(
    ("show", "text"), [("42", ">42<"), ("100", ">100<"), ("stale", ">?<"), ("%3Cb%3E", ">?<"), ("", ">?<")]
)
def test_icon(shim: Shim, show: str, text: str) -> None:
    """The tab's icon shows the share that its address names, and nothing else that it might hold."""
    icon = get(shim.port, f"/state.svg?show={show}")

    assert icon.headers["content-type"] == "image/svg+xml"
    assert text in icon.body.decode()


def test_port_in_use(shim: Shim) -> None:
    """An address that is taken is reported with what to do about it."""
    second = Shim(f"127.0.0.1:{shim.port}", dict)
    with pytest.raises(Exception, match="choose another address with --http"):
        second.start()


def test_no_such_address() -> None:
    """An address that is not this machine's is reported."""
    with pytest.raises(Exception, match=r"http: .*192\.0\.2\.1:0"):
        Shim("192.0.2.1:0", dict).start()


def test_stop_is_safe_anytime() -> None:
    """Stopping before the start, twice, and pushing afterwards do no harm."""
    before = set(threading.enumerate())
    never = Shim("127.0.0.1:0", dict)
    never.stop()
    shim = Shim("127.0.0.1:0", dict)
    shim.start()
    shim.stop()
    shim.stop()
    shim.push(PAYLOAD)

    assert "http" not in {thread.name for thread in set(threading.enumerate()) - before}


def test_ipv6() -> None:
    """An IPv6 address in brackets is listened on, and answered to."""
    shim = Shim("[::1]:0", dict)
    shim.start()
    with socket.create_connection(("::1", shim.port), timeout=PATIENCE_S) as client:
        client.sendall(f"GET /healthz HTTP/1.1\r\nHost: [::1]:{shim.port}\r\nConnection: close\r\n\r\n".encode())
        answer = client.makefile("rb").read()
    shim.stop()

    assert answer.startswith(b"HTTP/1.1 503")
    assert b"starting" in answer


class Counted:
    """A source that counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def start(self, changed: Callable[[], None]) -> None:
        """Begin."""

    def read(self, now: float) -> Reading:  # noqa: ARG002 - a Source's own shape
        """Know nothing, and count."""
        self.asked += 1
        return Reading()

    def due(self, now: float) -> float | None:
        """Change never."""

    def stop(self) -> None:
        """End."""


def test_a_request_touches_no_source(shim: Shim) -> None:
    """A thousand requests of every kind ask the source not once; only the publisher's own heartbeat does."""
    source = Counted()
    publisher = Publisher(source, LIMITS, [lambda _, payload: shim.push(payload)], node="studio")
    thread = threading.Thread(target=publisher.run)
    thread.start()
    wait_until(lambda: get(shim.port, "/usage").status == 200, "the first payload")
    before = source.asked
    with Wire(shim.port) as wire:
        for number in range(1000):
            wire.ask(("/usage", "/healthz", "/history", "/scales", "/", "/nothing")[number % 6])
    after = source.asked
    publisher.stop()
    thread.join()

    assert after - before <= 1
