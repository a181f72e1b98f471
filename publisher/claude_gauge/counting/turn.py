"""One transcript line -> the turns in it: token counts and times, no text.

Nearly all lines are as Claude Code writes them: of these msgspec decodes the wanted fields alone, in their own types
(`_Line`). Whatever does not fit those types takes the slow road: the whole line as JSON, looked at member by member.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from msgspec import DecodeError, Raw, Struct, ValidationError
from msgspec.json import Decoder
from pydantic_core import from_json

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
        record = from_json(line)
    except ValueError:
        return None
    if not isinstance(record, dict) or record.get("type") != "user":
        return None
    at, session, kind = _epoch(record.get("timestamp")), _text(record.get("sessionId")), record.get("toolDenialKind")
    if at is None or session is None or not isinstance(kind, str) or kind not in _BY_THE_PERSON:
        return None
    return Denial(at, session, _text(record.get("agentId")), kind)


class _Lifetimes(Struct, gc=False):
    ephemeral_5m_input_tokens: int = 0
    ephemeral_1h_input_tokens: int = 0


class _Details(Struct, gc=False):
    thinking_tokens: int | None = None


class _Usage(Struct, gc=False):
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_creation: _Lifetimes | None = None
    output_tokens_details: _Details | None = None
    iterations: Raw = Raw()


class _Message(Struct, gc=False):
    id: str | None = None
    model: str | None = None
    usage: _Usage | None = None
    content: Raw = Raw()


class _Line(Struct, gc=False):
    """A line's wanted members; a null counts as a missing one."""

    type: str | None = None
    timestamp: str | None = None
    message: _Message | None = None
    requestId: str | None = None  # noqa: N815 - Claude Code's names
    uuid: str | None = None
    isSidechain: bool | None = None  # noqa: N815
    isApiErrorMessage: bool | None = None  # noqa: N815


_usual = Decoder(_Line).decode
_NOT_USUAL = (DecodeError, UnicodeDecodeError, RecursionError)  # what `_usual` raises


def parse(line: bytes, refused: Refused | None = None) -> list[Turn]:
    """Return the turns of one line; garbage, foreign and unknown lines have none.

    A figure that can be no count of tokens is taken for 0 and counted in `refused`. Two records glued onto one line
    are both read, so is the whole one behind a torn one, and runs of NUL bytes are dropped (all seen in the wild).
    """
    if b'"usage"' not in line:
        return []
    try:
        turn = _usual_turn(_usual(line))
    except _NOT_USUAL:
        return _odd(line, refused)
    return [] if turn is None else [turn]


def gather(lines: Iterable[bytes], found: list[tuple[Turn, list[float]]], refused: Refused) -> None:
    """Append the turns of lines to `found`; one that repeats the one before but for its id and time adds its time.

    A response has a line for each of its blocks, so most lines are repeats: of these no turn is made.
    """
    last: _Line | None = None  # what the last entry of `found` was made of
    for line in lines:
        if b'"usage"' not in line:
            continue
        try:
            fields = _usual(line)
            if last is not None and _repeats(fields, last):
                at = _epoch(fields.timestamp)
                if at is not None:
                    found[-1][1].append(at)
                continue
            turn = _usual_turn(fields)
        except _NOT_USUAL:
            last = None
            for each in _odd(line, refused):
                _append(found, each)
            continue
        if turn is not None:
            _append(found, turn)
            last = fields


def _append(found: list[tuple[Turn, list[float]]], turn: Turn) -> None:
    """Append a turn, or, if it repeats the last one, its time."""
    if found:
        last, times = found[-1]
        # All but `at` and `line_id` are the same; without both ids the time distinguishes responses.
        same = turn.message_id == last.message_id and turn.request_id == last.request_id and turn[4:] == last[4:]
        if same and turn.message_id and turn.request_id:
            times.append(turn.at)
            return
    found.append((turn, []))


def _repeats(fields: _Line, last: _Line) -> bool:
    """Return whether a line makes the same turn as the one before, but for its id and time."""
    message, other = fields.message, last.message
    if message is None or other is None or not message.id or not fields.requestId:
        return False
    usage = message.usage
    return (
        message.id == other.id
        and fields.requestId == last.requestId
        and usage is not None
        and usage == other.usage
        and usage.output_tokens_details is not None
        and bool(usage.output_tokens_details.thinking_tokens)  # else the blocks matter
        and message.model == other.model
        and fields.isSidechain == last.isSidechain
        and fields.type == last.type
        and fields.isApiErrorMessage == last.isApiErrorMessage
    )


def _usual_turn(fields: _Line) -> Turn | None:
    """Make the turn of a line; raises ValidationError where only the slow road can tell what it says."""
    message = fields.message
    if fields.type != "assistant" or fields.isApiErrorMessage or message is None or message.usage is None:
        return None
    at, usage, model = _epoch(fields.timestamp), message.usage, message.model or ""
    if at is None or model == "<synthetic>":
        return None
    own, output = usage.input_tokens, usage.output_tokens
    read, created = usage.cache_read_input_tokens, usage.cache_creation_input_tokens
    split = usage.cache_creation
    short, long = (0, 0) if split is None else (split.ephemeral_5m_input_tokens, split.ephemeral_1h_input_tokens)
    thinking = None if usage.output_tokens_details is None else usage.output_tokens_details.thinking_tokens
    counts = (own, output, read, created, short, long, thinking or 0)
    if min(counts) < 0 or max(counts) > MOST_TOKENS:
        raise ValidationError("no counts of tokens")
    # The blocks are measured only where the count is missing: a history holds hundreds of thousands of lines.
    thought, spoken = (0, 0) if thinking else _blocks(_raw(message.content))
    advisor = _advisor(_raw(usage.iterations)) if len(usage.iterations) > _EMPTY else NOTHING
    return Turn(
        at,
        message.id or None,
        fields.requestId or None,
        fields.uuid or None,
        model,
        bool(fields.isSidechain),
        own,
        output,
        read,
        short + long or created,
        thinking,
        thought,
        spoken,
        advisor,
    )


def _raw(value: Raw) -> Any:  # noqa: ANN401 - foreign JSON
    """Decode what was left undecoded; raises ValidationError where only the slow road can."""
    try:
        return from_json(bytes(value)) if len(value) else None
    except ValueError as error:
        raise ValidationError(str(error)) from error


def _odd(line: bytes, refused: Refused | None) -> list[Turn]:
    """Return the turns of a line that is not quite as Claude Code writes them."""
    if b"assistant" not in line:
        return []
    try:
        record = from_json(line, cache_strings="keys")
    except ValueError:
        return list(_scattered(line, refused))
    turn = _turn(record, refused)
    return [] if turn is None else [turn]


def _scattered(line: bytes, refused: Refused | None) -> Iterator[Turn]:
    """Yield the turns of a line that is more, or less, than one record."""
    text = line.replace(b"\0", b"").decode("utf-8", "replace")
    at = text.find("{")
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
    try:
        moment = datetime.fromisoformat(value)  # type: ignore[arg-type]
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
