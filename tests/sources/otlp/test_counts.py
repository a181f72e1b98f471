from __future__ import annotations

import json
import resource
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.sources.otlp.exports import event, metrics, point, samples
from tests.sources.otlp.receiving import NOW, Clock, receiving, send
from tests.support.net import wait_until

from claude_gauge.counting.reading import Tokens

CUMULATIVE = 2


def _grow(total: float, at: float, *, start: float = NOW - 100, **more: object) -> dict[str, Any]:
    """One cumulative point that says so many output tokens since its start."""
    return metrics(point("output", total, at, start=start, **more), temporality=CUMULATIVE)


@pytest.mark.parametrize(
    ("name", "true"),
    [
        ("json_delta", Tokens(14, 297, 24350, 530)),
        ("json_agent", Tokens(18, 276, 36200, 257)),
        ("json_cumulative", Tokens(14, 297, 24350, 530)),
        ("json_error", Tokens()),
    ],
)
@pytest.mark.parametrize("signals", [("/v1/logs", "/v1/metrics"), ("/v1/logs",), ("/v1/metrics",)])
@pytest.mark.parametrize("order", [1, -1])
def test_genuine_exports(tmp_path: Path, name: str, true: Tokens, signals: tuple[str, ...], order: int) -> None:
    """Events, metrics or both, in either order: a genuine session is counted once and whole."""
    exports = [(path, body) for path, body in samples(name) if path in signals][::order]
    if name == "json_cumulative" and order == -1 and "/v1/logs" not in signals:
        exports = exports[:1]  # the newest says all; what arrives after it is out of order and adds nothing
    with receiving(tmp_path, Clock(1795429510.0)) as (source, clock):
        for path, body in exports:
            send(source, path, body)
        clock.now += 40
        traffic = source.read(clock.now).traffic

    assert traffic is not None
    assert traffic.five_minutes == true
    assert traffic.thinking == "unknown"


def test_events_only(tmp_path: Path) -> None:
    """An event moves the tach, the block and the week at once."""
    with receiving(tmp_path) as (source, clock):
        send(source, "/v1/logs", event(NOW - 1, "r1"))
        reading = source.read(clock.now)

    assert reading.traffic is not None
    assert reading.traffic.minute == Tokens(1, 20, 300, 4000)
    assert reading.traffic.model == "opus"
    assert reading.block is not None
    assert (reading.block.tokens, reading.week_tokens) == (4321, 4321)


def test_export_sent_again(tmp_path: Path) -> None:
    """An export that is sent again because its answer was lost counts nothing twice."""
    with receiving(tmp_path) as (source, clock):
        for _ in range(3):
            send(source, "/v1/logs", event(NOW - 1, "r1"))
            send(source, "/v1/metrics", metrics(point("output", 7, NOW - 1, session="other")))
        clock.now += 40
        reading = source.read(clock.now)

    assert reading.week_tokens == 4321 + 7


def test_publisher_restarts(tmp_path: Path) -> None:
    """After a restart nothing is forgotten, and what is sent again is known."""
    with receiving(tmp_path) as (source, _):
        send(source, "/v1/logs", event(NOW - 5, "r1"))
        send(source, "/v1/metrics", _grow(50, NOW - 5, session="metrics-only"))
    with receiving(tmp_path, Clock(NOW + 2)) as (source, clock):
        send(source, "/v1/logs", event(NOW - 5, "r1"))
        send(source, "/v1/metrics", _grow(50, NOW - 5, session="metrics-only"))
        clock.now += 40
        reading = source.read(clock.now)

    assert reading.week_tokens == 4321 + 50


def test_used_while_publisher_was_down(tmp_path: Path) -> None:
    """Cumulative counters bring back what went by during an outage, spread over it, not as a burst."""
    with receiving(tmp_path) as (source, _):
        send(source, "/v1/metrics", _grow(100, NOW - 5))
    with receiving(tmp_path, Clock(NOW + 3600)) as (source, clock):
        send(source, "/v1/metrics", _grow(36_100, NOW + 3600))
        clock.now += 7
        reading = source.read(clock.now)

    assert reading.week_tokens == 36_100
    assert reading.traffic is not None
    assert 500 < reading.traffic.minute.output < 700


def test_events_lost_while_publisher_was_down(tmp_path: Path) -> None:
    """Where events were lost and the counters are cumulative, the metrics' surplus fills the gap once."""
    with receiving(tmp_path) as (source, _):
        send(source, "/v1/logs", event(NOW - 50, "r1"))
        send(source, "/v1/metrics", _grow(20, NOW - 49))
    with receiving(tmp_path, Clock(NOW + 600)) as (source, clock):
        send(source, "/v1/logs", event(NOW + 590, "r3"))
        send(source, "/v1/metrics", _grow(60, NOW + 595))
        clock.now += 31
        send(source, "/v1/metrics", _grow(60, NOW + 630))
        clock.now += 31
        reading = source.read(clock.now)

    # Two events of 4,321 and the output of one that only the counter knows.
    assert reading.week_tokens == 2 * 4321 + 20


