from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.places import IN_PLACE

from claude_gauge.system.atomic_file import StateFile, replace

DAMAGED = [b"", b"[]", b"{}", b"7", b"null", b'"x"', b'{"at": "x"}', b'{"at": null}', b"\xff", b"[" * 100_000]
DAMAGED.append(b'{"at": 1' + b"0" * 400 + b"}")  # no float is that large


def parse(content: bytes) -> float:
    """Read one figure, as a reader of state does."""
    return float(json.loads(content)["at"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(disk=st.lists(st.sampled_from(["fine", "a file in its way", "a folder in its place"]), max_size=12))
def test_disk_error_is_reported_once_per_reason(
    disk: list[str], tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """Of writes that fail in a row for one reason the first is reported; what was written last is read."""
    folder = tmp_path_factory.mktemp("disk")
    caplog.clear()
    file, written = StateFile(folder / "state" / "x.json", "x is lost"), None
    for number, how in enumerate(disk):
        (folder / "state").rename(folder / "away") if (folder / "state").is_dir() else None
        if how == "a file in its way":
            (folder / "state").write_text("")
        elif how == "a folder in its place":
            (folder / "state" / "x.json").mkdir(parents=True)
        elif (folder / "away").is_dir():
            (folder / "away").rename(folder / "state")
        assert file.write(b'{"at": %d}' % number) == (how == "fine")
        if how == "fine":
            written = number
            assert file.read(parse) == written
        elif how == "a file in its way":
            (folder / "state").unlink()
        else:
            (folder / "state" / "x.json").rmdir()
            (folder / "state").rmdir()
    failures = [how for before, how in zip(["fine", *disk], disk, strict=False) if how not in {before, "fine"}]

    assert caplog.text.count("cannot write") == len(failures)
    assert caplog.text.count("x is lost") == len(failures)


@pytest.mark.parametrize("content", DAMAGED)
def test_damaged_content(content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Content of another shape, however odd, is reported with what is lost, and read as nothing."""
    (tmp_path / "x.json").write_bytes(content)

    assert StateFile(tmp_path / "x.json", "x is lost").read(parse) is None
    assert "x.json (it is damaged): x is lost" in caplog.text


def test_first_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that was never written is nothing, and no warning."""
    assert StateFile(tmp_path / "x.json", "x is lost").read(parse) is None
    assert caplog.text == ""


@pytest.mark.parametrize("place", IN_PLACE)
def test_no_file_in_its_place(place: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A pipe, a device, a folder, a link that leads nowhere and a file without measure are each a warning."""
    IN_PLACE[place](tmp_path / "x.json")

    assert StateFile(tmp_path / "x.json", "x is lost").read(parse) is None
    assert caplog.text.count("x is lost") == 1


@pytest.mark.parametrize("place", ["a pipe", "a link to a pipe", "a folder"])
def test_only_a_file_is_replaced(place: str, tmp_path: Path) -> None:
    """What is no file stays, as root too, and the error names the path, not what was written aside."""
    path = tmp_path / "x.json"
    IN_PLACE[place](path)
    before = path.stat()
    with pytest.raises(OSError, match=r"pipe or a device|Is a directory") as caught:
        replace(path, b"{}")

    assert os.path.samestat(before, path.stat())
    assert caught.value.filename == os.path.realpath(path)
    assert not list(tmp_path.glob(".*"))
