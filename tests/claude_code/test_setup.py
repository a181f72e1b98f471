from __future__ import annotations

import copy
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.claude_events import EVENTS, SESSION, event, run, status
from tests.support.net import PATIENCE_S

from claude_gauge.apps.doctor.sources import claude_code
from claude_gauge.claude_code import entries
from claude_gauge.claude_code.entries import Ours, add_hooks, add_statusline, is_fleeting, program, without_ours
from claude_gauge.claude_code.settings_file import SettingsChange, write
from claude_gauge.config import Settings
from claude_gauge.errors import GaugeError
from claude_gauge.hooks import spool
from claude_gauge.hooks.entry import options, spell
from claude_gauge.hooks.hook import EVENTS as REGISTERED
from claude_gauge.sources.statusline.source import Plan

OURS = Ours(("/opt/venv/bin/python", "/opt/lib/claude_gauge/__main__.py"), "/state")
NOON = 1_795_435_200.0
TRICKY = r"""printf '%s\n' "it's $(date +%Y) — \"50%\"" | tr a-z A-Z; # done"""

FULL: dict[str, Any] = {
    "model": "opus",
    "statusLine": {"type": "command", "command": TRICKY, "padding": 2, "refreshInterval": 5},
    "hooks": {
        "Stop": [{"hooks": [{"type": "command", "command": "say done"}]}],
        "PreToolUse": [{"matcher": "Bash", "hooks": [{"type": "command", "command": "guard"}]}],
        "WorktreeCreate": [],
    },
    "env": {"A": "1"},
}
CONTENTS = [
    {},
    FULL,
    {"statusLine": None},
    {"statusLine": {"type": "command", "command": ""}},
    {"hooks": {}},
    {"statusLine": {"type": "command", "command": "claude-gauge statusline | sed s/x/y/"}},
]


def put_in(content: dict[str, Any], ours: Ours = OURS) -> dict[str, Any]:
    """Put both in, as setup does."""
    return add_hooks(add_statusline(copy.deepcopy(content), ours), ours)


def entries_in(files: list[Path], ours: Ours = Ours(("/old/python", "/old/__main__.py"), "/s")) -> list[SettingsChange]:  # noqa: B008
    """Plan both for files, as setup does."""
    return entries.put_in(files, ours, with_statusline=True, with_hooks=True)


def take_out_of(files: list[Path]) -> list[SettingsChange]:
    """Plan an undo for files."""
    return entries.take_out(files)


def take_out(content: dict[str, Any]) -> dict[str, Any]:
    """Take both out, as undo does."""
    return without_ours(copy.deepcopy(content))


@pytest.mark.parametrize("content", CONTENTS)
def test_idempotent(content: dict[str, Any]) -> None:
    """Doing it twice is doing it once, there and back."""
    once = put_in(content)

    assert put_in(once) == once
    assert take_out(take_out(once)) == take_out(once)


@pytest.mark.parametrize("content", [FULL, {}, *CONTENTS[3:]])
def test_undone(content: dict[str, Any]) -> None:
    """Undo gives back all that was, in its order; an empty `hooks` may go, as it says nothing."""
    back = take_out(put_in(content))
    content = {name: value for name, value in content.items() if value}

    assert json.dumps(back) == json.dumps(content)


@pytest.mark.parametrize("content", CONTENTS)
def test_undo_without_setup(content: dict[str, Any]) -> None:
    """Where nothing of ours is in, undo changes nothing."""
    assert take_out(content) == content


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_any_statusline_comes_back(command: str) -> None:
    """Whatever the person's command is made of, it comes back letter for letter."""
    content = {"statusLine": {"type": "command", "command": command}}

    assert take_out(put_in(content)) == content or options(command, "statusline") is not None


def test_moved_program_and_state(tmp_path: Path) -> None:
    """Set up again from another place, ours is replaced, not doubled, and the person's statusline is kept."""
    moved = Ours(("/usr/bin/python3", "/usr/lib/python3/claude_gauge/__main__.py"), str(tmp_path))
    again = put_in(put_in(FULL), moved)

    assert again == put_in(FULL, moved)
    assert take_out(again) == FULL