def test_events_later_than_metrics(tmp_path: Path) -> None:
    """Metrics entered because no event came are lowered again when the events come after all."""
    with receiving(tmp_path) as (source, clock):
        send(source, "/v1/metrics", metrics(point("output", 20, NOW - 1), point("input", 5, NOW - 1)))
        clock.now += 7
        before = source.read(clock.now).week_tokens
        clock.now += 60
        send(source, "/v1/logs", event(NOW - 1, "r1"))
        reading = source.read(clock.now)

    assert before == 25
    # The event explains all of the output and 1 of the input; 4 of the input only the metrics know.
    assert reading.week_tokens == 4321 + 4
    assert reading.block is not None
    assert reading.block.tokens == 4321 + 4


def test_lowered_fill_stays_lowered(tmp_path: Path) -> None:
    """A fill that was lowered is the lowered one after a restart too."""
    with receiving(tmp_path) as (source, clock):
        send(source, "/v1/metrics", metrics(point("output", 20, NOW - 1)))
        clock.now += 7
        source.read(clock.now)
        send(source, "/v1/logs", event(NOW - 1, "r1"))
    with receiving(tmp_path, Clock(NOW + 60)) as (source, clock):
        reading = source.read(clock.now)

    assert reading.week_tokens == 4321


def test_process_restarts_within_session(tmp_path: Path) -> None:
    """A resumed session counts from zero again under a new start: both parts count."""
    with receiving(tmp_path) as (source, clock):
        send(source, "/v1/metrics", _grow(500, NOW - 60, start=NOW - 100))
        send(source, "/v1/metrics", _grow(30, NOW - 1, start=NOW - 20))
        clock.now += 40
        reading = source.read(clock.now)

    assert reading.week_tokens == 530


def test_counter_reset(tmp_path: Path) -> None:
    """A value below the last one under the same start is a reset: what it says was used since."""
    with receiving(tmp_path) as (source, clock):
        for total, at in ((100, NOW - 30), (150, NOW - 20), (40, NOW - 10), (45, NOW - 5)):
            send(source, "/v1/metrics", _grow(total, at))
        clock.now += 40
        reading = source.read(clock.now)

    assert reading.week_tokens == 195


def test_out_of_order(tmp_path: Path) -> None:
    """A cumulative point that arrives after a newer one is neither added nor taken for a reset."""
    with receiving(tmp_path) as (source, clock):
        for total, at in ((100, NOW - 30), (150, NOW - 10), (120, NOW - 20), (160, NOW - 5)):
            send(source, "/v1/metrics", _grow(total, at))
        clock.now += 40
        reading = source.read(clock.now)

    assert reading.week_tokens == 160


def test_two_processes_without_session_ids(tmp_path: Path) -> None:
    """With session ids left out, two processes' counters are distinguished by their starts."""
    with receiving(tmp_path) as (source, clock):
        for first, second, at in ((100, 10, NOW - 30), (150, 30, NOW - 20)):
            send(source, "/v1/metrics", _grow(first, at, start=NOW - 90, session=None))
            send(source, "/v1/metrics", _grow(second, at, start=NOW - 80, session=None))
        clock.now += 40
        reading = source.read(clock.now)

    assert reading.week_tokens == 180


def test_metrics_without_session_ids_beside_events(tmp_path: Path) -> None:
    """Metrics without session ids are known to be the events of the same origin."""
    with receiving(tmp_path) as (source, clock):
        send(source, "/v1/logs", event(NOW - 10, "r1"))
        send(source, "/v1/metrics", metrics(point("output", 20, NOW - 9, session=None)))
        clock.now += 40
        reading = source.read(clock.now)

    assert reading.week_tokens == 4321


def test_session_older_than_the_receiver(tmp_path: Path) -> None:
    """A counter that ran for hours before we did counts from its start, as traffic of those hours."""
    with receiving(tmp_path) as (source, clock):
        send(source, "/v1/metrics", _grow(36_000, NOW - 1, start=NOW - 3601))
        clock.now += 7
        reading = source.read(clock.now)

    assert reading.week_tokens == 36_000
    assert reading.traffic is not None
    assert reading.traffic.minute.output < 700


