from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.transcripts import assistant, denied, encoded

from claude_gauge.contract.plan_window import Refused
from claude_gauge.counting.reading import Tokens
from claude_gauge.counting.turn import Denial, Turn, denial, gather, parse

AT = 1_763_900_000.0


def _one(record: dict[str, Any]) -> Turn:
    (turn,) = parse(json.dumps(record).encode())
    return turn


def _with(usage: dict[str, Any] | None = None, message: dict[str, Any] | None = None, **line: Any) -> dict[str, Any]:  # noqa: ANN401
    record = assistant(AT, 1)
    record["message"]["usage"] |= usage or {}
    record["message"] |= message or {}
    return {**record, **line}


def test_every_figure_is_read() -> None:
    """A line gives its own time, its ids, its model and each kind of token."""
    turn = _one(assistant(AT + 0.123, 7, tokens=(1, 2, 3, 4), thinking=1, sidechain=True))

    assert turn.at == pytest.approx(AT + 0.123)
    assert (turn.message_id, turn.request_id, turn.line_id) == ("msg_000007", "req_000007", "uuid-000007")
    assert (turn.input, turn.output, turn.cache_read, turn.cache_creation, turn.thinking) == (1, 2, 3, 4, 1)
    assert turn.model == "claude-opus-5-5"
    assert turn.sidechain


def test_advice_is_in_the_iterations_alone() -> None:
    """Other models' advice stands in no other figure; all other iterations are in the line's own figures already."""
    advice = {"type": "advisor_message", "model": "claude-opus-5-5", "input_tokens": 1500, "output_tokens": 30}
    own = {"type": "message", "input_tokens": 5, "output_tokens": 9}
    nameless = {**advice, "model": None}
    turn = _one(_with({"iterations": [own, advice, {"type": "compaction", "input_tokens": 7}, nameless, "x", advice]}))

    assert turn.advisor == Tokens(3000, 60)
    assert (turn.input, turn.output) == (10, 100)


@pytest.mark.parametrize("iterations", [None, {}, "advisor_message", [None], [{"type": "advisor_message"}]])
def test_garbage_in_iterations_is_no_advice(iterations: object) -> None:
    """Whatever stands there, the line's own figures count."""
    turn = _one(_with({"iterations": iterations}))

    assert turn.advisor == Tokens()
    assert turn.output == 100


@pytest.mark.parametrize(
    "record",
    [
        {"type": "user", "message": {"content": 'assistant "usage"'}},
        {"type": "assistant"},
        {"type": "assistant", "message": "usage", "timestamp": "2026-11-23T00:00:00Z"},
        _with(type="assistant-draft"),
        _with(timestamp=None),
        _with(timestamp="yesterday"),
        _with(timestamp=17),
        _with(message={"usage": None}),
        _with(message={"usage": []}),
    ],
)
def test_foreign_lines_are_no_turns(record: dict[str, Any]) -> None:
    """Other types, and assistant lines without a time or usage, are passed over."""
    line = json.dumps({**record, "usage": "assistant"}).encode()

    assert parse(line) == []


@pytest.mark.parametrize(
    "line", [b"", b"null", b"[]", b"{}", b'"usage" assistant', b'{"usage":assistant}', b"\xff" * 9]
)
def test_garbage_is_no_turn(line: bytes) -> None:
    """What is no JSON at all is passed over."""
    assert parse(line) == []


def test_list_of_records_is_no_record() -> None:
    """A whole transcript as one JSON list, as some exports write it, is no line of a transcript."""
    assert parse(json.dumps([assistant(AT, 1), assistant(AT, 2)]).encode()) == []


@pytest.mark.parametrize("stamp", ["2025-11-23T12:13:20", "2025-11-23 12:13:20.000", "2025-11-23T13:13:20+01:00"])
def test_time_without_a_zone_is_utc(stamp: str) -> None:
    """A time in another spelling is the same time; one that names no zone is in UTC."""
    assert _one(_with(timestamp=stamp)).at == AT


