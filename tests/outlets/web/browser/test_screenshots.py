from __future__ import annotations

import os
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.support import ROOT

STEMS = ("cluster-dark", "cluster-light", "cluster-phone", "cluster-stale", "terminal")


def test_pictures_can_be_made_anew(tmp_path: Path) -> None:
    """The script that makes the pictures of the docs makes all of them from the program as it is now."""
    images = tmp_path / "images"
    env = {**os.environ, "CLAUDE_GAUGE_DEMO_SECONDS": "1"}
    subprocess.run([ROOT / "scripts/screenshots", images], env=env, check=True, timeout=280)
    made = {each.name: each.stat().st_size for each in images.iterdir()}

    assert set(made) == {each.name for each in (ROOT / "docs/images").iterdir() if each.stem in STEMS}
    assert all(size > 10_000 for size in made.values())
    assert "TOKENS/MIN" in "".join(each.text or "" for each in ET.parse(images / "terminal.svg").iter())  # noqa: S314 - our own file