def test_clock_ahead(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An event whose clock is a little ahead counts now; one from the future is refused, and its sender is reported."""
    with receiving(tmp_path) as (source, clock):
        send(source, "/v1/logs", event(NOW + 60, "r1"))
        reported = send(source, "/v1/logs", event(NOW + 86_400, "r2", sequence=2)).json()["partialSuccess"]
        reading = source.read(clock.now)

    assert reading.traffic is not None
    assert (reading.week_tokens, reading.traffic.minute.total, reading.traffic.newest_at) == (4321, 4321, NOW)
    assert (reported["rejectedLogRecords"], "future" in reported["errorMessage"]) == ("1", True)
    assert "future" in caplog.text


@pytest.mark.parametrize("ahead_s", [0, 30, 100])
@pytest.mark.parametrize("restarts", [True, False])
def test_a_late_event_of_a_sender_that_is_ahead(tmp_path: Path, ahead_s: float, *, restarts: bool) -> None:
    """What was filled in for an event that came late is taken out again, whatever the sender's clock says."""
    at = NOW + ahead_s
    late = event(at, "r1", input_tokens=0, cache_read_tokens=0, cache_creation_tokens=0)
    with receiving(tmp_path) as (source, clock):
        send(source, "/v1/metrics", metrics(point("output", 50, at, start=at - 5)))
        clock.now += 30
        filled = source.read(clock.now).week_tokens
        clock.now += 20
        if not restarts:
            send(source, "/v1/logs", late)
            clock.now += 30
            reading = source.read(clock.now)
    if restarts:
        with receiving(tmp_path, clock) as (source, _):
            send(source, "/v1/logs", late)
            clock.now += 30
            reading = source.read(clock.now)

    assert reading.traffic
    assert (filled, reading.week_tokens, reading.traffic.five_minutes.output) == (50, 50, 50)


def test_point_a_year_ahead(tmp_path: Path) -> None:
    """A point of a wrong clock does not silence its series."""
    with receiving(tmp_path) as (source, clock):
        send(source, "/v1/metrics", _grow(100, NOW - 10))
        reported = send(source, "/v1/metrics", _grow(150, NOW + 365 * 86_400)).json()["partialSuccess"]
        send(source, "/v1/metrics", _grow(170, NOW - 1))
        clock.now += 40
        reading = source.read(clock.now)

    assert (reading.week_tokens, reported["rejectedDataPoints"]) == (170, "1")


def test_future_in_the_journal(tmp_path: Path) -> None:
    """What was kept while our own clock was a day ahead is not taken for new at every restart."""
    with receiving(tmp_path, Clock(NOW + 86_400)) as (source, _):
        send(source, "/v1/logs", event(NOW + 86_400 - 5, "r1"))
        send(source, "/v1/metrics", _grow(50, NOW + 86_400 - 5, session="other"))
    with receiving(tmp_path) as (source, clock):
        reading = source.read(clock.now)

    assert reading.week_tokens == 0


def test_count_that_nobody_used(tmp_path: Path) -> None:
    """A count beyond belief is refused."""
    with receiving(tmp_path) as (source, clock):
        send(source, "/v1/logs", event(NOW - 1, "r1", output_tokens=10**13))
        send(source, "/v1/metrics", metrics(point("output", 1e13, NOW - 1)))
        clock.now += 40
        reading = source.read(clock.now)

    assert reading.week_tokens == 0


def test_half_line_in_the_journal(tmp_path: Path) -> None:
    """A line cut by a power loss, or garbage, costs that line alone: the next one begins on its own."""
    with receiving(tmp_path) as (source, _):
        send(source, "/v1/logs", event(NOW - 5, "r1"))
    journal = next(tmp_path.glob("otlp-*.jsonl"))
    with journal.open("ab") as file:
        file.write(b'null\n["s",1,2]\n["f"]\n\xff\xfe\n["r","half",')
    for _ in range(2):
        with receiving(tmp_path) as (source, clock):
            send(source, "/v1/logs", event(NOW - 4, "r2", sequence=2))
            reading = source.read(clock.now)

        assert reading.week_tokens == 2 * 4321


def test_state_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where the state folder can't be written, counting goes on, exporters get 503, and one warning says why."""
    (tmp_path / "file").write_text("")
    with receiving(tmp_path / "file" / "folder") as (source, clock):
        for number in range(3):
            send(source, "/v1/logs", event(NOW - 1, f"r{number}", sequence=number), status=503)
        reading = source.read(clock.now)

    assert reading.week_tokens == 3 * 4321
    assert len([each for each in caplog.messages if "a restart will forget" in each]) == 1


def test_disk_fills_up_in_mid_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What a full disk could not take is answered 503, and stored as soon as there is room again."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with receiving(tmp_path) as (source, clock):
        send(source, "/v1/logs", event(NOW - 5, "r1"))
        size = next(tmp_path.glob("otlp-*.jsonl")).stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 70, before[1]))  # a write over it is cut, as by a full disk
        try:
            for number in (2, 3, 3):
                send(source, "/v1/logs", event(NOW - 4, f"r{number}", sequence=number), status=503)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        send(source, "/v1/logs", event(NOW - 4, "r3", sequence=3))
        live = source.read(clock.now).week_tokens
    with receiving(tmp_path) as (source, clock):
        kept = source.read(clock.now).week_tokens

    assert live == kept == 3 * 4321
    assert len([each for each in caplog.messages if "a restart will forget" in each]) == 1


