from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.rights import no_override

from claude_gauge.claude_code.settings_file import Edit, SettingsChange, backups, change_of, read, write
from claude_gauge.errors import GaugeError

HAND_MADE = """{
    "permissions": { "allow": ["Bash(ls:*)", "Read"],   "deny": [] },
    "cleanupPeriodDays": 1e2,
\t"model":"opus" ,
    "env": {"ANTHROPIC_API_KEY": "sk-ant-very-secret", "LANG": "de_DE"},
    "umlaut": "ä"
}"""


def add(name: str, value: object) -> Edit:
    """An edit."""
    return lambda content: {**content, name: value}


def drop(name: str) -> Edit:
    """An edit."""
    return lambda content: {key: value for key, value in content.items() if key != name}


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """A settings file as a person lays it out."""
    path = tmp_path / "settings.json"
    path.write_text(HAND_MADE)
    return path


def test_rest_kept_to_the_byte(settings: Path) -> None:
    """Only what is added changes: layout, order, number formats and a missing last newline stay."""
    write([change_of(settings, add("verbose", value=True))], 0)

    assert settings.read_text() == HAND_MADE.replace('"ä"\n', '"ä",\n    "verbose": true\n')


def test_there_and_back(settings: Path) -> None:
    """Taking out again what was added gives the very bytes back."""
    write([change_of(settings, add("hooks", {"Stop": [{"hooks": []}]}))], 0)
    write([change_of(settings, drop("hooks"))], 0)

    assert settings.read_text() == HAND_MADE


def test_changed_value_in_its_place(settings: Path) -> None:
    """A changed member stays where it was and takes the file's indentation."""
    write([change_of(settings, add("env", {"LANG": "C"}))], 0)

    assert settings.read_text() == HAND_MADE.replace(
        '{"ANTHROPIC_API_KEY": "sk-ant-very-secret", "LANG": "de_DE"}', '{\n        "LANG": "C"\n    }'
    )


@pytest.mark.parametrize(
    "text",
    ["", "{}", "{ }\n", '{"a":1}', '{"a": 1,\r\n "b": 2}\r\n', '\ufeff{\n\t"a": "\\u00e4"\n}\n', '{"s": "\\ud800"}'],
)
def test_odd_layouts(tmp_path: Path, text: str) -> None:
    """An empty file, one line, tabs, CRLF, a byte order mark and a lone surrogate all survive an addition."""
    path = tmp_path / "settings.json"
    path.write_bytes(text.encode())
    old = read(path)
    write([change_of(path, add("new", {"k": ["ä", "\ud800"]}))], 0)

    assert read(path) == {**old, "new": {"k": ["ä", "\ud800"]}}
    assert path.read_bytes().startswith(b"\xef\xbb\xbf") == text.startswith("\ufeff")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=3), VALUES, max_size=5)


@given(old=OBJECTS, new=OBJECTS, indent=st.sampled_from([None, 0, 2, "\t"]), ascii_only=st.booleans())
def test_any_content(
    tmp_path_factory: pytest.TempPathFactory,
    old: dict[str, object],
    new: dict[str, object],
    indent: int | str | None,
    *,
    ascii_only: bool,
) -> None:
    """Whatever a file says and however it is laid out, after the edit it says what was wanted, in that order."""
    path = tmp_path_factory.mktemp("any") / "settings.json"
    path.write_text(json.dumps(old, indent=indent, ensure_ascii=ascii_only), "utf-8", "surrogatepass")
    write([change_of(path, lambda _: new)], 0)

    assert json.dumps(read(path)) == json.dumps(new)


@pytest.mark.parametrize(
    "broken",
    [
        b'{"a": 1,}',
        b'{"a": 1} // why',
        b"[1]",
        b"null",
        b'{"a": NaN}',
        b'{"a": "\xff"}',
        b"{" * 9,
        b'{"a":' * 9999 + b"1" + b"}" * 9999,
        b'{"half": "a lin',
    ],
)
def test_broken_is_refused(tmp_path: Path, broken: bytes) -> None:
    """A file that is not sound JSON is named in the error and left alone, with nothing put beside it."""
    path = tmp_path / "settings.json"
    path.write_bytes(broken)
    with pytest.raises(GaugeError, match=r"settings\.json.*left alone"):
        change_of(path, add("a", 1))

    assert path.read_bytes() == broken
    assert list(tmp_path.glob("settings*")) == [path]


