"""Where Claude Code keeps its transcripts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def config_dirs(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Return Claude Code's config folders: $CLAUDE_CONFIG_DIR (a comma list), else both defaults."""
    listed = [part.strip() for part in environ.get("CLAUDE_CONFIG_DIR", "").split(",") if part.strip()]
    if listed:
        return _distinct([Path(part).expanduser() for part in listed])
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    return _distinct([Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "claude", home / ".claude"])


def transcript_roots(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Return the folders below which transcripts lie; they need not exist yet."""
    return _distinct([folder if folder.name == "projects" else folder / "projects" for folder in config_dirs(environ)])


def _distinct(folders: list[Path]) -> list[Path]:
    """Drop folders that are another one by a link or a second spelling: nothing may be read twice."""
    return list({os.path.realpath(folder): folder for folder in reversed(folders)}.values())[::-1]
