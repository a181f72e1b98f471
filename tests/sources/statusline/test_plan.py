from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.claude_events import event, run, status
from tests.support.net import PATIENCE_S, wait_until
from tests.support.places import IN_PLACE
from tests.support.rights import no_override

from claude_gauge.config import Settings
from claude_gauge.contract.plan_window import PlanLimit, PlanWindow
from claude_gauge.contract.usage import stamp
from claude_gauge.counting.reading import Health, Reading
from claude_gauge.counting.turn import Denial
from claude_gauge.hooks import spool
from claude_gauge.hooks.hook import note
from claude_gauge.hooks.statusline import FIVE_HOURS_S, store
from claude_gauge.sources.statusline.source import Plan, forget

NOON = float(int(time.time()))  # files bear the real time, whatever clock the source reads by
HOUR = 3600.0


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


class Desk:
    """A state folder with the plan source that reads it and the clock that it reads by."""

    def __init__(self, state_dir: Path, clock: Clock) -> None:
        self.state_dir = state_dir
        self.folder = str(state_dir / "plan")
        self.clock = clock
        self.changes = threading.Semaphore(0)
        self._open: list[Plan] = []

    def plan(self) -> Plan:
        """Start a source, as a publisher does."""
        source = Plan(Settings(state_dir=self.state_dir, waiting_minutes=10), self.clock)
        source.start(self.changes.release)
        self._open.append(source)
        return source

    def read(self) -> Reading:
        """Return what a freshly started publisher would know now."""
        source = self.plan()
        source.stop()
        return source.read(self.clock.now)

    def close(self) -> None:
        """Stop all sources."""
        for source in self._open:
            source.stop()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A desk of the test's own."""
    opened = Desk(tmp_path / "state", Clock())
    yield opened
    opened.close()


def test_nothing_known(desk: Desk) -> None:
    """Before anything was reported, all is unknown, not zero and not false."""
    assert desk.read() == Reading()
    assert desk.plan().due(NOON) is None


def test_figures(desk: Desk) -> None:
    """What the statusline was given is what the reading says."""
    store(status(five_hour=(42.5, NOON + HOUR), seven_day=("7", stamp(NOON + 48 * HOUR))), desk.folder, NOON)
    reading = desk.read()

    assert reading.plan_5h == PlanWindow(0.425, NOON + HOUR)
    assert reading.plan_7d == PlanWindow(0.07, NOON + 48 * HOUR)
    assert reading.sources["plan"].source == "statusline"
    assert reading.sources["plan"].ok
    assert reading.waiting is None


def test_epoch_in_the_percentage(desk: Desk) -> None:
    """An epoch where the percentage should be makes the figure unknown, not full; the other slot stays."""
    store(status(five_hour=(NOON, NOON + HOUR), seven_day=(5, NOON + HOUR)), desk.folder, NOON)
    reading = desk.read()

    assert reading.plan_5h is None
    assert reading.plan_7d == PlanWindow(0.05, NOON + HOUR)


def test_over_a_hundred(desk: Desk) -> None:
    """An overdrawn plan is full."""
    store(status(five_hour=(104.2, NOON + HOUR)), desk.folder, NOON)

    assert desk.read().plan_5h == PlanWindow(1, NOON + HOUR)


def test_older_value_from_another_terminal(desk: Desk) -> None:
    """A terminal that repeats an old figure of the same window does not move the needle, also minutes apart."""
    store(status("old", five_hour=(40, NOON + HOUR)), desk.folder, NOON - 60)
    store(status("new", five_hour=(60, NOON + HOUR)), desk.folder, NOON)
    store(status("old", five_hour=(40, NOON + HOUR + 600)), desk.folder, NOON + 1)
    store(status("older", five_hour=(99, NOON - HOUR)), desk.folder, NOON + 2)
    desk.clock.now += 3

    assert desk.read().plan_5h == PlanWindow(0.6, NOON + HOUR)