def test_synthetic_and_error_lines_count_nothing() -> None:
    """API errors come as assistant lines of a `<synthetic>` model: neither tokens nor last model."""
    assert list(parse(json.dumps(_with(message={"model": "<synthetic>"})).encode())) == []
    assert list(parse(json.dumps(_with(isApiErrorMessage=True)).encode())) == []


def test_cache_creation_split_by_lifetime_wins() -> None:
    """Where the two lifetimes are reported, their sum is the figure; an empty split is none."""
    split = {"ephemeral_5m_input_tokens": 300, "ephemeral_1h_input_tokens": 50}

    assert _one(_with({"cache_creation": split})).cache_creation == 350
    assert _one(_with({"cache_creation": {}})).cache_creation == 50
    assert _one(_with({"cache_creation": None})).cache_creation == 50


@pytest.mark.parametrize("value", [None, -1, True, "12", [], {}, 10**13, float("nan"), float("inf"), 1e400])
def test_absurd_figure_counts_as_none(value: object) -> None:
    """A figure that is no count of tokens is 0; it spoils nothing else."""
    turn = _one(_with({"output_tokens": value}))

    assert (turn.output, turn.input) == (0, 10)


def test_null_and_odd_ids_are_no_ids() -> None:
    """An id that is null, empty or no text is a missing id."""
    turn = _one(_with(message={"id": None}, requestId="", uuid=5))

    assert (turn.message_id, turn.request_id, turn.line_id) == (None, None, None)


def test_thinking_exact_and_unknown() -> None:
    """The exact count is read; absent or null means unknown, not zero."""
    assert _one(_with({"output_tokens_details": {"thinking_tokens": 33}})).thinking == 33
    assert _one(_with({"output_tokens_details": {"thinking_tokens": None}})).thinking is None
    assert _one(_with({"output_tokens_details": None})).thinking is None


def test_content_sizes_for_the_estimate() -> None:
    """Thinking blocks and the others are measured where there is no count; a withheld thought counts its signature."""
    content = [
        {"type": "thinking", "thinking": "", "signature": "s" * 40},
        {"type": "redacted_thinking", "data": "d" * 10},
        {"type": "text", "text": "t" * 5},
        {"type": "tool_use", "input": {"a": 1}},
        "odd",
    ]
    reported, unmeasured = _with(message={"content": content}), _with(message={"content": content})
    del unmeasured["message"]["usage"]["output_tokens_details"]

    assert (_one(unmeasured).thought, _one(unmeasured).spoken) == (50, 5 + len("{'a': 1}"))
    assert (_one(reported).thought, _one(reported).spoken) == (0, 0)


def test_two_records_glued_on_one_line() -> None:
    """Two whole records without a newline between them are both read."""
    line = encoded(assistant(AT, 1))[:-1] + encoded(assistant(AT, 2))[:-1]

    assert [turn.message_id for turn in parse(line)] == ["msg_000001", "msg_000002"]


@given(st.integers(1, 400))
def test_whole_record_behind_a_torn_one(cut: int) -> None:
    """A record torn anywhere, by a crash, does not take the next one on its line with it."""
    content = [
        {"type": "text", "text": 'said {"type":"assistant"} \\ "usage"'},
        {"type": "tool_use", "input": {"a": {}}},
    ]
    record = encoded(_with(message={"content": content}))
    line = record[: min(cut, len(record) - 3)] + encoded(assistant(AT, 2))[:-1]

    assert [turn.message_id for turn in parse(line)] == ["msg_000002"]


def test_nul_runs_are_dropped() -> None:
    """NUL bytes, left where a machine lost power, hide nothing."""
    line = b"\0" * 5000 + encoded(assistant(AT, 1))[:-1] + b"\0\0"

    assert [turn.message_id for turn in parse(line)] == ["msg_000001"]


def test_invalid_utf8_and_lone_surrogates() -> None:
    """Bytes that are no UTF-8, raw or escaped surrogates in a text, and a BOM spoil no figure."""
    record = encoded(_with(message={"content": [{"type": "text", "text": "XX"}]}))[:-1]

    for odd in (b"\xff\xfe\x80", b"\xed\xa0\x80", b"\\ud800"):
        assert [turn.output for turn in parse(b"\xef\xbb\xbf" + record.replace(b"XX", odd))] == [100]


