"""Replaces a file atomically: a reader sees the old or the new content, also after a power cut."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def replace(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write `content` to where `path` leads, keeping the mode and owner of a file that is there; raises OSError."""
    real = Path(os.path.realpath(path))
    real.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    old = real.stat() if real.exists() else None
    fresh = real.with_name(f".{real.name}.{os.getpid()}.tmp")
    try:
        create(fresh, content, stat.S_IMODE(old.st_mode) if old else mode)
        if old and old.st_uid != os.geteuid():
            os.chown(fresh, old.st_uid, old.st_gid)
        fresh.replace(real)
    finally:
        fresh.unlink(missing_ok=True)


def create(path: Path, content: bytes, mode: int) -> None:
    """Write a file that no one else could read for a moment, and have it on the disk before it counts."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(mode)
