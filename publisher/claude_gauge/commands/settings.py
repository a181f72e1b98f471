"""The commands of the gauge's own settings and of what others read of it.

`config` shows the settings, `calibrate` proposes a ceiling and a redline; `schema` prints the payload's form,
`discovery` shows and removes Home Assistant's device.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from claude_gauge.commands.flags import EVERY, READER, Config, with_settings
from claude_gauge.commands.output import log_to_stderr, say
from claude_gauge.config import Settings
from claude_gauge.contract.usage import FLEET_NODE, ORDERS
from claude_gauge.errors import GaugeError
from claude_gauge.system import atomic_file
from claude_gauge.system.plain_text import counted

if TYPE_CHECKING:
    from claude_gauge.apps.calibrate.propose import Proposal

DAY_S = 86400.0


@with_settings(*EVERY)
def config(*, config: Config) -> None:
    """Show each setting, its value and where it came from.

    Secrets are masked.
    """
    set_elsewhere = _set_in_home_assistant(config)
    for name, setting, whence in config.rows():
        value, origin = setting, whence
        if name in set_elsewhere:
            value, origin = str(set_elsewhere[name]), f"Home Assistant, in place of {setting} ({whence})"
        say(f"{name:22} {value:36} {origin}")
    if config.path is not None:
        say()
        say(f"settings file: {config.path}{'' if config.path.exists() else ' (not there)'}")


@with_settings("state_dir", "tach")
def calibrate(
    *,
    days: Annotated[int, typer.Option(min=1, max=3650, metavar="NUMBER", help="How far back to look.")] = 30,
    write: Annotated[bool, typer.Option("--write", help="Put the values into the settings file.")] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Forget the stored plan figures, propose nothing.")] = False,
    config: Config,
) -> None:
    """Propose a ceiling and a redline that fit you.

    Computed from your history and the plan percentages seen; prints the reasons.
    """
    if forget:
        _forget(config.settings.state_dir.expanduser())
        return
    values = {each.setting: each.value for each in _proposed(config, days) if each.value is not None}
    if config.path is None or not values:
        say("Nothing to write.")
    elif not write:
        say(f"Nothing written. `claude-gauge calibrate --write` writes this to {config.path}")
    else:
        _write(config.path, values)
        _note_what_overrides(config, values)


def _proposed(config: Config, days: int) -> list[Proposal]:
    """Compute the proposals and print them with their reasons."""
    import time

    from claude_gauge.apps.calibrate import propose
    from claude_gauge.claude_code.folders import transcript_roots
    from claude_gauge.counting.sums import FIVE_HOURS_S
    from claude_gauge.sources.statusline.source import Plan

    now, set_elsewhere = time.time(), _set_in_home_assistant(config)
    since = now - days * DAY_S
    used, blocks = propose.read(transcript_roots(), since)
    plan = Plan(config.settings)
    plan.load()  # figures that the statusline reported while no publisher ran count, too
    windows = [each for each in plan.windows() if each.resets_at - FIVE_HOURS_S >= since]
    responses = counted(len(used.responses), "response")
    say(f"5-hour blocks in the last {days} days: {len(blocks)}, with {responses}.")
    say()
    proposals = [propose.ceiling(used, blocks, windows, now), propose.redline(used, config.settings.tach)]
    for proposal in proposals:
        name = proposal.setting
        origin = "set in Home Assistant" if name in set_elsewhere else config.origins.get(name, "default")
        present = f"now {set_elsewhere.get(name, getattr(config.settings, name)):,.0f}, {origin}"
        say(f"{name} = {'?' if proposal.value is None else proposal.value}   ({present})")
        for reason in proposal.reasons:
            say(f"    {reason}")
        say()
    return proposals


def _set_in_home_assistant(config: Config) -> dict[str, float]:
    """Return the settings in whose place something else holds, and what."""
    from claude_gauge.outlets.homeassistant.numbers import held

    holding = {name: getattr(held(config.settings), name) for name in ORDERS.values()}
    return {name: value for name, value in holding.items() if value != getattr(config.settings, name)}


def _note_what_overrides(config: Config, values: Mapping[str, int]) -> None:
    """Print which of the values that were written do not hold, or not by themselves."""
    for name in [name for name in values if config.origins.get(name) == "environment"]:
        say(f"Note: CLAUDE_GAUGE_{name.upper()} in the environment still overrides the file.", err=True)
    for name in [name for name in _set_in_home_assistant(config) if getattr(config.settings, name) == values.get(name)]:
        say(f"Note: {name} was {values[name]} already, so what Home Assistant set still holds.", err=True)


def _forget(state_dir: Path) -> None:
    from claude_gauge.sources.statusline.source import forget

    try:
        removed = forget(state_dir)
    except OSError as error:
        raise GaugeError(f"cannot remove {error.filename}: {error.strerror}; remove it by hand") from None
    files = counted(len(removed), "file")
    say(f"Forgot what {files} in {state_dir} said; the next statusline reports the figures again.")


def _write(path: Path, values: dict[str, int]) -> None:
    from claude_gauge.apps.calibrate.propose import set_values

    try:
        old = path.read_bytes().decode() if path.exists() else ""
        text = set_values(old.removeprefix("\ufeff").replace("\r\n", "\n"), values)
        kept = "\ufeff" * old.startswith("\ufeff") + (text.replace("\n", "\r\n") if "\r\n" in old else text)
        atomic_file.replace(path, kept.encode(), mode=0o644)
    except (OSError, ValueError) as error:
        lines = "; ".join(f"{name} = {value}" for name, value in values.items())
        raise GaugeError(f"cannot write {path}: {error}; put in by hand: {lines}") from None
    say(f"Written to {path}. Restart the publisher: it reads its settings at its start.")


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