def test_no_change_writes_nothing(settings: Path) -> None:
    """An edit that changes nothing has no diff, makes no backup and does not touch the file."""
    before = settings.stat().st_mtime_ns
    change = change_of(settings, lambda content: content)

    assert (change.needed, change.diff(), write([change], 0)[0]) == (False, "", None)
    assert settings.stat().st_mtime_ns == before


def test_one_is_not_true(tmp_path: Path) -> None:
    """In JSON 1 is not true, so putting one for the other is a change."""
    path = tmp_path / "settings.json"
    path.write_text('{"a": 1}')

    assert change_of(path, add("a", value=True)).after == b'{"a": true}'


def test_backup_once_per_change(settings: Path) -> None:
    """Each change leaves what was there before beside the file, also two in one second."""
    first = write([change_of(settings, add("a", 1))], 1_795_000_000)[0]
    second = write([change_of(settings, add("b", 2))], 1_795_000_000)[0]

    assert first is not None
    assert second is not None
    assert first.read_text() == HAND_MADE
    assert json.loads(second.read_text())["a"] == 1
    assert backups(settings) == [second, first]


def test_mode_kept(settings: Path) -> None:
    """A file that only its owner may read stays so, and so does its backup."""
    settings.chmod(0o600)
    backup = write([change_of(settings, add("a", 1))], 0)[0]

    assert backup is not None
    assert [stat.S_IMODE(path.stat().st_mode) for path in (settings, backup)] == [0o600, 0o600]


def test_symlink_followed(settings: Path, tmp_path: Path) -> None:
    """Settings that are a link into a folder of dotfiles stay a link; the backup lies beside the link."""
    home = tmp_path / "home" / ".claude"
    home.mkdir()
    link = home / "settings.json"
    link.symlink_to(os.path.relpath(settings, home))
    backup = write([change_of(link, add("a", 1))], 0)[0]

    assert link.is_symlink()
    assert json.loads(settings.read_text())["a"] == 1
    assert backup is not None
    assert backup.parent == home


def test_new_file(tmp_path: Path) -> None:
    """Where there was none, a file is made with its folder, readable by its owner only, and no backup."""
    path = tmp_path / "new" / "settings.json"
    change = change_of(path, add("a", {"b": 1}))

    assert change.diff().startswith("--- /dev/null\n")
    assert write([change], 0)[0] is None
    assert path.read_text() == '{\n  "a": {\n    "b": 1\n  }\n}\n'
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_changed_meanwhile(settings: Path) -> None:
    """If someone else writes between showing and writing, their version stands."""
    change = change_of(settings, add("a", 1))
    settings.write_text("{}")
    with pytest.raises(GaugeError, match="meanwhile"):
        write([change], 0)

    assert settings.read_text() == "{}"


def test_unwritable(tmp_path: Path) -> None:
    """Where nothing can be written, one line says so and nothing is left lying about."""
    (tmp_path / "file").write_text("")
    with pytest.raises(GaugeError, match="cannot"):
        write([change_of(tmp_path / "file" / "settings.json", add("a", 1))], 0)

    assert (tmp_path / "file").read_text() == ""


def test_failed_write_leaves_no_trace(settings: Path) -> None:
    """If the file can't be replaced it stands as it was, and no backup of a change that never was lies about."""
    (settings.parent / f".settings.json.{os.getpid()}.tmp").mkdir()
    with pytest.raises(GaugeError, match="cannot write"):
        write([change_of(settings, add("a", 1))], 0)

    assert settings.read_text() == HAND_MADE
    assert backups(settings) == []


def test_read_only_folder(settings: Path) -> None:
    """Settings that a package manager laid down read-only are left alone, in one line that says so."""
    settings.parent.chmod(0o500)
    with no_override(), pytest.raises(GaugeError, match=r"cannot write .*settings\.json: Permission denied"):
        write([change_of(settings, add("a", 1))], 0)
    settings.parent.chmod(0o700)

    assert settings.read_text() == HAND_MADE


