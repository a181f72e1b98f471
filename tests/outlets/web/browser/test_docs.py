from __future__ import annotations

import re

from tests.support import ROOT

from claude_gauge.outlets.web.site import WebSite


def test_every_path_is_reported() -> None:
    """The table of paths names all that there is besides the page's own files, and nothing else."""
    site = WebSite("studio", dict, {}, lambda: 0.0)
    reported = set(re.findall(r"^\| `(/[\w/]+)` \|", (ROOT / "docs/web.md").read_text(), re.MULTILINE))

    assert reported == {path for path in site.routes if path != "/" and "." not in path}


def test_pictures_are_there() -> None:
    """Every picture that the page shows is in the tree."""
    shown = re.findall(r"\]\((images/[\w.-]+)\)", (ROOT / "docs/web.md").read_text())

    assert shown
    assert all((ROOT / "docs" / each).is_file() for each in shown)
