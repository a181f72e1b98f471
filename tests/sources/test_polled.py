"""The thread that asks again and again."""

from __future__ import annotations

import threading

from tests.support.net import PATIENCE_S, wait_until

from claude_gauge.sources.source import Polled, Wait, every


def test_the_first_answer_is_waited_for() -> None:
    """Whoever starts it has the first answer when `start` returns, and each interval brings another."""
    asked: list[int] = []
    polled = Polled("test", lambda: asked.append(1), every(0.01))
    polled.start()
    first = len(asked)
    wait_until(lambda: len(asked) > 2, "more answers")
    polled.stop(5)

    assert first > 0
    assert polled.stopping


def test_stop_interrupts_an_answer_and_a_rest() -> None:
    """An answer that takes for ever is interrupted, the rest after it ends at once, and the end is reported once."""
    reported: list[str] = []
    hanging, let_go = threading.Event(), threading.Event()

    def ask() -> None:
        hanging.set()
        reported.append("answer" if let_go.wait(PATIENCE_S) else "hung")

    def rest(_: float, wait: Wait) -> None:
        reported.append("ended" if wait(20) else "rested")

    polled = Polled("test", ask, rest, interrupt=let_go.set, ended=lambda: reported.append("closed"))
    thread = threading.Thread(target=polled.start)
    thread.start()
    assert hanging.wait(PATIENCE_S)
    polled.stop(5)
    polled.stop(5)
    thread.join(PATIENCE_S)

    assert reported == ["answer", "ended", "closed"]
