"""One transcript line -> the turns in it: token counts and times, no text.

Nearly all lines are as Claude Code writes them: of these msgspec decodes the wanted fields alone, in their own types
(`_Line`). Whatever does not fit those types takes the slow road: the whole line as JSON, looked at member by member.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

from msgspec import DecodeError, Meta, Raw, Struct, ValidationError, convert
from msgspec.json import Decoder

from claude_gauge.contract.plan_window import MOST_TOKENS, Refused, whole_tokens
from claude_gauge.counting.reading import Tokens

_MOST_RECORDS = 100  # glued on one line; bounds the work that garbage can cause
_EMPTY = len("[]")
_decoder = json.JSONDecoder()
# Only a record that begins as Claude Code's do is worth a second try after a torn one; nested objects are not.
_BEGINNING = re.compile(r'\{"(?:parentUuid|isSidechain|sessionId|uuid|type":"assistant)"')
NOTHING = Tokens()


class Turn(NamedTuple):
    """What one line says of one response: `at` in epoch seconds, figures in tokens, blocks in characters.

    `thinking` is None where the line does not have it; `thought` and `spoken` are then the sizes of the line's content
    blocks, from which the ledger estimates it, and else 0. `advisor` is what models that were asked for advice used:
    it is in no other figure. A tuple, since histories hold hundreds of thousands of them.
    """

    at: float
    message_id: str | None
    request_id: str | None
    line_id: str | None
    model: str
    sidechain: bool
    input: int
    output: int
    cache_read: int
    cache_creation: int
    thinking: int | None = None
    thought: int = 0
    spoken: int = 0
    advisor: Tokens = NOTHING

    @property
    def total(self) -> int:
        """All its tokens."""
        flat = self.input + self.output + self.cache_read + self.cache_creation
        return flat if self.advisor is NOTHING else flat + round(self.advisor.total)


class Denial(NamedTuple):
    """A tool call that was not let run: when, in which session and agent (None: the main one), and how it ended.

    `kind` is `user-rejected` where the person said no to this call; `interrupted` and `cancelled` end a whole turn.
    """

    at: float
    session: str
    agent: str | None
    kind: str


_BY_THE_PERSON = frozenset({"user-rejected", "interrupted", "cancelled"})


def denial(line: bytes) -> Denial | None:
    """Return what a transcript line says of a denied tool call; None for all others, also for what a rule denied."""
    if b'"toolDenialKind"' not in line:
        return None
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or record.get("type") != "user":
        return None
    at, session, kind = _epoch(record.get("timestamp")), _text(record.get("sessionId")), record.get("toolDenialKind")
    if at is None or session is None or not isinstance(kind, str) or kind not in _BY_THE_PERSON:
        return None
    return Denial(at, session, _text(record.get("agentId")), kind)


_Count = Annotated[int, Meta(ge=0, le=MOST_TOKENS)]
_Moment = Annotated[datetime, Meta(tz=True)]


class _Lifetimes(Struct, gc=False):
    ephemeral_5m_input_tokens: _Count = 0
    ephemeral_1h_input_tokens: _Count = 0


class _Details(Struct, gc=False):
    thinking_tokens: _Count | None = None


class _Usage(Struct, gc=False):
    input_tokens: _Count = 0
    output_tokens: _Count = 0
    cache_read_input_tokens: _Count = 0
    cache_creation_input_tokens: _Count = 0
    cache_creation: _Lifetimes | None = None
    output_tokens_details: _Details | None = None
    iterations: Raw = Raw()


class _Message(Struct, gc=False):
    """What all lines of one response have in common."""

    id: str | None = None
    model: str | None = None
    usage: _Usage | None = None


class _Line(Struct, gc=False):
    """A line's wanted members; a null counts as a missing one."""

    type: str | None = None
    timestamp: _Moment | None = None
    message: _Message | None = None
    requestId: str | None = None  # noqa: N815 - Claude Code's names
    uuid: str | None = None
    isSidechain: bool | None = None  # noqa: N815
    isApiErrorMessage: bool | None = None  # noqa: N815


class _Blocks(Struct, gc=False):
    content: Any = None


class _Said(Struct, gc=False):
    """The rest of a line: what was thought and said in it."""

    message: _Blocks


