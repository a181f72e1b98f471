"""A real terminal: a command inside tmux, its keys and its captured screen."""

from __future__ import annotations

import os
import shlex
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.support.net import PATIENCE_S, wait_until


class Terminal:
    """One command in a tmux server of its own; the screen stays to be read after the command ends."""

    def __init__(
        self, folder: Path, command: list[str], env: Mapping[str, str], *, size: tuple[int, int] = (80, 24)
    ) -> None:
        self._server = f"gauge-{uuid.uuid4().hex[:12]}"
        self._folder = folder
        self._environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TMUX_TMPDIR": str(folder)}
        folder.mkdir(parents=True, exist_ok=True)
        self._ended = folder / "ended"
        (folder / "tmux.conf").write_text(
            "set -g remain-on-exit on\nset -g status off\nset -g default-terminal tmux-256color\n"
        )
        settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in env.items())
        errors, ended = shlex.quote(str(folder / "stderr")), shlex.quote(str(self._ended))
        own = f"env -i {settings} TERM=tmux-256color {shlex.join(command)}"
        inside = f"exec 2>{errors}; {own}; echo $? >{ended}"
        self._tmux("new-session", "-d", "-x", str(size[0]), "-y", str(size[1]), inside)

    def _tmux(self, *arguments: str) -> str:
        conf = str(self._folder / "tmux.conf")
        done = subprocess.run(
            ["tmux", "-u", "-L", self._server, "-f", conf, *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE_S,
            env=self._environment,
        )
        return done.stdout

    def screen(self, *, colours: bool = False) -> str:
        """Capture what a person would see."""
        return self._tmux("capture-pane", "-p", *(["-e"] if colours else []))

    def wait(self, text: str) -> str:
        """Wait until the screen shows a text, and return the screen."""
        return wait_until(lambda: screen if text in (screen := self.screen()) else "", f"{text!r} on the screen")

    def press(self, *keys: str) -> None:
        """Press keys, as tmux names them."""
        self._tmux("send-keys", *keys)

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size."""
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def code(self) -> int:
        """Wait for the command's end and return its exit code."""
        return int(wait_until(lambda: self._ended.exists() and self._ended.read_text().strip(), "the command to end"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        kill = ["tmux", "-L", self._server, "kill-server"]
        subprocess.run(kill, env=self._environment, check=False, timeout=PATIENCE_S)
