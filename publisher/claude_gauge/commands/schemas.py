"""The commands that print what others read of us: `schema` (the payload) and `discovery` (Home Assistant's device)."""

from __future__ import annotations

from typing import Annotated

import typer

from claude_gauge.commands.flags import READER, Config, with_settings
from claude_gauge.commands.output import log_to_stderr, say
from claude_gauge.config import Settings
from claude_gauge.contract.usage import FLEET_NODE
from claude_gauge.errors import GaugeError


def schema() -> None:
    """Print the JSON schema of the payload."""
    import json

    from claude_gauge.contract import usage

    say(json.dumps(usage.schema(), indent=2), keep="\n")


discovery = typer.Typer(no_args_is_help=True, help="Show or remove a node's device in Home Assistant.")
Fleet = Annotated[
    bool, typer.Option("--fleet", help="The device of the fleet (all nodes merged) instead of one node's.")
]


@discovery.command()
@with_settings("node", "discovery")
def show(*, fleet: Fleet = False, config: Config) -> None:
    """Print the discovery topic (stderr) and payload (stdout)."""
    import json

    from claude_gauge.outlets.homeassistant.announcer import page_url
    from claude_gauge.outlets.homeassistant.discovery import discovery as payload
    from claude_gauge.outlets.homeassistant.discovery import discovery_topic
    from claude_gauge.outlets.homeassistant.numbers import offer

    settings, node = config.settings, _node(config.settings, fleet=fleet)
    say(discovery_topic(settings.discovery, node), err=True)
    shown = payload(node) if fleet else payload(node, page=page_url(settings.http), numbers=offer(settings))
    say(json.dumps(json.loads(shown), indent=2), keep="\n")


@discovery.command()
@with_settings(*READER, "discovery")
def remove(*, fleet: Fleet = False, config: Config) -> None:
    """Remove a node's device and its retained topics."""
    from claude_gauge.outlets.homeassistant.announcer import remove as take_away

    log_to_stderr(config.settings.log_format, level="CRITICAL")
    node = _node(config.settings, fleet=fleet)
    removal = take_away(config.settings, node)
    if removal.unreadable.what and not (removal.seen or removal.online):
        say(f"cleared what the broker may have had of {node}")
        say(str(removal.unreadable), err=True)
    elif not removal.seen:
        say(f"nothing to remove: the broker shows this user nothing of {node}")
    elif removal.online:
        say(f"removed {node} from Home Assistant")
        say('its publisher runs and announces it again; set discovery = "off" there', err=True)
    else:
        say(f"removed {node} from Home Assistant and from the broker")


def _node(settings: Settings, *, fleet: bool) -> str:
    if settings.discovery == "off":
        raise GaugeError('discovery is "off"; name its prefix with --discovery homeassistant')
    return FLEET_NODE if fleet else settings.node