_usual, _said, _any = Decoder(_Line).decode, Decoder(_Said).decode, Decoder().decode
_NOT_USUAL = (DecodeError, UnicodeDecodeError, RecursionError)  # what these raise


def parse(line: bytes, refused: Refused | None = None) -> list[Turn]:
    """Return the turns of one line; garbage, foreign and unknown lines have none.

    A figure that can be no count of tokens is taken for 0 and counted in `refused`. Two records glued onto one line
    are both read, so is the whole one behind a torn one, and runs of NUL bytes are dropped (all seen in the wild).
    """
    try:
        turn = _usual_turn(_usual(line), line)
    except _NOT_USUAL:
        return list(_odd(line, refused))
    return [] if turn is None else [turn]


def gather(lines: Iterable[bytes], turns: list[tuple[Turn, list[float]]], refused: Refused) -> None:
    """Append the turns of lines to `turns`; one that repeats the one before but for its id and time adds its time.

    A response has a line for each of its blocks, so most lines are repeats: of these no turn is made.
    """
    last = _Line()  # what the last entry of `turns` was made of, if other lines can repeat it
    times: list[float] = []  # that entry's
    for line in lines:
        try:
            fields = _usual(line)
            message, moment = fields.message, fields.timestamp
            if message is None or message.usage is None or moment is None:
                continue
            if message == last.message and _repeats(fields, last):
                times.append(moment.timestamp())
                continue
            turn = _usual_turn(fields, line)
        except _NOT_USUAL:
            last = _Line()
            for each in _odd(line, refused):
                _append(turns, each)
            continue
        if turn is not None:
            times = _append(turns, turn)
            last = fields if turn.message_id and turn.request_id and turn.thinking else _Line()


def _append(turns: list[tuple[Turn, list[float]]], turn: Turn) -> list[float]:
    """Append a turn, or, if it repeats the last one, its time; return the entry's times."""
    if turns:
        last, times = turns[-1]
        # All but `at` and `line_id` are the same; without both ids the time distinguishes responses.
        same = turn.message_id == last.message_id and turn.request_id == last.request_id and turn[4:] == last[4:]
        if same and turn.message_id and turn.request_id:
            times.append(turn.at)
            return times
    turns.append((turn, []))
    return turns[-1][1]


def _repeats(fields: _Line, last: _Line) -> bool:
    """Return whether a line with the same message makes the same turn as another, but for its id and time."""
    return (
        fields.requestId == last.requestId
        and fields.isSidechain == last.isSidechain
        and fields.type == "assistant"
        and not fields.isApiErrorMessage
    )


def _usual_turn(fields: _Line, line: bytes) -> Turn | None:
    """Make the turn of a line; raises ValidationError where it needs the slow decoder."""
    message, moment = fields.message, fields.timestamp
    if fields.type != "assistant" or fields.isApiErrorMessage or message is None or moment is None:
        return None
    usage, model = message.usage, message.model or ""
    if usage is None or model == "<synthetic>":
        return None
    created, split, details = usage.cache_creation_input_tokens, usage.cache_creation, usage.output_tokens_details
    if split is not None:
        created = split.ephemeral_5m_input_tokens + split.ephemeral_1h_input_tokens or created
    thinking = None if details is None else details.thinking_tokens
    # The blocks are measured only where the count is missing: a history holds hundreds of thousands of lines.
    thought, spoken = (0, 0) if thinking else _blocks(_said(line).message.content)
    return Turn._make(  # a third of the time of `Turn`
        (
            moment.timestamp(),
            message.id or None,
            fields.requestId or None,
            fields.uuid or None,
            model,
            bool(fields.isSidechain),
            usage.input_tokens,
            usage.output_tokens,
            usage.cache_read_input_tokens,
            created,
            thinking,
            thought,
            spoken,
            _advisor(_any(usage.iterations)) if len(usage.iterations) > _EMPTY else NOTHING,
        )
    )


def _odd(line: bytes, refused: Refused | None) -> Iterator[Turn]:
    """Yield the turns of a line that is unlike Claude Code's usual ones, or holds more, or less, than one record."""
    if b'"usage"' not in line or b"assistant" not in line:
        return
    text = line.replace(b"\0", b"").decode("utf-8", "replace")
    at = -1 if text.startswith("[") else text.find("{")
    for _ in range(_MOST_RECORDS):
        if at < 0:
            return
        try:
            record, end = _decoder.raw_decode(text, at)
            turn = _turn(record, refused)
        except (ValueError, RecursionError):
            begins = _BEGINNING.search(text, at + 1)
            at = begins.start() if begins else -1
            continue
        if turn is not None:
            yield turn
        at = text.find("{", end)