def test_deep_nesting_is_garbage() -> None:
    """JSON nested beyond the interpreter's stack is passed over, and so is what it is wrapped in."""
    deep = b'{"type":"assistant","usage":' + b'{"type":"assistant","a":[' * 100_000

    assert parse(deep) == []


def test_endless_small_records_cost_little() -> None:
    """A line of a million tiny records ends after the first hundred."""
    line = b'{"usage":"assistant"}' * 400_000

    assert parse(line) == []


@given(st.binary(max_size=400), st.data())
def test_no_bytes_raise(noise: bytes, data: st.DataObject) -> None:
    """Whatever stands on a line, whole or spliced into a genuine one, parsing never raises."""
    genuine = encoded(assistant(AT, 1))[:-1]
    low = data.draw(st.integers(0, len(genuine)))
    high = data.draw(st.integers(low, len(genuine)))

    for turn in parse(genuine[:low] + noise + genuine[high:] + b'"usage"assistant'):
        assert min(turn.input, turn.output, turn.cache_read, turn.cache_creation, turn.thinking or 0) >= 0


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=8), below, max_size=3),
    max_leaves=5,
)
_places = st.sampled_from(
    [("message",), ("timestamp",), ("requestId",), ("isSidechain",)]
    + [("message", name) for name in ("id", "model", "content", "usage")]
    + [("message", "usage", name) for name in ("input_tokens", "cache_creation", "output_tokens_details")]
)


@given(_places, _json)
def test_any_value_in_any_place(place: tuple[str, ...], value: object) -> None:
    """Whatever stands where a figure, an id or a list should be, parsing never raises."""
    record = assistant(AT, 1)
    holder = record
    for name in place[:-1]:
        holder = holder[name]
    holder[place[-1]] = value

    assert len(list(parse(json.dumps(record).encode()))) <= 1


_odd_places = st.sampled_from(
    [("type",), ("timestamp",), ("message",), ("requestId",), ("uuid",), ("isSidechain",), ("isApiErrorMessage",)]
    + [("message", name) for name in ("id", "model", "content", "usage")]
    + [("message", "usage", name) for name in ("input_tokens", "output_tokens", "cache_creation", "iterations")]
    + [("message", "usage", "output_tokens_details"), ("message", "usage", "output_tokens_details", "thinking_tokens")]
    + [("message", "usage", "cache_creation", "ephemeral_5m_input_tokens")]
)
_advice = {"type": "advisor_message", "model": "m", "input_tokens": 7, "output_tokens": 3}
_odd_counts = st.sampled_from(["", 0, 1.0, 3.7, 10**12, 10**13, -1, 10**30])
_odd_members = st.sampled_from(
    [
        {},
        [],
        "<synthetic>",
        "2026-11-23T00:00:00+01:00",
        "2026-11-23T00:00:00.1234567Z",
        "2026-11-23t00:00:00z",
        "2026-11-23 00:00:00",
        "2026-11-23",
        "20261123T000000Z",
        "2026-11-23T24:00:00Z",
        "0001-01-01T00:00:00+01:00",
        [_advice],
        [{}],
        {"thinking_tokens": 0},
        {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 6},
        {"ephemeral_1h_input_tokens": None},
        [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "so"}],
    ]
)
_odd_values = _odd_counts | _odd_members | _json


def _changed(record: dict[str, Any], changes: list[tuple[tuple[str, ...], object]]) -> dict[str, Any]:
    """Put values into places, as far as they are there."""
    for place, value in changes:
        holder: Any = record
        for name in place[:-1]:
            holder = holder.setdefault(name, {}) if isinstance(holder, dict) else None
        if isinstance(holder, dict):
            holder[place[-1]] = deepcopy(value)  # the next change may go into it
    return record


_records = st.builds(
    _changed,
    st.builds(
        assistant,
        st.sampled_from([AT, AT + 1, AT + 2]),
        st.integers(1, 2),
        thinking=st.sampled_from([None, 0, 20]),
        sidechain=st.sampled_from([False, False, True]),
    ),
    st.lists(st.tuples(_odd_places, _odd_values), max_size=2),
)


