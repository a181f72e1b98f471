"""The received OTLP figures on disk: exporters send everything once, so a restart must not lose it.

Lines are appended before an export is answered: what was answered survives a crash of ours. Later lines of a key
replace earlier ones. What is over 8 days old is dropped, its sum alone is kept for the comparison of events with
metrics. No text of any conversation is ever in it. A line is a JSON list; its first item is the record's type:

    ["r", key, request id, [units], at, model, [counts]]              an event
    ["s", name, unit, kind, at, value, total, [new points' times]]  a series of metrics, as of now
    ["f", key, unit, at, model, [counts]]                             what was filled in where events are missing
    ["e", unit, at]                                                   its metrics were silent so long: it is over
    ["o", unit, [counts]]                                             the sum of a unit's events that were dropped

The file is read as a stream, and rewritten by a thread of its own once it has doubled: memory does not grow with it
and nobody waits for it. A wrong value in a right shape is skipped as garbage is.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Annotated, Any, TypeVar

from msgspec import Meta, MsgspecError, Struct
from msgspec.json import Decoder, Encoder

from claude_gauge.contract.plan_window import MOST_TOKENS, happened
from claude_gauge.counting.counter import KEEP_S
from claude_gauge.counting.reading import Tokens
from claude_gauge.sources.otlp.decode import Kind, Request, event_key
from claude_gauge.sources.otlp.reconcile import RETURN_S, Ended, Fill
from claude_gauge.sources.otlp.series import RECENT, Series
from claude_gauge.system.atomic_file import opened

T = TypeVar("T")
log = logging.getLogger(__name__)

GROWTH = 4 * 2**20  # bytes that a file may always grow by before it is rewritten
MOST_WAITING = 4 * 2**20  # bytes that wait for a disk that can't be written
LONGEST_LINE = 2**20  # bytes; ours are a thousandth of it
_LONGEST_TEXT = 300
_EVENT = b'["r",'
Record = Request | Series | Fill | Ended
_ShortText = Annotated[str, Meta(max_length=_LONGEST_TEXT)]
_FillKey = Annotated[str, Meta(max_length=_LONGEST_TEXT, pattern=r"-[0-9a-f]{1,13}\Z")]
_Time = Annotated[float, Meta(ge=0)]
_Count = Annotated[float, Meta(ge=0, le=MOST_TOKENS)]
_Sum = Annotated[float, Meta(ge=0, le=10**15)]  # tokens of all events of one session


class _Stored(Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """A line, which has all of its kind's items and no others."""


class Event(_Stored, tag="r"):
    """An event's line; plain, since a start reads a week of them."""

    key: _ShortText
    request_id: _ShortText
    units: Annotated[tuple[_ShortText, ...], Meta(min_length=1, max_length=2)]  # session and origin
    at: float
    model: _ShortText
    counts: tuple[_Count, _Count, _Count, _Count]

    def request(self) -> Request:
        """Return it as it was received."""
        tokens = Tokens(*self.counts)
        return Request(event_key(self.key), self.request_id, self.units, self.at, self.model, tokens)


class _Series(_Stored, tag="s"):
    name: _ShortText
    unit: _ShortText
    kind: Kind
    at: _Time
    value: _Count
    total: _Count
    recent: tuple[_Time, ...]


class _Fill(_Stored, tag="f"):
    key: _FillKey
    unit: _ShortText
    at: _Time
    model: _ShortText
    counts: tuple[_Count, _Count, _Count, _Count]


class _Ended(_Stored, tag="e"):
    unit: _ShortText
    at: _Time


class _Old(_Stored, tag="o"):
    unit: _ShortText
    counts: tuple[_Sum, _Sum, _Sum, _Sum]


_event, _other = Decoder(Event).decode, Decoder(_Series | _Fill | _Ended | _Old).decode
_encode = Encoder().encode