def test_plan_takes_use_back(desk: Desk) -> None:
    """A percentage may fall at the same reset time, and 100 % may have been a slip: the newest news is shown."""
    source = desk.plan()

    def shown() -> float | None:
        window = source.read(NOON).plan_5h
        return window.share if window else None

    def report(at: float, share: float) -> None:
        store(status(five_hour=(100 * share, NOON + HOUR)), desk.folder, NOON + at)
        wait_until(lambda: shown() == share, f"{share:.0%}")

    report(0, 0.85)
    report(1, 1.0)
    report(2, 0.17)


def test_another_account(desk: Desk) -> None:
    """After a log-in as somebody else that one's windows are shown, also by a publisher that starts again."""
    store(status("a", five_hour=(93, NOON + 4 * HOUR), seven_day=(70, NOON + 90 * HOUR)), desk.folder, NOON)
    desk.read()
    store(status("b", five_hour=(6, NOON + HOUR), seven_day=(2, NOON + 50 * HOUR)), desk.folder, NOON + 5)
    store(status("a", five_hour=(93, NOON + 4 * HOUR), seven_day=(70, NOON + 90 * HOUR)), desk.folder, NOON + 9)

    for _ in range(2):
        reading = desk.read()
        assert reading.plan_5h == PlanWindow(0.06, NOON + HOUR)
        assert reading.plan_7d == PlanWindow(0.02, NOON + 50 * HOUR)


def test_fullest_limit(desk: Desk) -> None:
    """A model's own week that is full is reported beside windows that are not."""
    given = status(five_hour=(10, NOON + HOUR))
    given["rate_limits"]["seven_day_opus"] = {"used_percentage": 100, "resets_at": NOON + 2 * HOUR}
    store(given, desk.folder, NOON)

    assert desk.read().limit == PlanLimit("seven_day_opus", 1.0, NOON + 2 * HOUR)


def test_forgotten_while_running(desk: Desk) -> None:
    """What a person has us forget is gone from a running publisher, too."""
    store(status(five_hour=(93, NOON + HOUR)), desk.folder, NOON)
    source = desk.plan()
    wait_until((desk.state_dir / "plan-figures.json").exists, "the figures on the disk")

    assert len(forget(desk.state_dir)) == 2
    wait_until(lambda: source.read(NOON).plan_5h is None, "the end of the figures")
    assert forget(desk.state_dir) == []
    store(status(five_hour=(6, NOON + HOUR)), desk.folder, NOON + 5)
    wait_until(lambda: source.read(NOON).plan_5h == PlanWindow(0.06, NOON + HOUR), "news")


def test_new_window_begins_low(desk: Desk) -> None:
    """A new window starts over, whatever the last one came to and whichever terminal still shows it."""
    store(status("a", five_hour=(97, NOON + 60)), desk.folder, NOON)
    source = desk.plan()
    assert source.read(NOON).plan_5h == PlanWindow(0.97, NOON + 60)
    store(status("b", five_hour=(1, NOON + 120 + FIVE_HOURS_S)), desk.folder, NOON + 120)
    store(status("a", five_hour=(97, NOON + 60)), desk.folder, NOON + 130)
    desk.clock.now = NOON + 140

    assert desk.read().plan_5h == PlanWindow(0.01, NOON + 120 + FIVE_HOURS_S)


def test_stale_after_reset(desk: Desk) -> None:
    """Once the window has reset, its share is unknown until there is newer news; `due` says when that happens."""
    store(status(five_hour=(97, NOON + 60), seven_day=(10, NOON + HOUR)), desk.folder, NOON)
    source = desk.plan()

    assert source.due(NOON) == NOON + 60
    assert source.read(NOON + 59).plan_5h is not None
    assert source.read(NOON + 60).plan_5h is None
    assert source.read(NOON + 60).plan_7d is not None
    assert source.due(NOON + 60) == NOON + HOUR


def test_clock_jumps(desk: Desk) -> None:
    """When the clock is set back or forth, nothing is shown that can't be true, and it recovers."""
    store(status(five_hour=(50, NOON + HOUR)), desk.folder, NOON)
    source = desk.plan()

    assert source.read(NOON - 86400).plan_5h is None
    assert source.read(NOON + 86400).plan_5h is None
    assert source.read(NOON + 1).plan_5h is not None


