from __future__ import annotations

import os
import shutil
import time
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.net import wait_until
from tests.support.parts import part
from tests.support.transcripts import SAMPLE, ClaudeHome, assistant

from claude_gauge.config import Settings
from claude_gauge.counting.derive import Limits, derive
from claude_gauge.counting.reading import Block
from claude_gauge.sources.ccusage.command import CcusageError, OutputError, find, parse_block, parse_week
from claude_gauge.sources.ccusage.source import Ccusage, CommandLine
from claude_gauge.sources.select import choose

AT = 1_763_856_000.0
SAMPLES = Path(__file__).parent / "samples"
VERSIONS = ["17.2.1", "18.0.11", "19.0.3", "20.0.24"]
REAL = {"18": "ccusage-mcp-18.0.11/node_modules/.bin/ccusage", "20": "ccusage-20.0.24/node_modules/.bin/ccusage"}


@pytest.fixture
def claude(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ClaudeHome:
    """A config folder of Claude Code's, without transcripts."""
    home = ClaudeHome(tmp_path / "claude")
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(home.folder))
    return home


def _program(folder: Path, text: str, name: str = "ccusage") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("version", VERSIONS)
def test_captured_output(version: str) -> None:
    """What the versions 17 to 20 printed of the same transcripts reads the same."""
    block = parse_block((SAMPLES / f"{version}-blocks.json").read_bytes())
    daily = (SAMPLES / f"{version}-daily.json").read_bytes()

    assert block == Block(4520, datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp(), block.end)
    assert block.end == datetime(2026, 11, 23, 17, tzinfo=UTC).timestamp()
    assert parse_week(daily, date(2026, 11, 23)) == 6780
    assert parse_week(daily, date(2026, 11, 27)) == 5650
    assert parse_week(daily, date(2026, 11, 21)) == 2260


@pytest.mark.parametrize("version", VERSIONS)
def test_captured_output_of_no_data(version: str) -> None:
    """Without transcripts each version's way of saying nothing is zero, not an error."""
    assert parse_block((SAMPLES / f"{version}-blocks-empty.json").read_bytes()) == Block()
    assert parse_week((SAMPLES / f"{version}-daily-empty.json").read_bytes(), date(2026, 11, 23)) == 0


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"Warning: x\n{}", b"{}", b"null", b'{"blocks": 1}', b'{"blocks": [{"isActive": true}]}', b"\xff"],
)
def test_garbage_output(text: bytes) -> None:
    """Output of another shape is an error in words, never a figure."""
    with pytest.raises(OutputError, match="printed"):
        parse_block(text)


@pytest.mark.parametrize("version", ["18", "20"])
def test_real_ccusage(claude: ClaudeHome, version: str) -> None:
    """The real ccusage gives the block and the 7 days of transcripts written here."""
    now = time.time()
    claude.append(
        assistant(now - 8 * 86400, 1), assistant(now - 3 * 86400, 2), assistant(now - 60, 3), assistant(now - 1, 4)
    )
    asked = CommandLine(str(part(REAL[version])))
    block, week = asked.block(), asked.week(now)

    assert block.tokens == 2 * SAMPLE
    assert block.start is not None
    assert now - 3700 < block.start < now
    assert week == 3 * SAMPLE


@pytest.mark.parametrize("version", ["18", "20"])
def test_real_ccusage_without_data(claude: ClaudeHome, version: str) -> None:
    """A real ccusage without transcripts gives an empty block."""
    assert claude.folder.exists()
    asked = CommandLine(str(part(REAL[version])))

    assert (asked.block(), asked.week(time.time())) == (Block(), 0)


@pytest.mark.parametrize("version", ["18", "20"])
def test_config_dir_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """A CLAUDE_CONFIG_DIR that is none is reported with what to check."""
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(CcusageError, match="CLAUDE_CONFIG_DIR") as error:
        CommandLine(str(part(REAL[version]))).block()

    assert error.value.why == "no transcripts folder"


