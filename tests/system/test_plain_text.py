from __future__ import annotations

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_gauge.commands.output import log_to_stderr
from claude_gauge.system.plain_text import harmless, harmless_json

HOSTILE = "\x1b]0;title\x07 \x9b31m \u202eevil\u2066 \x7f \u2028 \ud800 \r\n"


def test_each_hostile_character_is_replaced() -> None:
    """Escape sequences of both kinds, marks of writing direction, separators and surrogates go, letters stay."""
    assert harmless(HOSTILE) == "?]0;title? ?31m ?evil? ? ? ? ??"
    assert harmless("a\tb\nc", keep="\n") == "a?b\nc"
    assert harmless("Zürich ▰ 42 %") == "Zürich ▰ 42 %"


def test_marks_heaped_on_a_letter() -> None:
    """Marks that would cover the lines around go; those that languages write stay."""
    written = "\u0e19\u0e49\u0e33 e\u0302\u0301 \u05d1\u05bc\u05b0"

    assert harmless("a" + "\u0301" * 9) == "a" + "\u0301" * 3 + "?" * 6
    assert harmless(written) == written


@given(st.text())
def test_what_is_left_prints(text: str) -> None:
    """Whatever comes in, only characters that print come out, as many as came in."""
    assert harmless(text).isprintable()
    assert len(harmless(text)) == len(text)


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"]))
    )
)
def test_json_says_the_same(content: dict[str, str]) -> None:
    """JSON stays JSON that says the very same, in characters that print."""
    payload = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()

    assert json.loads(harmless_json(payload)) == content
    assert harmless_json(payload).isprintable()


def test_json_that_prints_is_left_alone() -> None:
    """A payload without anything hostile keeps its bytes."""
    assert harmless_json('{"a": "ä",  "b":1}'.encode()) == '{"a": "ä",  "b":1}'


@pytest.mark.parametrize("form", ["text", "json"])
def test_logs(form: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A log line quotes foreign text harmlessly and stays one line; a traceback has lines of its own."""
    root, ours = logging.getLogger(), logging.getLogger("claude_gauge")
    monkeypatch.setattr(root, "handlers", list(root.handlers))
    levels = root.level, ours.level
    try:
        log_to_stderr("json" if form == "json" else "text")
        logging.getLogger("claude_gauge.test").warning("topic %s", HOSTILE)
        try:
            int(HOSTILE)
        except ValueError:
            logging.getLogger("claude_gauge.test").exception("failed")
    finally:
        root.setLevel(levels[0])
        ours.setLevel(levels[1])
    said = capsys.readouterr().err

    assert all(line.isprintable() for line in said.splitlines())
    assert len(said.split("topic")[1].split("failed")[0].splitlines()) <= 2