def test_statusline_replaced_after_setup() -> None:
    """A statusline that the person chose later is theirs: undo leaves it, setup wraps it."""
    content = put_in(FULL)
    content["statusLine"] = {"type": "command", "command": "new one"}

    assert take_out(content)["statusLine"] == {"type": "command", "command": "new one"}
    assert take_out(put_in(content))["statusLine"] == {"type": "command", "command": "new one"}


def test_hook_of_theirs_beside_ours() -> None:
    """A hook that someone put into our group stays when ours goes."""
    content = put_in({})
    content["hooks"]["Stop"][0]["hooks"].append({"type": "command", "command": "theirs"})

    assert take_out(content) == {"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "theirs"}]}]}}
    assert put_in(content)["hooks"]["Stop"][0] == {"hooks": [{"type": "command", "command": "theirs"}]}


@pytest.mark.parametrize(
    "content",
    [
        {"statusLine": "echo"},
        {"statusLine": {"type": "command"}},
        {"statusLine": {"type": "command", "command": 3}},
        {"hooks": []},
        {"hooks": {"Stop": {"command": "x"}}},
    ],
)
def test_not_understood(content: dict[str, Any]) -> None:
    """What is not as Claude Code wants it is refused rather than guessed at."""
    with pytest.raises(GaugeError):
        put_in(content)


@pytest.mark.parametrize(
    ("command", "ours"),
    [
        ("claude-gauge hook", True),
        ("/a/b/claude-gauge hook --state-dir '/x y'", True),
        ("'/usr/bin/python3' -m claude_gauge hook", True),
        ("claude-gauge hook; rm x", False),
        ("claude-gauge hook | tee log", False),
        ("my-claude-gauge hook", False),
        (OURS.hook(), True),
        (spell(("/a b/python", "/it's/__main__.py"), "hook", "/x;y"), True),
        (OURS.hook() + "; rm x", False),
        (OURS.hook().replace("/state", "/state; rm x"), False),
        (OURS.statusline(None), False),
        ("claude-gauge publish", False),
        ("echo 'unfinished", False),
        (None, False),
    ],
)
def test_known_again(command: object, *, ours: bool) -> None:
    """Only what setup wrote counts as ours."""
    assert (options(command, "hook") is not None) is ours


class Home:
    """A home with Claude Code's settings in it."""

    def __init__(self, path: Path) -> None:
        self.settings = path / ".claude" / "settings.json"
        self.settings.parent.mkdir(parents=True)
        self.state = path / ".local" / "state" / "claude-gauge"
        self.environ = {**os.environ, "HOME": str(path)}

    def setup(self, *arguments: str, text: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run `claude-gauge setup`."""
        return run(["setup", *arguments], text, self.environ)

    def statusline(self, text: dict[str, Any]) -> subprocess.CompletedProcess[bytes]:
        """Run the statusline as Claude Code would: by the shell, with the status on standard input."""
        return self.as_claude_does(json.loads(self.settings.read_text())["statusLine"]["command"], text)

    def hooks(self, text: dict[str, Any]) -> list[subprocess.CompletedProcess[bytes]]:
        """Run the hooks of an event as Claude Code would."""
        groups = json.loads(self.settings.read_text())["hooks"].get(text["hook_event_name"], [])
        commands = [entry["command"] for group in groups for entry in group["hooks"]]
        return [self.as_claude_does(command, text) for command in commands]

    def as_claude_does(self, command: str, text: dict[str, Any]) -> subprocess.CompletedProcess[bytes]:
        """Run a command by the shell."""
        return subprocess.run(
            ["/bin/sh", "-c", command],
            input=json.dumps(text).encode(),
            capture_output=True,
            check=False,
            env=self.environ,
        )


@pytest.fixture
def person(tmp_path: Path) -> Home:
    """A person's home."""
    return Home(tmp_path / "person")


def waits(person: Home) -> bool | None:
    """Return whether a publisher would say that Claude Code waits."""
    plan = Plan(Settings(state_dir=person.state))
    plan.load()
    return plan.read(time.time()).waiting


def test_whole_road(person: Home) -> None:
    """Setup, a session of Claude Code, undo: figures and waiting arrive, theirs runs unchanged, all is given back."""
    before = json.dumps(FULL, indent=3).replace('"padding": 2,\n', '"padding":2,')  # as only a person lays it out
    person.settings.write_text(before)
    theirs = person.statusline(status())
    shown = person.setup("--yes")

    assert shown.returncode == 0
    assert b"--then" in shown.stdout
    assert person.statusline(status(five_hour=(42, NOON))).stdout == theirs.stdout
    assert spool.load(str(person.state / "plan" / f"{SESSION}.status"))["limits"]
    for given_event in ("UserPromptSubmit", "PreToolUse", "PermissionRequest"):
        assert {done.returncode for done in person.hooks(event(given_event))} <= {0, 127}  # "guard" does not exist
    assert waits(person)
    for given_event in ("PostToolUse", "Stop", "SessionEnd"):
        person.hooks(event(given_event))
    assert not waits(person)
    assert person.setup("--undo", "--yes").returncode == 0
    assert person.settings.read_text() == before
    assert not (person.state / "plan" / "hooks").exists()


def test_by_hand_shows_the_same(person: Home) -> None:
    """Tried by hand without arguments, the statusline shows what it shows in Claude Code."""
    person.settings.write_text(json.dumps(FULL))
    person.setup("--yes")

    assert run(["statusline"], status(), person.environ).stdout == person.statusline(status()).stdout != b""


def test_asks_first(person: Home) -> None:
    """Without --yes it shows the change and asks; no answer and no mean that nothing is written."""
    person.settings.write_text("{}")

    assert b"+" in person.setup(text=b"n\n").stdout
    assert person.setup(text=b"n\n").returncode == 1
    assert person.setup(text=b"").returncode == 1
    assert person.settings.read_text() == "{}"
    assert list(person.settings.parent.iterdir()) == [person.settings]
    assert person.setup(text=b"y\n").returncode == 0
    assert "statusLine" in json.loads(person.settings.read_text())


def test_question_says_what_the_commands_do(person: Home) -> None:
    """Between the long change and the question stands one sentence that says what the added commands do."""
    said = person.setup(text=b"n\n").stdout.decode()
    sentence = said.index("as the statusline it stores the plan's figures")

    assert said.rindex("+}") < sentence < said.index("Write this?")


def test_twice(person: Home) -> None:
    """The second time there is nothing to do, and no second backup is made."""
    person.settings.write_text("{}")
    person.setup("--yes")
    first = sorted(person.settings.parent.iterdir())
    again = person.setup("--yes")

    assert again.stdout.startswith(b"Nothing to do")
    assert sorted(person.settings.parent.iterdir()) == first
    person.setup("--undo", "--yes")
    assert person.setup("--undo", "--yes").stdout.startswith(b"Nothing to do")


def test_no_settings_before(person: Home) -> None:
    """A file that setup made is gone after undo; one that the person wrote into meanwhile stays, less ours."""
    person.setup("--yes")
    assert person.settings.exists()
    person.setup("--undo", "--yes")
    assert not person.settings.exists()
    person.setup("--yes")
    person.settings.write_text(json.dumps({**json.loads(person.settings.read_text()), "model": "opus"}))
    person.setup("--undo", "--yes")

    assert json.loads(person.settings.read_text()) == {"model": "opus"}


def test_no_settings_before_whatever_came_earlier(person: Home) -> None:
    """Backups of an earlier time, as those of `otel`, do not keep an empty file that setup made."""
    for arguments in (["otel", "install"], ["otel", "uninstall"], ["setup"], ["setup", "--undo"]):
        assert run([*arguments, "--yes"], b"", person.environ).returncode == 0

    assert list(person.settings.parent.glob("settings.json.before-*"))
    assert not person.settings.exists()


def test_person_edits_between(person: Home) -> None:
    """What the person changed after setup survives undo."""
    person.settings.write_text(json.dumps(FULL))
    person.setup("--yes")
    content = json.loads(person.settings.read_text())
    content["model"] = "sonnet"
    content["hooks"]["SessionStart"] = [{"hooks": [{"type": "command", "command": "hello"}]}]
    person.settings.write_text(json.dumps(content))
    person.setup("--undo", "--yes")
    wanted = copy.deepcopy(FULL)
    wanted["model"] = "sonnet"
    wanted["hooks"]["SessionStart"] = [{"hooks": [{"type": "command", "command": "hello"}]}]

    assert json.loads(person.settings.read_text()) == wanted


@pytest.mark.parametrize("arguments", [["--yes"], ["--undo", "--yes"]])
def test_broken_settings(person: Home, arguments: list[str]) -> None:
    """Broken JSON is refused in one line that names the file, and left alone."""
    person.settings.write_text('{"model": "opus",}')
    done = person.setup(*arguments)

    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert str(person.settings).encode() in done.stderr
    assert person.settings.read_text() == '{"model": "opus",}'


def test_several_config_folders(person: Home, tmp_path: Path) -> None:
    """With several folders in $CLAUDE_CONFIG_DIR each gets ours and each gets its own back; one broken stops all."""
    one, two = tmp_path / "one" / "settings.json", tmp_path / "two" / "settings.json"
    one.parent.mkdir()
    two.parent.mkdir()
    one.write_text('{"statusLine": {"type": "command", "command": "echo one"}}')
    two.write_text("{broken")
    person.environ["CLAUDE_CONFIG_DIR"] = f"{one.parent},{two.parent}"
    before = one.read_text()

    assert person.setup("--yes").returncode == 1
    assert one.read_text() == before
    two.write_text('{"statusLine": {"type": "command", "command": "echo two"}}')
    assert person.setup("--yes").returncode == 0
    assert ["echo one" in one.read_text(), "echo two" in two.read_text()] == [True, True]
    assert options(json.loads(two.read_text())["statusLine"]["command"], "statusline") is not None
    assert person.setup("--undo", "--yes").returncode == 0
    assert one.read_text() == before
    assert not person.settings.exists()


def test_one_without_the_other(person: Home) -> None:
    """The statusline or the hooks can be left out."""
    person.setup("--yes", "--no-hooks")
    assert list(json.loads(person.settings.read_text())) == ["statusLine"]
    person.setup("--undo", "--yes")
    person.setup("--yes", "--no-statusline")

    assert list(json.loads(person.settings.read_text())) == ["hooks"]


def test_state_folder_is_written_into_the_commands(person: Home, tmp_path: Path) -> None:
    """Claude Code knows nothing of our settings: where to write stands in the commands, also with spaces."""
    person.setup("--yes", "--state-dir", str(tmp_path / "my state"))
    person.statusline(status(five_hour=(1, NOON)))
    person.hooks(event("Stop"))

    written = sorted(path.name for path in (tmp_path / "my state" / "plan").iterdir())
    assert written == [f"{SESSION}.events", f"{SESSION}.status", "hooks"]
    assert not person.state.exists()


def test_hooks_disabled_is_said(person: Home) -> None:
    """When the settings switch all hooks off, setup says that nothing will come."""
    person.settings.write_text('{"disableAllHooks": true}')

    assert b"disableAllHooks" in person.setup("--yes").stderr


def test_every_captured_event_runs_clean(person: Home) -> None:
    """Each event that Claude Code was seen to send is taken without a word and with exit code 0."""
    person.setup("--yes")
    command = json.loads(person.settings.read_text())["hooks"]["Stop"][0]["hooks"][0]["command"]
    for each in EVENTS.values():
        done = person.as_claude_does(command, each)

        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_program_is_this_very_one() -> None:
    """What is written into the settings is this interpreter, by its link, and this package's own entry."""
    python, main = program()

    assert python == sys.executable
    assert Path(main).name == "__main__.py"
    assert Path(main).exists()


@pytest.mark.parametrize(
    ("path", "fleeting"),
    [
        ("/home/p/.cache/uv/archive-v0/abc/bin/claude-gauge", True),
        ("/home/p/.local/pipx/.cache/abc/bin/claude-gauge", True),
        ("/Users/p/Library/Caches/x/bin/claude-gauge", True),
        ("/home/p/.local/bin/claude-gauge", False),
        ("/home/p/cache/bin/claude-gauge", False),
    ],
)
def test_passing_copy(path: str, *, fleeting: bool) -> None:
    """A copy that uvx or pipx run made for one call is not what Claude Code should call every day."""
    assert is_fleeting([path]) is fleeting


@pytest.mark.parametrize("name", ["statusline", "hook"])
@pytest.mark.parametrize("gone", [0, 1])
def test_program_is_gone(person: Home, tmp_path: Path, name: str, gone: int) -> None:
    """In a devcontainer or after an uninstall hooks are silent with 0, and the person's own statusline runs."""
    files = [str(tmp_path / "python"), str(tmp_path / "main.py")]
    files[1 - gone] = program()[1 - gone]
    ours = Ours((files[0], files[1]), str(person.state))
    command = ours.hook() if name == "hook" else ours.statusline('cat; echo "mine $PPID" | sed s/[0-9].*/x/; exit 3')
    done = person.as_claude_does(command, status())
    bare = person.as_claude_does(ours.statusline(None), status())

    assert (done.stdout, done.stderr, done.returncode) == (
        (b"", b"", 0) if name == "hook" else (json.dumps(status()).encode() + b"mine x\n", b"", 3)
    )
    assert (bare.stdout, bare.stderr, bare.returncode) == (b"", b"", 0)


def test_parent_is_claude_code(person: Home) -> None:
    """The person's own statusline sees Claude Code as its parent, with our program there and without it."""
    for python in (sys.executable, "/gone/python"):
        command = Ours((python, program()[1]), str(person.state)).statusline("echo $PPID")
        claude = subprocess.Popen(
            ["/bin/sh", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=person.environ
        )
        shown, _ = claude.communicate(timeout=PATIENCE_S)

        assert shown.decode().strip() == str(os.getpid())


def test_project_that_sets_up_python_its_way(person: Home, tmp_path: Path) -> None:
    """PYTHONHOME, PYTHONPATH and modules of the working folder have no say, and are handed on to the person's own."""
    trap = tmp_path / "project"
    (trap / "claude_gauge").mkdir(parents=True)
    for name in ("claude_gauge/__init__.py", "os.py", "json.py", "sitecustomize.py", "_signal.py", "time.py"):
        (trap / name).write_text("raise SystemExit('trapped')")
    person.environ |= {"PYTHONHOME": "/nowhere", "PYTHONPATH": str(trap)}
    ours = Ours(program(), str(person.state))
    shown = subprocess.run(
        ["/bin/sh", "-c", ours.statusline("echo $PYTHONPATH $PYTHONHOME")],
        input=json.dumps(status(five_hour=(42, NOON))).encode(), capture_output=True, check=False,
        env=person.environ, cwd=trap,
    )  # fmt: skip
    reported = subprocess.run(
        ["/bin/sh", "-c", ours.hook()], input=json.dumps(event("PermissionRequest")).encode(), capture_output=True,
        check=False, env=person.environ, cwd=trap,
    )  # fmt: skip

    assert (shown.stdout, shown.stderr) == (f"{trap} /nowhere\n".encode(), b"")
    assert spool.load(str(person.state / "plan" / f"{SESSION}.status"))["limits"]
    assert (reported.stdout, reported.stderr, reported.returncode) == (b"", b"", 0)
    assert waits(person)


def test_renews_what_older_versions_wrote() -> None:
    """Every older spelling is replaced by today's, also in events that are no longer asked for."""
    olds = [
        "/old/claude-gauge hook",
        "claude-gauge hook --state-dir /s",
        "/v/python -m claude_gauge hook --state-dir '/s t'",
    ]
    for old in olds:
        group = {"hooks": [{"type": "command", "command": old, "timeout": 5}]}
        content: dict[str, Any] = {
            "statusLine": {"type": "command", "command": old.replace("hook", "statusline") + " --then 'echo mine'"},
            "hooks": {"PreToolUse": [group], "NoLongerAsked": [group], "Stop": [{"hooks": []}, group]},
        }
        renewed = put_in(content)

        assert set(renewed["hooks"]) == set(REGISTERED)
        assert old not in json.dumps(renewed)
        assert renewed["statusLine"]["command"] == OURS.statusline("echo mine")
        assert take_out(renewed) == {
            "statusLine": {"type": "command", "command": "echo mine"}, "hooks": {"Stop": [{"hooks": []}]}
        }  # fmt: skip


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
ENTRY = st.fixed_dictionaries({"type": st.just("command"), "command": st.text(max_size=6)})
GROUP = st.fixed_dictionaries({"hooks": st.lists(ENTRY, max_size=2)}, optional={"matcher": st.text(max_size=3)})
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "model": JSON,
        "statusLine": st.none() | ENTRY | JSON,
        "hooks": st.dictionaries(st.sampled_from([*REGISTERED, "Other"]), st.lists(GROUP | JSON, max_size=2)) | JSON,
        "env": JSON,
    },
)


def as_text(content: dict[str, Any], layout: tuple[int | str | None, tuple[str, str], bool], *, twice: bool) -> str:
    """Write settings as some editor would; `twice`: with its first key given again."""
    indent, separators, escaped = layout
    text = json.dumps(content, indent=indent, separators=separators, ensure_ascii=escaped)
    if twice and content:
        key = json.dumps(next(iter(content)), ensure_ascii=escaped)
        text = f"{{{key}:[],{text[1:]}"
    return text


@given(
    content=SETTINGS,
    layout=st.tuples(
        st.sampled_from([None, 0, 2, "\t"]), st.sampled_from([(", ", ": "), (",", ":"), (" ,", " : ")]), st.booleans()
    ),
    frame=st.sampled_from([("", ""), ("", "\n"), ("\ufeff", "\r\n"), (" \n", "  ")]),
    twice=st.booleans(),
)
def test_setup_and_undo_is_nothing(
    tmp_path_factory: pytest.TempPathFactory,
    content: dict[str, Any],
    layout: tuple[int | str | None, tuple[str, str], bool],
    frame: tuple[str, str],
    *,
    twice: bool,
) -> None:
    """Whatever a settings file holds and however it is laid out: after setup and undo it has the very same bytes."""
    path = tmp_path_factory.mktemp("any") / "settings.json"
    before = (frame[0] + as_text(content, layout, twice=twice) + frame[1]).encode("utf-8", "surrogatepass")
    path.write_bytes(before)
    try:
        write(entries_in([path]), 0)
    except GaugeError:
        assert path.read_bytes() == before
        return
    write(entries_in([path], OURS), 1)  # a second time, as after an update
    write(take_out_of([path]), 2)

    assert path.read_bytes() == before


def test_other_edits_in_between(tmp_path: Path) -> None:
    """What the person changed since stays; all else, in its own layout and with its empty events, is as before."""
    path = tmp_path / "settings.json"
    path.write_text('{"hooks":  {"Stop": [],\n "Other":[] },  "statusLine":null, "model": "opus","env":{"A" :"1"}}\n')
    write(entries_in([path]), 0)
    path.write_text(path.read_text().replace('"opus"', '"sonnet"'))
    write(take_out_of([path]), 1)

    assert path.read_text() == (
        '{"hooks":  {"Stop": [],\n "Other":[] },  "statusLine":null, "model": "sonnet","env":{"A" :"1"}}\n'
    )


def test_doctor_knows(person: Home, tmp_path: Path) -> None:
    """The doctor says what is missing between Claude Code and us: nothing in, another state folder, hooks off."""
    environ = {"CLAUDE_CONFIG_DIR": str(person.settings.parent)}

    def checked(state_dir: Path = person.state) -> str:
        (check,) = claude_code(Settings(state_dir=state_dir), environ)
        return f"{check.state}: {check.found}"

    assert checked().startswith("off: ")
    person.setup("--yes")
    assert checked() == f"ok: statusline and hooks are in {person.settings}"
    assert checked(tmp_path / "elsewhere").startswith("warn: ")
    content = json.loads(person.settings.read_text())
    person.settings.write_text(json.dumps({**content, "disableAllHooks": True}))
    assert checked().startswith("warn: ")
    assert "disableAllHooks" in checked()
    person.settings.write_text(json.dumps(content).replace(sys.executable, "/gone/python"))
    assert "calls /gone/python, which is not there" in checked()
    person.settings.write_text(json.dumps({**content, "statusLine": {"type": "command", "command": "npx other"}}))
    assert checked().startswith("warn: ")
    assert "another statusline in place of ours" in checked()
    del content["statusLine"]
    person.settings.write_text(json.dumps(content))
    assert checked().startswith("warn: ")
    assert "no statusline" in checked()
    del content["hooks"]["Stop"]
    person.settings.write_text(json.dumps({**content, "statusLine": put_in({})["statusLine"]}))
    assert checked().startswith("warn: ")
    old = {"type": "command", "command": shlex.join([sys.executable, "-m", "claude_gauge", "statusline"])}
    person.settings.write_text(json.dumps({**put_in({}, Ours(program(), str(person.state))), "statusLine": old}))
    assert checked() == f"warn: {person.settings} has entries of an older version"
    person.settings.write_text("{")

    assert "broken JSON" in checked()