def test_journal_is_private_and_forgets(tmp_path: Path) -> None:
    """The journal is its owner's alone, holds no text, and drops what is over 8 days old."""
    with receiving(tmp_path) as (source, _):
        send(source, "/v1/logs", event(NOW - 5, "r1", prompt="a secret of ours"))
    journal = next(tmp_path.glob("otlp-*.jsonl"))

    assert journal.stat().st_mode & 0o777 == 0o600
    assert b"secret" not in journal.read_bytes()

    with receiving(tmp_path, Clock(NOW + 9 * 86400)) as (source, clock):
        reading = source.read(clock.now)

    assert reading.week_tokens == 0
    assert journal.read_bytes() == b""


def test_old_events_still_explain_metrics(tmp_path: Path) -> None:
    """Events dropped for their age still explain the counter of a session that comes back after days."""
    with receiving(tmp_path) as (source, _):
        send(source, "/v1/logs", event(NOW - 5, "r1"))
        send(source, "/v1/metrics", _grow(20, NOW - 4))
    for days in (9, 10):
        late = NOW + days * 86400
        with receiving(tmp_path, Clock(late)) as (source, clock):
            send(source, "/v1/metrics", _grow(20, late - 1))
            clock.now += 40
            reading = source.read(clock.now)

        assert reading.week_tokens == 0


def test_journal_is_rewritten_when_it_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A counter that moves for weeks leaves one line in the journal, not one per export."""
    monkeypatch.setattr("claude_gauge.sources.otlp.journal.GROWTH", 2000)
    with receiving(tmp_path) as (source, clock):
        for number in range(50):
            send(source, "/v1/metrics", _grow(number + 1, NOW - 60 + number))
            wait_until(lambda: "otlp-journal" not in {each.name for each in threading.enumerate()}, "a rewrite's end")
        clock.now += 40
        source.read(clock.now)
    journal = next(tmp_path.glob("otlp-*.jsonl"))

    assert sum(json.loads(line)[0] == "s" for line in journal.read_text().splitlines()) < 20

    with receiving(tmp_path, Clock(NOW + 100)) as (source, clock):
        assert source.read(clock.now).week_tokens == 50


def test_many_sessions_at_once(tmp_path: Path) -> None:
    """Exports of many sessions at the same time are all counted."""
    with receiving(tmp_path) as (source, clock), ThreadPoolExecutor(16) as pool:
        exports = [event(NOW - 1, f"r{n}", **{"session.id": f"s{n % 16}"}, sequence=n) for n in range(320)]
        list(pool.map(lambda body: send(source, "/v1/logs", body), exports))
        reading = source.read(clock.now)

    assert reading.week_tokens == 320 * 4321


@pytest.mark.parametrize("temporality", [1, 2])
@pytest.mark.parametrize("down", [True, False])
@pytest.mark.parametrize("days", [9, 20, 60])
def test_a_session_comes_back(tmp_path: Path, temporality: int, days: int, *, down: bool) -> None:
    """What a session used before it was silent for long says nothing of what it uses then, after a restart neither."""
    clock = Clock()

    def use(total: float, start: float) -> None:
        send(source, "/v1/metrics", metrics(point("output", total, clock.now, start=start), temporality=temporality))
        clock.now += 30
        source.read(clock.now)

    with receiving(tmp_path, clock) as (source, _):
        use(500, clock.now - 5)
        if not down:
            clock.now += days * 86400
            use(70, clock.now - 5)
    if down:
        clock.now += days * 86400
        with receiving(tmp_path, clock) as (source, _):
            use(70, clock.now - 5)
    for _ in range(2):
        with receiving(tmp_path, clock) as (source, _):
            clock.now += 60
            reading = source.read(clock.now)

    assert reading.week_tokens == 70


def test_nothing_received(tmp_path: Path) -> None:
    """Before anything was received the source says so, and does not look healthy."""
    with receiving(tmp_path) as (source, clock):
        reading = source.read(clock.now)

    assert not reading.sources["tach"].ok
    assert reading.sources["tach"].why == "nothing received yet"
