"""One scripted hour of Claude Code, reported to every source as that source is reported, and what each makes of it.

Two sessions with a pause, a subagent, a session resumed into another file, an API error, a compaction (which no
transcript records), growing lines, and a day's work three days ago. The truth is the sum of the script.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.sources.otlp.exports import event, metrics, point
from tests.sources.otlp.receiving import send
from tests.support.net import wait_until
from tests.support.parts import part
from tests.support.prometheus import TOKENS, Series, Server
from tests.support.transcripts import ClaudeHome, assistant

from claude_gauge.config import Settings
from claude_gauge.counting.reading import Reading
from claude_gauge.sources.ccusage.mcp_wire import McpServer, Stdio
from claude_gauge.sources.ccusage.source import Ccusage, CommandLine
from claude_gauge.sources.otlp.feed import Otlp
from claude_gauge.sources.prometheus.source import Prometheus
from claude_gauge.sources.transcripts.source import Transcripts
from claude_gauge.sources.transcripts_otlp import TranscriptsOtlp

KINDS = ("input", "output", "cacheRead", "cacheCreation")
Tokens = tuple[int, int, int, int]
FIELDS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens")


@dataclass(frozen=True)
class Act:
    """One response of the script; a compaction is reported by telemetry alone."""

    at: float
    number: int
    session: str
    model: str
    tokens: Tokens
    thinking: int
    sidechain: bool = False
    compaction: bool = False

    @property
    def total(self) -> int:
        """All its tokens."""
        return sum(self.tokens)


def script(now: float) -> list[Act]:
    """Write the hour that ends at `now`, and what was used three days before."""
    acts = [_act(now - 3 * 86400 + 60 * n, n, "old", "claude-sonnet-5-5", 5) for n in range(8)]
    acts += [_act(now - 3500 + 70 * n, 100 + n, "one", "claude-opus-5-5", 3) for n in range(20)]
    acts += [_act(now - 1520 + 80 * n, 200 + n, "two", "claude-sonnet-5-5", 7) for n in range(18)]
    acts += [_act(now - 1490 + 50 * n, 300 + n, "two", "claude-haiku-5-5", 2, sidechain=True) for n in range(6)]
    acts += [_act(now - 900, 400, "one", "claude-opus-5-5", 40, compaction=True)]
    acts += [_act(now - 25, 500, "one", "claude-opus-5-5", 4), _act(now - 10, 501, "two", "claude-sonnet-5-5", 6)]
    return sorted(acts, key=lambda act: act.at)


def _act(at: float, number: int, session: str, model: str, size: int, **more: bool) -> Act:
    output = 40 * size + number
    return Act(at, number, session, model, (size, output, 1000 * size + number, 30 * size), output // 4, **more)


@dataclass(frozen=True)
class Figures:
    """What a source makes of it; None where it can't know."""

    block: int | None
    week: int | None
    minute: float | None
    thinking: float | None
    cache: float | None
    model: str | None

    @classmethod
    def of(cls, reading: Reading) -> Figures:
        """Take them from a reading."""
        traffic = reading.traffic
        five = traffic.five_minutes if traffic else None
        read = five.input + five.cache_read + five.cache_creation if five else 0
        return cls(
            block=reading.block.tokens if reading.block else None,
            week=reading.week_tokens,
            minute=traffic.minute.total if traffic else None,
            thinking=five.thinking if traffic and five and traffic.thinking != "unknown" else None,
            cache=round(five.cache_read / read, 4) if five and read else None,
            model=traffic.model if traffic else None,
        )


def truth(acts: Sequence[Act], now: float, *, compaction: bool = True, thinking: bool = True) -> Figures:
    """Sum the script itself."""
    reported = [act for act in acts if compaction or not act.compaction]
    five = [act.tokens for act in reported if act.at > now - 300]
    read = sum(tokens[2] for tokens in five)
    return Figures(
        block=sum(act.total for act in reported if act.at > now - 3600),
        week=sum(act.total for act in reported),
        minute=sum(act.total for act in reported if act.at > now - 60),
        thinking=sum(act.thinking for act in reported if act.at > now - 300) if thinking else None,
        cache=round(read / sum(tokens[0] + tokens[2] + tokens[3] for tokens in five), 4),
        model="sonnet",
    )


def first_lines(acts: Sequence[Act], now: float) -> tuple[int, int]:
    """Sum what ccusage up to 18 counts, block and week: of each response the line that was written first."""
    lower = [(act.at, act.total - act.tokens[1] + 1) for act in acts if not act.compaction]
    return sum(total for at, total in lower if at > now - 3600), sum(total for _, total in lower)


def write_transcripts(acts: Iterable[Act], home: ClaudeHome) -> None:
    """Write them as Claude Code does: a line per content block, growing; a resumed session repeats the old one."""
    for act in acts:
        if act.compaction:
            continue
        lines = []
        for output, thinking in ((1, 0), (act.tokens[1], act.thinking), (act.tokens[1], act.thinking)):
            tokens = (act.tokens[0], output, act.tokens[2], act.tokens[3])
            more: dict[str, Any] = {"sessionId": act.session, "sidechain": act.sidechain}
            lines.append(assistant(act.at, act.number, model=act.model, tokens=tokens, thinking=thinking, **more))
        folder = f"{act.session}/subagents/agent-1.jsonl" if act.sidechain else f"{act.session}.jsonl"
        home.append(*lines, name=folder)
    error = assistant(acts_end(acts), 999, model="<synthetic>", tokens=(0, 0, 0, 0), isApiErrorMessage=True)
    home.append(error, name="one.jsonl")
    (home.project / "resumed.jsonl").write_bytes((home.project / "one.jsonl").read_bytes())


