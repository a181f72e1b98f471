from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from platformdirs import user_state_dir
from tests.support.claude_events import GAUGE, SESSION, STATUSES, run, status
from tests.support.net import PATIENCE_S, wait_until

from claude_gauge.claude_code.entries import Ours, program
from claude_gauge.hooks import spool
from claude_gauge.hooks.spool import state_dir
from claude_gauge.hooks.statusline import line, store

NOON = 1_795_435_200.0


def stored(state: Path, session: str = SESSION) -> dict[str, object]:
    """What the statusline left for the publisher."""
    return spool.load(str(state / "plan" / f"{session}.status"))


def limits(state: Path) -> dict[str, list[object]]:
    """What it left of the plan's limits."""
    kept = stored(state)["limits"]
    assert isinstance(kept, dict)
    return kept


def test_figures_are_stored(tmp_path: Path) -> None:
    """The raw figures of both windows reach the state folder, which only its owner may enter."""
    done = run(
        ["statusline", "--state-dir", str(tmp_path)], status(five_hour=(42.5, NOON), seven_day=(12, "2026-11-30"))
    )
    kept = stored(tmp_path)

    assert done.returncode == 0
    assert kept["limits"]["five_hour"][:2] == [42.5, NOON]  # type: ignore[index]
    assert kept["limits"]["seven_day"][:2] == [12, "2026-11-30"]  # type: ignore[index]
    assert kept["model"] == "claude-opus-5-5"
    assert (tmp_path / "plan").stat().st_mode & 0o077 == 0


def test_no_texts_are_stored(tmp_path: Path) -> None:
    """Neither folder nor any other text of the input is written anywhere, even where a figure should be."""
    given = status(five_hour=("a secret text that is much longer than any figure", NOON))
    run(["statusline", "--state-dir", str(tmp_path)], given)
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())

    assert SESSION.encode() in written
    assert not [word for word in (b"/home/dev", b"transcript", b"secret", b"default") if word in written]


def test_call_without_figures_takes_none_back(tmp_path: Path) -> None:
    """Before its first response a session has no figures, and one slot may be missing: what was known stays."""
    folder = str(tmp_path / "plan")
    store(status(five_hour=(42, NOON), seven_day=(12, NOON)), folder, NOON - 60)
    store(status(five_hour=(43, NOON)), folder, NOON - 50)
    store(status(), folder, NOON - 40)

    assert stored(tmp_path)["at"] == NOON - 40
    assert limits(tmp_path) == {"five_hour": [43, NOON, NOON - 50], "seven_day": [12, NOON, NOON - 60]}


def report(tmp_path: Path, at: float, used: float, resets_at: object = NOON, **changes: object) -> object:
    """Let a terminal report its 5-hour figure, and return what is stored of it then."""
    store({**status(five_hour=(used, resets_at)), **changes}, str(tmp_path / "plan"), at)
    return limits(tmp_path)["five_hour"]


def test_repeats_are_no_news(tmp_path: Path) -> None:
    """What a terminal repeats keeps the time of when it was news, also with a reset time that jitters."""
    cost = {"total_api_duration_ms": 500}

    assert report(tmp_path, 1, 18, cost=cost) == [18, NOON, 1]
    assert report(tmp_path, 2, 18, cost=cost) == [18, NOON, 1]
    assert report(tmp_path, 3, 18, NOON + 600, cost=cost) == [18, NOON, 1]
    assert report(tmp_path, 4, 18, NOON + 5 * 3600, cost=cost) == [18, NOON, 1]


def test_figures_after_a_request_are_news(tmp_path: Path) -> None:
    """When the session used the API, its figures are news, higher, lower or the same."""
    for at, (used, spent) in enumerate(((85, 500), (85, 700), (17, 800), (17, 100))):
        assert report(tmp_path, at, used, cost={"total_api_duration_ms": spent}) == [used, NOON, at]


def test_two_terminals_with_one_session(tmp_path: Path) -> None:
    """A session that was resumed elsewhere has two terminals: what the left one repeats is no news."""
    left, resumed = {"total_api_duration_ms": 500}, {"total_api_duration_ms": 900}

    assert report(tmp_path, 1, 18, cost=left) == [18, NOON, 1]
    assert report(tmp_path, 2, 45, cost=resumed) == [45, NOON, 2]
    assert report(tmp_path, 3, 18, cost=left) == [45, NOON, 2]
    assert report(tmp_path, 4, 45, cost=resumed) == [45, NOON, 2]


