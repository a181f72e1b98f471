from __future__ import annotations

from pathlib import Path

from claude_gauge.claude_code.folders import settings_files, transcript_roots


def test_both_defaults(tmp_path: Path) -> None:
    """Without a setting both of Claude Code's own places are looked at, whether they exist or not."""
    assert transcript_roots({"HOME": str(tmp_path)}) == [
        tmp_path / ".config" / "claude" / "projects",
        tmp_path / ".claude" / "projects",
    ]


def test_xdg_config_home(tmp_path: Path) -> None:
    """The first default follows XDG_CONFIG_HOME."""
    roots = transcript_roots({"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "xdg")})

    assert roots[0] == tmp_path / "xdg" / "claude" / "projects"


def test_config_dir_list(tmp_path: Path) -> None:
    """CLAUDE_CONFIG_DIR may hold several, comma-separated, with blanks, and replaces the defaults."""
    listed = f" {tmp_path / 'a'} ,,{tmp_path / 'b'}, "

    assert transcript_roots({"CLAUDE_CONFIG_DIR": listed}) == [tmp_path / "a" / "projects", tmp_path / "b" / "projects"]


def test_same_place_twice_is_one_root(tmp_path: Path) -> None:
    """Links, second spellings and the projects folder itself name a place that is read once."""
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    listed = f"{tmp_path}/a,{tmp_path}/link,{tmp_path}/x/../a,{tmp_path}/a/projects"

    assert transcript_roots({"CLAUDE_CONFIG_DIR": listed}) == [tmp_path / "a" / "projects"]


def test_settings_of_each_folder(tmp_path: Path) -> None:
    """Each folder of CLAUDE_CONFIG_DIR has settings, each counts once; without it there is the usual one."""
    environ = {"HOME": str(tmp_path), "CLAUDE_CONFIG_DIR": "/a, ~/b,,/a,~nobody-here/c"}

    assert settings_files(environ) == [
        Path("/a/settings.json"),
        tmp_path / "b" / "settings.json",
        Path("~nobody-here/c/settings.json"),
    ]
    assert settings_files({"HOME": str(tmp_path)}) == [tmp_path / ".claude" / "settings.json"]


def test_shared_settings_are_one_file(tmp_path: Path) -> None:
    """A settings file that two config folders share, by a link of either kind, is named once."""
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "settings.json").write_text("{}")
    (tmp_path / "b" / "settings.json").symlink_to(tmp_path / "a" / "settings.json")
    (tmp_path / "c" / "settings.json").hardlink_to(tmp_path / "a" / "settings.json")
    listed = ",".join(str(tmp_path / name) for name in ("a", "b", "c"))

    assert settings_files({"CLAUDE_CONFIG_DIR": listed}) == [tmp_path / "a" / "settings.json"]
