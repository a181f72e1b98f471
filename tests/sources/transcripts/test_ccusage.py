"""The 5-hour block against the real ccusage, and against the truth where ccusage is known to be wrong."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.support import ROOT
from tests.support.generated import generate
from tests.support.net import PATIENCE_S
from tests.support.parts import part
from tests.support.transcripts import SAMPLE, ClaudeHome, assistant, encoded, stamped

from claude_gauge.counting import turn
from claude_gauge.counting.counter import Counter
from claude_gauge.sources.transcripts.source import Transcripts
from claude_gauge.sources.transcripts.tail import Tail

END = 1_763_900_000.0
Json = dict[str, Any]


def _ccusage(claude: Path, *options: str) -> list[Json]:
    program = part("ccusage-20.0.24/node_modules/.bin/ccusage")
    env = {"PATH": os.environ["PATH"], "HOME": str(claude), "CLAUDE_CONFIG_DIR": str(claude)}
    command = [str(program), "blocks", "--json", "--offline", *options]
    reported = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    return [block for block in json.loads(reported.stdout)["blocks"] if not block["isGap"]]


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _counter(claude: Path) -> Counter:
    tail, counter = Tail([claude / "projects"]), Counter()
    tail.scan()
    while tail.behind:
        for line in tail.step():
            for each in turn.parse(line):
                counter.add(each, END)
    return counter


@pytest.mark.parametrize("seed", range(12))
def test_generated_trees_make_the_same_blocks(seed: int, tmp_path: Path) -> None:
    """Gaps, edges at exactly 5 h, forks, replays, advice, growing lines: ours, ccusage's and the truth are one."""
    tree = generate(seed, END, days=6)
    tree.write(tmp_path / "projects")
    ours = [(span.start, span.tokens) for span in _counter(tmp_path).blocks.history()]
    theirs = [(_epoch(block["startTime"]), block["entries"], block["totalTokens"]) for block in _ccusage(tmp_path)]

    assert len(ours) > 10
    assert ours == [(start, tokens) for start, _, tokens in tree.blocks()]
    assert theirs == tree.blocks()


@pytest.mark.parametrize("seed", [100, 101, 102])
def test_active_block_is_the_same(seed: int, tmp_path: Path) -> None:
    """The block that is active now has ccusage's start, end and tokens, with days of history before it."""
    now = time.time()
    tree = generate(seed, now - 60)
    tree.files["now.jsonl"] += encoded(assistant(now - 30, 999_999))
    tree.write(tmp_path / "projects")
    source = Transcripts([tmp_path / "projects"])
    source.load()
    block = source.read(time.time()).block
    source.stop()
    (active,) = _ccusage(tmp_path, "--active")

    assert block
    assert block.tokens == active["totalTokens"]
    assert (block.start, block.end) == (_epoch(active["startTime"]), _epoch(active["endTime"]))


def _line(number: int, **more: Any) -> Json:  # noqa: ANN401 - any key of the line
    return assistant(END + number, number, **more)


def _edited(number: int, edit: Callable[[Json], object]) -> Json:
    record = _line(number)
    edit(record)
    return record


def _usage(number: int, **figures: Any) -> Json:  # noqa: ANN401 - any figure
    return _edited(number, lambda each: each["message"]["usage"].update(figures))


def _without(*names: str) -> Callable[[Json], object]:
    return lambda each: [each.pop(name, None) or each["message"].pop(name, None) for name in names]