@pytest.mark.parametrize("cost", [None, 3, {}, {"total_api_duration_ms": "soon"}, {"total_api_duration_ms": None}])
def test_without_api_time(tmp_path: Path, cost: object) -> None:
    """Where no API time is reported the transcript's time marks news, and without that a changed figure does."""
    transcript = tmp_path / "s.jsonl"
    transcript.write_text("")
    os.utime(transcript, (100, 100))
    given = {"cost": cost, "transcript_path": str(transcript)}

    assert report(tmp_path, 200, 18, **given) == [18, NOON, 100]
    assert report(tmp_path, 300, 18, **given) == [18, NOON, 100]
    os.utime(transcript, (301, 301))
    assert report(tmp_path, 302, 18, **given) == [18, NOON, 302]
    transcript.unlink()
    assert report(tmp_path, 400, 18, **given) == [18, NOON, 400]
    assert report(tmp_path, 401, 18, NOON + 590, **given) == [18, NOON, 400]
    assert report(tmp_path, 402, 17, **given) == [17, NOON, 402]
    assert report(tmp_path, 403, 18, **given) == [18, NOON, 403]


def test_first_figures_of_an_idle_terminal(tmp_path: Path) -> None:
    """A terminal that was idle for hours when the set-up was made reports figures as old as its transcript."""
    transcript = tmp_path / "s.jsonl"
    transcript.write_text("")
    os.utime(transcript, (NOON - 9000, NOON - 9000))

    assert report(tmp_path, NOON - 60, 18, transcript_path=str(transcript)) == [18, NOON, NOON - 9000]


def test_every_limit_is_stored(tmp_path: Path) -> None:
    """Whatever limits come, by names not known yet, are kept; what has only amounts becomes a percentage."""
    given = status(five_hour=(5, NOON))
    given["rate_limits"] |= {
        "seven_day_opus": {"used_percentage": 100, "resets_at": NOON},
        "spend_limit": {"used_usd": 30, "limit_usd": 40, "resets_at": None, "period": "monthly"},
        "seven_day_sonnet": None,
        "a name / with: things" * 9: {"used_percentage": 1, "resets_at": NOON},
        **{f"limit_{number}": {"used_percentage": number} for number in range(100)},
    }
    store(given, str(tmp_path / "plan"), NOON)
    kept = limits(tmp_path)

    assert kept["seven_day_opus"] == [100, NOON, NOON]
    assert kept["spend_limit"] == [75.0, None, NOON]
    assert "seven_day_sonnet" not in kept
    assert len(kept) <= 20
    assert max(map(len, kept)) <= 40


def test_stored_file_of_another_shape(tmp_path: Path) -> None:
    """A stored file that lacks what is needed is replaced, and the next figures are news."""
    (tmp_path / "plan").mkdir()
    old = {"at": NOON - 9, "session": SESSION, "model": None, "five_hour": [93, NOON + 60, NOON - 9]}
    (tmp_path / "plan" / f"{SESSION}.status").write_text(json.dumps(old))
    store(status(), str(tmp_path / "plan"), NOON - 5)

    assert limits(tmp_path) == {}
    assert report(tmp_path, NOON, 6) == [6, NOON, NOON]


def test_own_line_prints_nothing_raw() -> None:
    """A model's name that holds an escape sequence moves no cursor."""
    assert line({"model": {"display_name": "Opus\x1b[2J\u202e"}}, NOON).isprintable()


def test_own_line() -> None:
    """Without a statusline of the person's own there is a neat line of ours."""
    written = line(status(five_hour=(42.5, NOON + 7500), seven_day=(12, NOON + 3 * 86400)), NOON)

    assert written == "Opus 5.5 · 5h ▰▰▰▰▱▱▱▱▱▱ 42%, 2 h 05 min left · 7d ▰▱▱▱▱▱▱▱▱▱ 12%, 3 d 0 h left · context 0%"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (STATUSES[0], "Opus 5.5"),
        (status(five_hour=(NOON, NOON + 60)), "Opus 5.5 · context 0%"),
        (status(five_hour=(50, NOON - 60)), "Opus 5.5 · context 0%"),
        ({"model": {"display_name": "two\nlines"}, "rate_limits": [], "context_window": 3}, "two lines"),
        ({}, "Claude"),
    ],
)
def test_own_line_leaves_out_what_it_does_not_know(given: dict[str, object], wanted: str) -> None:
    """Absent, garbled and lapsed figures are left out; it is one line in any case."""
    assert line(given, NOON) == wanted