def test_restart_believes_no_repeat(desk: Desk) -> None:
    """A publisher that starts again does not fall back to what a terminal repeated meanwhile."""
    store(status("old", five_hour=(40, NOON + HOUR)), desk.folder, NOON - 60)
    store(status(five_hour=(60, NOON + HOUR)), desk.folder, NOON)
    desk.read()
    store(status("old", five_hour=(40, NOON + HOUR)), desk.folder, NOON + 5)

    assert desk.read().plan_5h == PlanWindow(0.6, NOON + HOUR)


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"{",
        b"[]",
        b'{"limits": 3, "at": "x", "accounts": {}}',
        b'{"limits": {"five_hour": [1,2,"x"]}, "accounts": [3, {"five_hour": [[1, 2]]}]}',
        b'{"at": 1' + b"0" * 400 + b"}",
        b"\0\0",
    ],
)
def test_garbage_on_disk(desk: Desk, garbage: bytes) -> None:
    """Half-written, zeroed and foreign files are passed over; the sound ones count."""
    store(status(five_hour=(50, NOON + HOUR)), desk.folder, NOON)
    for name in ("x.status", "x.events", "strange", ".x.status.1.tmp"):
        (Path(desk.folder) / name).write_bytes(garbage)
    (desk.state_dir / "plan-figures.json").write_bytes(garbage)

    assert desk.read().plan_5h == PlanWindow(0.5, NOON + HOUR)


def test_unreadable_folder(tmp_path: Path) -> None:
    """A state folder that can't be used makes the figures unknown and the source unwell, without lighting STALL."""
    (tmp_path / "file").write_text("")
    source = Plan(Settings(state_dir=tmp_path / "file" / "state"), Clock())
    source.start(lambda: None)
    health = source.read(NOON).sources["plan"]
    source.stop()

    assert (health.ok, health.degraded, health.why) == (False, True, "state folder unreadable")


def test_waiting_reaches_the_reading(desk: Desk) -> None:
    """A permission dialog is known as soon as the hook has run, and its end, too; `changed` says so each time."""
    source = desk.plan()
    assert source.read(NOON).waiting is None
    desk.clock.now = wall = NOON
    note(event("PermissionRequest"), desk.folder, wall)
    wait_until(lambda: source.read(wall).waiting is True, "the wait")
    assert desk.changes.acquire(timeout=PATIENCE_S)
    note(event("PostToolBatch"), desk.folder, wall + 1)
    wait_until(lambda: source.read(wall).waiting is False, "the end of the wait")

    assert desk.changes.acquire(timeout=PATIENCE_S)


def test_real_hook_process(tmp_path: Path) -> None:
    """From the command that Claude Code runs to the reading, by the folder's events and not by looking now and then."""
    source = Plan(Settings(state_dir=tmp_path), look_every_s=3600)
    changed = threading.Event()
    source.start(changed.set)
    run(["hook", "--state-dir", str(tmp_path)], event("PermissionRequest"))
    received = changed.wait(PATIENCE_S)
    waiting = source.read(source._clock()).waiting
    source.stop()

    assert received
    assert waiting is True


def test_several_sessions(desk: Desk) -> None:
    """Claude waits as long as any session does."""
    note(event("PermissionRequest", "a"), desk.folder, NOON)
    note(event("Notification", "b", notification_type="idle_prompt"), desk.folder, NOON)
    note(event("Stop", "a"), desk.folder, NOON + 1)
    assert desk.read().waiting is True
    note(event("UserPromptSubmit", "b"), desk.folder, NOON + 2)

    assert desk.read().waiting is False


def test_nothing_reported_any_more(desk: Desk) -> None:
    """A wait that nothing ends is dropped after the set time, and `due` says when."""
    note(event("PermissionRequest"), desk.folder, NOON)
    source = desk.plan()

    assert source.due(NOON) == NOON + 600
    assert source.read(NOON + 599).waiting is True
    assert source.read(NOON + 600).waiting is False
    assert source.due(NOON + 600) is None