@dataclass(slots=True)
class Sums:
    """What the file holds beside the events; `old` is what each unit's dropped events add up to."""

    series: dict[str, Series] = field(default_factory=dict)
    fills: dict[str, Fill] = field(default_factory=dict)
    old: dict[str, Tokens] = field(default_factory=dict)
    number: int = 0  # the highest of any fill, old ones too: a key that is used again would replace its fill
    ended: dict[str, float] = field(default_factory=dict)  # when a unit was over; what it had before says no more

    def take(self, line: bytes, now: float) -> None:
        """Take a line that is no event's, as of `now`; raises ValueError for one that is broken."""
        match _read(_other, line):
            case _Series(name, unit, kind, at, value, total, recent):
                series = Series(name, unit, kind, at, value, total, recent[-RECENT:])
                self.series[name] = series.by(now).after(self.series.get(name))
            case _Fill(key, unit, at, model, counts):
                fill = Fill(key, unit, at, model, Tokens(*counts))
                self.number = max(self.number, fill.number)
                if happened(at, now):
                    self.fills[key] = fill
                else:  # written under a clock that was ahead: it is counted, but of another time
                    self._explain(unit, fill.tokens)
            case _Ended(unit, at):
                self._end(unit, at)
            case _Old(unit, counts):
                self._explain(unit, Tokens(*counts))

    def _end(self, unit: str, at: float) -> None:
        self.series = {name: each for name, each in self.series.items() if each.unit != unit}
        self.fills = {key: each for key, each in self.fills.items() if each.unit != unit}
        self.old.pop(unit, None)
        self.ended[unit] = at

    def drop(self, event: Event) -> None:
        """Add an event that is too old to be shown to the sums of its units, unless that was before they ended."""
        for unit in event.units:
            if event.at >= self.ended.get(unit, 0):
                self._explain(unit, Tokens(*event.counts))

    def _explain(self, unit: str, tokens: Tokens) -> None:
        self.old[unit] = self.old.get(unit, Tokens()) + tokens

    def age(self, now: float) -> None:
        """Drop what is too old to be shown; of sessions that may come back keep the sums."""
        for key in [key for key, fill in self.fills.items() if fill.at < now - KEEP_S]:
            fill = self.fills.pop(key)
            self._explain(fill.unit, fill.tokens)
        metered = self.metered
        self.old = {unit: tokens for unit, tokens in self.old.items() if unit in metered}

    def forget(self, now: float) -> None:
        """Drop the sessions that are treated as ended."""
        self.series = {name: each for name, each in self.series.items() if each.at >= now - RETURN_S}

    @property
    def metered(self) -> set[str]:
        """The units that have metrics, with which their events are compared."""
        return {each.unit for each in self.series.values()}

    def lines(self) -> Iterator[bytes]:
        """Write it all down."""
        yield from (_line("o", unit, _counts(tokens)) for unit, tokens in self.old.items())
        yield from map(written, self.series.values())
        yield from map(written, self.fills.values())