def test_earlier_statusline_is_unchanged(tmp_path: Path) -> None:
    """The person's own command gets the same bytes, and its output, errors and exit code come through unchanged."""
    given = json.dumps(status(five_hour=(5, NOON))).encode() + b"\n\xff trailing"
    then = r"cat; printf '\033[31mred\033[0m\n\n'; echo 'it'\''s me' >&2; exit 7"
    done = run(["statusline", "--state-dir", str(tmp_path), "--then", then], given)

    assert done.stdout == given + b"\033[31mred\033[0m\n\n"
    assert done.stderr == b"it's me\n"
    assert done.returncode == 7


@pytest.mark.parametrize("size", [70_000, 3_000_000])
def test_input_larger_than_a_pipe(tmp_path: Path, size: int) -> None:
    """Input that no pipe can hold reaches the person's command whole."""
    given = {**status(five_hour=(5, NOON)), "more": "x" * size}
    done = run(["statusline", "--state-dir", str(tmp_path), "--then", "wc -c"], given)

    assert int(done.stdout) == len(json.dumps(given))


@pytest.mark.parametrize(
    "given",
    [b"", b"{", b"[]", b"null", b'{"session_id": 1', b"\xff\xfe", b'{"a":' * 100_000],
    ids=lambda given: repr(given[:20]),  # pytest puts the id into the environment, which has limits
)
def test_garbage_in(tmp_path: Path, given: bytes) -> None:
    """Whatever the input is, the person's command runs and nothing is said about ours."""
    done = run(["statusline", "--state-dir", str(tmp_path), "--then", "wc -c; exit 3"], given)

    assert (int(done.stdout), done.stderr, done.returncode) == (len(given), b"", 3)


@pytest.mark.parametrize("name", ["../../../evil", "a/b", ".", "", "x" * 500, "ä\0"])
def test_hostile_session_id(tmp_path: Path, name: str) -> None:
    """A session's name can't lead out of the folder."""
    run(["statusline", "--state-dir", str(tmp_path / "state")], status(name, five_hour=(5, NOON)))

    assert len(list((tmp_path / "state" / "plan").iterdir())) == 1
    assert not list(tmp_path.glob("*evil*"))


def test_unwritable_state(tmp_path: Path) -> None:
    """If nothing can be stored the person's command still runs, and our own line says that the figures stay old."""
    (tmp_path / "file").write_text("")
    arguments = ["statusline", "--state-dir", str(tmp_path / "file" / "state")]

    assert run([*arguments, "--then", "echo theirs"], status()).stdout == b"theirs\n"
    said = run(arguments, status()).stdout.decode()
    assert said == "Opus 5.5 · context 0% · claude-gauge cannot write: Not a directory\n"


def test_full_disk(tmp_path: Path) -> None:
    """When the disk is full the figures of before stay whole, and nothing half is left behind."""
    store(status(five_hour=(5, NOON)), str(tmp_path / "plan"), NOON)
    before = stored(tmp_path)
    limited = ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *GAUGE, "statusline", "--state-dir", str(tmp_path)]
    done = subprocess.run(
        [*limited, "--then", "echo theirs | cat"],
        input=json.dumps(status(five_hour=(6, NOON))).encode(),
        capture_output=True,
        check=False,
    )

    assert done.stdout == b"theirs\n"
    assert stored(tmp_path) == before
    assert [path.name for path in (tmp_path / "plan").iterdir()] == [f"{SESSION}.status"]


