"""The file events of one root, without a reader: each kind of them has to report the same."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.net import wait_until

from claude_gauge.system.file_events import Events, Hint, Hints, Observed, Wanted, Watch
from claude_gauge.system.inotify import Inotify

Kind = Callable[[str, Hint, Wanted], Events]


def _transcript(path: str) -> bool:
    return path.endswith(".jsonl")


def _inotify(root: str, _hint: Hint, wanted: Wanted) -> Events:
    return Inotify(root, wanted)


@contextlib.contextmanager
def _watching(root: Path, kind: Kind) -> Iterator[Hints]:
    hints = Hints()
    watch = Watch(hints, _transcript, kind)
    watch.tend([root])
    try:
        yield hints
    finally:
        watch.renew()
        hints.close()


def _reported(hints: Hints, path: Path, never: str = "nothing") -> None:
    """Wait until a path is hinted at, and none with this end."""
    seen: set[str] = set()

    def there() -> bool:
        seen.update(hints.take(0.01)[0])
        return str(path) in seen

    wait_until(there, f"a hint at {path}, not only {seen}")
    assert not [each for each in seen if each.endswith(never)]


@pytest.mark.filterwarnings("ignore:Callback with id:RuntimeWarning")  # watchdog's, of folders that just appear
@pytest.mark.parametrize("kind", [_inotify, Observed])
def test_what_is_reported(kind: Kind, tmp_path: Path) -> None:
    """Lines, new files, new folders and moved-in folders are reported, by the name of a root that is a link."""
    (tmp_path / "real" / "-p").mkdir(parents=True)
    (tmp_path / "outside" / "deep").mkdir(parents=True)
    root = tmp_path / "link"
    root.symlink_to(tmp_path / "real")
    with _watching(root, kind) as hints:
        (root / "-p" / "s.jsonl").write_text("1\n")
        _reported(hints, root / "-p" / "s.jsonl")
        (root / "-new").mkdir()
        _reported(hints, root / "-new")
        (root / "-new" / "s.jsonl").write_text("1\n")
        _reported(hints, root / "-new" / "s.jsonl")
        (tmp_path / "outside").rename(root / "-moved")
        _reported(hints, root / "-moved")
        (root / "-moved" / "deep" / "s.jsonl").write_text("1\n")
        _reported(hints, root / "-moved" / "deep" / "s.jsonl")
        (root / "-p" / "s.jsonl").rename(root / "-p" / "t.jsonl")
        _reported(hints, root / "-p" / "t.jsonl")


@pytest.mark.parametrize("kind", [_inotify, Observed])
def test_files_of_a_folder_made_again(kind: Kind, tmp_path: Path) -> None:
    """A wanted file that comes, grows or goes is reported, also in a folder that was made again; no other one is."""
    folder, hints = tmp_path / "plan", Hints(breath_s=0)
    watch = Watch(hints, lambda path: not path.endswith(".tmp"), kind)
    watch.tend([folder])  # nothing there yet: silent
    for _ in range(2):
        folder.mkdir()
        (folder / "grows").touch()
        (folder / "goes").touch()
        watch.tend([folder])
        (folder / ".comes.tmp").write_text("")
        (folder / ".comes.tmp").rename(folder / "comes")
        _reported(hints, folder / "comes", never=".tmp")
        with (folder / "grows").open("a") as file:
            file.write("more")
        _reported(hints, folder / "grows")
        (folder / "goes").unlink()
        _reported(hints, folder / "goes")
        shutil.rmtree(folder)
        events = watch.roots[folder][1]
        wait_until(lambda ended=events: hints.take(0.01) is not None and not ended.alive, "its end")  # type: ignore[misc]
    watch.renew()
    hints.close()


def test_linked_folders_are_watched(tmp_path: Path) -> None:
    """A link to a folder elsewhere is watched like a folder, also one that comes later or is renamed."""
    outside, root = tmp_path / "outside", tmp_path / "root"
    (outside / "deep").mkdir(parents=True)
    (outside / "loop").symlink_to(outside)
    root.mkdir()
    (root / "-early").symlink_to(outside)
    (root / "inside").symlink_to(root)
    with _watching(root, _inotify) as hints:
        (outside / "deep" / "s.jsonl").write_text("1\n")
        _reported(hints, root / "-early" / "deep" / "s.jsonl")
        (root / "-early").rename(root / "-renamed")
        _reported(hints, root / "-renamed")
        (outside / "deep" / "s.jsonl").write_text("2\n")
        _reported(hints, root / "-renamed" / "deep" / "s.jsonl")
        (tmp_path / "other").mkdir()
        (root / "-late").symlink_to(tmp_path / "other")
        _reported(hints, root / "-late")
        (tmp_path / "other" / "s.jsonl").write_text("1\n")
        _reported(hints, root / "-late" / "s.jsonl")


def test_put_hint_ends_a_wait(tmp_path: Path) -> None:
    """A hint of another thread is taken at once; None says that some were lost, an empty one nothing."""
    with _watching(tmp_path, _inotify) as hints:
        for hint in ("a", "", None):
            hints.put(hint)

        assert hints.take(60) == (["a"], True)


def test_overflow_is_reported(tmp_path: Path) -> None:
    """More events than the kernel keeps: the loss is reported once, and new folders are still watched."""
    queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    events = Inotify(str(tmp_path), _transcript)
    for n in range(queue + 10):
        (tmp_path / f"{n % 2}.jsonl").touch()
    (tmp_path / "late").mkdir()
    lost = 0
    while (read := events.read()) != ([], False):
        lost += read[1]
    (tmp_path / "late" / "s.jsonl").touch()
    reported = events.read()[0]
    events.stop()

    assert lost == 1
    assert str(tmp_path / "late" / "s.jsonl") in reported


FOLDERS = ["a", "b", "a/c", "b/c", "a/c/d"]
ACTS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["make", "remove", "write", "out"]), st.sampled_from(FOLDERS), st.just("")),
        st.tuples(st.just("move"), st.sampled_from(FOLDERS), st.sampled_from(FOLDERS)),
        st.tuples(st.just("look"), st.just(""), st.just("")),
    ),
    max_size=30,
)


@settings(max_examples=200, deadline=None)
@given(ACTS)
def test_no_folder_is_forgotten(acts: list[tuple[str, str, str]]) -> None:
    """Whatever folders are made, moved and removed, and whenever we look: a line in any of them is reported."""
    with tempfile.TemporaryDirectory() as name:
        root, outside = Path(name) / "root", Path(name) / "outside"
        root.mkdir()
        outside.mkdir()
        events = Inotify(str(root), _transcript)
        for number, (act, one, other) in enumerate(acts):
            with contextlib.suppress(OSError, shutil.Error):
                _do(act, root / one, outside / str(number) if act == "out" else root / other, events)
        while events.read()[0]:
            pass
        events.read()
        for folder in [Path(each) for each, _, _ in os.walk(root)]:
            (folder / "s.jsonl").write_text("1\n")

            assert str(folder / "s.jsonl") in events.read()[0]
        events.stop()


def _do(act: str, one: Path, other: Path, events: Inotify) -> None:
    match act:
        case "make":
            one.mkdir(parents=True)
        case "remove":
            shutil.rmtree(one)
        case "write":
            (one / "s.jsonl").write_text("1\n")
        case "move" | "out":
            one.rename(other)
        case "look":
            events.read()
