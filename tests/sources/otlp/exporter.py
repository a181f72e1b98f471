"""Runs exporter.mjs: what Claude Code sends, by the SDK that Claude Code uses."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support.parts import part

SCRIPT = Path(__file__).with_suffix(".mjs")


def claude_code(environ: Mapping[str, str], **settings: object) -> subprocess.Popen[str]:
    """Start it; the settings are those that the script names."""
    modules = str(part("otel-js-0.208.0/node_modules"))
    return subprocess.Popen(
        ["node", str(SCRIPT), modules, json.dumps(settings)],
        env={**os.environ, **environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def go_on(process: subprocess.Popen[str]) -> None:
    """Let it go on where it holds."""
    assert process.stdin is not None
    process.stdin.write("go on\n")
    process.stdin.flush()


def wait_said(process: subprocess.Popen[str], text: str) -> None:
    """Wait until it says something."""
    assert process.stdout is not None
    while text not in process.stdout.readline():
        assert process.poll() is None
