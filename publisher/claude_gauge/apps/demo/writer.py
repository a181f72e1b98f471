"""Writes the scripted day into a folder, line by line, as Claude Code would."""

from __future__ import annotations

import json
import threading
import time
from itertools import count
from pathlib import Path

from claude_gauge.apps.demo import script
from claude_gauge.contract.usage import stamp

EARLIER_S = 2.5 * 3600
FIRST_AFTER_S = 0.3


class Writer:
    """Writes transcripts below `folder`/projects; `speed` shortens the pauses, `seed` names the day."""

    def __init__(self, folder: Path, *, seed: int = 1, speed: float = 1.0) -> None:
        self._path = folder / "projects" / "-demo" / "scripted-day.jsonl"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._seed, self._speed = seed, speed
        self._numbers = count(1)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._live, name="script", daemon=True)
        self.scene = ""

    def start(self) -> None:
        """Write what happened earlier, then begin to live."""
        past = list(script.earlier(self._seed, EARLIER_S))
        begin = time.time() - EARLIER_S
        step = EARLIER_S / len(past)
        self._append(*(self._line(each, begin + n * step) for n, each in enumerate(past)))
        self._thread.start()

    def stop(self) -> None:
        """End; safe to call twice."""
        self._stopping.set()
        if self._thread.ident:
            self._thread.join(5)

    def _live(self) -> None:
        wait = FIRST_AFTER_S
        for response in script.live(self._seed):
            if self._stopping.wait(wait):
                return
            self.scene = response.scene
            self._append(self._line(response, time.time()))
            wait = response.after_s / self._speed

    def _append(self, *lines: bytes) -> None:
        with self._path.open("ab", buffering=0) as file:
            file.write(b"".join(lines))

    def _line(self, response: script.Response, at: float) -> bytes:
        number = next(self._numbers)
        usage = {
            "input_tokens": response.input,
            "cache_creation_input_tokens": response.cache_creation,
            "cache_read_input_tokens": response.cache_read,
            "output_tokens": response.output,
            "output_tokens_details": {"thinking_tokens": response.thinking},
        }
        message = {
            "id": f"msg_demo_{number}",
            "role": "assistant",
            "model": response.model,
            "content": [],
            "usage": usage,
        }
        record = {"type": "assistant", "timestamp": stamp(at), "requestId": f"req_demo_{number}", "message": message}
        return json.dumps(record, separators=(",", ":")).encode() + b"\n"
