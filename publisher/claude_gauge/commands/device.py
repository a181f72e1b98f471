"""The commands of the device: `sim` runs its firmware on a virtual board, `firmware` looks after real ones."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from claude_gauge.commands.flags import READER, Config, path, with_settings
from claude_gauge.commands.output import log_to_stderr, say
from claude_gauge.errors import GaugeError

if TYPE_CHECKING:
    from claude_gauge.apps.device.update import Boards


@with_settings(*READER, "redline", "cache_floor", shows_all=True)
def sim(
    *,
    config: Config,
    micropython: Annotated[bool, typer.Option("--micropython", help="Run it in the real MicroPython.")] = False,
    trace: Annotated[
        Path | None,
        typer.Option("--trace", parser=path, metavar="FILE", help="Write every pulse with its time, as CSV."),
    ] = None,
    lines: Annotated[bool, typer.Option("--lines", help="Print changes as lines instead of drawing.")] = False,
    ascii_only: Annotated[bool, typer.Option("--ascii", help="Draw with ASCII characters alone.")] = False,
) -> None:
    """Run the device's firmware on virtual hardware; `q` quits."""
    from claude_gauge.apps.device.sim import interpreter, sim_lines, sim_picture
    from claude_gauge.apps.terminal.app import can_draw, look_of
    from claude_gauge.system.signals import ended_in_order

    log_to_stderr(config.settings.log_format, level="CRITICAL")  # a log line would tear the picture
    command = interpreter(micropython=micropython)
    with ended_in_order():
        if lines or not can_draw():
            sim_lines(config.settings, command, trace, say)
        else:
            sim_picture(config.settings, command, trace, look_of(config.settings, ascii_only=ascii_only))


firmware = typer.Typer(
    help="Put the firmware onto a board and look after it.", no_args_is_help=True, rich_markup_mode=None
)

Port = Annotated[
    str | None, typer.Option("--port", metavar="PORT", help="The board's serial port, else the only one there is.")
]
Sources = Annotated[bool, typer.Option("--sources", help="The sources, not bytecode.")]
Needle = Literal["fuel", "tach", "temperature", "boost"]
SETTINGS = (*READER, "redline", "discovery", "state_dir")


def _flags(  # noqa: PLR0913 - each is a flag
    *,
    host: Annotated[
        str | None, typer.Option("--host", metavar="NAME", help="The broker's name as the board reaches it.")
    ] = None,
    show: Annotated[
        str | None, typer.Option("--show", metavar="NODE", help="Node to show, or `all`; else this machine's.")
    ] = None,
    wifi: Annotated[str | None, typer.Option("--wifi", metavar="NAME", help="Name of the Wi-Fi network.")] = None,
    wifi_password_file: Annotated[
        Path | None,
        typer.Option(
            "--wifi-password-file",
            parser=path,
            metavar="FILE",
            help="Its password; else CLAUDE_GAUGE_WIFI_PASSWORD, else asked.",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option("--device", metavar="NAME", help="The device's name, and its user at a broker that knows users."),
    ] = None,
    device_password_file: Annotated[
        Path | None,
        typer.Option(
            "--device-password-file",
            parser=path,
            metavar="FILE",
            help="That user's password; else CLAUDE_GAUGE_DEVICE_PASSWORD.",
        ),
    ] = None,
    ntp: Annotated[
        str | None,
        typer.Option("--ntp", metavar="NAME", help="Time server, or `off`; the broker's host is asked as well."),
    ] = None,
) -> dict[str, Any]:
    """Return what the board's settings need: broker, network, user and time server."""
    from claude_gauge.config import read_secret

    network = user = None
    if wifi is not None:
        password = os.environ.get("CLAUDE_GAUGE_WIFI_PASSWORD")
        if wifi_password_file is not None:
            password = read_secret(wifi_password_file, "--wifi-password-file", may_be_empty=True)
        elif not password:
            password = typer.prompt(f"Password of {wifi}", hide_input=True, default="", show_default=False)
        network = {"ssid": wifi, "password": password}
    if device is not None:
        own = os.environ.get("CLAUDE_GAUGE_DEVICE_PASSWORD", "")
        user = (device, read_secret(device_password_file, "--device-password-file") if device_password_file else own)
    return {"host": host, "node": show, "wifi": network, "device": user, "ntp": ntp}


def _with_board_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command all flags of the board's settings; it gets what `_flags` makes of them as `flags`."""
    shared = list(inspect.signature(_flags, eval_str=True).parameters.values())

    @functools.wraps(command)
    def run(**given: Any) -> None:  # noqa: ANN401 - flags as typer parsed them
        from claude_gauge.apps.device.serial_board import SerialBoard

        SerialBoard(given.get("port"))  # raises before a password is asked for
        names = [parameter.name for parameter in shared]
        command(flags=_flags(**{name: given.pop(name) for name in names}), **given)

    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "flags"]
    run.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
    return run


