"""A load that no person makes, with files and folders coming and going and garbage among them."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from random import Random

import pytest
from tests.support.mosquitto import Listener
from tests.support.net import wait_until
from tests.support.publisher import Publishing
from tests.support.transcripts import SAMPLE, ClaudeHome, assistant, encoded
from tests.support.usages import wait_tokens, wait_usage

FILES, PER_SECOND = 50, 1000
# An hour by hand: CLAUDE_GAUGE_LOAD_S=3600
SECONDS = int(os.environ.get("CLAUDE_GAUGE_LOAD_S", "15"))
GARBAGE = [
    b"\xff\xfe\x00 no text\n",
    b"{" * 5000 + b"\n",
    b'{"type":"assistant","usage":' + b"[" * 3000 + b"\n",
    b"\0" * 4096 + b"\n",
    b'{"type":"user","message":{"content":"' + b"x" * 200_000 + b'"}}\n',
    b"\n\n\n",
]


def _rss_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1000


class Load:
    """Writes a thousand lines a second; counts the responses whose whole lines stay long enough to be seen."""

    def __init__(self, claude: ClaudeHome) -> None:
        self.claude = claude
        self.random = Random(1)
        self.responses = 0
        self.halves: dict[str, bytes] = {}
        self.seconds = 0

    def second(self) -> None:
        """Write one second's lines, and move things about between them."""
        begun, minute = time.monotonic(), self.seconds // 60  # no session lasts longer
        self.seconds += 1
        for n in range(PER_SECOND):
            self.line(f"../-p{self.random.randrange(10)}/s{self.random.randrange(FILES // 10)}-{minute}.jsonl")
            if n % 100 == 99:
                self.trouble()
                pause = begun + (n + 1) / PER_SECOND - time.monotonic()
                if pause > 0:
                    time.sleep(pause)

    def line(self, name: str) -> None:
        """Append a line, sometimes in two writes, sometimes a repeat, sometimes behind garbage."""
        new = self.random.random() < 0.7
        self.responses += new
        number = self.responses if new else self.random.randint(max(1, self.responses - 500), max(1, self.responses))
        self.responses = max(self.responses, number)
        data = self.halves.pop(name, b"") + encoded(assistant(time.time(), number))
        if self.random.random() < 0.01:
            data += self.random.choice(GARBAGE)
        if self.random.random() < 0.1:
            cut = self.random.randrange(len(data))
            data, self.halves[name] = data[:cut], data[cut:]
        self.put(name, data)

    def put(self, name: str, data: bytes) -> None:
        """Append bytes in one write."""
        path = self.claude.project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            file.write(data)

    def trouble(self) -> None:
        """Make, move and fork files and folders, as projects and sessions come and go."""
        what, number = self.random.randrange(4), self.random.randrange(10**9)
        projects = self.claude.folder / "projects"
        if what == 0:
            outside = self.claude.folder / f"outside-{number}"
            outside.mkdir()
            self.responses += 3
            lines = [assistant(time.time(), self.responses - n) for n in range(3)]
            (outside / "s.jsonl").write_bytes(encoded(*lines))
            shutil.move(outside, projects / f"-in-{number}")
        elif what == 1:
            self.responses += 1
            self.put(f"../-deep-{number}/a/b/subagents/agent.jsonl", encoded(assistant(time.time(), self.responses)))
        elif what == 2:
            some = self.random.choice(list(projects.glob("-p*/*.jsonl")))
            shutil.copyfile(some, some.with_name(f"fork-{number}.jsonl"))
        else:
            moved = [path for path in projects.glob("-in-*") if not path.name.endswith("-moved")]
            if moved:
                moved[0].rename(moved[0].with_name(f"{moved[0].name}-moved"))
            for fork in list(projects.glob("-p*/fork-*.jsonl"))[:2]:
                fork.unlink()

    def finish(self) -> None:
        """Write the halves that are still owed."""
        for name, rest in self.halves.items():
            self.put(name, rest)
        self.halves.clear()


@pytest.mark.long
def test_thousand_lines_a_second(claude: ClaudeHome, env: dict[str, str], listener: Listener, tmp_path: Path) -> None:
    """1,000 lines/s over 50 files: 0 lost, 0 counted twice, no memory that grows with bad input, no traceback."""
    load = Load(claude)
    with Publishing(tmp_path / "run", env=env) as publishing:
        load.second()
        load.finish()
        wait_tokens(listener, load.responses * SAMPLE)
        before = _rss_mb(publishing.pid)
        for _ in range(SECONDS):
            load.second()
        load.finish()
        wait_tokens(listener, load.responses * SAMPLE)
        # What is remembered per response is wanted; beyond that, nothing may pile up.
        grown = _rss_mb(publishing.pid) - before - load.responses * 0.6 / 1000
        log = publishing.log

        assert publishing.end() == 0
    assert grown < 32
    assert "Traceback" not in log


def test_bad_input_leaves_no_memory_behind(
    claude: ClaudeHome, env: dict[str, str], listener: Listener, tmp_path: Path
) -> None:
    """Half a gigabyte of garbage and overlong lines grows the publisher by less than 32 MB."""
    with Publishing(tmp_path / "run", env=env) as publishing:
        wait_usage(listener, lambda _: True)
        before = _rss_mb(publishing.pid)
        for n in range(10):
            path = claude.project / f"bad-{n}.jsonl"
            with path.open("ab", buffering=0) as file:
                for garbage in GARBAGE * 10:
                    file.write(garbage)
                for _ in range(40):
                    file.write(b"x" * (1 << 20))
                file.write(b"\n")
        claude.append(assistant(time.time(), 1))
        wait_tokens(listener, SAMPLE)
        claude.append(assistant(time.time(), 2), name="bad-9.jsonl")
        wait_tokens(listener, 2 * SAMPLE)

        wait_until(lambda: _rss_mb(publishing.pid) - before < 32, "memory to be given back")
