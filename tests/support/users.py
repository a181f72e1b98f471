"""A Mosquitto with users and our ACL: each may do what its role may."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.support.mosquitto import Mosquitto
from tests.support.publisher import environment
from tests.support.transcripts import ClaudeHome

from claude_gauge.apps.broker.folder import password_line
from claude_gauge.apps.broker.roles import User, acl

PASSWORD = "correct horse"


def closed(folder: Path, users: Sequence[User], *, rules: str | None = None) -> Mosquitto:
    """Make a broker, not started yet, that these users enter with PASSWORD; `rules` stand in for our ACL."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "acl").write_text(acl(users, "homeassistant") if rules is None else rules)
    (folder / "passwords").write_text("".join(password_line(user.name, PASSWORD) + "\n" for user in users))
    lines = [f"acl_file {folder / 'acl'}", f"password_file {folder / 'passwords'}"]
    return Mosquitto(folder / "broker", *lines, anonymous=False)


def signing_in(broker: Mosquitto, node: str, claude: ClaudeHome, folder: Path) -> dict[str, str]:
    """Return the environment of a node's publisher, which signs in at the broker under the node's name."""
    return environment(
        claude,
        folder,
        CLAUDE_GAUGE_BROKER=broker.url.replace("//", f"//{node}@"),
        CLAUDE_GAUGE_BROKER_PASSWORD=PASSWORD,
        CLAUDE_GAUGE_NODE=node,
        CLAUDE_GAUGE_HTTP="off",
    )
