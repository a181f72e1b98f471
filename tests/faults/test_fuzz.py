"""The line parser under a fuzzer that is led by coverage."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.net import PATIENCE_S
from tests.support.transcripts import assistant, encoded

RUNS = 100_000
TARGET = """
import sys
import atheris
with atheris.instrument_imports(include=["claude_gauge.sources.transcripts.follower", "claude_gauge.counting.turn"]):
    from claude_gauge.sources.transcripts.follower import Lines
    from claude_gauge.counting.turn import parse

def feed(data):
    lines = Lines(longest=4096)
    cut = len(data) // 2
    for line in lines.feed(data[:cut]) + lines.feed(data[cut:]) + lines.feed(b"\\n"):
        for turn in parse(line):
            figures = (turn.input, turn.output, turn.cache_read, turn.cache_creation, turn.thinking or 0)
            assert all(type(each) is int and 0 <= each <= 2 * 10**12 for each in figures), figures
            assert turn.at == turn.at and turn.thought >= 0 and turn.spoken >= 0

atheris.Setup(sys.argv, feed)
atheris.Fuzz()
"""


@pytest.mark.long
def test_line_parser_survives_a_fuzzer(tmp_path: Path) -> None:
    """A hundred thousand lines made to find a way through the parser raise nothing and give no absurd figure."""
    pytest.importorskip("atheris", reason="atheris has no wheel for this Python or platform")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    whole = encoded(assistant(1_763_900_000.0, 1))
    (corpus / "whole").write_bytes(whole)
    (corpus / "glued").write_bytes(whole[:-1] + whole)
    (corpus / "torn").write_bytes(whole[:150] + whole)
    words = ['"usage"', '"assistant"', '{"parentUuid"', '"message"', "null", "1e999", "NaN", "\\\\ud800", "\\x00"]
    (tmp_path / "words").write_text(
        "".join(f'w{n}="{word.replace(chr(34), chr(92) + chr(34))}"\n' for n, word in enumerate(words))
    )
    script = tmp_path / "target.py"
    script.write_text(TARGET)
    options = [f"-runs={RUNS}", "-seed=1", "-max_len=4096", f"-dict={tmp_path / 'words'}", "-max_total_time=60"]
    done = subprocess.run(
        [sys.executable, script, corpus, *options],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        timeout=PATIENCE_S,
    )

    assert done.returncode == 0, done.stderr[-2000:]
    assert "Done " in done.stderr
