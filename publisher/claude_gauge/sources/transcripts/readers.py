"""Has much history read in child processes: a gigabyte costs seconds of parsing, and the needles must not wait for it.

What goes between them is written in `history_child`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import marshal
import os
import queue
import subprocess
import sys
import threading
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, NamedTuple, Self, cast

from claude_gauge.counting.reading import Tokens
from claude_gauge.counting.settled import Filed
from claude_gauge.counting.turn import NOTHING, Turn
from claude_gauge.sources.transcripts import history_child
from claude_gauge.sources.transcripts.tail import Piece
from claude_gauge.system.child import spawn, without_secrets

log = logging.getLogger(__name__)

CHILDREN = min(2, os.cpu_count() or 1)
TASK_BYTES = 4 << 20
_AHEAD = 2  # tasks that wait for each child, so that none is idle between two


class TaskResult(NamedTuple):
    """How a task went.

    `turns` are turns, each with the times of lines that only repeat it; `filed` are settled responses, in columns, and
    `newest` is when the last of these ended, and by which model.
    """

    task: list[Piece]
    turns: list[tuple[Turn, tuple[float, ...]]]
    filed: Mapping[int, Filed] = {}
    newest: tuple[float, str] = (0.0, "")
    skipped: int = 0
    unread: Sequence[Piece] = ()
    refused: Mapping[str, int] = {}


class Readers:
    """A few children that read; `done` is called from their threads whenever there is one more answer.

    Responses that ended before `files_before` (epoch seconds) may come in columns.
    """

    def __init__(self, done: Callable[[], None], files_before: float) -> None:
        self._files_before = files_before
        self.answers: queue.SimpleQueue[TaskResult] = queue.SimpleQueue()
        self.failed = False
        self._done = done
        self._tasks: queue.SimpleQueue[list[Piece] | None] = queue.SimpleQueue()
        self._giving_up = threading.Lock()
        self._waiting = 0
        self._threads = [threading.Thread(target=self._run, name="history", daemon=True) for _ in range(CHILDREN)]
        self._children: list[subprocess.Popen[bytes]] = []

    def start(self) -> Self:
        """Start the children."""
        for thread in self._threads:
            thread.start()
        return self

    @property
    def wants_tasks(self) -> bool:
        """Whether another task should be given to them."""
        return not self.failed and self._waiting < CHILDREN * _AHEAD

    @property
    def idle(self) -> bool:
        """Whether no task is with them."""
        return not self._waiting

    def give(self, task: list[Piece]) -> None:
        """Have a task read."""
        self._waiting += 1
        self._tasks.put(task)

    def take(self) -> TaskResult | None:
        """Return an answer, if there is one."""
        try:
            answer = self.answers.get_nowait()
        except queue.Empty:
            return None
        self._waiting -= 1
        return answer

    def stop(self) -> None:
        """End the children; what they were reading is lost."""
        self.failed = True
        for _ in self._threads:
            self._tasks.put(None)
        for child in list(self._children):
            child.kill()
        for thread in self._threads:
            thread.join(5)

    def _run(self) -> None:
        child = self._begin()
        for task in iter(self._tasks.get, None):
            self.answers.put(self._asked(child, task))
            self._done()
        if child is not None:
            child.kill()  # it may just have been started, and holds nothing
            with contextlib.suppress(OSError), child:
                pass

    def _asked(self, child: subprocess.Popen[bytes] | None, task: list[Piece]) -> TaskResult:
        try:
            if child is not None and not self.failed:
                return _ask(child, task, self._files_before)
        except (OSError, ValueError, EOFError) as error:
            self._give_up(error)
        return TaskResult(task, [], unread=task)

    def _give_up(self, error: Exception) -> None:
        with self._giving_up:  # all of them may fail at once
            failed, self.failed = self.failed, True
        if not failed:
            log.warning("reading history in a child process failed (%s): reading it here", error)

    def _begin(self) -> subprocess.Popen[bytes] | None:
        """Start a child; return when it can read, so that no task waits for a start while others are at work."""
        try:
            child = spawn(
                [sys.executable, "-P", "-m", history_child.__name__],
                without_secrets(os.environ),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # the parent logs a failure
            )
        except OSError as error:
            self._give_up(error)
            return None
        self._children.append(child)
        if self.failed:
            child.kill()  # `stop` may have looked before this one was there
        try:
            _exactly(cast("IO[bytes]", child.stdout), len(history_child.READY))
        except (OSError, EOFError) as error:
            self._give_up(error)
        return child


def _ask(child: subprocess.Popen[bytes], task: list[Piece], files_before: float) -> TaskResult:
    tasks, answers = cast("IO[bytes]", child.stdin), cast("IO[bytes]", child.stdout)
    pieces = [(piece.path, piece.start, piece.stop) for piece in task]
    tasks.write(json.dumps((pieces, files_before)).encode() + b"\n")
    tasks.flush()
    size = int.from_bytes(_exactly(answers, 8), "big")
    data = _exactly(answers, size)
    turns, filed, newest, skipped, unread, refused = marshal.loads(data)  # noqa: S302 - our own child wrote it
    days = {
        number: Filed(*(array(code, each) for code, each in zip("qqqd", day, strict=True))) for number, day in filed
    }
    return TaskResult(
        task, list(map(_received, turns)), days, newest, skipped, [task[each] for each in unread], refused
    )


def _received(fields: tuple[Any, ...]) -> tuple[Turn, tuple[float, ...]]:
    *figures, advisor, times = fields
    return Turn._make((*figures, NOTHING if advisor is None else Tokens(*advisor))), times


def _exactly(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise EOFError("it ended")
    return data