@firmware.command()
@with_settings(*SETTINGS)
@_with_board_flags
def install(  # noqa: PLR0913 - each is a flag
    *,
    config: Config,
    flags: Mapping[str, Any],
    port: Port = None,
    sources: Sources = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Replace the board's own wiring settings by the defaults.")
    ] = False,
    label: Annotated[
        Path | None,
        typer.Option(
            "--label", parser=path, metavar="FILE", help="Write a label for the case, with the set-up password, as SVG."
        ),
    ] = None,
) -> None:
    """Put the firmware and its settings onto a board; start it."""
    from claude_gauge.apps.device.faces import write_label
    from claude_gauge.apps.device.install import install as install_firmware
    from claude_gauge.apps.device.install import wanted_settings
    from claude_gauge.apps.device.serial_board import SerialBoard

    wanted = wanted_settings(config.settings, **flags)
    own = install_firmware(SerialBoard(port), config.settings, wanted, say, sources=sources, fresh=fresh)
    if label:
        write_label(label, own.name, own.password)
        say(f"label for the case: {label}")
    say(f"where the board finds no network it opens its own: {own.name}, password {own.password}")


@firmware.command("config")
@with_settings(*SETTINGS)
@_with_board_flags
def configure(
    *,
    config: Config,
    flags: Mapping[str, Any],
    port: Port = None,
    edit: Annotated[bool, typer.Option("--edit", help="Open the board's config.json in your editor instead.")] = False,
    add_wifi: Annotated[
        bool, typer.Option("--add-wifi", help="Keep the board's networks; add the one of --wifi.")
    ] = False,
) -> None:
    """Write the settings alone; wiring and calibration stay."""
    from claude_gauge.apps.device.install import edit_config, in_editor, wanted_settings, write_config
    from claude_gauge.apps.device.serial_board import SerialBoard

    if edit:
        edit_config(SerialBoard(port), config.settings, in_editor, say)
        return
    wanted = wanted_settings(config.settings, **flags)
    write_config(SerialBoard(port), config.settings, wanted, say, add_wifi=add_wifi)


@firmware.command()
def flash(
    image: Annotated[Path, typer.Argument(help="MicroPython's image for the chip, a .bin file.", readable=False)],
    port: Port = None,
) -> None:
    """Put MicroPython onto a board; `install` comes after."""
    from claude_gauge.apps.device.serial_board import flash as flash_board
    from claude_gauge.apps.device.serial_board import only_port

    flash_board(port or only_port(), image, say)