def test_escape(desk: Desk) -> None:
    """No hook fires at Escape: the transcript's line ends the wait at once, whichever of the two is read first."""
    denied = Denial(NOON + 0.3, event("PermissionRequest")["session_id"], None, "user-rejected")
    source = desk.plan()
    note(event("PermissionRequest"), desk.folder, NOON)
    wait_until(lambda: source.read(NOON).waiting is True, "the wait")
    assert desk.changes.acquire(timeout=PATIENCE_S)
    source.denied(denied)

    assert source.read(NOON).waiting is False
    assert desk.changes.acquire(timeout=PATIENCE_S)
    later = Plan(Settings(state_dir=desk.state_dir), desk.clock)
    later.denied(denied)
    later.load()
    assert later.read(NOON).waiting is False
    note(event("PermissionRequest"), desk.folder, NOON + 1)
    later.load()
    assert later.read(NOON + 1).waiting is True


def test_client_that_was_killed(desk: Desk) -> None:
    """A client that is killed beside its dialog waits for nobody; while it runs its question lasts."""
    Path(desk.folder).mkdir(parents=True)
    with subprocess.Popen(["sleep", "600"]) as client:
        process = spool.process(client.pid)
        assert process is not None
        asked = {"at": NOON, "event": "PermissionRequest", "question": "q", "process": process[1]}
        spool.append(desk.folder, "s.events", asked)
        spool.store(desk.folder, "hooks", {})
        source = Plan(Settings(state_dir=desk.state_dir), desk.clock)
        source.load()
        desk.clock.now += 3 * HOUR
        lit = source.read(desk.clock.now).waiting
        client.kill()
    source.load()

    assert lit is True
    assert source.read(desk.clock.now).waiting is False


def test_client_of_another_namespace(desk: Desk) -> None:
    """A client in a container has numbers that mean other processes here: its question is dropped after a time."""
    asked = {"at": NOON, "event": "PermissionRequest", "question": "q", "process": [999_999_999, 1, "pid:[1]"]}
    spool.append(desk.folder, "s.events", asked)
    spool.store(desk.folder, "hooks", {})
    source = desk.plan()

    assert source.read(NOON).waiting is True
    assert source.due(NOON) == NOON + 600


def test_wait_from_the_future(desk: Desk) -> None:
    """A clock that was set back does not leave the lamp on for days."""
    note(event("PermissionRequest"), desk.folder, NOON + 86400)

    assert desk.read().waiting is False


@pytest.mark.parametrize(("after_s", "waiting"), [(0.5, True), (3, False)])
def test_statusline_tells_that_the_dialog_is_gone(desk: Desk, after_s: float, *, waiting: bool) -> None:
    """The statusline pauses while a dialog is open: one that ran clearly later says that it was closed."""
    note(event("PermissionRequest"), desk.folder, NOON)
    store(status(), desk.folder, NOON + after_s)
    desk.clock.now += 4

    assert desk.read().waiting is waiting


def test_statusline_says_nothing_of_an_idle_prompt(desk: Desk) -> None:
    """Claude waits for a prompt with its statusline running; another session's says nothing of a dialog."""
    note(event("Notification", notification_type="idle_prompt"), desk.folder, NOON)
    store(status(), desk.folder, NOON + 30)
    assert desk.read().waiting is True
    note(event("SessionEnd"), desk.folder, NOON + 31)
    note(event("PermissionRequest"), desk.folder, NOON + 32)
    store(status("another"), desk.folder, NOON + 60)

    assert desk.read().waiting is True


def test_folder_replaced_while_running(desk: Desk) -> None:
    """If the folder is deleted it is made again, and what is written there then is seen."""
    source = desk.plan()
    note(event("Stop"), desk.folder, NOON)
    wait_until(lambda: source.read(NOON).waiting is False, "the first hook")
    for path in Path(desk.folder).iterdir():
        path.unlink()
    Path(desk.folder).rmdir()
    note(event("PermissionRequest"), desk.folder, NOON)

    wait_until(lambda: source.read(NOON).waiting is True, "the new folder's news")


