from __future__ import annotations

from pathlib import Path

from claude_gauge.claude_code.folders import transcript_roots


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
