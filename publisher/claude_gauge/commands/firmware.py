"""`claude-gauge firmware …`: the device at the end of a cable."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from claude_gauge.commands.flags import READER, Config, with_settings

firmware = typer.Typer(
    help="Put the firmware onto a board and look after it.", no_args_is_help=True, rich_markup_mode=None
)

Port = Annotated[
    str | None, typer.Option("--port", metavar="PORT", help="The board's serial port, else the only one there is.")
]
Host = Annotated[str | None, typer.Option("--host", metavar="NAME", help="The broker's name as the board reaches it.")]
Show = Annotated[
    str | None, typer.Option("--show", metavar="NODE", help="Node to show, or `all`; else this machine's.")
]
Wifi = Annotated[str | None, typer.Option("--wifi", metavar="NAME", help="Name of the Wi-Fi network.")]
WifiFile = Annotated[
    Path | None,
    typer.Option(
        "--wifi-password-file", metavar="FILE", help="Its password; else CLAUDE_GAUGE_WIFI_PASSWORD, else asked."
    ),
]
Device = Annotated[
    str | None,
    typer.Option("--device", metavar="NAME", help="The device's name, and its user at a broker that knows users."),
]
DeviceFile = Annotated[
    Path | None,
    typer.Option(
        "--device-password-file", metavar="FILE", help="That user's password; else CLAUDE_GAUGE_DEVICE_PASSWORD."
    ),
]
DEVICE = (*READER, "redline", "discovery", "state_dir")


@firmware.command()
@with_settings(*DEVICE)
def install(  # noqa: PLR0913 - each is a flag
    *,
    config: Config,
    port: Port = None,
    host: Host = None,
    show: Show = None,
    wifi: Wifi = None,
    wifi_password_file: WifiFile = None,
    device: Device = None,
    device_password_file: DeviceFile = None,
    sources: Annotated[bool, typer.Option("--sources", help="Copy the sources, not bytecode.")] = False,
) -> None:
    """Put the firmware and its settings onto a board; start it."""
    from claude_gauge.apps.device.install import install as install_firmware
    from claude_gauge.apps.device.install import wanted_settings
    from claude_gauge.apps.device.serial_board import SerialBoard

    told = wanted_settings(
        config.settings,
        host=host,
        node=show,
        wifi=_network(wifi, wifi_password_file),
        device=_user(device, device_password_file),
    )
    install_firmware(SerialBoard(port), config.settings, told, typer.echo, sources=sources)


@firmware.command("config")
@with_settings(*DEVICE)
def configure(  # noqa: PLR0913 - as above
    *,
    config: Config,
    port: Port = None,
    host: Host = None,
    show: Show = None,
    wifi: Wifi = None,
    wifi_password_file: WifiFile = None,
    device: Device = None,
    device_password_file: DeviceFile = None,
) -> None:
    """Write the settings alone; wiring and calibration stay."""
    from claude_gauge.apps.device.install import wanted_settings, write_config
    from claude_gauge.apps.device.serial_board import SerialBoard

    told = wanted_settings(
        config.settings,
        host=host,
        node=show,
        wifi=_network(wifi, wifi_password_file),
        device=_user(device, device_password_file),
    )
    write_config(SerialBoard(port), told, typer.echo)


@firmware.command()
@with_settings(*READER, "state_dir")
def update(
    *,
    config: Config,
    device: Annotated[
        str | None, typer.Option("--device", metavar="NAME", help="Which one, else the only one online.")
    ] = None,
    sources: Annotated[bool, typer.Option("--sources", help="Send the sources, not bytecode.")] = False,
) -> None:
    """Update a device over the air.

    One that is switched off updates itself when it is back.
    """
    from claude_gauge.apps.device.build import BYTECODE
    from claude_gauge.apps.device.build import firmware as built
    from claude_gauge.apps.device.install import device_key
    from claude_gauge.apps.device.update import Updating, messages, serial, version
    from claude_gauge.mqtt.retained import Retained

    with Retained(config.settings) as retained:
        updating = Updating(retained, device, typer.echo)
        files = built(None if sources else BYTECODE)
        key = device_key(config.settings.state_dir)
        told = messages(updating.device, key, files, version=version(), serial=serial())
        updating.publish(told)
        if not updating.present:
            typer.echo(f"device {updating.device} is away; the update waits for it on the broker")
            return
        updating.wait()
        updating.publish(dict.fromkeys(told, b""))  # nothing is left on the broker


@firmware.command()
@with_settings(*READER, "discovery")
def forget(device: Annotated[str, typer.Argument(help="The board's id.")], *, config: Config) -> None:
    """Take away what Home Assistant and the broker keep of a board."""
    from claude_gauge.apps.device.update import forget as take_away

    online = take_away(config.settings, device)
    typer.echo(f"forgot {device}")
    if online:
        typer.echo("it is on, and will announce itself again: switch it off first", err=True)


@firmware.command()
@with_settings("redline", "cache_floor")
def faces(*, config: Config) -> None:
    """Print the dial faces as an SVG sheet for A4 paper.

    True to scale, for your redline.
    """
    from claude_gauge.apps.device.faces import sheet

    typer.echo(sheet(config.settings.redline, config.settings.cache_floor), nl=False)


@firmware.command()
def logs(*, port: Port = None) -> None:
    """Show what the running firmware says, until Ctrl-C."""
    from claude_gauge.apps.device.serial_board import SerialBoard

    for line in SerialBoard(port).listen():
        typer.echo(line)


@firmware.command()
def selftest(*, port: Port = None) -> None:
    """Move every needle and light every lamp, one by one.

    Then it starts the firmware again.
    """
    from claude_gauge.apps.device.serial_board import SerialBoard

    cable = SerialBoard(port)
    for line in cable.follow("from gauge import selftest; selftest.run()"):
        typer.echo(line)
    cable.reset()


def _user(name: str | None, password_file: Path | None) -> tuple[str, str] | None:
    from claude_gauge.config import read_secret

    if name is None:
        return None
    if password_file is not None:
        return name, read_secret(password_file, "--device-password-file")
    return name, os.environ.get("CLAUDE_GAUGE_DEVICE_PASSWORD", "")


def _network(name: str | None, password_file: Path | None) -> dict[str, str] | None:
    from claude_gauge.config import read_secret

    if name is None:
        return None
    if password_file is not None:
        password = read_secret(password_file, "--wifi-password-file")
    else:
        password = os.environ.get("CLAUDE_GAUGE_WIFI_PASSWORD") or typer.prompt(
            f"Password of {name}", hide_input=True, default="", show_default=False
        )
    return {"ssid": name, "password": password}
