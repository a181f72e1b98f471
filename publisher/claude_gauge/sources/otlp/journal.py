"""What OTLP told, kept on disk: exporters send everything once, so a restart must not forget it.

Lines are appended before an export is answered: what was answered survives a crash of ours, what was not is sent
again and known by its key. Later lines of a key replace earlier ones. What is over 8 days old is dropped, its sum
alone is kept for the comparison of events with metrics. No text of any conversation is ever in it.
"""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from claude_gauge.counting.counter import KEEP_S
from claude_gauge.counting.reading import Tokens
from claude_gauge.sources.otlp.decode import KINDS, Request
from claude_gauge.sources.otlp.reconcile import RETURN_S, Fill
from claude_gauge.sources.otlp.series import Series

log = logging.getLogger(__name__)

GROWTH = 4 * 2**20  # bytes appended before the file is rewritten without what is obsolete
Record = Request | Series | Fill


@dataclass(slots=True)
class Kept:
    """All that the file tells; `old` is what each unit's dropped records add up to."""

    requests: dict[str, Request] = field(default_factory=dict)
    series: dict[str, Series] = field(default_factory=dict)
    fills: dict[str, Fill] = field(default_factory=dict)
    old: dict[str, Tokens] = field(default_factory=dict)

    def take(self, record: list[Any]) -> None:
        """Take one line; raises ValueError, TypeError, KeyError or IndexError for one that is none."""
        match record[0]:
            case "r":
                _, key, request_id, units, at, model, counts = record
                self.requests[str(key)] = Request(
                    str(key), str(request_id), tuple(map(str, units)), float(at), str(model), Tokens(*counts)
                )
            case "s":
                _, name, unit, kind, at, value, total, recent = record
                if kind not in KINDS.values():
                    raise ValueError(kind)
                self.series[str(name)] = Series(str(name), str(unit), kind, at, value, total, list(recent))
            case "f":
                _, key, unit, at, model, counts = record
                self.fills[str(key)] = Fill(str(key), str(unit), float(at), str(model), Tokens(*counts))
            case "o":
                _, unit, counts = record
                self.old[str(unit)] = self.old.get(str(unit), Tokens()) + Tokens(*counts)

    def age(self, now: float) -> None:
        """Drop what is too old to be shown; of sessions that may come back keep the sums."""
        self.series = {name: each for name, each in self.series.items() if each.at >= now - RETURN_S}
        for key in [key for key, request in self.requests.items() if request.at < now - KEEP_S]:
            request = self.requests.pop(key)
            for unit in request.units:
                self.old[unit] = self.old.get(unit, Tokens()) + request.tokens
        for key in [key for key, fill in self.fills.items() if fill.at < now - KEEP_S]:
            fill = self.fills.pop(key)
            self.old[fill.unit] = self.old.get(fill.unit, Tokens()) + fill.tokens
        metered = {each.unit for each in self.series.values()}
        self.old = {unit: tokens for unit, tokens in self.old.items() if unit in metered}

    def lines(self) -> bytes:
        """Write it all down."""
        old = (_line("o", unit, _counts(tokens)) for unit, tokens in self.old.items())
        records: list[Record] = [*self.requests.values(), *self.series.values(), *self.fills.values()]
        return b"".join([*old, *map(written, records)])


class Journal:
    """The file; a disk that can't be written costs the memory of a restart, nothing else."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._grown = 0
        self._torn = False
        self._complained = False

    def peek(self, now: float) -> Kept:
        """Read what was kept; touches nothing, so that it is safe beside a publisher that writes."""
        kept = self._read()
        kept.age(now)
        return kept

    def open(self, now: float) -> Kept:
        """Read what was kept and rewrite it without what is obsolete."""
        kept = self.peek(now)
        self._grown = 0
        self._safely(lambda: self._replace(kept.lines()))
        return kept

    def append(self, records: Iterable[Record], now: float) -> None:
        """Add records, in one write."""
        data = b"".join(map(written, records))
        if not data:
            return
        self._safely(lambda: self._append(data))
        if self._grown > GROWTH:
            self.open(now)

    def _read(self) -> Kept:
        kept, bad = Kept(), 0
        try:
            lines = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return kept
        except OSError as error:
            log.warning("OTLP: cannot read %s: %s; counting from now on", self._path, error.strerror)
            return kept
        for line in filter(None, lines):
            try:
                kept.take(json.loads(line))
            except (ValueError, TypeError, KeyError, IndexError, RecursionError):
                bad += 1
        if bad:
            log.warning("OTLP: %d broken lines in %s were skipped", bad, self._path)
        return kept

    def _append(self, data: bytes) -> None:
        if self._torn:
            data = b"\n" + data  # end the half line, so that it spoils no other
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            wrote = os.write(descriptor, data)
        finally:
            os.close(descriptor)
        self._grown += wrote
        self._torn = wrote < len(data)
        if self._torn:
            raise OSError(errno.ENOSPC, "written in part only")

    def _replace(self, data: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = self._path.with_name(self._path.name + ".new")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)
        self._torn = False

    def _safely(self, write: Any) -> None:  # noqa: ANN401
        try:
            write()
            self._complained = False
        except OSError as error:
            if not self._complained:
                log.warning("OTLP: cannot write %s: %s; a restart will forget", self._path, error.strerror or error)
            self._complained = True


def written(record: Record) -> bytes:
    """Write one record as a line."""
    match record:
        case Request():
            counts = _counts(record.tokens)
            return _line("r", record.key, record.request_id, record.units, record.at, record.model, counts)
        case Series():
            figures = (record.at, record.value, record.total, record.recent[-1:])
            return _line("s", record.name, record.unit, record.kind, *figures)
        case Fill():
            return _line("f", record.key, record.unit, record.at, record.model, _counts(record.tokens))


def _counts(tokens: Tokens) -> list[float]:
    return [tokens.input, tokens.output, tokens.cache_read, tokens.cache_creation]


def _line(*values: object) -> bytes:
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"
