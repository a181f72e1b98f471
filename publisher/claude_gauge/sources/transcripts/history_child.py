"""The child process that reads history: tasks come in on standard input, what they hold goes out on standard output.

A task is a line of JSON: stretches of files as (path, start, stop), and before which time (epoch seconds) responses
may come in columns. Its answer is eight bytes of length and a marshalled tuple:

    turns         each as its figures, the advisor's figures or None, and the times of the lines that only repeat it
    columns       day -> four columns as bytes (`Filed`), of responses that ended before that time
    newest        when the last of these ended, and by which model
    skipped       lines that were too long
    unread        numbers of the stretches that could not be read
    refused       what was not believed, by reason

It ends with its input, so it never outlives its parent. It imports little: the parent waits for its start.
"""

from __future__ import annotations

import gc
import json
import marshal
import sys
from collections.abc import Sequence
from typing import IO, Any

from claude_gauge.contract.plan_window import Refused
from claude_gauge.counting.settled import file_apart
from claude_gauge.counting.turn import NOTHING, Turn, gather
from claude_gauge.sources.transcripts.follower import Lines, read_stretch

READY = b"."  # the first byte that is sent


def serve(tasks: IO[bytes], answers: IO[bytes]) -> None:
    """Read what is asked for until there are no more tasks."""
    answers.write(READY)
    answers.flush()
    gc.disable()  # records have no cycles, and looking for some takes a tenth of the time
    for line in tasks:
        pieces, files_before = json.loads(line)
        data = marshal.dumps(_read(pieces, files_before))
        answers.write(len(data).to_bytes(8, "big") + data)
        answers.flush()


def _read(pieces: Sequence[tuple[str, int, int]], files_before: float) -> tuple[Any, ...]:
    turns, skipped, unread, refused = list[tuple[Turn, list[float]]](), 0, list[int](), Refused()
    for index, (path, start, stop) in enumerate(pieces):
        lines = Lines()
        try:
            for some in read_stretch(path, start, stop, lines):
                gather(some, turns, refused)
        except FileNotFoundError:
            continue
        except OSError:
            unread.append(index)
        skipped += lines.skipped
    filed, rest = file_apart(turns, files_before)
    newest = max(((turn.at, turn.model) for turn, _ in turns if turn.at < files_before), default=(0.0, ""))
    turns = [_sent(turn, times) for turn, times in rest]
    columns = [(number, tuple(each.tobytes() for each in day)) for number, day in filed.items()]
    return turns, columns, newest, skipped, unread, refused.counts()


def _sent(turn: Turn, times: Sequence[float]) -> tuple[Any, ...]:
    advisor = turn.advisor
    kinds = (advisor.input, advisor.output, advisor.cache_read, advisor.cache_creation)
    return (*turn[:-1], None if advisor is NOTHING else kinds, tuple(times))


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