ADVICE = {"type": "advisor_message", "model": "claude-opus-5-5", "input_tokens": 1500, "output_tokens": 30}
# By the name under which docs/counting.md lists it: a transcript, the truth, what ccusage 20.0.24 counts.
KNOWN = {
    # What is no response, or was made up by Claude Code itself.
    "API errors with figures": (encoded(_line(1), _line(2, isApiErrorMessage=True)), SAMPLE, 2 * SAMPLE),
    "synthetic lines with figures": (encoded(_line(1), _line(2, model="<synthetic>")), SAMPLE, 2 * SAMPLE),
    "lines of another type with figures": (encoded(_line(1), _line(2, type="user")), SAMPLE, 2 * SAMPLE),
    # JSON as good as any, in another spelling.
    "blanks in the JSON": (encoded(_line(1)) + json.dumps(_line(2)).encode() + b"\n", 2 * SAMPLE, SAMPLE),
    "a byte order mark": (encoded(_line(1)) + b"\xef\xbb\xbf" + encoded(_line(2)), 2 * SAMPLE, SAMPLE),
    "whole numbers written as 10.0": (encoded(_line(1), _usage(2, input_tokens=10.0)), 2 * SAMPLE, SAMPLE),
    "microseconds": (encoded(_line(1), _line(2, timestamp="2025-11-23T12:13:21.123456Z")), 2 * SAMPLE, SAMPLE),
    "a time without a zone": (encoded(_line(1), _line(2, timestamp="2025-11-23T12:13:21.000")), 2 * SAMPLE, SAMPLE),
    "a blank between day and time": (
        encoded(_line(1), _line(2, timestamp="2025-11-23 12:13:21.000Z")), 2 * SAMPLE, SAMPLE
    ),
    # Records that a crash or a power cut damaged.
    "two records glued on one line": (encoded(_line(1))[:-1] + encoded(_line(2)), 2 * SAMPLE, 0),
    "a record behind a torn one": (encoded(_line(1))[:99] + encoded(_line(2)), SAMPLE, 0),
    "NUL bytes before a record": (b"\0" * 99 + encoded(_line(1)), SAMPLE, 0),
    # A figure or a name that is missing, null or garbage says nothing about the others on its line.
    "a null id anywhere": (encoded(_line(1), _line(2, toolUse={"id": None})), 2 * SAMPLE, SAMPLE),
    "a null folder, version, cost, model or error mark": (encoded(_line(1), _line(2, cwd=None)), 2 * SAMPLE, SAMPLE),
    "a null figure": (encoded(_line(1), _usage(2, cache_read_input_tokens=None)), 2 * SAMPLE - 1000, SAMPLE),
    "a missing figure": (
        encoded(_line(1), _edited(2, lambda each: each["message"]["usage"].pop("input_tokens"))),
        2 * SAMPLE - 10, SAMPLE,
    ),
    "a figure that is no count": (encoded(_line(1), _usage(2, input_tokens="ten")), 2 * SAMPLE - 10, SAMPLE),
    "an impossible figure": (
        encoded(_line(1), _usage(2, input_tokens=10**13)), 2 * SAMPLE - 10, 2 * SAMPLE - 10 + 10**13
    ),
    "an unknown or null speed": (encoded(_line(1), _usage(2, speed="warp")), 2 * SAMPLE, SAMPLE),
    "an empty id, model or session": (encoded(_line(1), _line(2, requestId="")), 2 * SAMPLE, SAMPLE),
    "a version that is no number": (encoded(_line(1), _line(2, version="dev")), 2 * SAMPLE, SAMPLE),
    "an empty split of the cache creation": (
        encoded(_usage(1, cache_creation={"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0})),
        SAMPLE, SAMPLE - 50,
    ),
    "half a split of the cache creation": (
        encoded(_usage(1, cache_creation={"ephemeral_5m_input_tokens": None, "ephemeral_1h_input_tokens": 8})),
        SAMPLE - 42, 0,
    ),
    "a malformed advice beside others": (
        encoded(_usage(1, iterations=[{**ADVICE, "input_tokens": "x"}, ADVICE])), SAMPLE + 30 + 1530, SAMPLE
    ),
    # Which lines are one response.
    "a gateway's constant message id": (
        encoded(_edited(1, _without("requestId")))
        + encoded(_edited(2, lambda each: (each.pop("requestId"), each["message"].update(id="msg_000001"))))
        .replace(b'"input_tokens":10', b'"input_tokens":11'),
        2 * SAMPLE + 1, SAMPLE + 1,
    ),
    "a gateway's two constant ids": (
        encoded(_line(1), {**_line(1, tokens=(11, 100, 1000, 50)), "timestamp": stamped(END - 1801)}),
        2 * SAMPLE + 1, SAMPLE + 1,
    ),
    "repeats without a message id": (encoded(*2 * [_edited(1, _without("id"))]), SAMPLE, 2 * SAMPLE),
    "a maximum per figure": (encoded(_line(1, tokens=(10, 5, 5, 5)), _line(1, tokens=(5, 20, 5, 5))), 40, 35),
    "a replay of several lines": (
        encoded(
            _line(1), {**_line(1), "timestamp": stamped(END + 9)},
            _line(1, sidechain=True, requestId="again"),
            {**_line(1, sidechain=True, requestId="again"), "timestamp": stamped(END + 9)},
        ),
        SAMPLE, 2 * SAMPLE,
    ),
    "a replay in another session": (
        encoded(_line(1), _line(1, sidechain=True, requestId="again", sessionId="other")), SAMPLE, 2 * SAMPLE
    ),
    "advice in a replay alone": (
        encoded({**_usage(1, iterations=[ADVICE]), "isSidechain": True}, _line(1)),
        SAMPLE, SAMPLE + 1530,
    ),
    "times ahead of this clock": (
        encoded(_line(1), {**_line(2), "timestamp": stamped(END + 864000)}), SAMPLE, 2 * SAMPLE
    ),
}  # fmt: skip


def test_documentation_lists_every_difference() -> None:
    """docs/counting.md names each of them, with ours and theirs."""
    rows = [line for line in (ROOT / "docs" / "counting.md").read_text().splitlines() if line.startswith("|")]

    assert [name for name in KNOWN if not any(name in row for row in rows)] == []


@pytest.mark.parametrize("trouble", KNOWN)
def test_truth_where_ccusage_is_known_to_be_wrong(trouble: str, tmp_path: Path) -> None:
    """Ours is the truth; ccusage 20.0.24 still differs, or this test says that it has been corrected."""
    data, truth, theirs = KNOWN[trouble]
    claude = ClaudeHome(tmp_path / "claude")
    (claude.project / "session.jsonl").write_bytes(data)

    assert sum(span.tokens for span in _counter(claude.folder).blocks.history()) == truth
    assert sum(block["totalTokens"] for block in _ccusage(claude.folder)) == theirs != truth


def test_linked_project_counts_here_alone(tmp_path: Path) -> None:
    """A project folder that is a link to another place is read; ccusage 20.0.24 does not look into it."""
    claude, elsewhere = ClaudeHome(tmp_path / "claude"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "session.jsonl").write_bytes(encoded(_line(1)))
    (claude.folder / "projects" / "-linked").symlink_to(elsewhere)

    assert sum(span.tokens for span in _counter(claude.folder).blocks.history()) == SAMPLE
    assert _ccusage(claude.folder) == []
