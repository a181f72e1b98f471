"""URLs from settings: taken apart without quoting what may be a password, and shown without what may be a token."""

from __future__ import annotations

from urllib.parse import SplitResult, unquote, urlsplit

SECRET = "********"  # noqa: S105 - what is shown in place of a secret


def split(url: str) -> SplitResult:
    """Take a URL apart; raises ValueError whose text holds nothing of it, since a part may be a password."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("should be a URL; its port is a number up to 65535, an IPv6 address stands in [ ]") from None
    if not can_be_a_host(parts.hostname or "") or any(each.isspace() for each in parts.netloc):
        raise ValueError("should be a URL; its host is a name or an address, and there is no blank in it")
    return parts


def web_url(url: str) -> SplitResult:
    """Take an http(s) URL apart; raises ValueError, whose text holds nothing of it, for any other."""
    parts = split(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("should be an http:// or https:// URL")
    return parts


def can_be_a_host(host: str) -> bool:
    """Return whether a host can be looked up at all: printable, no blank, no label that is empty or too long."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return all(each.isprintable() and not each.isspace() for each in host)


def has_password(parts: SplitResult) -> bool:
    """Return whether a URL holds a password, also one that was written into the user's name (`user%3Apassword@`)."""
    return parts.password is not None or ":" in unquote(parts.username or "")


def shown(url: str) -> str:
    """Return a URL as it may be shown: its query, its fragment and a web URL's user may each be a token."""
    parts = urlsplit(url)
    user, at, place = parts.netloc.rpartition("@")
    masked = parts._replace(
        netloc=f"{SECRET}{at}{place}" if user and parts.scheme in {"http", "https"} else parts.netloc,
        query=parts.query and SECRET,
        fragment=parts.fragment and SECRET,
    )
    return url if masked == parts else masked.geturl()
