"""`claude-gauge broker`: makes a closed broker, manages its users, checks it from outside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from claude_gauge.apps.broker.roles import Role
from claude_gauge.commands.flags import Config, path, with_settings
from claude_gauge.commands.output import say
from claude_gauge.errors import GaugeError

broker = typer.Typer(no_args_is_help=True, help="Make a broker with a user for each client, and check it.")

Folder = Annotated[
    Path | None,
    typer.Option(parser=path, metavar="FOLDER", help="The broker's folder [default: where `init` puts it]."),
]
Hosts = Annotated[
    list[str] | None, typer.Option("--host", metavar="NAME", help="Name or address of this machine; may be repeated.")
]
Name = Annotated[str, typer.Argument(help="The user's name.")]


@broker.command()
@with_settings("node", "discovery", "state_dir")
def init(
    *,
    folder: Folder = None,
    host: Hosts = None,
    owner: Annotated[
        str | None,
        typer.Option(
            metavar="USER", help="User that the broker runs as, name or uid:gid [default: mosquitto, for root]."
        ),
    ] = None,
    config: Config,
) -> None:
    """Make passwords, certificates and the configuration.

    Prints the settings that each client needs.
    """
    from claude_gauge.apps.broker import instructions
    from claude_gauge.apps.broker.certificates import ascii_host
    from claude_gauge.apps.broker.folder import Register, today
    from claude_gauge.apps.broker.instructions import client_setup, next_steps
    from claude_gauge.apps.broker.roles import first_users

    settings = config.settings
    broker_folder = instructions.at(folder or instructions.new(settings))
    hosts = [ascii_host(each) for each in host or instructions.hosts()]
    prefix = "homeassistant" if settings.discovery == "off" else settings.discovery
    register = Register(hosts=hosts, discovery=prefix, owner=owner or instructions.owner())
    broker_folder.make(register, today(), first_users(settings.node))
    register = broker_folder.register()
    say(f"Made {broker_folder.folder}; the broker's certificate is for {', '.join(hosts)}.")
    say()
    for user in register.users.values():
        for line in client_setup(broker_folder, register, user):
            say(line)
    say()
    for line in next_steps(broker_folder):
        say(line)


@broker.command()
@with_settings("state_dir", "discovery")
def add(  # noqa: PLR0913 - a command's options
    name: Name,
    *,
    role: Annotated[Role, typer.Option(help="What the user is.", metavar=f"[{'|'.join(Role)}]")],
    only: Annotated[
        str | None, typer.Option("--for", metavar="NODE", help="Node that a publisher writes [default: its name].")
    ] = None,
    announces: Annotated[bool, typer.Option("--announces", help="A device may announce itself.")] = False,
    folder: Folder = None,
    config: Config,
) -> None:
    """Add a user, or give one a new role and password."""
    from pydantic import ValidationError

    from claude_gauge.apps.broker import instructions
    from claude_gauge.apps.broker.instructions import RELOAD, client_setup
    from claude_gauge.apps.broker.roles import User

    broker_folder = instructions.present(folder, config.settings)
    try:
        user = User(name=name, role=role, node=only, announces=announces)
    except ValidationError as error:
        reasons = [
            each["msg"].removeprefix("Value error, ") for each in error.errors() if each["type"] == "value_error"
        ]
        raise GaugeError("".join(reasons[:1]) or "a name has letters, digits, _ and - only, 40 at most") from None
    broker_folder.add(user)
    for line in [*client_setup(broker_folder, broker_folder.register(), user), RELOAD]:
        say(line)


@broker.command()
@with_settings("state_dir")
def revoke(name: Name, *, folder: Folder = None, config: Config) -> None:
    """Remove a user.

    The broker disconnects it at its next reload.
    """
    from claude_gauge.apps.broker import instructions
    from claude_gauge.apps.broker.instructions import RELOAD

    user = instructions.present(folder, config.settings).revoke(name)
    say(f"{user.name} ({user.role}) is revoked. {RELOAD}")
    if user.own:
        kept = "firmware forget" if user.role is Role.DEVICE else "discovery remove"
        say(f"What it left below {user.own} stays: to remove that, add it again and run `{kept}` as this user first.")


@broker.command()
@with_settings("state_dir")
def users(*, folder: Folder = None, config: Config) -> None:
    """List the users and what each may do."""
    from claude_gauge.apps.broker import instructions
    from claude_gauge.apps.broker.instructions import ANNOUNCES
    from claude_gauge.apps.broker.roles import MEANING

    for user in instructions.present(folder, config.settings).register().users.values():
        own = f" ({user.own})" if user.own else ""
        announces = ANNOUNCES if user.announces else ""
        say(f"{user.name:20} {user.role:14} {MEANING[user.role]}{announces}{own}")


@broker.command()
@with_settings("state_dir")
def certificate(*, folder: Folder = None, host: Hosts = None, config: Config) -> None:
    """Make a new certificate for the broker, signed by the same CA.

    For the same hosts, or for those that --host names.
    """
    from claude_gauge.apps.broker import instructions
    from claude_gauge.apps.broker.certificates import ascii_host
    from claude_gauge.apps.broker.folder import today

    broker_folder = instructions.present(folder, config.settings)
    hosts = [ascii_host(each) for each in host or broker_folder.register().hosts]
    broker_folder.certify(hosts, today())
    say(f"New certificate for {', '.join(hosts)}. Restart the broker: it reads certificates at its start.")


@broker.command()
@with_settings("state_dir")
def check(
    *,
    folder: Folder = None,
    host: Annotated[str, typer.Option(metavar="NAME", help="Where to find the broker.")] = "localhost",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: Config,
) -> None:
    """Check from outside that the broker refuses what it must.

    Every user tries to read and write everything; only what is delivered counts.
    """
    import json

    from claude_gauge.apps.broker import instructions
    from claude_gauge.apps.broker.certificates import ascii_host
    from claude_gauge.apps.broker.check import Inspection
    from claude_gauge.apps.broker.folder import today

    findings = []
    place = host if "%" in host else ascii_host(host)  # fe80::1%eth0 can be reached, but stands in no certificate
    for finding in Inspection(instructions.present(folder, config.settings), place).run(today()):
        findings.append(finding)
        if not as_json:
            say(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.text}")
    if as_json:
        say(json.dumps([{"ok": finding.ok, "text": finding.text} for finding in findings], indent=2), keep="\n")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)
