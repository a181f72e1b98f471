"""Where Claude Code keeps its transcripts and its settings."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path


def config_dirs(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Return the config folders that may hold transcripts: $CLAUDE_CONFIG_DIR (a comma list), else both defaults."""
    home = _home(environ)
    xdg = Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "claude"
    return _distinct(_listed(environ) or [xdg, home / ".claude"])


def transcript_roots(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Return the folders below which transcripts lie; they need not exist yet."""
    return _distinct([folder if folder.name == "projects" else folder / "projects" for folder in config_dirs(environ)])


def settings_files(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Return Claude Code's settings files: of each folder of $CLAUDE_CONFIG_DIR, else of ~/.claude.

    A file that several folders share, by a link or a mount, is named once.
    """
    files = [folder / "settings.json" for folder in _distinct(_listed(environ) or [_home(environ) / ".claude"])]
    return _distinct(files, _identity)


def _listed(environ: Mapping[str, str]) -> list[Path]:
    named = [part.strip() for part in environ.get("CLAUDE_CONFIG_DIR", "").split(",")]
    return [Path(_expanded(part, environ)) for part in named if part]


def _expanded(folder: str, environ: Mapping[str, str]) -> str:
    """Turn a leading `~` into the home; a shell leaves it alone in `CLAUDE_CONFIG_DIR=a,~/b` and in quotes."""
    if folder == "~" or folder.startswith("~/"):
        return f"{_home(environ)}{folder[1:]}"
    return os.path.expanduser(folder)  # noqa: PTH111 - Path.expanduser raises for a user that is not there


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME") or os.path.expanduser("~"))  # noqa: PTH111 - as above


def _distinct(paths: Iterable[Path], identity: Callable[[Path], object] = os.path.realpath) -> list[Path]:
    """Drop what is another one by a link or a second spelling: nothing may be read or changed twice."""
    found: dict[object, Path] = {}
    for path in paths:
        found.setdefault(identity(path), path)
    return list(found.values())


def _identity(file: Path) -> object:
    try:
        status = file.stat()
    except OSError:
        return os.path.realpath(file)
    return (status.st_dev, status.st_ino)