@firmware.command()
@with_settings(*READER, "state_dir")
def update(
    *,
    config: Config,
    device: Annotated[
        str | None,
        typer.Option("--device", metavar="NAME", help="The board's name; not needed when one alone is online."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All boards that the broker knows, one after the other.")
    ] = False,
    offer: Annotated[
        bool, typer.Option("--offer", help="Only offer it: Home Assistant's update button installs it.")
    ] = False,
    sources: Sources = False,
) -> None:
    """Update boards over the air.

    One that is switched off updates itself when it is back.
    """
    from claude_gauge.apps.device.install import master_key
    from claude_gauge.apps.device.update import Boards
    from claude_gauge.mqtt.retained import Retained

    master = master_key(config.settings.state_dir)
    with Retained(config.settings) as retained:
        boards = Boards(retained, say, names=every)
        boards.look(device)
        if every:
            _update_all(boards, master, sources=sources, offer=offer)
        else:
            boards.update(boards.choose(device), master, sources=sources, offer=offer)


def _update_all(boards: Boards, master: str, *, sources: bool, offer: bool) -> None:
    """Update one board after the other; raises GaugeError at the end where some were not updated."""
    chosen, failed = sorted(boards.by_name.values(), key=lambda board: board.name), 0
    if not chosen:
        if boards.unreadable.what:
            raise GaugeError(str(boards.unreadable))
        raise GaugeError("the broker shows this user no board; is one installed, and connected to this broker?")
    for board in chosen:
        try:
            boards.update(board, master, sources=sources, offer=offer)
        except GaugeError as error:
            failed += 1
            say(str(error), err=True)
    if failed:
        raise GaugeError(f"{failed} of {len(chosen)} boards were not updated; the reasons stand above")


@firmware.command("list")
@with_settings(*READER)
def list_boards(*, config: Config) -> None:
    """List the boards that the broker knows, with their state."""
    from claude_gauge.apps.device.update import Boards
    from claude_gauge.mqtt.retained import Retained

    with Retained(config.settings) as retained:
        boards = Boards(retained, say)
        boards.look()
        for _, board in sorted(boards.by_name.items()):
            say(board.line())
        if boards.unreadable.what:
            raise GaugeError(str(boards.unreadable))
        if not boards.by_name:
            say("the broker shows this user no board; is one installed, and connected to this broker?", err=True)


@firmware.command()
@with_settings(*READER, "discovery")
def forget(device: Annotated[str, typer.Argument(help="The board's id.")], *, config: Config) -> None:
    """Remove a board's device and its retained topics."""
    from claude_gauge.apps.device.update import forget as take_away

    online = take_away(config.settings, device)
    say(f"forgot {device}")
    if online:
        say("the board is on and announces itself again: switch it off, then run this again", err=True)


@firmware.command()
@with_settings("broker_ca", "redline")
def calibrate(
    *,
    config: Config,
    needle: Annotated[Needle, typer.Argument(help="Which needle.")],
    port: Port = None,
) -> None:
    """Measure one needle against its printed face.

    It goes to five places and you type what it shows; then zero, span and points are written.
    """
    from claude_gauge.apps.device.install import calibrate as calibrate_needle
    from claude_gauge.apps.device.serial_board import SerialBoard

    calibrate_needle(SerialBoard(port), config.settings, needle, lambda question: str(typer.prompt(question)), say)


@firmware.command()
@with_settings("redline", "cache_floor")
def faces(*, config: Config) -> None:
    """Print the dial faces as an SVG sheet for A4 paper.

    True to scale, for your redline.
    """
    from claude_gauge.apps.device.faces import sheet

    say(sheet(config.settings.redline, config.settings.cache_floor), keep="\n", nl=False)


@firmware.command()
def logs(*, port: Port = None) -> None:
    """Show what the running firmware says, until Ctrl-C."""
    from claude_gauge.apps.device.serial_board import SerialBoard

    board = SerialBoard(port)
    say(f"listening at {board.port}, until Ctrl-C; a board that has nothing to say says nothing", err=True)
    for line in board.listen():
        say(line)


@firmware.command()
def selftest(*, port: Port = None) -> None:
    """Move every needle and light every lamp, one by one.

    Then it starts the firmware again.
    """
    from claude_gauge.apps.device.serial_board import SerialBoard

    cable = SerialBoard(port)
    for line in cable.follow("from gauge import selftest; selftest.run()"):
        say(line)
    cable.reset()