def test_diff_masks_secrets(settings: Path) -> None:
    """The diff shows the change but no key that stands near it."""
    text = change_of(settings, add("umlaut", "ö")).diff()

    assert '+    "umlaut": "ö"' in text
    assert "very-secret" not in text
    assert '"LANG": "de_DE"' in text


def test_diff_shows_a_long_value_once(settings: Path) -> None:
    """A long command that comes twelve times is shown once."""
    command = "if [ -x /opt/claude-gauge/bin/python ]; then exec /opt/claude-gauge/bin/python -IS main.py hook; fi" * 2
    after = json.dumps({"hooks": [{"command": command} for _ in range(12)]}, indent=1)
    text = SettingsChange(settings, None, after.encode()).diff()

    assert text.count(command) == 1
    assert text.count('"command": "…  (as above)\n') == 11


def test_key_given_twice(tmp_path: Path) -> None:
    """Of a key given twice the last value counts, as to Claude Code; both stay as long as neither changes."""
    path = tmp_path / "settings.json"
    path.write_text('{"a": 1, "b": {"x": 1, "x": 2}, "a": 3}')

    assert read(path) == {"a": 3, "b": {"x": 2}}
    write([change_of(path, add("c", 4))], 0)
    assert path.read_text() == '{"a": 1, "b": {"x": 1, "x": 2}, "a": 3, "c": 4}'
    write([change_of(path, add("a", 5))], 0)
    assert path.read_text() == '{ "b": {"x": 1, "x": 2}, "a": 5, "c": 4}'
    write([change_of(path, drop("a"))], 0)

    assert read(path) == {"b": {"x": 2}, "c": 4}


def test_nested_too_deeply_for_a_change(tmp_path: Path) -> None:
    """A depth that can be read but not worked on is refused in a line, never a traceback."""
    for depth in (300, 480, 600, 900):
        path = tmp_path / f"{depth}.json"
        path.write_text('{"a":' * depth + "1" + "}" * depth)
        try:
            write([change_of(path, add("b", 1))], 0)
        except GaugeError as error:
            assert "deep" in str(error)  # noqa: PT017 - either way is right, a traceback is not
        else:
            assert read(path)["b"] == 1


def test_all_or_none(settings: Path, tmp_path: Path) -> None:
    """Where one of several files can't be written, the others have the bytes of before, and no backup is left."""
    other = tmp_path / "other" / "settings.json"
    other.parent.mkdir()
    other.write_text("{}")
    fresh = tmp_path / "fresh" / "settings.json"
    changes = [change_of(each, add("a", 1)) for each in (settings, fresh, other)]
    (other.parent / f".settings.json.{os.getpid()}.tmp").mkdir()
    with pytest.raises(GaugeError, match=r"other/settings\.json"):
        write(changes, 0)

    assert settings.read_text() == HAND_MADE
    assert not fresh.exists()
    assert (backups(settings), backups(other)) == ([], [])


def test_second_name_of_the_file(settings: Path, tmp_path: Path) -> None:
    """A hard link goes on being one: both names show the change."""
    second = tmp_path / "second.json"
    os.link(settings, second)
    write([change_of(settings, add("a", 1))], 0)

    assert second.samefile(settings)
    assert json.loads(second.read_text())["a"] == 1


@pytest.mark.faults
def test_file_that_is_mounted_alone(settings: Path) -> None:
    """A settings file mounted into a container by itself can't be replaced: it is written in place, backup first."""
    script = f"""
import sys
from pathlib import Path
from claude_gauge.claude_code.settings_file import change_of, write
path = Path({str(settings)!r})
(backup,) = write([change_of(path, lambda content: {{**content, "a": 1}})], 0)
print(backup.read_text() == sys.stdin.read(), '"a": 1' in path.read_text())
"""
    mounted = f'mount --bind "{settings}" "{settings}" && exec "{sys.executable}" -c "$1"'
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", mounted, "sh", script],
        input=HAND_MADE, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.stdout == "True True\n", done.stderr
    assert json.loads(settings.read_text())["a"] == 1
