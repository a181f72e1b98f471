"""File access that is safe for root: what root writes here is read by the broker's user, who must not own it.

Every call is relative to an open folder and follows no link. Otherwise anyone who can write into the folder could make
root read, write or give away any file. Root's folders belong to root; the broker's user gets read access by its group.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from claude_gauge.errors import GaugeError

_DRAFT = re.compile(r"\..+\.[0-9a-f]{8}\.new")
_LAST_ID = 2**32 - 2  # the next one stands for "as it is"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Ids:
    """A user and a group, by number."""

    user: int
    group: int


def ids_of(owner: str) -> Ids:
    """Look up `name`, `uid` or `uid:gid`; raises GaugeError if there is none."""
    user, _, group = owner.partition(":")
    try:
        if user.isdigit():
            ids = Ids(int(user), int(group or user))
        else:
            entry = pwd.getpwnam(user)
            ids = Ids(entry.pw_uid, entry.pw_gid)
    except (KeyError, ValueError):
        ids = Ids(_LAST_ID + 1, 0)
    if max(ids.user, ids.group) > _LAST_ID:
        raise GaugeError(f"--owner {owner}: no such user; write a name, or numbers as 1883:1883") from None
    return ids


def refuse_foreign(folder: Path) -> None:
    """As root, raise GaugeError for a folder that another user owns or could replace."""
    if os.geteuid() != 0:
        return
    for path in (folder, *folder.parents):
        try:
            info = path.lstat()
        except FileNotFoundError:
            continue
        if info.st_uid != 0:
            raise GaugeError(f"{path} belongs to {_name(info.st_uid)}, not to root: run as its owner, or name --folder")
        shared = info.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not info.st_mode & stat.S_ISVTX
        if shared or stat.S_ISLNK(info.st_mode):
            why = "is a link" if stat.S_ISLNK(info.st_mode) else "can be written by others"
            raise GaugeError(f"{path} {why}: as root name a --folder that is root's alone")


def _name(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"


def draft_name(name: str) -> str:
    """Return a new name for what will get this name once it is complete."""
    return f".{name}.{secrets.token_hex(4)}.new"


def drafts_of(path: Path) -> list[Path]:
    """List the drafts of a file or folder beside it that are this user's."""
    beside = (each for each in path.parent.iterdir() if each.name.startswith(f".{path.name}."))
    return [each for each in beside if _DRAFT.fullmatch(each.name) and each.lstat().st_uid == os.geteuid()]


class Directory:
    """An open folder; use it in a `with`. All methods raise OSError."""

    def __init__(self, path: Path | str, at: int | None = None) -> None:
        self._fd = os.open(path, _DIRECTORY, dir_fd=at)

    def below(self, name: str) -> Directory:
        """Open a folder in it."""
        return Directory(name, self._fd)

    def make(self, name: str) -> Directory:
        """Make a folder in it, for its owner alone, and open it."""
        os.mkdir(name, 0o700, dir_fd=self._fd)
        made = self.below(name)
        made.share(-1, -1, 0o700)  # whatever the umask took
        return made

    def share(self, user: int, group: int, mode: int) -> None:
        """Set the folder's own owner, group (-1: as it is) and mode."""
        os.fchown(self._fd, user, group)
        os.fchmod(self._fd, mode)

    def names(self) -> list[str]:
        """List what is in it."""
        return os.listdir(self._fd)  # noqa: PTH208 - of the open folder, whatever its path leads to now

    @property
    def info(self) -> os.stat_result:
        """The folder's own owner and mode."""
        return os.fstat(self._fd)

    def read(self, name: str) -> bytes:
        """Return the content of a regular file that has no second name (hard link)."""
        with os.fdopen(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self._fd), "rb") as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode) or info.st_nlink != 1:
                raise OSError(0, "is no plain file", name)
            return file.read()

    def write(self, name: str, data: bytes, mode: int = 0o600, group: int = -1) -> None:
        """Replace a file atomically; until it is complete its owner alone can read it."""
        draft = draft_name(name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        try:
            with os.fdopen(os.open(draft, flags, 0o600, dir_fd=self._fd), "wb") as file:
                file.write(data)
                file.flush()
                os.fchown(file.fileno(), -1, group)
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            os.rename(draft, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        except OSError:
            self.remove(draft)
            raise

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        try:
            os.unlink(name, dir_fd=self._fd)
        except FileNotFoundError:
            return

    def remove_drafts(self) -> None:
        """Remove what writers left that were killed; the caller holds the lock, so none of them writes any more."""
        for name in self.names():
            if _DRAFT.fullmatch(name):
                self.remove(name)

    def lock(self) -> None:
        """Take the folder's lock, waiting for other processes; it is held until the folder is closed."""
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._fd)