class Journal:
    """The file; a disk that can't be written costs the memory of a restart, nothing else. Its owner locks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = 0
        self._worth = 0  # bytes of it that say something that is not obsolete, when it was last read or rewritten
        self._waiting = b""  # what could not be written yet
        self._complained = False
        self.skipped = 0  # lines that were broken, when it was read last
        self._swap = threading.Lock()
        self._rewriting: threading.Thread | None = None

    def sums(self, now: float) -> Sums:
        """Read all but the events; touches nothing, so that it is safe beside a publisher that writes."""
        sums, bad = Sums(), 0
        self._size = self._worth = 0
        for line in self._lines():
            self._size += len(line)
            if line.startswith(_EVENT):
                self._worth += len(line)
                continue
            try:
                sums.take(line, now)
            except ValueError:
                bad += 1
        self.skipped = 0
        self._skip(bad)
        self._worth += sum(map(len, sums.lines()))
        return sums

    def events(self, now: float, sums: Sums) -> Iterator[tuple[int, Event]]:
        """Yield the events that still matter, and the key of each; those that are too old are added to `sums.old`."""
        metered, bad = sums.metered, 0
        for line in self._lines():
            if not line.startswith(_EVENT):
                continue
            try:
                key, event = _happened(line, now)
            except ValueError:
                bad += 1
                continue
            if event.at >= now - KEEP_S:
                yield key, event
                continue
            self._worth -= len(line)
            if not metered.isdisjoint(event.units):
                sums.drop(event)
        self._skip(bad)

    def open(self, now: float) -> None:
        """Begin to write: a half line that a power cut left is ended, so that it spoils no other."""
        if self._safely(self._mend) and self._size > 2 * self._worth:
            self._start_rewriting(now)

    def append(self, records: Iterable[Record], now: float) -> bool:
        """Add records, in one write; return whether all that there ever was is stored now.

        What can't be stored waits, and is tried again with the next.
        """
        self._waiting += b"".join(map(written, records))
        if not self._waiting:
            return True
        with self._swap:
            stored = self._safely(self._write)
        if len(self._waiting) > MOST_WAITING:
            self._waiting = self._waiting[self._waiting.index(b"\n", -MOST_WAITING) + 1 :]
        if self._size > 2 * self._worth + GROWTH:
            self._start_rewriting(now)
        return stored

    def close(self) -> None:
        """Wait for a rewrite that is under way."""
        rewriting = self._rewriting
        if rewriting is not None:
            rewriting.join(10)

    def _start_rewriting(self, now: float) -> None:
        if self._rewriting is None:
            self._rewriting = threading.Thread(
                target=self._rewrite_apart, args=(now,), name="otlp-journal", daemon=True
            )
            self._rewriting.start()

    def _rewrite_apart(self, now: float) -> None:
        if not self._safely(lambda: self._rewrite(now)):
            self._worth = self._size  # tried again once it has doubled again
        self._rewriting = None

    def _rewrite(self, now: float) -> None:
        """Write the file again without what is obsolete; what is appended meanwhile is copied at the end."""
        with self._swap:
            end = self._path.stat().st_size
        beside = self._path.with_name(self._path.name + ".new")
        try:
            self._copy(end, beside, now)
        finally:
            beside.unlink(missing_ok=True)  # it is in its place, or what is left of it only fills the disk

    def _copy(self, end: int, beside: Path, now: float) -> None:
        sums = Sums()
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as fresh:
            for line in self._lines(end):
                _pass_on(line, sums, fresh, now)
            sums.forget(now)
            sums.age(now)
            for line in sums.lines():
                fresh.write(line)
            fresh.flush()
            os.fsync(fresh.fileno())  # before the swap: nobody waits for the disk
            with self._swap, opened(self._path) as old:
                self._worth = fresh.tell()
                old.seek(end)
                fresh.write(old.read())
                fresh.flush()
                self._size = fresh.tell()
                beside.replace(self._path)

    def _lines(self, end: int | None = None) -> Iterator[bytes]:
        """Yield the file's lines up to `end`; a half line says nothing, nor do the parts of one too long."""
        try:
            with opened(self._path) as file:
                read = 0
                for line in iter(lambda: file.readline(LONGEST_LINE), b""):
                    read += len(line)
                    if end is not None and read > end:
                        return
                    yield line if line.endswith(b"\n") else line + b"\n"
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("OTLP: cannot read %s: %s; counting from now on", self._path, error.strerror)

    def _mend(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            if file.seek(0, os.SEEK_END) and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n":
                file.write(b"\n")

    def _write(self) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o600)
        try:
            wrote = os.write(descriptor, self._waiting)
        finally:
            os.close(descriptor)
        self._size += wrote
        if wrote < len(self._waiting):
            # What was cut is written again as a whole, after the half line's end.
            begun = self._waiting.rfind(b"\n", 0, wrote) + 1
            self._waiting = (b"\n" if wrote > begun else b"") + self._waiting[begun:]
            raise OSError(errno.ENOSPC, "written in part only")
        self._waiting = b""

    def _safely(self, write: Any) -> bool:  # noqa: ANN401
        try:
            write()
        except OSError as error:
            if not self._complained:
                why = error.strerror or error
                log.warning("OTLP: cannot write %s: %s; a restart will forget what is received now", self._path, why)
            self._complained = True
            return False
        self._complained = False
        return True

    def _skip(self, bad: int) -> None:
        self.skipped += bad
        if bad:
            log.warning("OTLP: %d broken lines in %s were skipped", bad, self._path)


def _pass_on(line: bytes, sums: Sums, fresh: IO[bytes], now: float) -> None:
    """Write an event that still matters; keep of all else what is needed."""
    try:
        if not line.startswith(_EVENT):
            sums.take(line, now)
            return
        _, event = _happened(line, now)
    except ValueError:
        return
    if event.at >= now - KEEP_S:
        fresh.write(line)
        return
    sums.drop(event)


def written(record: Record) -> bytes:
    """Write one record as a line."""
    match record:
        case Request():
            counts = _counts(record.tokens)
            key = f"{record.key:015x}"
            return _line("r", key, record.request_id, record.units, record.at, record.model, counts)
        case Series():
            figures = (record.at, record.value, record.total, record.recent)
            return _line("s", record.name, record.unit, record.kind, *figures)
        case Ended():
            return _line("e", record.unit, record.at)
        case Fill():
            return _line("f", record.key, record.unit, record.at, record.model, _counts(record.tokens))


def _read(decode: Callable[[bytes], T], line: bytes) -> T:
    try:
        return decode(line)
    except (MsgspecError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _happened(line: bytes, now: float) -> tuple[int, Event]:
    """Read an event and its key; called for each event of a week at every start."""
    event = _read(_event, line)
    if not happened(event.at, now):
        raise ValueError(event.at)
    return event_key(event.key), event


def _counts(tokens: Tokens) -> list[float]:
    counts = (tokens.input, tokens.output, tokens.cache_read, tokens.cache_creation)
    return [int(count) if count == int(count) else count for count in counts]


def _line(*values: object) -> bytes:
    return _encode(values) + b"\n"
