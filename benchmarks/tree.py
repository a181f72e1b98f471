"""A history of transcripts of a given size, as a person leaves it: sessions by day, pauses at night."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

from tests.support.transcripts import assistant, encoded, stamped

DAY_S = 86400.0
SAID = "x" * 700


def fill(  # noqa: PLR0913 - a tree, by name
    projects: Path, files: int, responses: int, end: float, *, days: float = 30.0, said: str = SAID
) -> int:
    """Write so many files over the days before `end`, each with its own time; return the bytes written."""
    random, size, number = Random(1), 0, 0
    for index in range(files):
        # The newest sessions end now; all others lie in the first 15 hours of a day, before which there is a pause.
        day = int(days * index / files)
        last = end - day * DAY_S - (random.random() * 15 * 3600 if index else 0)
        path = projects / f"-home-dev-project-{index % 97}" / f"session-{index}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = []
        for n in range(responses):
            number += 1
            at = last - (responses - n) * 30
            model = random.choice(["claude-opus-5-5", "claude-sonnet-5-5"])
            tokens = (random.randrange(50), random.randrange(2000), random.randrange(100_000), random.randrange(5000))
            lines += [assistant(at, number, model=model, tokens=tokens, said=said)] * 2
            user = {"role": "user", "content": said * 4}
            lines.append({"type": "user", "message": user, "timestamp": stamped(at), "sessionId": "session"})
        data = encoded(*lines)
        path.write_bytes(data)
        os.utime(path, (last, last))
        size += len(data)
    return size