def _turn(record: Any, refused: Refused | None) -> Turn | None:  # noqa: ANN401 - foreign JSON
    if not isinstance(record, dict) or record.get("type") != "assistant" or record.get("isApiErrorMessage"):
        return None
    message = record.get("message")
    at = _epoch(record.get("timestamp"))
    if at is None or not isinstance(message, dict):
        return None
    usage = message.get("usage")
    model = _text(message.get("model")) or ""
    if model == "<synthetic>" or not isinstance(usage, dict):
        return None
    own, output = usage.get("input_tokens", 0), usage.get("output_tokens", 0)
    read, created = usage.get("cache_read_input_tokens", 0), usage.get("cache_creation_input_tokens", 0)
    plain = type(own) is type(output) is type(read) is type(created) is int
    if not plain or not 0 <= min(own, output, read, created) <= max(own, output, read, created) <= MOST_TOKENS:
        if refused is not None and any(map(_absurd, (own, output, read, created))):
            refused.add("counts that can't be")
        own, output, read, created = map(_count, (own, output, read, created))
    split = usage.get("cache_creation")
    if split:
        created = _by_lifetime(split) or created
    details = usage.get("output_tokens_details")
    thinking = details.get("thinking_tokens") if isinstance(details, dict) else None
    # The blocks are measured only where the count is missing: a history holds hundreds of thousands of lines.
    thought, spoken = (0, 0) if thinking else _blocks(message.get("content"))
    iterations = usage.get("iterations")
    return Turn(
        at,
        _text(message.get("id")),
        _text(record.get("requestId")),
        _text(record.get("uuid")),
        model,
        bool(record.get("isSidechain")),
        own,
        output,
        read,
        created,
        None if thinking is None else _count(thinking),
        thought,
        spoken,
        _advisor(iterations) if iterations else NOTHING,
    )


def _absurd(figure: object) -> bool:
    return figure is not None and whole_tokens(figure) is None  # a gateway may write null for nothing


def _advisor(iterations: object) -> Tokens:
    """Sum what other models used for advice; all other iterations are in the line's own figures already."""
    total = NOTHING
    for each in iterations if isinstance(iterations, list) else ():
        if isinstance(each, dict) and each.get("type") == "advisor_message" and _text(each.get("model")):
            total += Tokens(
                _count(each.get("input_tokens")),
                _count(each.get("output_tokens")),
                _count(each.get("cache_read_input_tokens")),
                _by_lifetime(each.get("cache_creation")) or _count(each.get("cache_creation_input_tokens")),
            )
    return total


def _by_lifetime(split: object) -> int:
    """Sum the cache creation's split by lifetime: preferred where it holds anything, as ccusage does."""
    if not isinstance(split, dict):
        return 0
    return _count(split.get("ephemeral_5m_input_tokens")) + _count(split.get("ephemeral_1h_input_tokens"))


def _blocks(content: object) -> tuple[int, int]:
    """Sizes of what was thought and of what was said or called, in characters."""
    thought = spoken = 0
    for block in content if isinstance(content, list) else ():
        if not isinstance(block, dict):
            continue
        if block.get("type") in {"thinking", "redacted_thinking"}:
            # Thinking may be kept back; then its signature, about as long, stands for it.
            thought += max(1, _size(block.get("thinking")), _size(block.get("data")), _size(block.get("signature")))
        else:
            spoken += max(1, _size(block.get("text")), _size(block.get("input")))
    return thought, spoken


def _size(value: object) -> int:
    if isinstance(value, str):
        return len(value)
    return 0 if value is None else len(repr(value))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _count(value: object) -> int:
    if type(value) is int and 0 <= value <= MOST_TOKENS:  # the usual case
        return value
    return whole_tokens(value) or 0


def _epoch(value: object) -> float | None:
    with suppress(ValidationError):
        return convert(value, _Moment).timestamp()  # as in `_Line`
    try:
        moment = datetime.fromisoformat(value)  # type: ignore[arg-type]
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
