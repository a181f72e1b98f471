from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from claude_gauge.apps.broker import instructions
from claude_gauge.config import Settings
from claude_gauge.errors import GaugeError


def test_in_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside compose.yaml the folder is the one that it mounts; root takes nothing from the current folder."""
    (tmp_path / "broker/own").mkdir(parents=True)
    (tmp_path / "broker/mosquitto.conf").touch()
    (tmp_path / "broker/own/house.json").touch()
    (tmp_path / "compose.yaml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(instructions, "DEBIAN", tmp_path / "none" / "claude-gauge")
    settings = Settings(state_dir=tmp_path / "state")

    if os.geteuid() == 0:
        assert instructions.new(settings) == tmp_path / "state/broker/own"
        with pytest.raises(GaugeError, match="no broker in"):
            instructions.present(None, settings)
    else:
        assert instructions.new(settings) == Path("broker/own")
        assert instructions.present(None, settings).folder == tmp_path / "broker/own"


def test_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere it is Debian's folder for root, else in the state folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(instructions, "DEBIAN", tmp_path / "mosquitto" / "claude-gauge")
    without = instructions.new(Settings(state_dir=tmp_path / "state"))
    (tmp_path / "mosquitto").mkdir()
    with_mosquitto = instructions.new(Settings(state_dir=tmp_path / "state"))

    assert without == tmp_path / "state/broker/own"
    assert with_mosquitto == (instructions.DEBIAN if os.geteuid() == 0 else without)


def test_present(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands find the folder where `init` put it, and say how to make one where it is not."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(instructions, "DEBIAN", tmp_path / "none")
    settings = Settings(state_dir=tmp_path / "state")
    with pytest.raises(GaugeError, match="broker init"):
        instructions.present(None, settings)
    folder = tmp_path / "state/broker/own"
    folder.mkdir(parents=True)
    (folder / "house.json").touch()

    assert instructions.present(None, settings).folder == folder


def test_hosts() -> None:
    """This machine is known by several names, each once."""
    hosts = instructions.hosts()

    assert {"localhost", "127.0.0.1", "broker"} <= {*hosts}
    assert len({*hosts}) == len(hosts)
    assert all(host == host.lower() for host in hosts)


def test_folder_that_the_broker_cannot_reach() -> None:
    """The folder that keeps the broker's user out is named, as /root would; where the way is open there is none."""
    with tempfile.TemporaryDirectory() as top:
        Path(top).chmod(0o755)
        shut = Path(top) / "shut"
        shut.mkdir(mode=0o700)
        assert instructions.closed_to(54321, 54321, shut / "broker") == shut
        assert instructions.closed_to(os.geteuid(), os.getegid(), shut / "broker") is None
        shut.chmod(0o711)

        assert instructions.closed_to(54321, 54321, shut / "broker") is None
