"""What in Mosquitto's other files keeps the broker down, opens it or disturbs its clients beside our file.

Mosquitto reads its files as one: `mosquitto.conf`, and where that says `include_dir`, the folder's `*.conf` by name. So

* what may stand once only (a password file, a listener's port) ends the start where it stands twice;
* what belongs to a listener counts for the last one above it, which may be the last one of the file read before.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

LINKED = "claude-gauge.conf"  # our file's name in conf.d
YES, NO = frozenset({"true", "1"}), frozenset({"false", "0"})
ONCE = frozenset({"password_file", "acl_file", "psk_file"})
EVERYWHERE = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - what a file may say
OF_A_LISTENER = frozenset({
    "bind_interface", "cafile", "capath", "certfile", "ciphers", "ciphers_tls1.3", "crlfile", "dhparamfile", "http_dir",
    "keyfile", "max_connections", "max_qos", "max_topic_alias", "mount_point", "protocol", "psk_hint",
    "require_certificate", "socket_domain", "tls_engine", "tls_version", "use_identity_as_username",
    "use_subject_as_username",
})  # fmt: skip
LARGEST = 20_000  # bytes of a message of ours: Home Assistant's discovery
# Directive -> the values at which it disturbs (None: any), and how.
DISTURBS = {
    "allow_anonymous": (YES, "lets everybody in"),
    "auth_plugin": (None, "decides beside our passwords who gets in"),
    "clientid_prefixes": (None, "turns away clients whose id begins otherwise, ours among them"),
    "global_plugin": (None, "decides beside our passwords who gets in"),
    "listener_allow_anonymous": (YES, "lets everybody in"),
    "per_listener_settings": (YES, "then our passwords hold for one listener alone"),
    "plugin": (None, "decides beside our passwords who gets in"),
    "retain_available": (NO, "then who connects sees nothing before the next change"),
    "use_username_as_clientid": (YES, "then two programs with one user throw each other out"),
}


@dataclass(frozen=True, slots=True)
class _Directive:
    path: Path
    text: str
    unread: bool = False  # stands for a whole file, and the text says why

    @property
    def words(self) -> list[str]:
        """Its directive and values, without a remark."""
        return list(itertools.takewhile(lambda word: not word.startswith("#"), self.text.split()))


def collisions(folder: Path, ours: Path, owner: str | None = None) -> list[str]:
    """List the lines of Mosquitto's other files that can't stand beside ours: `  FILE: LINE (why)`.

    `owner` is the user that the broker must run as, where it is known.
    """
    listener, lines = False, []  # whether the listener above is ours
    own = [_Directive(ours, text) for text in ours.read_text("utf-8").splitlines()]
    for line in _read_as_one(folder, ours):
        if line.path == ours:
            listener = True
            continue
        why = "look into it yourself" if line.unread else _why(line.words, own, owner, below_ours=listener)
        if why:
            lines.append(f"  {line.path}: {line.text.strip()} ({why})")
        listener = listener and line.words[:1] != ["listener"]
    return lines


def _read_as_one(folder: Path, ours: Path) -> Iterator[_Directive]:
    """Yield the lines in the order in which Mosquitto reads them; of ours the path alone."""
    last = _included(folder / "conf.d", ours)
    for line in _lines(folder / "mosquitto.conf", ours):
        if line.words[:1] == ["include_dir"] and len(line.words) > 1:
            named = Path(line.text.split(maxsplit=1)[1].strip())
            if _same(named, folder / "conf.d"):
                yield from last
                last = iter(())
            else:
                yield from _included(named, None)
        else:
            yield line
    yield from last


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)  # Path.resolve raises where links lead in a circle


def _included(folder: Path, ours: Path | None) -> Iterator[_Directive]:
    paths = [path for path in folder.glob("*.conf") if ours is None or not _same(path, ours)]
    if ours is not None:
        paths.append(folder / LINKED)
    for path in sorted(paths, key=lambda path: (path.name.upper(), path.name)):
        yield from [_Directive(ours, "")] if ours and path == folder / LINKED else _lines(path, ours)


def _lines(path: Path, ours: Path | None) -> Iterable[_Directive]:
    if ours is not None and _same(path, ours):
        return [_Directive(ours, "")]
    try:
        return [_Directive(path, text) for text in path.read_text("utf-8", "replace").splitlines()]
    except FileNotFoundError:
        return []
    except OSError as error:
        return [_Directive(path, f"{error.strerror}", unread=True)]


def _why(words: list[str], own: Iterable[_Directive], owner: str | None, *, below_ours: bool) -> str:
    """Return why a line can't stand beside ours, "" where it can."""
    name, value, place = [*words, "", "", ""][:3]
    if name in {"listener", "port"}:
        ours = [[*each.words, ""][2] for each in own if each.words[:2] == ["listener", value]]
        meet = any(place in EVERYWHERE or other in EVERYWHERE or place == other for other in ours)
        return "ours has this port, too: the broker would not start" if meet else ""
    if name in ONCE and any(each.words[:1] == [name] for each in own):
        return "ours has it, too: the broker would not start"
    if name == "user":
        return f"the broker must run as {owner}" if owner not in {None, value} else ""
    if name in {"max_packet_size", "message_size_limit"}:
        return f"messages have up to {LARGEST:,} bytes" if value.isdecimal() and 0 < int(value) < LARGEST else ""
    values, why = DISTURBS.get(name, (frozenset(), ""))
    if values is None or value.lower() in values:
        return why
    return "belongs to the listener above it, which is ours" if below_ours and name in OF_A_LISTENER else ""