def test_cancelled(tmp_path: Path) -> None:
    """Claude Code cancels a slow statusline: the figures are stored by then, and the slow command dies with us."""
    command = [*GAUGE, "statusline", "--state-dir", str(tmp_path), "--then", "exec sleep 300"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(json.dumps(status(five_hour=(5, NOON))).encode())
    process.stdin.close()
    wait_until(lambda: Path(f"/proc/{process.pid}/cmdline").read_bytes().startswith(b"sleep"), "the person's command")
    process.send_signal(signal.SIGTERM)

    assert process.wait(PATIENCE_S) == -signal.SIGTERM
    assert limits(tmp_path)["five_hour"]


def test_killed_while_writing(tmp_path: Path) -> None:
    """However early it is killed, a reader finds the figures of before or the new ones, never half of them."""
    store(status(five_hour=(0, NOON)), str(tmp_path / "plan"), NOON)
    command = [*GAUGE, "statusline", "--state-dir", str(tmp_path)]
    for number in range(1, 25):
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        killer = threading.Timer(number * 0.0015, process.kill)
        killer.start()
        process.communicate(json.dumps(status(five_hour=(number, NOON))).encode())
        killer.join()
        assert limits(tmp_path)["five_hour"][0] in range(number + 1)


def test_signals_and_locale_are_the_persons_own(tmp_path: Path) -> None:
    """The person's command finds neither Python's ignored SIGPIPE nor the locale that Python may add."""
    environ = {"PATH": os.environ["PATH"], "LC_ALL": ""}
    then = "env; grep SigIgn /proc/self/status"
    # A whole path: from 3.13 on subprocess starts these by posix_spawn, in which glibc ignores two signals of its own.
    plain = subprocess.run(["/bin/sh", "-c", then], env=environ, capture_output=True, check=True)
    ours = run(["statusline", "--state-dir", str(tmp_path), "--then", then], status(), environ)

    assert sorted(ours.stdout.splitlines()) == sorted(plain.stdout.splitlines())


def test_many_terminals(tmp_path: Path) -> None:
    """Terminals that write at once neither wait for nor overwrite one another."""
    processes = [
        (subprocess.Popen([*GAUGE, "statusline", "--state-dir", str(tmp_path)], stdin=subprocess.PIPE, stdout=-3), n)
        for n in range(12)
    ]
    for process, number in processes:
        process.communicate(json.dumps(status(f"terminal-{number}", five_hour=(number, NOON))).encode())

    kept = {
        path.name: json.loads(path.read_bytes())["limits"]["five_hour"][0] for path in (tmp_path / "plan").iterdir()
    }
    assert kept == {f"terminal-{number}.status": number for number in range(12)}


def test_nothing_slow_is_imported(tmp_path: Path) -> None:
    """Claude Code waits for what setup writes into its settings: nothing slow is loaded by that very command."""
    command = Ours(program(), str(tmp_path)).statusline(None).replace(" -IS ", " -X importtime -IS ")
    done = subprocess.run(["sh", "-c", command], input=json.dumps(status()).encode(), capture_output=True, check=True)
    loaded = {row.rpartition(b"|")[2].strip().decode() for row in done.stderr.splitlines()}
    slow = {"typer", "pydantic", "dataclasses", "typing", "platformdirs", "subprocess", "json", "datetime", "shlex"}

    assert "claude_gauge.hooks.statusline" in loaded
    assert not loaded & slow - loaded_by_python()


def loaded_by_python() -> set[str]:
    """What the interpreter loads by itself."""
    command = [sys.executable, "-X", "importtime", "-IS", "-c", "pass"]
    done = subprocess.run(command, capture_output=True, check=True)
    return {row.rpartition(b"|")[2].strip().decode() for row in done.stderr.splitlines()}


def test_default_folder_is_the_platforms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a given folder it writes where the publisher looks."""
    assert state_dir(None) == user_state_dir("claude-gauge", appauthor=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/somewhere")
    assert state_dir(None) == user_state_dir("claude-gauge", appauthor=False)
    monkeypatch.setenv("CLAUDE_GAUGE_STATE_DIR", "~/else")

    assert state_dir(None) == f"{os.environ['HOME']}/else"


def test_by_hand(tmp_path: Path) -> None:
    """Help and wrong arguments are answered as by any other command."""
    assert b"--then" in run(["statusline", "--help"]).stdout
    assert run(["statusline", "--nonsense", "x"]).returncode == 2
    assert run(["statusline", "--state-dir", str(tmp_path)]).stdout == b"Claude\n"


def test_time_is_now(tmp_path: Path) -> None:
    """What is stored bears the time of the call."""
    before = time.time()
    run(["statusline", "--state-dir", str(tmp_path)], status(five_hour=(1, NOON)))
    at = stored(tmp_path)["at"]

    assert isinstance(at, float)
    assert before <= at <= time.time()


@pytest.mark.parametrize(
    "settings", ["", "{", "[]", '{"statusLine": "--state-dir"}', '{"statusLine": {"command": 3, "x": "--state-dir"}}']
)
def test_by_hand_with_odd_settings(settings: str) -> None:
    """Tried by hand beside settings that hold nothing of ours, or nothing sound, it prints its own line."""
    folder = Path(os.environ["HOME"]) / ".claude"
    folder.mkdir()
    (folder / "settings.json").write_text(settings)

    assert run(["statusline"], status()).stdout == b"Opus 5.5 \xc2\xb7 context 0%\n"