def test_old_files_are_swept(desk: Desk) -> None:
    """Sessions long over and a killed writer's half files do not pile up; the mark of the hooks stays."""
    store(status("old", five_hour=(5, NOON)), desk.folder, NOON)
    note(event("Stop"), desk.folder, NOON)
    (Path(desk.folder) / ".dead.status.99.tmp").write_text("{")
    for path in Path(desk.folder).iterdir():
        os.utime(path, (NOON - 30 * 86400,) * 2)
    store(status("new", five_hour=(6, NOON + 60)), desk.folder, NOON)
    desk.read()

    assert sorted(path.name for path in Path(desk.folder).iterdir()) == ["hooks", "new.status"]


def test_quiet_sessions_are_swept(desk: Desk) -> None:
    """After a day a session's events go, unless it still asks; they would pile up with every headless run."""
    note(event("Stop", "quiet"), desk.folder, NOON)
    note(event("PermissionRequest", "asks"), desk.folder, NOON)
    note(event("Stop", "new"), desk.folder, NOON)
    for name in ("quiet", "asks"):
        os.utime(Path(desk.folder) / f"{name}.events", (NOON - 2 * 86400,) * 2)
    desk.read()

    assert sorted(path.name for path in Path(desk.folder).glob("*.events")) == ["asks.events", "new.events"]


def test_folder_that_can_only_be_read(desk: Desk) -> None:
    """A state folder that nobody can write to is read, but says that its figures are old: `waiting` is unknown."""
    store(status(five_hour=(5, NOON + HOUR)), desk.folder, NOON)
    note(event("Stop"), desk.folder, NOON)
    litter = Path(desk.folder) / ".dead.status.99.tmp"
    litter.write_text("{")
    os.utime(litter, (NOON - 86400,) * 2)
    Path(desk.folder).chmod(0o500)
    desk.state_dir.chmod(0o500)
    with no_override():
        reading = desk.read()
    desk.state_dir.chmod(0o700)
    Path(desk.folder).chmod(0o700)

    assert reading.plan_5h == PlanWindow(0.05, NOON + HOUR)
    assert reading.sources["plan"] == Health("statusline", ok=False, why="state folder not writable", degraded=True)
    assert reading.waiting is None
    assert litter.exists()
    assert desk.read().waiting is False


def test_stop_twice(desk: Desk) -> None:
    """Stopping leaves no thread behind, and may be done twice."""
    before = set(threading.enumerate())
    source = desk.plan()
    source.stop()
    source.stop()

    assert set(threading.enumerate()) <= before


def test_session_name_in_file_is_the_safe_one(desk: Desk) -> None:
    """The statusline of a session with an odd name still ends that session's waits."""
    note(event("PermissionRequest", "odd/../name"), desk.folder, NOON)
    store(status("odd/../name"), desk.folder, NOON + 5)

    assert (Path(desk.folder) / (spool.safe("odd/../name") + ".status")).exists()
    assert desk.read().waiting is False


@pytest.mark.parametrize("place", IN_PLACE)
def test_no_file_in_the_place_of_one_session(desk: Desk, place: str) -> None:
    """What stands in the place of one session's files, or of the stored figures, hides nothing of another session."""
    store(status(five_hour=(50, NOON + HOUR)), desk.folder, NOON)
    note(event("PermissionRequest", "a"), desk.folder, NOON)
    for name in ("x.status", "y.events"):
        IN_PLACE[place](Path(desk.folder) / name)
        (Path(desk.folder) / "pipe").unlink(missing_ok=True)
    IN_PLACE[place](desk.state_dir / "plan-figures.json")
    reading = desk.read()

    assert reading.plan_5h == PlanWindow(0.5, NOON + HOUR)
    assert reading.waiting is True
    assert reading.sources["plan"].ok
