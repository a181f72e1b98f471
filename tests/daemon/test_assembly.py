from __future__ import annotations

import socket
from pathlib import Path

import pytest
from tests.support.mosquitto import Listener, Mosquitto

from claude_gauge.config import Settings
from claude_gauge.daemon.assembly import Assembly
from claude_gauge.errors import GaugeError


def _settings(folder: Path, broker: Mosquitto, http: str) -> Settings:
    return Settings(broker=broker.url, node="assembled", http=http, state_dir=folder / "state", source="transcripts")


def test_constructor_touches_nothing(tmp_path: Path, broker: Mosquitto, claude_folder: Path) -> None:
    """Building a publisher binds no port, connects nowhere and writes no file; two can be built for one port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = _settings(tmp_path, broker, f"127.0.0.1:{taken.getsockname()[1]}")
        for assembly in (Assembly(settings), Assembly(settings)):
            assembly.link.stop()

    assert claude_folder.is_dir()
    assert not (tmp_path / "state").exists()


def test_outlet_that_cannot_start_leaves_none_started(tmp_path: Path, broker: Mosquitto, claude_folder: Path) -> None:
    """A port that can't be had is one error, and nobody learns of this node."""
    assert claude_folder.is_dir()
    with socket.create_server(("127.0.0.1", 0)) as taken, Listener(broker.port, "claude-gauge/#") as listener:
        assembly = Assembly(_settings(tmp_path, broker, f"127.0.0.1:{taken.getsockname()[1]}"))
        with pytest.raises(GaugeError, match="cannot listen"):
            assembly.run()

        assert [received.topic for received in listener.messages if "assembled" in received.topic] == []
        assert not assembly.link.connected
        assembly.link.stop()


@pytest.fixture
def claude_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty Claude Code folder of the test's own."""
    folder = tmp_path / "claude"
    (folder / "projects").mkdir(parents=True)
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(folder))
    return folder
