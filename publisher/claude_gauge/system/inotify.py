"""Linux' own file events of all folders below one root, read by the thread that asks for them.

Watchdog hands each event through two threads of its own, which takes longer than all that we do with it; so of
watchdog only the kernel's functions are used here. The kernel watches single folders, so each new folder gets a
watch of its own, and then has to be looked through: what came into it before its watch has no event. A link to a
folder elsewhere is watched like a folder; the kernel gives a folder one watch however many links lead to it, so that
loops end, and events come by the name that was found first.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from watchdog.observers.inotify_c import InotifyConstants as Flag
from watchdog.observers.inotify_c import WatchDescriptor, inotify_add_watch, inotify_init, inotify_rm_watch

# Not the opened and closed ones, which our own reading makes, too.
_WANTED = (
    Flag.IN_MODIFY | Flag.IN_ATTRIB | Flag.IN_CREATE | Flag.IN_MOVED_TO | Flag.IN_MOVED_FROM | Flag.IN_DELETE
    | Flag.IN_DELETE_SELF | Flag.IN_ONLYDIR
)  # fmt: skip
_CAME = Flag.IN_CREATE | Flag.IN_MOVED_TO
_HEAD = struct.Struct("iIII")  # watch, flags, cookie, length of the name
_MOST_BYTES = 1 << 17
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES)  # or not readable: the scan reports it


class Inotify:
    """Watches `root`, which may be a link, and all folders below it, linked ones too; one thread's. Raises OSError.

    `wanted` says by a file's path whether its events matter.
    """

    def __init__(self, root: str, wanted: Callable[[str], bool]) -> None:
        self._root, self._wanted = root, wanted
        self._folders: dict[WatchDescriptor, str] = {}
        self._missing: dict[str, int] = {}  # folders that could not be watched, and the kernel's reason
        self._descriptor = inotify_init()
        if self._descriptor < 0:
            raise _error()
        os.set_inheritable(self._descriptor, False)  # noqa: FBT003 - takes no name
        os.set_blocking(self._descriptor, False)
        self._add(root)
        if root in self._missing or not self._folders:
            self.stop()
            raise _error()

    def fileno(self) -> int:
        """Return the descriptor that can be read when something happened."""
        return self._descriptor

    @property
    def alive(self) -> bool:
        """Whether the root that was found at the start is still watched."""
        return self._root in self._folders.values()

    @property
    def missing(self) -> dict[str, int]:
        """Folders that are there but not watched, and why (an errno: ENOSPC at the limit of watches)."""
        return self._missing

    def again(self) -> None:
        """Try once more to watch the folders that could not be."""
        missing, self._missing = self._missing, {}
        for folder in missing:
            self._add(folder)

    def read(self) -> tuple[list[str], bool]:
        """Return the files and new folders that something happened to, each once, and whether events were lost.

        Never waits.
        """
        try:
            data = os.read(self._descriptor, _MOST_BYTES)
        except BlockingIOError:
            return [], False
        paths, lost = dict[str, None](), False
        for watch, flags, name in _events(data):
            lost = lost or bool(flags & Flag.IN_Q_OVERFLOW)
            if path := self._hint(watch, flags, name):
                paths[path] = None
        if lost:
            self._add(self._root)  # folders may have come unseen
        return list(paths), lost

    def _hint(self, watch: WatchDescriptor, flags: int, name: bytes) -> str:
        """Keep the watches right; return what the reader should look at, if anything."""
        folder = self._folders.get(watch)
        if folder is None:
            return ""
        if flags & Flag.IN_IGNORED:
            self._folders.pop(watch, None)
            return ""
        path = folder + os.sep + os.fsdecode(name)
        if flags & Flag.IN_MOVED_FROM:
            if flags & Flag.IN_ISDIR:
                self._forget(path)
            return ""
        if not flags & Flag.IN_ISDIR and self._wanted(path):
            return path
        if flags & _CAME and (flags & Flag.IN_ISDIR or self._leads_out(path)):
            self._add(path)
            return path
        return ""

    def _add(self, top: str) -> None:
        """Watch a folder and those below it; a folder is watched before it is listed, so that none slips through."""
        folders = [(top, top == self._root or self._leads_out(top))]
        while folders:
            folder, linked = folders.pop()
            only_real = 0 if linked else Flag.IN_DONT_FOLLOW
            watch = inotify_add_watch(self._descriptor, os.fsencode(folder), _WANTED | only_real)
            if watch >= 0 and not (linked and self._has_another_name(watch, folder)):
                self._folders[watch] = folder
                folders += reversed(self._below(folder))
            elif watch < 0 and (ctypes.get_errno() not in _GONE or folder == self._root):
                self._missing[folder] = ctypes.get_errno()

    def _has_another_name(self, watch: WatchDescriptor, folder: str) -> bool:
        """Return whether a watched folder still has the other name under which its events come."""
        name = self._folders.get(watch, folder)
        try:
            return name != folder and Path(name).samefile(folder)
        except OSError:
            return False

    def _below(self, folder: str) -> list[tuple[str, bool]]:
        """List a folder's folders, each with whether it is a link."""
        try:
            with os.scandir(folder) as entries:
                listed = [(entry.path, entry.is_symlink()) for entry in entries if entry.is_dir()]
        except OSError:
            return []
        return [(path, linked) for path, linked in listed if not linked or self._leads_out(path)]

    def _leads_out(self, path: str) -> bool:
        """Return whether a path is a link to a folder that is not below the root anyway."""
        link = Path(path)
        return link.is_symlink() and link.is_dir() and not link.resolve().is_relative_to(Path(self._root).resolve())

    def _forget(self, top: str) -> None:
        """End the watches of a folder that was moved away; it may come back under another name."""
        for watch, folder in list(self._folders.items()):
            if folder == top or folder.startswith(top + os.sep):
                del self._folders[watch]
                inotify_rm_watch(self._descriptor, watch)

    def stop(self) -> None:
        """End all watches; safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            self._folders.clear()


def _events(data: bytes) -> Iterator[tuple[WatchDescriptor, int, bytes]]:
    at = 0
    while at < len(data):
        watch, flags, _, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size + length
        yield watch, flags, data[at - length : at].rstrip(b"\0")


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