@st.composite
def _lines(draw: st.DrawFn) -> bytes:
    """Draw a line that may be odd in its values and in its bytes."""
    line = json.dumps(draw(_records), separators=draw(st.sampled_from([(",", ":"), (", ", ": ")]))).encode()
    if draw(st.sampled_from([False, False, True])):
        at = draw(st.integers(1, len(line)))
        line = line[:at] + draw(st.sampled_from([b"\0", b"\xff", b"\1", b'"', b"}", b"{", b"\\ud800"])) + line[at:]
    return line


@settings(max_examples=200)
@given(_lines())
def test_usual_and_slow_road_tell_the_same(line: bytes) -> None:
    """A line is the same turn whether its wanted fields are decoded alone or, as NaN makes them, all of it."""
    quick, slow = Refused(), Refused()

    assert parse(line, quick) == parse(b'{"other":NaN,' + line[1:], slow)
    assert quick.counts() == slow.counts()


@given(st.lists(_lines() | _records.map(lambda record: json.dumps(record).encode()), max_size=8))
def test_gathered_lines_are_all_lines(lines: list[bytes]) -> None:
    """What is gathered of many lines is each line's turn, where repeats of the one before may stand as times alone."""
    turns: list[tuple[Turn, list[float]]] = []
    refused, each_refused = Refused(), Refused()
    gather(lines, turns, refused)
    gathered = [turn._replace(at=at, line_id=None) for turn, times in turns for at in (turn.at, *times)]

    assert gathered == [turn._replace(line_id=None) for line in lines for turn in parse(line, each_refused)]
    assert refused.counts() == each_refused.counts()


def test_repeats_are_gathered_as_times() -> None:
    """Lines of one response that differ in their time and id alone are one turn with their times."""
    turns: list[tuple[Turn, list[float]]] = []
    gather(
        encoded(*(assistant(AT + n, 1, uuid=f"u{n}") for n in range(3)), assistant(AT, 2)).split(b"\n"),
        turns,
        Refused(),
    )

    assert [(turn.message_id, turn.at, times) for turn, times in turns] == [
        ("msg_000001", AT, [AT + 1, AT + 2]),
        ("msg_000002", AT, []),
    ]


def test_count_that_cannot_be_is_refused_and_counted() -> None:
    """A figure beyond anything a response can use is taken for 0, and counted as not believed."""
    refused = Refused()
    (turn,) = parse(json.dumps(_with({"input_tokens": 10**13})).encode(), refused)

    assert (turn.input, turn.output) == (0, 100)
    assert str(refused) == "1 counts that can't be"


@pytest.mark.parametrize("kind", ["user-rejected", "interrupted", "cancelled"])
def test_denial(kind: str) -> None:
    """A call that the person did not let run is reported with its session, agent and time, and with no text."""
    (line,) = encoded(denied(AT, kind=kind)).splitlines()
    (of_an_agent,) = encoded(denied(AT, kind=kind, agentId="a1", isSidechain=True)).splitlines()

    assert denial(line) == Denial(AT, "session", None, kind)
    assert denial(of_an_agent) == Denial(AT, "session", "a1", kind)
    assert list(parse(line)) == []


@pytest.mark.parametrize(
    "record",
    [
        denied(AT, kind="permission-rule"),
        denied(AT, kind="automode-blocked"),
        denied(AT, toolDenialKind=None),
        denied(AT, toolDenialKind=["user-rejected"]),
        denied(AT, sessionId=3),
        denied(AT, timestamp="soon"),
        denied(AT, type="assistant"),
        {"type": "user", "message": {"content": '"toolDenialKind":"user-rejected"'}, "sessionId": "s"},
        [{"toolDenialKind": "user-rejected"}],
    ],
)
def test_no_denial_of_the_persons(record: Any) -> None:  # noqa: ANN401 - foreign JSON
    """What a rule denied, what only speaks of denials, and garbage say nothing of a dialog."""
    assert denial(json.dumps(record, separators=(",", ":")).encode()) is None


@given(st.binary())
def test_denial_in_garbage(rest: bytes) -> None:
    """No bytes can raise."""
    assert denial(b'{"toolDenialKind":' + rest) is None or rest