def acts_end(acts: Iterable[Act]) -> float:
    """Return when the newest happened."""
    return max(act.at for act in acts)


def send_events(acts: Iterable[Act], source: Otlp | TranscriptsOtlp) -> None:
    """Send each as an `api_request` event."""
    for act in acts:
        more: dict[str, Any] = {"session.id": act.session, "model": act.model}
        more |= dict(zip(FIELDS, act.tokens, strict=True))
        send(source, "/v1/logs", event(act.at, f"req_{act.number:06}", sequence=act.number, **more))


def send_metrics(acts: Iterable[Act], source: Otlp | TranscriptsOtlp, *, cumulative: bool) -> None:
    """Send each session's counters every 10 s, where something happened."""
    sums: dict[tuple[str, str, str], int] = {}
    born: dict[tuple[str, str, str], float] = {}
    for act in acts:
        keys = [(act.session, act.model, kind) for kind in KINDS]
        at = act.at + 5
        for when, tokens in ((act.at - 5, (0, 0, 0, 0)), (at, act.tokens)):
            points = []
            for key, count in zip(keys, tokens, strict=True):
                sums[key] = sums.get(key, 0) + count
                start = born.setdefault(key, act.at - 6) if cumulative else when - 10
                value = sums[key] if cumulative else count
                points.append(point(key[2], value, when, start=start, session=key[0], model=key[1]))
            send(source, "/v1/metrics", metrics(*points, temporality=2 if cumulative else 1))


def scraped(acts: Sequence[Act], now: float) -> Iterator[Series]:
    """Return what Prometheus scraped every 15 s of the counters, until five minutes after a session's last response."""
    by_series: dict[tuple[str, str, str], list[tuple[float, int]]] = {}
    for act in acts:
        for kind, count in zip(KINDS, act.tokens, strict=True):
            steps = by_series.setdefault((act.session, act.model, kind), [])
            steps.append((act.at, (steps[-1][1] if steps else 0) + count))
    for (session, model, kind), steps in by_series.items():
        end = min(now, max(act.at for act in acts if act.session == session) + 300)
        grid = [now - 15 * number for number in range(int((now - steps[0][0]) // 15), -1, -1)]
        samples = [(at, [value for since, value in steps if since <= at]) for at in grid if at <= end]
        labels = {"__name__": TOKENS, "session_id": session, "model": model, "type": kind}
        yield Series(labels, [(at, values[-1]) for at, values in samples if values])


@contextmanager
def listening(source: Otlp | TranscriptsOtlp) -> Iterator[None]:
    """Run a source that listens."""
    source.start(lambda: None)
    try:
        yield
    finally:
        source.stop()


def _otlp(folder: Path) -> Otlp:
    return Otlp(Settings(otlp="127.0.0.1:0", state_dir=folder, node="test"))


def measure(acts: Sequence[Act], now: float, folder: Path, home: ClaudeHome) -> Mapping[str, Figures]:
    """Tell the hour to every source; return what each made of it, as of the script's end."""
    write_transcripts(acts, home)
    roots = [home.folder / "projects"]
    found: dict[str, Figures] = {}

    def loaded(name: str, source: Transcripts | Ccusage | Prometheus) -> None:
        source.load()
        found[name] = Figures.of(source.read(now))

    def received(name: str, source: Otlp | TranscriptsOtlp, *tell: Callable[[], None]) -> None:
        with listening(source):
            for each in tell:
                each()
            wait_until(lambda: source.read(now).week_tokens is not None, "the history")
            source.read(now + 40)  # metrics are compared with events after a while
            found[name] = Figures.of(source.read(now))

    loaded("transcripts", Transcripts(roots))
    loaded("ccusage 20.0.24", Ccusage(CommandLine(str(part("ccusage-20.0.24/node_modules/.bin/ccusage")))))
    mcp = part("ccusage-mcp-18.0.11/node_modules/.bin")
    loaded("ccusage 18.0.11", Ccusage(CommandLine(str(mcp / "ccusage"))))
    environ = {
        "PATH": f"{mcp}:/usr/local/bin:/usr/bin:/bin",
        "CLAUDE_CONFIG_DIR": str(home.folder),
        "HOME": str(folder),
    }
    loaded("ccusage MCP 18.0.11", Ccusage(McpServer(Stdio(environ)), "ccusage-mcp"))
    for name, cumulative in (("delta", False), ("cumulative", True)):
        alone, both = _otlp(folder / f"{name}-alone"), _otlp(folder / f"{name}-both")
        received(f"OTLP {name} metrics", alone, lambda s=alone, c=cumulative: send_metrics(acts, s, cumulative=c))  # type: ignore[misc]
        received(
            f"OTLP events + {name}",
            both,
            lambda s=both: send_events(acts, s),  # type: ignore[misc]
            lambda s=both, c=cumulative: send_metrics(acts, s, cumulative=c),  # type: ignore[misc]
        )
    events = _otlp(folder / "events")
    received("OTLP events", events, lambda: send_events(acts, events))
    together = TranscriptsOtlp(Settings(otlp="127.0.0.1:0", state_dir=folder / "joint", node="test"), roots)
    received("transcripts + OTLP", together, lambda: send_events(acts, together))
    with Server(folder / "prometheus").fill(scraped(acts, now)) as server:
        loaded("Prometheus", Prometheus(Settings(prometheus=server.url)))
    return found