def test_source_follows_transcripts(claude: ClaudeHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The source's figures follow the transcripts; the traffic part stays unknown."""
    monkeypatch.setattr("claude_gauge.sources.ccusage.source.TTL_S", 0.2)
    claude.append(assistant(time.time(), 1))
    source = Ccusage(CommandLine(str(part(REAL["20"]))))
    source.start(lambda: None)
    first = source.read(time.time())
    claude.append(assistant(time.time(), 2))
    wait_until(lambda: (source.read(time.time()).block or Block()).tokens == 2320, "the second line")
    source.stop()

    assert first.block is not None
    assert (first.block.tokens, first.week_tokens, first.traffic) == (SAMPLE, SAMPLE, None)
    assert first.sources["fuel"].ok
    assert not list(tmp_path.glob("*.new"))


def test_not_asked_without_news(claude: ClaudeHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the transcripts stay the same, ccusage is not called again."""
    monkeypatch.setattr("claude_gauge.sources.ccusage.source.TTL_S", 0.02)
    calls = tmp_path / "calls"
    script = f"#!/bin/sh\necho \"$1\" >>{calls}\ncase $1 in blocks) echo '{{\"blocks\":[]}}';; *) echo '[]';; esac\n"
    news = [1]
    source = Ccusage(CommandLine(str(_program(tmp_path / "bin", script))), news=lambda: news[0])
    source.start(lambda: None)
    wait_until(lambda: source.read(0).block is not None, "the first answer")
    time.sleep(0.3)  # what does not happen can't be waited for
    before = calls.read_text().split()
    news[0] = 2
    wait_until(lambda: len(calls.read_text().split()) > len(before), "the call that the news cause")
    source.stop()

    assert claude.folder.exists()
    assert before == ["blocks", "claude"]


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("#!/bin/sh\nexit 1\n", "exit code 1"),
        ("#!/bin/sh\necho '{'\n", "unknown output"),
        ("#!/bin/sh\n:\n", "unknown output"),
        ("#!/bin/sh\necho 'x: node: not found' >&2; exit 127\n", "Node missing"),
        ("#!/usr/bin/env python3\nopen('/should/not/run')\n", "the one from PyPI"),
        ('#!/bin/sh\n\'\'\'exec\' "/home/my name/venv/bin/python3" "$0" "$@"\n', "the one from PyPI"),
        ('#!/usr/bin/env bash\nexec "/opt/pyenv/libexec/pyenv" exec "${0##*/}" "$@"\n', "the one from PyPI"),
        ("#!/no/such/interpreter\n", "cannot be run"),
        ("#!/bin/sh\necho 'ccusage requires Bun or Node.js >=22.0.0.' >&2; exit 1\n", "Node too old"),
    ],
)
def test_broken_programs(tmp_path: Path, script: str, why: str) -> None:
    """Each way of being no ccusage is reported in a few words that fit the payload."""
    with pytest.raises(CcusageError) as error:
        CommandLine(str(_program(tmp_path / "bin", script))).block()

    assert error.value.why == why
    assert len(why) <= 28
    assert str(error.value).startswith("ccusage: ")


def test_node_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real launcher without Node on PATH is reported as that."""
    monkeypatch.setattr("claude_gauge.sources.ccusage.command.MORE_PATHS", ())
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "env").symlink_to("/usr/bin/env")
    with pytest.raises(CcusageError) as error:
        CommandLine(str(part(REAL["20"])), {"PATH": str(tools)}).block()

    assert error.value.why == "Node missing"


def test_native_binary_missing(tmp_path: Path) -> None:
    """The real launcher without its native binary (exit 1, nothing on stdout) is reported with what to install."""
    copy = tmp_path / "ccusage"
    shutil.copytree(part("ccusage-20.0.24/node_modules/ccusage"), copy)
    with pytest.raises(CcusageError, match=r"npm install -g ccusage@20\.0\.24") as error:
        CommandLine(str(copy / "src" / "cli.js")).block()

    assert error.value.why == "native binary missing"


def test_what_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The named program, else the installed one, else a pinned one by npx, else by bunx, else words."""
    monkeypatch.setattr("claude_gauge.sources.ccusage.command.MORE_PATHS", ())
    one, two, three = (tmp_path / name for name in "123")
    _program(one, "#!/bin/sh\n", "bunx")
    _program(two, "#!/bin/sh\n", "npx")
    _program(three, "#!/bin/sh\n")
    _program(three, "#!/bin/sh\n", "other")

    def called(*folders: Path, setting: str | None = None, download: bool = True) -> tuple[str, ...]:
        return find(setting, {"PATH": os.pathsep.join(map(str, folders))}, download=download).argv

    assert called(one, two, three) == (str(three / "ccusage"),)
    assert called(one, two, three, setting="other") == (str(three / "other"),)
    assert called(one, two) == (str(two / "npx"), "-y", "ccusage@20.0.24")
    assert called(one) == (str(one / "bunx"), "ccusage@20.0.24")
    for arguments in ({"setting": "absent"}, {"download": False}):
        with pytest.raises(CcusageError):
            called(one, **arguments)


def test_npx(claude: ClaudeHome) -> None:
    """Without an installed ccusage the pinned one is run by npx, for real."""
    claude.append(assistant(time.time(), 1))
    path = os.pathsep.join(
        each for each in os.environ["PATH"].split(os.pathsep) if not (Path(each) / "ccusage").exists()
    )

    assert CommandLine(None, {**os.environ, "PATH": path}).block().tokens == SAMPLE


def test_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that hangs is killed with all its children; the last figures stay, health says why."""
    monkeypatch.setattr("claude_gauge.sources.ccusage.source.TTL_S", 0.05)
    monkeypatch.setattr("claude_gauge.sources.ccusage.source.TIMEOUT_S", 0.5)
    switch, pids = tmp_path / "hang", tmp_path / "pids"
    script = (
        f"#!/bin/sh\n[ -e {switch} ] && {{ sleep 600 & echo $! >>{pids}; wait; }}\n"
        "case $1 in blocks) echo '{\"blocks\":[]}';; *) echo '[]';; esac\n"
    )
    source = Ccusage(CommandLine(str(_program(tmp_path / "bin", script))))
    source.start(lambda: None)
    wait_until(lambda: source.read(0).sources["fuel"].ok, "the first answer")
    switch.touch()
    wait_until(lambda: not source.read(0).sources["fuel"].ok, "the trouble")
    reading = source.read(0)
    source.stop()

    assert reading.sources["fuel"].why == "took too long"
    assert reading.block == Block()
    wait_until(lambda: not any(_alive(int(pid)) for pid in pids.read_text().split()), "the children to end")


def test_stopped_in_mid_call(tmp_path: Path) -> None:
    """Stopping the source does not wait for a call that hangs, and leaves nothing behind."""
    pids = tmp_path / "pids"
    source = Ccusage(CommandLine(str(_program(tmp_path / "bin", f"#!/bin/sh\necho $$ >{pids}\nsleep 600\n"))))
    source.start(lambda: None)
    wait_until(lambda: pids.exists() and pids.read_text(), "the call")
    source.stop()
    source.stop()

    assert not _alive(int(pids.read_text()))


def test_dies_and_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A ccusage that goes and comes back is warned of once, and the figures come back."""
    monkeypatch.setattr("claude_gauge.sources.ccusage.source.TTL_S", 0.02)
    good = "#!/bin/sh\ncase $1 in blocks) echo '{\"blocks\":[]}';; *) echo '[]';; esac\n"
    program = _program(tmp_path / "bin", good)
    source = Ccusage(CommandLine(str(program)))
    source.start(lambda: None)
    wait_until(lambda: source.read(0).sources["fuel"].ok, "the first answer")
    program.unlink()
    wait_until(lambda: not source.read(0).sources["fuel"].ok, "the trouble")
    time.sleep(0.2)  # time for a second warning, which must not come
    _program(tmp_path / "bin", good)
    wait_until(lambda: source.read(0).sources["fuel"].ok, "the return")
    source.stop()

    assert len([each for each in caplog.records if each.levelname == "WARNING"]) == 1


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


class Scripted:
    """Answers for block and week as it is set."""

    def __init__(self, *blocks: Block, week: int) -> None:
        self._blocks, self._week = list(blocks), week

    def block(self) -> Block:
        """Tell the next block."""
        return self._blocks.pop(0)

    def week(self, now: float) -> int:
        """Tell the week of the start."""
        return self._week if now else 0

    def stop(self) -> None:
        """Nothing runs."""


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 10**9)), min_size=1, max_size=8), st.integers(0, 10**9))
def test_week_holds_the_block(steps: list[tuple[int, int]], before: int) -> None:
    """The week is asked for seldom: until then it grows with the block, and with a new one by all that it holds."""
    blocks, tokens = list[Block](), dict[int, int]()
    start = 0
    for later, used in steps:
        start = start + later
        tokens[start] = tokens.get(start, 0) + used
        blocks.append(Block(tokens[start], AT + start * 18_000, AT + (start + 1) * 18_000))
    source = Ccusage(Scripted(*blocks, week=before + blocks[0].tokens), clock=lambda: AT)
    for block in blocks:
        source.load()
        reading = source.read(AT)

        assert reading.block == block
        assert reading.week_tokens is not None
        assert block.tokens <= reading.week_tokens <= before + sum(tokens.values())


def test_nothing_ever_seen_is_not_zero(claude: ClaudeHome, tmp_path: Path) -> None:
    """Where ccusage finds no use at all, its 0 is no fuel: sessions may write no transcripts."""
    program = part(REAL["20"])
    (claude.project / "empty.jsonl").write_text("")
    settings_ = Settings(source="ccusage", ccusage=str(program), state_dir=tmp_path / "state")
    source = choose(settings_)
    source.load()
    reading = source.read(time.time())

    assert not reading.sources["tach"].ok
    assert not reading.sources["fuel"].ok
    assert derive(reading, Limits(), time.time()).fuel_source is None
